import {
  isMet,
  isRatioMet,
  type Metric,
  type RatioResult,
  type Results,
  type ScenarioResult,
  type WorkloadResult,
} from '../results.ts'
import type { Quartiles } from '../statistics.ts'

/** Formats results for the terminal. */

export function workloadText(
  { name, description, measurements, ratios }: WorkloadResult,
  short: boolean,
): string {
  const rows = measurements.map(({ name, rate, p50, p99 }) => [
    name,
    `${number(rate.median)}/s`,
    `(${number(rate.lower)} to ${number(rate.upper)})`,
    `p50 ${number(p50.median)} ms`,
    Number.isFinite(p99.median) ? `p99 ${number(p99.median)} ms` : '',
  ])
  const verdicts = ratios.map((ratio) => [
    `${ratio.name}: ${ratio.candidate} / ${ratio.baseline}`,
    `${quartilesText(ratio.ratio)} x`,
    ratioTargetText(ratio),
    short || ratio.atLeast === undefined ? '' : verdict(isRatioMet(ratio)),
  ])
  return [`\n${name}: ${description}`, ...columns(rows), ...columns(verdicts)].join('\n')
}

export function scenarioText({ name, description, metrics }: ScenarioResult, short: boolean): string {
  const rows = metrics.map((metric) => [
    metric.name,
    `${number(metric.value)} ${metric.unit}`,
    targetText(metric),
    metric.target === undefined || (short && !metric.target.always) ? '' : verdict(isMet(metric)),
  ])
  return [`\n${name}: ${description}`, ...columns(rows)].join('\n')
}

export function machineText({ machine, parameters }: Results): string {
  const { cpus, memory, system, node, postgres, redis, pgbench, settings } = machine
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== false)
  return [
    `${cpus}, ${memory}, ${system}; Node.js ${node}; PostgreSQL ${postgres}`,
    `${redis ?? 'redis-server is not installed: connect-redis is skipped'}; ${pgbench ?? 'pgbench is not installed: skipped'}`,
    `postgresql.conf: ${Object.entries(settings)
      .map(([key, value]) => `${key}=${value}`)
      .join(', ')}`,
    given.map(([key, value]) => `--${key} ${value}`).join(' '),
  ].join('\n')
}

export function targetText({ target }: Pick<Metric, 'target'>): string {
  if (target?.atMost !== undefined) return `target <= ${target.atMost}`
  if (target?.atLeast !== undefined) return `target >= ${target.atLeast}`
  return ''
}

export function ratioTargetText({ atLeast }: Pick<RatioResult, 'atLeast'>): string {
  return atLeast === undefined ? '' : `target >= ${atLeast}`
}

export function verdict(met: boolean): string {
  return met ? 'met' : 'MISSED'
}

export function quartilesText({ median, lower, upper }: Quartiles): string {
  return `${number(median)} (${number(lower)} to ${number(upper)})`
}

/** Formats a number with three significant digits; integers from 100. */
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
