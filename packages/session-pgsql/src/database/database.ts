import { createHash } from 'node:crypto'

/**
 * Access to one PostgreSQL server, by node-postgres or PGlite. The layers above use this interface only.
 *
 * Errors are `SessionPgsqlError`s: SERVER_DOWN (cannot connect, or the connection was lost; `outcomeUnknown` if it was
 * lost after sending), TIMEOUT (the deadline has passed; the connection is discarded), DATABASE (PostgreSQL rejected
 * the statement; `sqlState` has the reason).
 */
export interface Database {
  /**
   * Sends one statement and returns its rows.
   *
   * @param deadline when to give up, in milliseconds of `performance.now()`
   */
  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]>

  /**
   * Calls `work` inside BEGIN and COMMIT on one connection, in the isolation level READ COMMITTED; sends ROLLBACK if it
   * rejects. If ROLLBACK fails as well, the promise still rejects with the error of `work`. What `work` waits for in
   * PostgreSQL ends at the deadline.
   *
   * @param deadline when to give up, in milliseconds of `performance.now()`
   */
  transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T>

  /**
   * Checks on a dedicated connection that the server accepts writes. If it is undefined, probe with `query`.
   *
   * @param deadline when to give up, in milliseconds of `performance.now()`
   */
  ping?(deadline: number): Promise<boolean>

  /**
   * Listens to a channel of NOTIFY on a connection of its own, which does not keep the process alive.
   *
   * @param channel a name that needs no quotes
   * @param deadline when to give up, in milliseconds of `performance.now()`
   */
  listen(channel: string, subscriber: Subscriber, deadline: number): Promise<Subscription>

  /**
   * Called with the role that a server reported in its answer. A connection may lead to another server than before if
   * a pooler is in between.
   *
   * @param standby whether the server is a standby
   * @returns true if a server with this role is not wanted; the existing connections are then no longer used
   */
  distrusts?(standby: boolean): boolean

  /** The host in use, if there are several; otherwise undefined. */
  readonly address?: string | undefined

  /** Connection counts of the pool; undefined if there is no pool. */
  readonly pool?: PoolUse | undefined

  /** Closes the pool or instance if this object owns it. One that the caller passed in stays open. */
  close(): Promise<void>
}

/** Receives what is sent to a channel. */
export interface Subscriber {
  onMessage(payload: string): void
  /** The subscription has ended: the connection was lost, or `end` or the database's `close` was called. Called once. */
  onEnd(): void
}

export interface Subscription {
  end(): void
}

/** Connection counts of a pool at this moment. */
export interface PoolUse {
  /** Open connections. */
  readonly size: number
  /** Open connections that are not in use. */
  readonly idle: number
  /** Requests that wait for a connection. */
  readonly pending: number
  /** Maximum number of connections. */
  readonly max: number
}

/** Sends one statement and returns its rows. */
export type Query = (statement: Statement, parameters: readonly Parameter[]) => Promise<Row[]>

/** A row: the text of each column in the statement's order, as PostgreSQL prints it; NULL is null. */
export type Row = readonly (string | null)[]

/** A scalar, or an array with one element for each request of a batch. */
export type Parameter = string | number | boolean | null | Column

/** An array parameter. It has a type because it is sent in PostgreSQL's binary format. */
export type Column =
  | { readonly type: 'text'; readonly values: readonly (string | null)[] }
  | { readonly type: 'bigint'; readonly values: readonly (string | number | null)[] }
  | { readonly type: 'float8'; readonly values: readonly (number | null)[] }
  | { readonly type: 'boolean'; readonly values: readonly (boolean | null)[] }

/** A statement to send. */
export interface Statement {
  readonly text: string
  /**
   * The name of the prepared statement, or undefined if it is not prepared. The name is a hash of the text: behind a
   * pooler that shares connections, one name for two texts would run the wrong statement.
   */
  readonly name: string | undefined
}

/** Returns a statement that is prepared, because it is sent repeatedly. */
export function prepared(text: string): Statement {
  return { text, name: `session_pgsql_${createHash('sha256').update(text).digest('hex').slice(0, 32)}` }
}

/** Returns a statement that is not prepared. */
export function plain(text: string): Statement {
  return { text, name: undefined }
}
