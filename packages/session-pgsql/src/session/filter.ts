import type { SessionInfo } from './record.ts'

/** Which sessions are meant. All that is given must fit. */
export interface SessionFilter {
  /** The cookie's name. */
  readonly name?: string | undefined
  /** This one id. */
  readonly id?: string | undefined
  /** What the ids begin with. Served by the index where `sess_id` has the collation "C", as in a table created here. */
  readonly idPrefix?: string | undefined
  /** The custom field. */
  readonly field?: string | undefined
  /** The client's address, at the first or at the last write. */
  readonly address?: string | undefined
  /** What the message of the last error contains, in capitals or not. No index serves it: give a `timeLimit`. */
  readonly errorMessage?: string | undefined
  /** `true`: those that have not expired (the default); `false`: those that have, and are not swept yet; `'any'`: both. */
  readonly active?: boolean | 'any' | undefined
}

/** What to sort by; with a `-` before it the greatest first. */
export type SessionOrder = ListColumn | `-${ListColumn}`

export type ListColumn = 'id' | 'created' | 'modified' | 'expires' | 'accesses' | 'errors'

export interface CountOptions extends SessionFilter {
  /**
   * Seconds after which PostgreSQL itself gives up on the statement, with the error TIMEOUT: for a look that must
   * not become a burden, such as a search that no index serves. Not on PGlite, which cannot interrupt itself.
   * Default: none; after `operationTimeout` nobody waits any more, but the statement goes on.
   */
  readonly timeLimit?: number | undefined
}

export interface ListOptions extends CountOptions {
  /** Default: `id`, the one order that an index serves; any other sorts all that the filter leaves. */
  readonly order?: SessionOrder | undefined
  /** Where the page begins: the `next` of the page before it. */
  readonly after?: string | undefined
  /** Most sessions of a page, 1 to 10,000. Default: 100. */
  readonly limit?: number | undefined
  /** `true`: with the data as it is stored, as `text`. It is not decoded. Default: false. */
  readonly text?: boolean | undefined
}

export interface ListedSession extends SessionInfo {
  /** The stored data, if it was asked for. */
  readonly text?: string
}

/** A page of a list: an array, and where the next page begins. */
export interface SessionPage extends Array<ListedSession> {
  /** For `after`; undefined on the last page. */
  readonly next: string | undefined
}
