import { isMet, isRatioMet, type Results } from '../results.ts'
import { machineText, markText, number, ratioMarkText, spread, verdict } from './text.ts'

/** The tables of docs/performance.md. */
export function markdown(results: Results): string {
  const { workloads, scenarios, date } = results
  const parts = [`<!-- ${date.slice(0, 10)}; ${machineText(results).replaceAll('\n', '; ')} -->`]

  const ratios = workloads.flatMap(({ ratios }) => ratios)
  if (ratios.length > 0) {
    parts.push(
      table(
        ['what', 'against', 'times as fast: median (quartiles)', 'mark', ''],
        ratios.map((ratio) => [
          ratio.what,
          ratio.other,
          spread(ratio.ratio),
          ratioMarkText(ratio).replace('mark ', ''),
          ratio.atLeast === undefined ? '' : verdict(isRatioMet(ratio)),
        ]),
      ),
    )
  }
  const standings = workloads.flatMap(({ name, standings }) =>
    standings.map((standing) => ({ workload: name, ...standing })),
  )
  if (standings.length > 0) {
    parts.push(
      table(
        ['workload', 'store', 'calls a second: median (quartiles)', 'p50 ms', 'p99 ms'],
        standings.map(({ workload, name, rate, p50, p99 }) => [
          workload,
          name,
          spread(rate),
          number(p50.median),
          Number.isFinite(p99.median) ? number(p99.median) : '',
        ]),
      ),
    )
  }
  for (const { about, figures } of scenarios) {
    parts.push(
      `**${about[0]?.toUpperCase()}${about.slice(1)}**`,
      table(
        ['what', 'measured', 'mark', ''],
        figures.map((figure) => [
          figure.what,
          `${number(figure.value)} ${figure.unit}`.trim(),
          markText(figure).replace('mark ', ''),
          figure.mark === undefined ? '' : verdict(isMet(figure)),
        ]),
      ),
    )
  }
  return parts.join('\n\n')
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
