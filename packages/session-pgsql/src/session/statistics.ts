import type { SessionPgsqlError } from '../errors.ts'

/** What one server says of its sessions in numbers: for people who look, not for every request. */
export interface ServerStatistics {
  /** As in `status()`. */
  readonly name: string
  /** Undefined: the server gave no answer in time, and `error` says why. */
  readonly table: TableStatistics | undefined
  readonly error: SessionPgsqlError | undefined
}

export interface TableStatistics {
  /** By the database's clock. */
  readonly at: Date
  /** Of PostgreSQL: `18.1`. */
  readonly version: string
  /** The id of its next transaction: from this on `written` counts, if it is asked for. */
  readonly transaction: number
  readonly standby: boolean
  /** Whether the sessions were counted. In a large table they are estimated of a sample of its pages. */
  readonly exact: boolean
  /**
   * The part of the table's pages that was read, at most 1. As long as it stays the same so do the pages: what is
   * said of them moves because the sessions do.
   */
  readonly sampled: number
  /** How many rows one that was read stands for, at least 1: an estimate is what was found there times this. */
  readonly scale: number
  /** Those that have not expired. */
  readonly sessions: number
  /** The cookies' names with the most of them, at most 30, those with expired rows alone last. */
  readonly names: readonly NameStatistics[]
  /** How many expire in each of the next 24 hours, if nobody uses them. */
  readonly expiring: readonly number[]
  /** Expired more than two hours ago, and garbage collection has not come by. */
  readonly unswept: number
  /** Sums of the error counters of all rows. */
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  /**
   * Rows inserted, deleted and updated since PostgreSQL's statistics were last reset, as of a second ago; of a
   * connection that has nothing to do, as of ten.
   */
  readonly inserted: number
  readonly deleted: number
  readonly updated: number
  /** Of the updates those made in place (HOT). */
  readonly hotUpdated: number
  /** As autovacuum sees them. */
  readonly liveRows: number
  readonly deadRows: number
  /** Of the table with its TOAST table, and of its indexes. */
  readonly tableBytes: number
  readonly indexBytes: number
  /** By hand or by autovacuum; null: not since the statistics were last reset. */
  readonly lastVacuum: Date | null
  /** On a primary: its standbys. What the database user may not see is null (`pg_monitor` may). */
  readonly standbys: readonly StandbyStatistics[]
  /** Whether dates are stored as 32-bit integers, which end in 2038. */
  readonly integerDates: boolean
  /** Whether garbage collection has its index. */
  readonly sweepIndex: boolean
}

/** Of the rows of one cookie's name. Sums are of all of them, the expired ones that are still there included. */
export interface NameStatistics {
  /** null: of another writer, without a name. */
  readonly name: string | null
  /** Those that have not expired. */
  readonly sessions: number
  /** Sums of the access and error counters: those of a row that is deleted go with it. */
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  /**
   * How many of the rows were created in each of the last ten seconds, `at` rounded up first, the newest first: so
   * that who looks again within that time knows which have come since.
   */
  readonly created: readonly number[]
  /** How many of the sessions were created, changed, touched or filed anew since the statistics `before`; else null. */
  readonly written: number | null
}

export interface StandbyStatistics {
  /** Its application_name. */
  readonly name: string
  readonly state: string | null
  /** Bytes of the write-ahead log that it has not replayed yet. */
  readonly lagBytes: number | null
  /** Whether commits wait for it. */
  readonly sync: boolean
}
