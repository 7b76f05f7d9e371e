/**
 * What is used of node-postgres and of PGlite, as shapes: the types of this package ask nobody to install
 * theirs. A type test holds them against the real ones.
 */

/** A connection of node-postgres, out of its pool. */
export interface ClientLike {
  query(query: object): Promise<{ rows: unknown[] }>
  release(destroy?: boolean): void
  on(event: 'notice' | 'error', listener: (event: unknown) => void): unknown
}

/** A `pg.Pool`. */
export interface PoolLike {
  connect(): Promise<ClientLike>
  end(): Promise<void>
  on(event: 'error', listener: (error: unknown) => void): unknown
  removeListener(event: 'error', listener: (error: unknown) => void): unknown
  readonly totalCount: number
}

/** A PGlite instance, or a transaction of one. */
export interface PgliteQueryable {
  query(text: string, parameters?: unknown[], options?: object): Promise<{ rows: unknown[] }>
}

/** A PGlite instance. */
export interface PgliteLike extends PgliteQueryable {
  transaction<T>(work: (transaction: PgliteQueryable) => Promise<T>): Promise<T>
  close(): Promise<void>
  readonly waitReady: Promise<void>
}
