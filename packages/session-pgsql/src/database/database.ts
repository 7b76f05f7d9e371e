import { createHash } from 'node:crypto'

/**
 * How to talk to one PostgreSQL server, whatever stands behind it: node-postgres or PGlite.
 * The layers above know this face only.
 *
 * Errors are `SessionPgsqlError`s: SERVER_DOWN (not reached, or lost; `outcomeUnknown` if it was lost after
 * sending), TIMEOUT (the deadline has passed; the connection was thrown away), DATABASE (PostgreSQL refused
 * the statement; `sqlState` says why).
 */
export interface Database {
  /**
   * Sends one statement and waits for its rows until the deadline.
   *
   * @param deadline when to give up, in milliseconds of `performance.now()`
   */
  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]>

  /**
   * Calls `work` inside BEGIN and COMMIT on one connection; ROLLBACK if it rejects. A ROLLBACK that fails
   * hides nothing: the error of `work` is the one that comes out.
   */
  transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T>

  /** Asks, on a connection for nothing else, whether it takes writes; without it `query` has to do. */
  ping?(deadline: number): Promise<boolean>

  /**
   * Told what a server says of itself that has answered: whether it is a standby. The same connection may lead to
   * another server than at first, for a pooler may stand between.
   *
   * @returns whether that is of no use; then the connections there were are not used any more
   */
  distrusts?(standby: boolean): boolean

  /** Which of several hosts is in use, if there are several. */
  readonly address?: string | undefined

  /** How its connections are used; undefined where there is no pool. */
  readonly pool?: PoolUse | undefined

  /** Closes what was opened here; what the caller brought stays open. */
  close(): Promise<void>
}

/** How the connections of a pool are used at this moment. */
export interface PoolUse {
  /** Open connections. */
  readonly size: number
  /** Those of them that nobody uses. */
  readonly idle: number
  /** Requests that wait for one. */
  readonly pending: number
  /** Most connections that it opens. */
  readonly max: number
}

export type Query = (statement: Statement, parameters: readonly Parameter[]) => Promise<Row[]>

/** A row: one text per column in the statement's order, as PostgreSQL prints it; NULL is null. */
export type Row = readonly (string | null)[]

/** A scalar, or one of the arrays that a batch is made of. */
export type Parameter = string | number | boolean | null | Column

/** An array parameter; its type is named because it travels in PostgreSQL's binary form. */
export type Column =
  | { readonly type: 'text'; readonly values: readonly (string | null)[] }
  | { readonly type: 'bigint'; readonly values: readonly (string | number | null)[] }
  | { readonly type: 'float8'; readonly values: readonly (number | null)[] }
  | { readonly type: 'boolean'; readonly values: readonly (boolean | null)[] }

export interface Statement {
  readonly text: string
  /**
   * The name under which it is prepared, or undefined for what is sent once. It is a hash of the text: behind
   * a pooler that does not keep connections apart, one name for two texts would run the wrong one.
   */
  readonly name: string | undefined
}

/** A statement that is prepared, because it will be sent again and again. */
export function prepared(text: string): Statement {
  return { text, name: `session_pgsql_${createHash('sha256').update(text).digest('hex').slice(0, 32)}` }
}

/** A statement that is sent as it is. */
export function plain(text: string): Statement {
  return { text, name: undefined }
}
