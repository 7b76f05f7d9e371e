import type { WriteOutcome, WriteResult } from '../../operations.ts'
import type { SaveHandler } from '../../save-handler.ts'
import type { SessionRecord } from '../../session/record.ts'
import { checkField, RequestState } from './request-state.ts'
import { keysOf, type SessionView, type Stored } from './session-data.ts'
import { type SessionUpdate, updateRow } from './update-row.ts'

/** The options of one write or update, besides the data. */
export interface CopyWriteOptions {
  /** Seconds to live, or a function of the data as it will be stored. */
  readonly lifetime: number | ((data: Stored) => number)
  /** The client's address. */
  readonly address?: string | undefined
  /** The cookie's name, stored with a new session. */
  readonly name: string
  /** The request that writes. Default: all operations of this copy are one request. */
  readonly request?: RequestState | undefined
}

/** The options of one touch. */
export interface CopyTouchOptions {
  /** Seconds to live. */
  readonly lifetime: number
  /** The request that touches. Default: as for a write. */
  readonly request?: RequestState | undefined
}

/** A `base` without a record; see `WriteOptions`. */
type NoRecord = null | 'existing' | undefined

/**
 * The link between a framework's session object and the row that it was made from.
 *
 * A write stores the difference between that row and the object, so that overlapping requests keep each other's
 * changes and a destroyed session is not written back. Operations of one copy run one after the other.
 */
export class WorkingCopy {
  readonly id: string
  readonly #sessions: SaveHandler<Stored>
  /** The result of the last read or write: the `base` of the next write. */
  #base: Pick<WriteResult<Stored>, 'session'> | NoRecord
  /** The data as the object holds it, where that differs from the base's: the `seen` of the next write. */
  #seen: Stored | undefined
  /** The keys in stored order: the same data in another order is another text, and would be written. */
  #order: readonly string[]
  /** What each update did to the session object, for writes that were called before it ended. */
  readonly #rebases: ((data: Stored) => Stored)[] = []
  #ownRequest: RequestState | undefined
  /** The last operation in progress; undefined if there is none. Never rejects. */
  #tail: Promise<void> | undefined

  /**
   * @param base the record as it was read. Without a record as for `SaveHandler.write`: null if the session is
   *   new, 'existing' to update only, undefined to create or replace.
   * @throws UNDECODABLE if the record's data is not an object with keys
   */
  constructor(sessions: SaveHandler<Stored>, id: string, base: SessionRecord<Stored> | NoRecord) {
    this.#sessions = sessions
    this.id = id
    if (typeof base === 'object' && base !== null) {
      this.#order = Object.keys(keysOf(base))
      this.#base = { session: base }
    } else {
      this.#order = []
      this.#base = base
    }
  }

  /** Has the next write or touch of this copy record the custom field; null clears it. @throws INVALID_ARGUMENT */
  setField(value: string | null): void {
    checkField(value)
    this.#request().custom = value
  }

  /** The session as last read or written; undefined if it is not stored, or was not read. */
  get record(): SessionRecord<Stored> | undefined {
    return typeof this.#base === 'object' ? this.#base?.session : undefined
  }

  /** Writes the data as it is at the time of the call, after earlier operations of this copy. */
  write(data: Stored, options: CopyWriteOptions): Promise<WriteOutcome> {
    const ordered = this.#inStoredOrder(data)
    // A write that waits must not see later changes of the object. The save handler captures what it is given.
    const captured = this.#tail === undefined ? ordered : this.#sessions.snapshot(ordered)
    const known = this.#rebases.length
    return this.#queued(() => {
      // The object had not received what the updates have stored for which the write has waited.
      const rebased = this.#rebases.slice(known).reduce((data, rebase) => rebase(data), captured)
      return this.#write(rebased, options)
    })
  }

  /**
   * Applies a function to the stored session at once, after earlier operations of this copy, and takes the session
   * object to the result. What the object has not saved stays to be saved, and so does the request's metadata.
   *
   * @param view of the session object. Without it the object stays as it is, and the next write takes the data for a
   * change of what the object has shown so far.
   */
  update<Value>(
    change: (data: Stored) => Value,
    view: SessionView | undefined,
    options: CopyWriteOptions,
  ): Promise<SessionUpdate<Value>> {
    return this.#queued(() => this.#update(change, view, options))
  }

  /** Extends the expiry, after earlier operations of this copy. Creates no session. */
  touch({ lifetime, request = this.#request() }: CopyTouchOptions): Promise<void> {
    return this.#queued(async () => {
      const base = this.record
      await request.send(this.id, (options) => this.#sessions.touch(this.id, { base, lifetime, ...options }))
      request.count(this.id)
    })
  }

  async #write(
    data: Stored,
    { request = this.#request(), ...about }: CopyWriteOptions,
  ): Promise<WriteOutcome> {
    const base = this.record ?? (this.#base as NoRecord)
    const result = await request.send(this.id, (options) =>
      this.#sessions.write(this.id, data, { base, seen: this.#seen, ...about, ...options }),
    )
    const { outcome } = result
    if (outcome !== 'skipped') request.count(this.id)
    // A destroyed session keeps its base: later writes are discarded, too.
    if (outcome !== 'gone') this.#advance(result, data)
    return outcome
  }

  async #update<Value>(
    change: (data: Stored) => Value,
    view: SessionView | undefined,
    { request = this.#request(), ...about }: CopyWriteOptions,
  ): Promise<SessionUpdate<Value>> {
    const { record } = this
    const updated = await updateRow(this.#sessions, this.id, change, {
      ...about,
      access: !request.hasCounted(this.id),
      base: record ?? (this.#base === null ? null : 'existing'),
      record,
      seen: this.#seen,
      view,
      adopt: ({ session, seen, rebase }) => {
        this.#base = { session }
        this.#seen = seen
        this.#order = Object.keys(seen)
        if (rebase !== undefined) this.#rebases.push(rebase)
      },
    })
    if (updated.outcome === 'created' || updated.outcome === 'updated') request.count(this.id)
    return updated
  }

  /** Makes the result of a write the base of the next one. `data` is what the session object held. */
  #advance(result: WriteResult<Stored>, data: Stored): void {
    // The object lacks what a merge has added: without `seen` the next write would delete that.
    if (result.outcome === 'merged' || this.#seen !== undefined) this.#seen = result.sent
    this.#base = result
    this.#order = Object.keys(data)
  }

  /** Runs `work` after the work in progress; synchronously if there is none. */
  #queued<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail === undefined ? work() : this.#tail.then(work)
    const done = (): void => {
      if (this.#tail === tail) this.#tail = undefined
    }
    const tail: Promise<void> = result.then(done, done)
    this.#tail = tail
    return result
  }

  #request(): RequestState {
    this.#ownRequest ??= new RequestState()
    return this.#ownRequest
  }

  #inStoredOrder(data: Stored): Stored {
    if (this.#order.length === 0) return data
    const ordered: [string, unknown][] = []
    for (const key of this.#order) {
      if (Object.hasOwn(data, key)) ordered.push([key, data[key]])
    }
    const known = new Set(this.#order)
    for (const entry of Object.entries(data)) {
      if (!known.has(entry[0])) ordered.push(entry)
    }
    return Object.fromEntries(ordered)
  }
}
