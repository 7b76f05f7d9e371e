/**
 * A session as it lies in the table: what the layers below the save handler speak of. No data is decoded
 * here. Times are whole seconds since 1970 by the database's clock.
 */
export interface StoredSession {
  readonly id: string
  readonly name: string | null
  /** The column `sess_data` as it stands; NULL reads as the empty text. */
  readonly text: string
  /** The server's digest of the data, the mark by which a write knows that nobody else has written. */
  readonly digest: string | null
  readonly created: number | null
  readonly modified: number | null
  /** null: written by somebody else who gave it no expiry; it does not expire. */
  readonly expires: number | null
  readonly addressCreated: string | null
  readonly addressModified: string | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly custom: string | null
  /**
   * Tells two lives of one id apart (microseconds since 1970 at its beginning); null in a table without the
   * column `sess_generation`, where the second of creation and the counter must do.
   */
  readonly generation: number | null
  /** Of several servers, the one that it was read from. */
  readonly server?: string
  /** The database's clock when this was read, in seconds with a fraction ... */
  readonly clock: number
  /** ... and this process's then, in milliseconds of `performance.now()`. */
  readonly readAt: number
}

/** Seconds until it expires, going by the database's clock; Infinity if it does not. */
export function remaining(stored: StoredSession): number {
  if (stored.expires === null) return Number.POSITIVE_INFINITY
  return stored.expires - (stored.clock + (performance.now() - stored.readAt) / 1000)
}

/** What is to be recorded along with a write or a touch. */
export interface MetadataUpdate {
  /** The custom field's new value; left out: as it is. */
  readonly custom?: string | null
  /** How many to add to each counter. */
  readonly errors?: number
  readonly warnings?: number
  readonly notices?: number
  /** The last error's message; left out: as it is. */
  readonly message?: string
}

/** What a write asks of the table. */
export interface Change {
  readonly id: string
  readonly text: string
  /** Seconds to live from now. */
  readonly lifetime: number
  /** Whether this is an access, to be counted. */
  readonly access: boolean
  readonly address: string | null
  readonly name: string
  readonly metadata: MetadataUpdate | undefined
}

/** What a touch asks of the table. */
export interface Touch {
  readonly id: string
  /** Seconds to live from now; null: the expiry stays. */
  readonly lifetime: number | null
  readonly access: boolean
  readonly metadata: MetadataUpdate | undefined
  /** With it, the expiry may also be shortened, and only this life of the id is touched. */
  readonly base: StoredSession | undefined
}

/** A request that was under way when its session expired may still write for so many seconds; GC waits as long. */
export const GRACE = 60
