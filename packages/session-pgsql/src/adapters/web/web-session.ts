import { isDeepStrictEqual } from 'node:util'
import { SessionPgsqlError } from '../../errors.ts'
import type { WriteResult } from '../../operations.ts'
import type { SaveHandler } from '../../save-handler.ts'
import type { SessionRecord } from '../../session/record.ts'
import { keysOf } from '../shared/working-copy.ts'
import {
  applicationData,
  hasEnded,
  type IdChanges,
  idChangesOf,
  isLeaving,
  RESERVED,
  type Stored,
} from './id-changes.ts'
import type { RequestLike, SignedCookie } from './signed-cookie.ts'

/** Seconds beyond the grace period that the row of an old id is kept: requests in progress find the new id there. */
const REQUEST_TIME = 60

/** The session of one request. Only `commit` uses the database. */
export interface WebSession<Data extends object> {
  /** undefined until the session is stored. */
  readonly id: string | undefined
  /** The custom field, for example a user's id, by which `findByField` and `destroyByField` select sessions. */
  field: string | null
  get<K extends keyof Data & string>(key: K): Data[K] | undefined
  /** Sets a value that the codec can write: with JSON no Date, Map and so on. */
  set<K extends keyof Data & string>(key: K, value: Data[K]): void
  delete(key: keyof Data & string): void
  /** A copy of all keys. Change them with `set`. */
  readonly data: Partial<Data>
  /**
   * Changes the id and keeps the data. Call it at the login: an attacker who knows the old id is not logged in. For
   * `grace` seconds new requests with the old id still get the data from before the login. What requests change that
   * began before is applied to the session under its new id, and their `destroy` ends it.
   */
  regenerate(): void
  /** Destroys the session. A request in progress does not write it back. A later `set` starts a new session. */
  destroy(): void
  /**
   * Applies the changes, and returns the value of the header `Set-Cookie`, or undefined if the cookie stays. Call it
   * before the response's headers are sent. It writes only if something has changed. If the session was destroyed in
   * the meantime it discards the changes, without an error: the save handler emits `gone`. It may be called again.
   */
  commit(): Promise<string | undefined>
}

export interface SessionContext {
  readonly sessions: SaveHandler<Stored>
  readonly cookie: SignedCookie
  readonly request: RequestLike
  readonly address: string | undefined
  readonly name: string
  /** Seconds. */
  readonly lifetime: number
  /** Seconds. */
  readonly grace: number
}

export async function openSession<Data extends object>(context: SessionContext): Promise<WebSession<Data>> {
  const { cookie, request, sessions } = context
  let open: SessionRecord<Stored> | undefined
  let isFresh = true
  for (const received of cookie.received(request)) {
    const record = await sessions.read(received.id)
    if (record === undefined || hasEnded(keysOf(record)[RESERVED])) continue
    open = record
    isFresh = received.isFresh
    break
  }
  return new RequestSession(context, open, isFresh) as unknown as WebSession<Data>
}

class RequestSession {
  readonly #context: SessionContext
  /** The row as last read or committed; undefined if there is none yet. */
  #base: SessionRecord<Stored> | undefined
  /** The data as last sent, where it differs from the base's: the `seen` of the next write. */
  #seen: Stored | undefined
  #data: Stored
  /** The custom field to write; undefined if it was not set. */
  #field: string | null | undefined
  /** The id that the next commit gives to the session. */
  #nextId: string | undefined
  /** The sessions that the next commit destroys. */
  #ending: SessionRecord<Stored>[] = []
  /** True if the cookie must be renewed although nothing has changed. */
  #isStale: boolean
  /** True if the request began after its id was changed: its changes stay under the old id, and end with it. */
  readonly #isLate: boolean
  #isGone = false
  #isCounted = false
  /** The last commit in progress. Never rejects. */
  #tail: Promise<unknown> = Promise.resolve()

  constructor(context: SessionContext, record: SessionRecord<Stored> | undefined, isFresh: boolean) {
    this.#context = context
    this.#base = record
    // Not the record's own data: the application may change it at any depth.
    this.#data = record === undefined ? {} : context.sessions.snapshot(record.data)
    this.#isStale = record !== undefined && !isFresh
    this.#isLate = isLeaving(record?.data[RESERVED])
  }

  get id(): string | undefined {
    return this.#base?.id
  }

  get field(): string | null {
    return this.#field === undefined ? (this.#base?.custom ?? null) : this.#field
  }

  set field(value: string | null) {
    this.#field = value
  }

  get data(): Stored {
    return applicationData(this.#data)
  }

  get(key: string): unknown {
    return key !== RESERVED && Object.hasOwn(this.#data, key) ? this.#data[key] : undefined
  }

  set(key: string, value: unknown): void {
    checkKey(key)
    // Not by assignment: it would change the prototype for a key named __proto__.
    Object.defineProperty(this.#data, key, { value, writable: true, enumerable: true, configurable: true })
  }

  delete(key: string): void {
    checkKey(key)
    delete this.#data[key]
  }

  regenerate(): void {
    if (this.#base !== undefined) this.#nextId ??= this.#context.sessions.createId()
  }

  destroy(): void {
    if (this.#base !== undefined) this.#ending.push(this.#base)
    this.#restart()
  }

  commit(): Promise<string | undefined> {
    const done = this.#tail.then(() => this.#commit())
    this.#tail = done.catch(() => {})
    return done
  }

  async #commit(): Promise<string | undefined> {
    const { cookie, request } = this.#context
    let header: string | undefined
    for (const record of [...this.#ending]) {
      await this.#destroy(record)
      this.#ending = this.#ending.filter((other) => other !== record)
      header = cookie.remove(request)
    }
    if (this.#isGone) return header
    const id = await this.#write()
    return id === undefined ? header : cookie.set(id, request)
  }

  /** Returns the id for the cookie; undefined if the cookie stays. */
  async #write(): Promise<string | undefined> {
    if (this.#base === undefined) {
      if (Object.keys(this.#data).length === 0 && !this.#field) return undefined
      const id = this.#nextId ?? this.#context.sessions.createId()
      // The same id if this fails and is repeated: the failed attempt may have created the session.
      this.#nextId = id
      return this.#create(id, applicationData(this.#data), this.#field)
    }
    if (this.#nextId !== undefined) return this.#move(this.#base, this.#nextId)
    return this.#update(this.#base)
  }

  async #create(id: string, data: Stored, custom: string | null | undefined): Promise<string> {
    const result = await this.#send(id, data, { base: null, custom })
    this.#nextId = undefined
    this.#advance(result)
    return id
  }

  async #update(base: SessionRecord<Stored>): Promise<string | undefined> {
    const before = this.#seen ?? base.data
    const result = await this.#send(base.id, this.#data, {
      base,
      seen: this.#seen,
      custom: this.#field,
    })
    if (result.outcome === 'gone') {
      this.#isGone = true
      return undefined
    }
    const next = Object.keys(idChangesOf(result.session).next ?? {})
    if (next.length > 0) {
      // Another request has changed the id: the browser has a newer cookie, or is about to get one.
      if (!this.#isLate) {
        for (const id of next) await this.#forward(id, result.sent, before)
      }
      this.#advance(result)
      return undefined
    }
    this.#advance(result)
    if (!this.#isStale) return undefined
    this.#isStale = false
    return base.id
  }

  /**
   * Moves the session to another id. The old row names the new id before the new row exists, so that concurrent
   * requests apply their writes and destroys to both. The old row is read again at the end, for changes from before.
   */
  async #move(base: SessionRecord<Stored>, id: string): Promise<string | undefined> {
    const { grace, sessions } = this.#context
    const seen = this.#seen ?? base.data
    // Without grace the old id ends at once, whatever the clocks of other processes say.
    const until = grace === 0 ? 0 : Date.now() + grace * 1000
    const marked = await this.#send(
      base.id,
      { ...seen, [RESERVED]: { ...seen[RESERVED], next: { ...seen[RESERVED]?.next, [id]: until } } },
      { base, seen, counts: false },
    )
    const old = marked.session
    const { ended, next: { [id]: _, ...next } = {} } = idChangesOf(old)
    // Another request has destroyed the session, or has moved it and left no data here.
    if (old === undefined || ended || hasEnded({ next })) {
      this.#isGone = true
      return undefined
    }
    const [before, ours] = [applicationData(seen), applicationData(this.#data)]
    const custom = this.#field === undefined ? old.custom : this.#field
    let made = await this.#send(
      id,
      { ...applicationData(old.data), [RESERVED]: { previous: base.id } },
      { base: null, custom },
    )
    made = await this.#send(
      id,
      { ...ours, [RESERVED]: { previous: base.id } },
      {
        base: made.session,
        seen: { ...before, [RESERVED]: { previous: base.id } },
        counts: false,
      },
    )
    const now = await sessions.read(base.id)
    if (now === undefined || idChangesOf(now).ended) {
      // Another request has destroyed the session in the meantime.
      await sessions.destroy(id)
      this.#isGone = true
      return undefined
    }
    await this.#forward(id, now.data, old.data)
    if (grace === 0) await this.#leaveOnlyTheNewId(now)
    this.#nextId = undefined
    this.#data = { ...ours, [RESERVED]: { previous: base.id } }
    this.#seen = undefined
    if (made.outcome === 'gone') {
      this.#isGone = true
      return undefined
    }
    this.#advance(made)
    return id
  }

  /**
   * Removes the data under an old id that has no grace period. The row stays for requests in progress: a sign-out with
   * the old id must find the new one.
   */
  async #leaveOnlyTheNewId(old: SessionRecord<Stored>): Promise<void> {
    const { data } = old
    await this.#send(
      old.id,
      { [RESERVED]: data[RESERVED] as IdChanges },
      { base: old, seen: data, custom: null, counts: false },
    )
  }

  /** Applies the difference between `ours` and `base`, which was written under the old id, to the new id. */
  async #forward(id: string, ours: Stored, base: Stored): Promise<void> {
    if (isDeepStrictEqual(applicationData(ours), applicationData(base))) return
    const record = await this.#context.sessions.read(id)
    if (record === undefined) return
    const reserved = record.data[RESERVED] === undefined ? {} : { [RESERVED]: record.data[RESERVED] }
    await this.#send(
      id,
      { ...applicationData(ours), ...reserved },
      {
        base: record,
        seen: { ...applicationData(base), ...reserved },
        counts: false,
      },
    )
  }

  /** Marks the session as ended, because another request may be changing its id, and destroys it under all its ids. */
  async #destroy(record: SessionRecord<Stored>): Promise<void> {
    const { sessions } = this.#context
    const { data } = record
    const { session } = await this.#send(
      record.id,
      { ...data, [RESERVED]: { ...data[RESERVED], ended: true } },
      { base: record, seen: data, counts: false },
    )
    const { next = {}, previous } = idChangesOf(session ?? record)
    const ids = [record.id, ...Object.keys(next), ...(previous === undefined ? [] : [previous])]
    for (const id of ids) await sessions.destroy(id)
  }

  async #send(
    id: string,
    data: Stored,
    options: {
      base: SessionRecord<Stored> | null | undefined
      seen?: Stored | undefined
      custom?: string | null | undefined
      counts?: boolean
    },
  ): Promise<WriteResult<Stored>> {
    const { address, grace, lifetime, name, sessions } = this.#context
    const { base, custom, counts = true, seen } = options
    const result = await sessions.write(id, data, {
      base: base ?? null,
      seen,
      lifetime: (stored) => (isLeaving(stored[RESERVED]) ? grace + REQUEST_TIME : lifetime),
      address,
      name,
      custom,
      access: counts && !this.#isCounted,
    })
    if (counts && result.outcome !== 'skipped') this.#isCounted = true
    return result
  }

  /** Makes the result of a write the base of the next commit. */
  #advance(result: WriteResult<Stored>): void {
    this.#field = undefined
    this.#base = result.session
    // The data here lacks what a merge has added: without `seen` the next write would delete that.
    this.#seen = result.sent
  }

  /** Starts a new session. */
  #restart(): void {
    this.#base = undefined
    this.#seen = undefined
    this.#field = undefined
    this.#nextId = undefined
    this.#data = {}
    this.#isStale = false
    this.#isGone = false
  }
}

function checkKey(key: string): void {
  if (key === RESERVED) {
    throw new SessionPgsqlError(
      'INVALID_ARGUMENT',
      `The key ${RESERVED} is reserved for the session's ids. Use another key.`,
    )
  }
}
