import type { SessionPgsqlError } from '../errors.ts'

/** The statistics of one server, for operators and not for every request. */
export interface ServerStatistics {
  /** The server's name, as in `status()`. */
  readonly name: string
  /** Undefined if the server did not answer in time; see `error`. */
  readonly table: TableStatistics | undefined
  readonly error: SessionPgsqlError | undefined
}

/** Statistics of a session table and its server. */
export interface TableStatistics {
  /** The time of the statistics, by the database's clock. */
  readonly at: Date
  /** PostgreSQL's version, for example `18.1`. */
  readonly version: string
  /** The id of the next transaction. With these statistics as `before`, later ones count `written` from it. */
  readonly transaction: number
  readonly standby: boolean
  /** Whether all sessions were counted. In a large table they are estimated from a sample of its pages. */
  readonly exact: boolean
  /**
   * The fraction of the table's pages that was read, at most 1. While it stays the same, the same pages are read, so
   * that the estimates change only if the sessions do.
   */
  readonly sampled: number
  /**
   * The number of rows that one row of the sample represents, at least 1. Estimates are counts of the sample times
   * this.
   */
  readonly scale: number
  /** The number of sessions that have not expired. */
  readonly sessions: number
  /** The cookies' names with the most sessions, at most 30. Names with expired rows only come last. */
  readonly names: readonly NameStatistics[]
  /** The number of sessions that expire in each of the next 24 hours, unless they are used. */
  readonly expiring: readonly number[]
  /** The number of sessions that expired more than two hours ago and are not removed yet. */
  readonly unswept: number
  /** Sums of the error counters of all rows. */
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  /**
   * Rows inserted, deleted and updated since PostgreSQL's statistics were last reset. They are a second old; those of
   * an idle connection up to ten seconds.
   */
  readonly inserted: number
  readonly deleted: number
  readonly updated: number
  /** Number of HOT updates. */
  readonly hotUpdated: number
  /** Live and dead rows, as autovacuum counts them. */
  readonly liveRows: number
  readonly deadRows: number
  /** Size of the table with its TOAST table, and size of its indexes. */
  readonly tableBytes: number
  readonly indexBytes: number
  /** The last VACUUM, manual or by autovacuum; null if there was none since the statistics were last reset. */
  readonly lastVacuum: Date | null
  /** The standbys of a primary. Values that the database user may not read are null (`pg_monitor` may read them). */
  readonly standbys: readonly StandbyStatistics[]
  /** Whether dates are stored as 32-bit integers, which overflow in 2038. */
  readonly integerDates: boolean
  /** Whether the table has the index that garbage collection uses. */
  readonly sweepIndex: boolean
}

/** Statistics of the rows with one cookie name. Sums include expired rows that are not removed yet. */
export interface NameStatistics {
  /** null: rows of another writer that did not set a name. */
  readonly name: string | null
  /** The number of sessions that have not expired. */
  readonly sessions: number
  /** Sums of the access and error counters. They decrease when rows are deleted. */
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  /**
   * The number of rows created in each of the last ten seconds, the newest first, counted from `at` rounded up. A
   * caller that repeats the query within ten seconds can tell which rows are new.
   */
  readonly created: readonly number[]
  /**
   * The number of sessions that were created, changed, touched or rescheduled since `before`; null without `before`.
   */
  readonly written: number | null
}

/** A standby of a primary. */
export interface StandbyStatistics {
  /** Its application_name. */
  readonly name: string
  readonly state: string | null
  /** Bytes of the write-ahead log that it has not replayed yet. */
  readonly lagBytes: number | null
  /** Whether commits wait for it. */
  readonly sync: boolean
}
