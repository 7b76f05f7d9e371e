import type { PostgresServer } from '../packages/session-pgsql/test/support/postgres.ts'
import type { ContestantOptions } from './contestants/contestant.ts'
import type { Parameters } from './parameters.ts'
import type { Redis } from './programs.ts'
import type { Figure } from './results.ts'
import type { BenchDatabase } from './tables.ts'

/** What workloads and scenarios find when they are called. */
export interface Setting {
  readonly parameters: Parameters
  readonly postgres: PostgresServer
  /** With both stores' tables, filled. Scenarios that write much make one of their own. */
  readonly database: BenchDatabase
  readonly redis: Redis | undefined
  readonly contestant: ContestantOptions
  log(line: string): void
}

/** A mark that is not a throughput: sets something up, looks, and says what it saw. */
export interface Scenario {
  readonly name: string
  readonly about: string
  run(setting: Setting): Promise<Figure[]>
}
