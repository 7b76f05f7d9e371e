import type { Codec } from '../codec/codec.ts'
import type { StoredSession } from './stored.ts'

/** What is known of a session besides its data: the seed's `session_pgsql_info()`. */
export interface SessionInfo {
  readonly id: string
  /** The cookie's name under which it was created; null in a row of another writer. */
  readonly name: string | null
  /** All three by the database's clock, in whole seconds, rounded up; null in a row of another writer that left them out. */
  readonly created: Date | null
  /** The last write of its data. */
  readonly modified: Date | null
  readonly expires: Date | null
  /** The client's address at the first and at the last write. */
  readonly addressCreated: string | null
  readonly addressModified: string | null
  /** Writes and touches that were accesses. With short circuit those that were skipped are not in it. */
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  /** The message of the last error, warning or notice that had one. */
  readonly errorMessage: string | null
  /** The custom field. */
  readonly custom: string | null
}

/**
 * A session as it was read or written. `data` belongs to whoever holds the record: changing it changes
 * neither the session nor what a write with this record as its base is compared against.
 */
export class SessionRecord<Data> implements SessionInfo {
  readonly id: string
  readonly name: string | null
  readonly data: Data
  readonly created: Date | null
  readonly modified: Date | null
  readonly expires: Date | null
  readonly addressCreated: string | null
  readonly addressModified: string | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly custom: string | null
  readonly #stored: StoredSession

  /** @internal Records come from a save handler. */
  constructor(stored: StoredSession, codec: Codec<Data>) {
    this.id = stored.id
    this.name = stored.name
    this.data = codec.decode(stored.text)
    this.created = dateOf(stored.created)
    this.modified = dateOf(stored.modified)
    this.expires = dateOf(stored.expires)
    this.addressCreated = stored.addressCreated
    this.addressModified = stored.addressModified
    this.accesses = stored.accesses
    this.errors = stored.errors
    this.warnings = stored.warnings
    this.notices = stored.notices
    this.errorMessage = stored.errorMessage
    this.custom = stored.custom
    this.#stored = stored
  }

  /**
   * Milliseconds by which the database's clock was ahead of this machine's when the session was read: for who
   * compares its dates with this machine's. Good to a round trip to the database.
   */
  get clockAhead(): number {
    const { clock, readAt } = this.#stored
    return clock * 1000 - (Date.now() - (performance.now() - readAt))
  }

  /** @internal What it was made from; undefined for what only looks like a record, such as a copy of one. */
  static stored(value: unknown): StoredSession | undefined {
    return typeof value === 'object' && value !== null && #stored in value ? value.#stored : undefined
  }
}

/** The same without the data, as a plain object. */
export function infoOf(stored: StoredSession): SessionInfo {
  return {
    id: stored.id,
    name: stored.name,
    created: dateOf(stored.created),
    modified: dateOf(stored.modified),
    expires: dateOf(stored.expires),
    addressCreated: stored.addressCreated,
    addressModified: stored.addressModified,
    accesses: stored.accesses,
    errors: stored.errors,
    warnings: stored.warnings,
    notices: stored.notices,
    errorMessage: stored.errorMessage,
    custom: stored.custom,
  }
}

function dateOf(seconds: number | null): Date | null {
  return seconds === null ? null : new Date(seconds * 1000)
}
