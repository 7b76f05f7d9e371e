import type { Standing } from './race.ts'
import type { ShardedSessions } from './statistics.ts'

/** What a run has found: this is what `--json` writes and `--from` reads. */
export interface Results {
  readonly date: string
  readonly machine: {
    readonly cpus: string
    readonly memory: string
    readonly system: string
    readonly node: string
    readonly postgres: string
    /** Those of postgresql.conf that differ from the defaults. */
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
  readonly about: string
  readonly standings: readonly Standing[]
  readonly ratios: readonly RatioResult[]
}

/** How many times as fast one is as another. */
export interface RatioResult {
  readonly what: string
  readonly one: string
  readonly other: string
  readonly ratio: ShardedSessions
  /** The mark; undefined: told, not judged. */
  readonly atLeast: number | undefined
}

export interface ScenarioResult {
  readonly name: string
  readonly about: string
  readonly figures: readonly Figure[]
}

/** One number that a scenario has found. */
export interface Figure {
  readonly what: string
  readonly value: number
  readonly unit: string
  readonly mark?: {
    readonly atMost?: number
    readonly atLeast?: number
    /** Whether it holds on any machine, however slow or small: checked in short mode, too. */
    readonly always: boolean
  }
}

export function isMet({ value, mark }: Figure): boolean {
  if (mark === undefined) return true
  const { atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = mark
  return value <= atMost && value >= atLeast
}

export function isRatioMet({ ratio, atLeast }: RatioResult): boolean {
  return atLeast === undefined || ratio.median >= atLeast
}

/** What must not be, wherever the bench runs: an error, a lost change, a deadlock. */
export function brokenPromises(results: Results): string[] {
  return results.scenarios.flatMap(({ name, figures }) =>
    figures
      .filter((figure) => figure.mark?.always && !isMet(figure))
      .map(({ what, value, unit }) => `${name}: ${what}: ${value} ${unit}`),
  )
}
