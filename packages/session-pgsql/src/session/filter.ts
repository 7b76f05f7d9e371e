import type { ColumnDefinitions, ColumnFilter, ColumnValues } from './columns.ts'
import type { SessionInfo, SessionRecord } from './record.ts'

/** Selects sessions. A session must match every option that is set. */
export interface SessionFilter<Columns = ColumnDefinitions> {
  /** The cookie's name. Default: any. */
  readonly name?: string | undefined
  /** The id of one session, or its stored form. */
  readonly id?: string | undefined
  /**
   * The first characters of the id. Uses the index if `sess_id` has the collation "C", as in tables that this library
   * creates.
   */
  readonly idPrefix?: string | undefined
  /** The custom field. */
  readonly field?: string | undefined
  /**
   * Columns of the option `columns` and their values, for example `{ user_id: 7 }`. Rows that were written by a process
   * without the functions may be missing; see `fillColumns`.
   */
  readonly where?: ColumnFilter<Columns> | undefined
  /** The client's address at the first or at the last write. */
  readonly address?: string | undefined
  /**
   * A part of the last error message, case-insensitive. No index supports this filter: set a `timeLimit`. Rejected with
   * the option `encryption`, and finds no encrypted message.
   */
  readonly errorMessage?: string | undefined
  /**
   * `true`: sessions that have not expired; `false`: expired sessions that are not removed yet; `'any'`: both. Default:
   * true.
   */
  readonly active?: boolean | 'any' | undefined
}

/** The column to sort by; preceded by `-` in descending order. */
export type SessionOrder = ListColumn | `-${ListColumn}`

/** A column to sort by. */
export type ListColumn = 'id' | 'created' | 'modified' | 'expires' | 'accesses' | 'errors'

/** Options of `count`. */
export interface CountOptions<Columns = ColumnDefinitions> extends SessionFilter<Columns> {
  /**
   * Seconds after which PostgreSQL cancels the statement, with the error TIMEOUT; above 0, at most 86400. Limits the
   * load of queries without an index. Has no effect on PGlite, which cannot interrupt itself. Default: none; after
   * `operationTimeout` the call rejects, but PostgreSQL finishes the statement.
   */
  readonly timeLimit?: number | undefined
}

/** Options of `list`. */
export interface ListOptions<Columns = ColumnDefinitions> extends CountOptions<Columns> {
  /** Default: `id`, the only order with an index. Any other order sorts every session that matches the filter. */
  readonly order?: SessionOrder | undefined
  /** The `next` of the previous page. Default: the first page. */
  readonly after?: string | undefined
  /** Maximum number of sessions in a page, 1 to 10,000. Default: 100. */
  readonly limit?: number | undefined
  /** Whether each session has its stored data, not decoded, as `text`. Default: false. */
  readonly text?: boolean | undefined
}

/** A session in a list. */
export interface ListedSession<Columns = ColumnDefinitions> extends SessionInfo {
  /** The stored data, with the option `text`. If it is encrypted: decrypted, or absent if it cannot be. */
  readonly text?: string
  /** With the option `text`: why the data cannot be decrypted. */
  readonly unreadable?: string
  /** The columns of the option `columns`, as they are stored. Only with this option. */
  readonly columns?: ColumnValues<Columns>
}

/** Says which sessions of several servers an answer lacks. */
export interface Incomplete {
  /** The servers that could not be reached, named as in `status()`. Empty: the answer is complete. */
  readonly missing: readonly string[]
}

/** A page of a list: an array with the cursor of the next page. */
export interface SessionPage<Columns = ColumnDefinitions> extends Array<ListedSession<Columns>>, Incomplete {
  /** The next page's `after`; undefined on the last page. */
  readonly next: string | undefined
}

/** The sessions with a custom field. */
export interface FoundSessions<Data, Columns = ColumnDefinitions>
  extends Array<SessionRecord<Data, Columns>>,
    Incomplete {}
