import type { PostgresServer } from '../packages/session-pgsql/test/support/postgres.ts'
import type { BenchDatabase } from './database.ts'
import type { Parameters } from './parameters.ts'
import type { Redis, RedisPersistence } from './programs.ts'
import type { Metric } from './results.ts'
import type { StoreOptions } from './stores/store.ts'

/** What workloads and scenarios run with. */
export interface BenchContext {
  readonly parameters: Parameters
  readonly postgres: PostgresServer
  /** The filled tables of all PostgreSQL stores. Scenarios that write much create a database of their own. */
  readonly database: BenchDatabase
  /** Empty if redis-server is not installed. */
  readonly redis: ReadonlyMap<RedisPersistence, Redis>
  readonly storeOptions: StoreOptions
  log(line: string): void
}

/** A measurement that is not a throughput. */
export interface Scenario {
  readonly name: string
  readonly description: string
  run(context: BenchContext): Promise<Metric[]>
}
