import type { Codec } from '../codec/codec.ts'
import { unreadableReason } from '../codec/sealed.ts'
import type { ColumnDefinitions, ColumnValues, Columns as ComputedColumns } from './columns.ts'
import { endOf } from './lifetime.ts'
import type { StoredSession } from './stored.ts'

/** A session without its data, as `session_pgsql_info()` of the C extension returns it. */
export interface SessionInfo {
  /** In a list: the id as it is stored, which is hashed with the option `ids`. */
  readonly id: string
  /** The name of the cookie for which it was created; null in a row of another writer. */
  readonly name: string | null
  /**
   * The creation. Dates are by the database's clock, in seconds, rounded up; null if another writer did not set them.
   */
  readonly created: Date | null
  /** The last write of its data. */
  readonly modified: Date | null
  readonly expires: Date | null
  /** When the session ends at the latest, however often it is used (`maxLifetime`); null: unlimited. */
  readonly endsAt: Date | null
  /** The client's address at the first write. */
  readonly addressCreated: string | null
  /** The client's address at the last write. */
  readonly addressModified: string | null
  /** The number of writes and touches that count as an access. Skipped ones (`shortCircuit`) do not count. */
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  /**
   * The message of the last error, warning or notice that had one. null also if it is encrypted and this process cannot
   * decrypt it.
   */
  readonly errorMessage: string | null
  /** The custom field. */
  readonly custom: string | null
}

/**
 * A session as it was read or written. The caller may change `data`: that changes neither the stored session nor the
 * base that a later write with this record compares with.
 */
export class SessionRecord<Data, Columns = ColumnDefinitions> implements SessionInfo {
  readonly id: string
  readonly name: string | null
  readonly data: Data
  readonly created: Date | null
  readonly modified: Date | null
  readonly expires: Date | null
  readonly endsAt: Date | null
  readonly addressCreated: string | null
  readonly addressModified: string | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly custom: string | null
  readonly #stored: StoredSession
  readonly #codec: Codec<Data>
  readonly #computed: ComputedColumns
  #columns: ColumnValues<Columns> | undefined

  /** @internal The save handler creates records. @param id the session's id; default: as it is stored */
  constructor(
    stored: StoredSession,
    codec: Codec<Data>,
    maxLifetime: number,
    columns: ComputedColumns,
    id: string = stored.id,
  ) {
    this.id = id
    this.name = stored.name
    this.data = codec.decode(stored.text)
    this.created = dateOf(stored.created)
    this.modified = dateOf(stored.modified)
    this.expires = dateOf(stored.expires)
    this.endsAt = dateOf(endOf(stored, maxLifetime))
    this.addressCreated = stored.addressCreated
    this.addressModified = stored.addressModified
    this.accesses = stored.accesses
    this.errors = stored.errors
    this.warnings = stored.warnings
    this.notices = stored.notices
    this.errorMessage = readable(stored.errorMessage)
    this.custom = stored.custom
    this.#stored = stored
    this.#codec = codec
    this.#computed = columns
  }

  /**
   * The columns that this process computes (option `columns`), for the data as it was read or written. Computed when it
   * is asked for.
   *
   * @throws INVALID_DATA if a function throws, or returns a value that is not of its column's type
   */
  get columns(): ColumnValues<Columns> {
    this.#columns ??= this.#computed.valuesOf(() =>
      this.#codec.decode(this.#stored.text),
    ) as ColumnValues<Columns>
    return this.#columns
  }

  /**
   * Milliseconds by which the database's clock was ahead of this machine's when the session was read. Add it to this
   * machine's time before comparing with the record's dates. Accurate to a round trip to the database.
   */
  get clockAhead(): number {
    const { clock, readAt } = this.#stored
    return clock * 1000 - (Date.now() - (performance.now() - readAt))
  }

  /**
   * Identifies the stored data, as an HTTP entity tag does, in about 60 characters: two records of one id have the same
   * tag if the data was not written between their reads. A caller that cannot keep a record as base keeps its tag, and
   * compares it with the tag of a new record.
   */
  get etag(): string {
    const { server = '', generation, created, version, digest } = this.#stored
    return [server, generation ?? created, version, digest].join(' ')
  }

  /** @internal Returns the stored session of a record; undefined for other values, such as a copy of a record. */
  static stored(value: unknown): StoredSession | undefined {
    return typeof value === 'object' && value !== null && #stored in value ? value.#stored : undefined
  }
}

/** Returns the session without its data, as a plain object. @param maxLifetime the setting; id: default as it is stored */
export function infoOf(stored: StoredSession, maxLifetime: number, id: string = stored.id): SessionInfo {
  return {
    id,
    name: stored.name,
    created: dateOf(stored.created),
    modified: dateOf(stored.modified),
    expires: dateOf(stored.expires),
    endsAt: dateOf(endOf(stored, maxLifetime)),
    addressCreated: stored.addressCreated,
    addressModified: stored.addressModified,
    accesses: stored.accesses,
    errors: stored.errors,
    warnings: stored.warnings,
    notices: stored.notices,
    errorMessage: readable(stored.errorMessage),
    custom: stored.custom,
  }
}

function readable(text: string | null): string | null {
  return text === null || unreadableReason(text) !== undefined ? null : text
}

function dateOf(seconds: number | null): Date | null {
  return seconds === null ? null : new Date(seconds * 1000)
}
