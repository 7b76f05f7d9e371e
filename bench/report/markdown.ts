import { isMet, isRatioMet, type Results } from '../results.ts'
import { machineText, number, quartilesText, ratioTargetText, targetText, verdict } from './text.ts'

/** Formats results as the tables of docs/performance.md. */
export function markdown(results: Results): string {
  const { workloads, scenarios, date } = results
  const parts = [`<!-- ${date.slice(0, 10)}; ${machineText(results).replaceAll('\n', '; ')} -->`]

  const ratios = workloads.flatMap(({ ratios }) => ratios)
  if (ratios.length > 0) {
    parts.push(
      table(
        ['what', 'against', 'times as fast: median (quartiles)', 'target', ''],
        ratios.map((ratio) => [
          ratio.name,
          ratio.baseline,
          quartilesText(ratio.ratio),
          ratioTargetText(ratio).replace('target ', ''),
          ratio.atLeast === undefined ? '' : verdict(isRatioMet(ratio)),
        ]),
      ),
    )
  }
  const measurements = workloads.flatMap(({ name, measurements }) =>
    measurements.map((measurement) => ({ workload: name, ...measurement })),
  )
  if (measurements.length > 0) {
    parts.push(
      table(
        ['workload', 'store', 'calls per second: median (quartiles)', 'p50 ms', 'p99 ms'],
        measurements.map(({ workload, name, rate, p50, p99 }) => [
          workload,
          name,
          quartilesText(rate),
          number(p50.median),
          Number.isFinite(p99.median) ? number(p99.median) : '',
        ]),
      ),
    )
  }
  for (const { description, metrics } of scenarios) {
    parts.push(
      `**${description[0]?.toUpperCase()}${description.slice(1)}**`,
      table(
        ['what', 'measured', 'target', ''],
        metrics.map((metric) => [
          metric.name,
          `${number(metric.value)} ${metric.unit}`.trim(),
          targetText(metric).replace('target ', ''),
          metric.target === undefined ? '' : verdict(isMet(metric)),
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
