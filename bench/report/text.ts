import {
  type Figure,
  isMet,
  isRatioMet,
  type RatioResult,
  type Results,
  type ScenarioResult,
  type WorkloadResult,
} from '../results.ts'
import type { ShardedSessions } from '../statistics.ts'

/** Results for the terminal. */

export function workloadText({ name, about, standings, ratios }: WorkloadResult, short: boolean): string {
  const rows = standings.map(({ name, rate, p50, p99 }) => [
    name,
    `${number(rate.median)}/s`,
    `(${number(rate.lower)} to ${number(rate.upper)})`,
    `p50 ${number(p50.median)} ms`,
    Number.isFinite(p99.median) ? `p99 ${number(p99.median)} ms` : '',
  ])
  const verdicts = ratios.map((ratio) => [
    `${ratio.what}: ${ratio.one} / ${ratio.other}`,
    `${spread(ratio.ratio)} x`,
    ratioMarkText(ratio),
    short || ratio.atLeast === undefined ? '' : verdict(isRatioMet(ratio)),
  ])
  return [`\n${name}: ${about}`, ...columns(rows), ...columns(verdicts)].join('\n')
}

export function scenarioText({ name, about, figures }: ScenarioResult, short: boolean): string {
  const rows = figures.map((figure) => [
    figure.what,
    `${number(figure.value)} ${figure.unit}`,
    markText(figure),
    figure.mark === undefined || (short && !figure.mark.always) ? '' : verdict(isMet(figure)),
  ])
  return [`\n${name}: ${about}`, ...columns(rows)].join('\n')
}

export function machineText({ machine, parameters }: Results): string {
  const { cpus, memory, system, node, postgres, redis, pgbench, settings } = machine
  const said = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== false)
  return [
    `${cpus}, ${memory}, ${system}; Node.js ${node}; PostgreSQL ${postgres}`,
    `${redis ?? 'no redis-server in PATH: connect-redis does not run'}; ${pgbench ?? 'no pgbench: it does not run'}`,
    `postgresql.conf: ${Object.entries(settings)
      .map(([key, value]) => `${key}=${value}`)
      .join(', ')}`,
    said.map(([key, value]) => `--${key} ${value}`).join(' '),
  ].join('\n')
}

export function markText({ mark }: Pick<Figure, 'mark'>): string {
  if (mark?.atMost !== undefined) return `mark <= ${mark.atMost}`
  if (mark?.atLeast !== undefined) return `mark >= ${mark.atLeast}`
  return ''
}

export function ratioMarkText({ atLeast }: Pick<RatioResult, 'atLeast'>): string {
  return atLeast === undefined ? '' : `mark >= ${atLeast}`
}

export function verdict(met: boolean): string {
  return met ? 'met' : 'MISSED'
}

export function spread({ median, lower, upper }: ShardedSessions): string {
  return `${number(median)} (${number(lower)} to ${number(upper)})`
}

/** Three digits are more than a bench is good for, whole numbers from a hundred on. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (Math.abs(value) >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en-US')
  return Number(value.toPrecision(3)).toString()
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  )
  return rows.map((row) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd(),
  )
}
