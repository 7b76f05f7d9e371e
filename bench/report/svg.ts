import { isRatioMet, type RatioResult, type Results } from '../results.ts'
import { number } from './text.ts'

/**
 * Draws the ratios as a chart with a bar to the median, a whisker between the quartiles and a tick at the target. The
 * scale is logarithmic, so that half as fast and twice as fast have the same distance from 1.
 */

const ROW = 30
const LEFT = 420
const WIDTH = 980
const RIGHT = 70
const TOP = 56

export function svg({ workloads, date, machine }: Results): string {
  const ratios = workloads.flatMap(({ ratios }) => ratios)
  const ends = ratios
    .flatMap(({ ratio, atLeast }) => [ratio.lower, ratio.upper, atLeast ?? 1])
    .filter((x) => x > 0)
  const low = Math.min(0.5, ...ends)
  const high = Math.max(2, ...ends)
  const x = (value: number): number =>
    round(LEFT + ((WIDTH - LEFT - RIGHT) * Math.log(value / low)) / Math.log(high / low))
  const height = TOP + ratios.length * ROW + 34
  const grid = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].filter((value) => value >= low && value <= high)

  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13">`,
    `<title>session-pgsql: how many times as fast as others</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(16, 24, 'session-pgsql: how many times as fast as others', 'font-size="16" font-weight="600"'),
    text(
      16,
      42,
      `Bar: median. Whisker: quartiles. Tick: target (blue: met, orange: missed, grey: none). PostgreSQL ${machine.postgres}, durable; ${date.slice(0, 10)}.`,
      'fill="#57606a" font-size="12"',
    ),
    ...grid.map(
      (value) =>
        `<line x1="${x(value)}" x2="${x(value)}" y1="${TOP}" y2="${height - 26}" stroke="${value === 1 ? '#57606a' : '#e3e6ea'}"/>` +
        text(x(value), height - 10, `${value} x`, 'text-anchor="middle" fill="#57606a" font-size="12"'),
    ),
    ...ratios.map((ratio, row) => bar(ratio, TOP + row * ROW, x)),
    '</svg>',
    '',
  ].join('\n')
}

function bar(result: RatioResult, y: number, x: (value: number) => number): string {
  const { name, baseline, ratio, atLeast } = result
  const [from, to] = [x(1), x(ratio.median)].sort((one, other) => one - other) as [number, number]
  const middle = y + ROW / 2
  const color = atLeast === undefined ? '#8b97a3' : isRatioMet(result) ? '#2f6f9f' : '#c4682b'
  return [
    text(LEFT - 10, middle + 4, `${name} / ${baseline}`, 'text-anchor="end"'),
    `<rect x="${from}" y="${y + 7}" width="${round(Math.max(1, to - from))}" height="${ROW - 14}" fill="${color}"/>`,
    `<line x1="${x(ratio.lower)}" x2="${x(ratio.upper)}" y1="${middle}" y2="${middle}" stroke="#1f2328" stroke-width="2"/>`,
    atLeast === undefined
      ? ''
      : `<line x1="${x(atLeast)}" x2="${x(atLeast)}" y1="${y + 3}" y2="${y + ROW - 3}" stroke="#1f2328" stroke-dasharray="3 2"/>`,
    text(
      Math.max(x(ratio.upper), x(atLeast ?? 1), x(1)) + 8,
      middle + 4,
      `${number(ratio.median)} x`,
      'font-weight="600"',
    ),
  ].join('')
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x}" y="${y}" ${attributes}>${escaped}</text>`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
