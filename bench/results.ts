import type { Measurement } from './compare.ts'
import type { Quartiles } from './statistics.ts'

/** The results of a run, as `--json` writes and `--from` reads them. */
export interface Results {
  readonly date: string
  readonly machine: {
    readonly cpus: string
    readonly memory: string
    readonly system: string
    readonly node: string
    readonly postgres: string
    /** The settings in postgresql.conf that differ from the defaults. */
    readonly settings: Record<string, string>
    readonly redis: string | undefined
    readonly pgbench: string | undefined
  }
  readonly parameters: Record<string, unknown>
  readonly short: boolean
  readonly workloads: WorkloadResult[]
  readonly scenarios: ScenarioResult[]
}

export interface WorkloadResult {
  readonly name: string
  readonly description: string
  readonly measurements: readonly Measurement[]
  readonly ratios: readonly RatioResult[]
}

/** The throughput of a candidate, relative to a baseline. */
export interface RatioResult {
  readonly name: string
  readonly candidate: string
  readonly baseline: string
  readonly ratio: Quartiles
  /** The target; undefined: the ratio is reported without a verdict. */
  readonly atLeast: number | undefined
}

export interface ScenarioResult {
  readonly name: string
  readonly description: string
  readonly metrics: readonly Metric[]
}

/** One value that a scenario measures. */
export interface Metric {
  readonly name: string
  readonly value: number
  readonly unit: string
  readonly target?: {
    readonly atMost?: number
    readonly atLeast?: number
    /** Whether the target must be met on every machine, and so is checked in short mode, too. */
    readonly always: boolean
  }
}

export function isMet({ value, target }: Metric): boolean {
  if (target === undefined) return true
  const { atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = target
  return value <= atMost && value >= atLeast
}

export function isRatioMet({ ratio, atLeast }: RatioResult): boolean {
  return atLeast === undefined || ratio.median >= atLeast
}

/** Returns the missed targets that must be met on every machine: errors, lost changes, deadlocks. */
export function failedChecks(results: Results): string[] {
  return results.scenarios.flatMap((scenario) =>
    scenario.metrics
      .filter((metric) => metric.target?.always && !isMet(metric))
      .map(({ name, value, unit }) => `${scenario.name}: ${name}: ${value} ${unit}`),
  )
}
