import { invalid } from '../../errors.ts'
import type { WriteResult } from '../../operations.ts'
import type { Devices } from '../../session/device.ts'
import type { SessionRecord } from '../../session/record.ts'
import { AUTHENTICATED, authenticatedAt, isWithin, setAuthenticated } from '../shared/authentication.ts'
import { endOf } from '../shared/open-handler.ts'
import { keysOf, setKey, viewOf } from '../shared/session-data.ts'
import type { RowUpdate, SessionUpdate } from '../shared/update-row.ts'
import { UserDevices } from './devices.ts'
import {
  applicationData,
  hasEnded,
  type IdChanges,
  idChangesOf,
  isLeaving,
  isMoved,
  movedIds,
  otherIds,
  RESERVED,
  type Stored,
  shownData,
} from './id-changes.ts'
import { type RowsContext, SessionRows } from './session-rows.ts'
import type { RequestLike, SessionCookie, SignedCookie } from './signed-cookie.ts'

/** The session of one request. Only `update`, `devices`, `endDevice` and `commit` use the database. */
export interface WebSession<Data extends object> {
  /** undefined until the session is stored. */
  readonly id: string | undefined
  /**
   * When the session ends at the latest (`maxLifetime`), by the database's clock: "you will be signed out at …". null
   * without `maxLifetime`, and until the session is stored.
   */
  readonly endsAt: Date | null
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
   *
   * The session goes on, for `maxLifetime` and `authenticatedWithin`, unless this request changes `field` to another
   * value: then it is the session of another user, and begins.
   */
  regenerate(): void
  /** Destroys the session. A request in progress does not write it back. A later `set` starts a new session. */
  destroy(): void
  /**
   * Applies a function to the stored session at once, such that no change of another request comes in between: for
   * counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one session all
   * take effect, in any number of processes.
   *
   * ```ts
   * const { value: granted } = await session.update((data) => {
   *   if (data.redeemed) return false
   *   data.redeemed = true
   *   return true
   * })
   * ```
   *
   * The session then shows the result, and what other requests have stored. What this request has changed and not
   * committed is kept, for `commit`; the function does not see it. A new session is stored with the values that the
   * function sets, and needs `commit` for its cookie. If another request has changed the id meanwhile, the session is
   * updated under its new id; if another request has destroyed it, the outcome is `gone`.
   *
   * @param change receives a copy of the stored data. It changes that copy or returns a new object, which becomes the
   * data; any other return value (a primitive, an array, a part of the data) is only returned to the caller. It must be
   * synchronous and free of side effects: after a conflict it is called again.
   * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`
   */
  update<Value = void>(change: (data: Partial<Data>) => Value): Promise<SessionUpdate<Value>>
  /**
   * Records that the user has just authenticated, for example with a password. Call it at the login, and whenever the
   * user has confirmed the password again. `commit` stores the time.
   */
  authenticated(): void
  /**
   * Returns true if the user has authenticated in this session within the last `seconds`: for actions that need a
   * recent password. The clocks of the processes must agree; a time more than a minute ahead does not count.
   *
   * @throws INVALID_ARGUMENT
   */
  authenticatedWithin(seconds: number): boolean
  /**
   * Commits the session, and ends the oldest other sessions with its field, so that `max` are left with this one: "at
   * most three devices". The next `commit` returns the cookie. See `SaveHandler.limitByField`.
   *
   * @returns the number of sessions that ended
   * @throws INVALID_ARGUMENT if the session has no field; otherwise the errors of `commit` and of `limitByField`
   */
  limit(max: number): Promise<number>
  /**
   * Ends all other sessions with the field of this one: "log out everywhere else", for example after a change of the
   * password. See `SaveHandler.destroyByField`.
   *
   * @returns the number of sessions that ended
   * @throws INVALID_ARGUMENT if the session has no field; otherwise the errors of `destroyByField`
   */
  endOthers(): Promise<number>
  /**
   * Returns the sessions with the field of this one, the last seen first, for a "where you're logged in" page. They
   * contain no ids. A session whose id has just changed is one device. See `SaveHandler.devices`.
   *
   * @throws INVALID_ARGUMENT if the session has no field; otherwise the errors of `SaveHandler.devices`
   */
  devices(): Promise<Devices<Partial<Data>>>
  /**
   * Ends the session with this handle under all its ids. It must have the field of this one: no handle ends a session of
   * another user. If it is this session, `commit` then removes the cookie.
   *
   * @returns false if the user has no such session
   * @throws INVALID_ARGUMENT if the session has no field; otherwise the errors of `SaveHandler.endDevice`
   */
  endDevice(handle: string): Promise<boolean>
  /**
   * Applies the changes, and returns the cookie for the response, or undefined if the browser's cookie stays. Call it
   * before the response's headers are sent. It writes only if something has changed. If the session was destroyed in
   * the meantime it discards the changes, without an error: the save handler emits `gone`. It may be called again.
   */
  commit(): Promise<SessionCookie | undefined>
}

const GONE = { outcome: 'gone', value: undefined } as const

/** Ends an update of a row that has moved to another id. */
const MOVED = new Error('The session has moved to another id')

export interface SessionContext extends RowsContext {
  /** Seconds; Infinity: unlimited. */
  readonly maxLifetime: number
  readonly cookie: SignedCookie
  readonly request: RequestLike
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
  readonly #rows: SessionRows
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
  /** When the user has authenticated in this request, in milliseconds since 1970. */
  #authenticated: number | undefined
  /** The cookie of a commit that was called by `limit`, for the next one. */
  #unsent: SessionCookie | undefined
  /** The last commit or update in progress. Never rejects. */
  #tail: Promise<unknown> = Promise.resolve()

  constructor(context: SessionContext, record: SessionRecord<Stored> | undefined, isFresh: boolean) {
    this.#context = context
    this.#rows = new SessionRows(context)
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

  get endsAt(): Date | null {
    return this.#base?.endsAt ?? null
  }

  get data(): Stored {
    return shownData(this.#data)
  }

  get(key: string): unknown {
    return !isReserved(key) && Object.hasOwn(this.#data, key) ? this.#data[key] : undefined
  }

  set(key: string, value: unknown): void {
    checkKey(key)
    setKey(this.#data, key, value)
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

  authenticated(): void {
    this.#authenticated = Date.now()
    setAuthenticated(this.#data, this.#authenticated)
  }

  authenticatedWithin(seconds: number): boolean {
    return isWithin(authenticatedAt(this.#data), seconds)
  }

  limit(max: number): Promise<number> {
    return this.#queued(async () => {
      this.#unsent = (await this.#commit()) ?? this.#unsent
      return this.#context.sessions.limitByField(this.#owner, max, { keep: this.#ids })
    })
  }

  endOthers(): Promise<number> {
    return this.#queued(async () => this.#context.sessions.destroyByField(this.#owner, { except: this.#ids }))
  }

  /** @throws INVALID_ARGUMENT */
  get #owner(): string {
    if (this.field !== null) return this.field
    throw invalid('The session has no field, which tells whose it is. Set field first.')
  }

  /** The ids under which the session is stored while its id changes. */
  get #ids(): string[] {
    return this.#base === undefined ? [] : [this.#base.id, ...otherIds(idChangesOf(this.#base))]
  }

  update<Value>(change: (data: Stored) => Value): Promise<SessionUpdate<Value>> {
    return this.#queued(() => this.#updateStored(change))
  }

  async devices(): Promise<Devices<Stored>> {
    return this.#userDevices().list()
  }

  async endDevice(handle: string): Promise<boolean> {
    const outcome = await this.#userDevices().end(handle)
    if (outcome === 'ended current') this.destroy()
    return outcome !== 'unknown'
  }

  #userDevices(): UserDevices {
    return new UserDevices(this.#context.sessions, this.#rows, this.#owner, this.#base?.id)
  }

  commit(): Promise<SessionCookie | undefined> {
    return this.#queued(async () => {
      const cookie = (await this.#commit()) ?? this.#unsent
      this.#unsent = undefined
      return cookie
    })
  }

  #queued<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work)
    this.#tail = done.catch(() => {})
    return done
  }

  async #updateStored<Value>(change: (data: Stored) => Value): Promise<SessionUpdate<Value>> {
    const base = this.#base
    if (this.#isGone) return GONE
    if (base === undefined) {
      const id = this.#nextId ?? this.#context.sessions.createId()
      this.#nextId = id
      const updated = await this.#updateRow(id, change, { base: null })
      if (updated.outcome === 'created') {
        this.#nextId = undefined
        this.#isStale = true
      }
      return updated
    }
    let changes: IdChanges | undefined
    const check = (stored: Stored): void => {
      changes = stored[RESERVED]
      if (!this.#isLate && isMoved(changes)) throw MOVED
    }
    let updated: SessionUpdate<Value> | undefined
    try {
      updated = await this.#updateRow(base.id, change, { base, check })
    } catch (error) {
      if (error !== MOVED) throw error
    }
    if (!this.#isLate) {
      for (const id of movedIds(changes)) {
        const moved = await this.#updateRow(id, change, { base: 'existing' }, updated === undefined)
        updated ??= moved
      }
    }
    return updated ?? GONE
  }

  /** @param isShown whether the session shows the result */
  #updateRow<Value>(
    id: string,
    change: (data: Stored) => Value,
    { base, check }: Pick<RowUpdate, 'base' | 'check'>,
    isShown = true,
  ): Promise<SessionUpdate<Value>> {
    const data = this.#data
    return this.#rows.update(id, change, {
      base,
      check,
      record: this.#base,
      seen: this.#seen,
      view: isShown ? viewOf(data, { data: () => data, isHidden: isReserved }) : undefined,
      adopt: ({ session, seen }) => {
        if (!isShown) return
        if (this.#data !== data) {
          // The request has called `destroy` meanwhile.
          this.#ending.push(session)
          return
        }
        if (base !== 'existing') this.#base = session
        this.#seen = seen
      },
    })
  }

  async #commit(): Promise<SessionCookie | undefined> {
    const { cookie, request } = this.#context
    let removed: SessionCookie | undefined
    for (const record of [...this.#ending]) {
      await this.#rows.destroy(record)
      this.#ending = this.#ending.filter((other) => other !== record)
      removed = cookie.remove(request)
    }
    if (this.#isGone) return removed
    const id = await this.#write()
    if (id === undefined) return removed
    return cookie.set(id, request, (endOf(this.#base, this.#context.maxLifetime) - Date.now()) / 1000)
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
    const result = await this.#rows.write(id, data, { base: null, custom })
    this.#nextId = undefined
    this.#advance(result)
    return id
  }

  async #update(base: SessionRecord<Stored>): Promise<string | undefined> {
    const before = this.#seen ?? base.data
    const result = await this.#rows.write(base.id, this.#data, {
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
        for (const id of movedIds(idChangesOf(result.session)))
          await this.#rows.forward(id, result.sent, before)
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
   * requests destroy both. What they change under the old id is handed over at the end.
   */
  async #move(base: SessionRecord<Stored>, id: string): Promise<string | undefined> {
    const { grace, sessions } = this.#context
    // What is stored in one row about the other must not tell an id that the table does not contain.
    const next = sessions.listed.formOfNew(id)
    const previous = sessions.listed.formOf(base)
    const seen = this.#seen ?? base.data
    // Without grace the old id ends at once, whatever the clocks of other processes say.
    const until = grace === 0 ? 0 : Date.now() + grace * 1000
    const marked = await this.#rows.write(
      base.id,
      { ...seen, [RESERVED]: { ...seen[RESERVED], next: { ...seen[RESERVED]?.next, [next]: until } } },
      { base, seen, counts: false },
    )
    const old = marked.session
    const { ended, next: { [next]: _, ...others } = {} } = idChangesOf(old)
    // Another request has destroyed the session, or has moved it and left no data here.
    if (old === undefined || ended || hasEnded({ next: others })) {
      this.#isGone = true
      return undefined
    }
    const [before, ours] = [applicationData(seen), applicationData(this.#data)]
    const custom = this.#field === undefined ? old.custom : this.#field
    const isSameUser = custom === old.custom
    if (!isSameUser && this.#authenticated === undefined) delete ours[AUTHENTICATED]
    let made = await this.#rows.write(
      id,
      { ...applicationData(old.data), [RESERVED]: { previous } },
      { base: null, custom, since: isSameUser ? old : undefined },
    )
    made = await this.#rows.write(
      id,
      { ...ours, [RESERVED]: { previous } },
      {
        base: made.session,
        seen: { ...before, [RESERVED]: { previous } },
        counts: false,
      },
    )
    if (!(await this.#rows.handOver(old, next))) {
      // Another request has destroyed the session in the meantime.
      await sessions.destroy(id)
      this.#isGone = true
      return undefined
    }
    if (grace === 0) await this.#rows.leaveOnlyTheNewId(base.id)
    this.#nextId = undefined
    this.#data = { ...ours, [RESERVED]: { previous } }
    this.#seen = undefined
    if (made.outcome === 'gone') {
      this.#isGone = true
      return undefined
    }
    this.#advance(made)
    return id
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
    this.#authenticated = undefined
    this.#data = {}
    this.#isStale = false
    this.#isGone = false
  }
}

function checkKey(key: string): void {
  if (isReserved(key)) throw invalid(`The key ${key} is reserved for the session itself. Use another key.`)
}

/** Returns true for the keys of the adapter, which the application neither sees nor sets. */
function isReserved(key: string): boolean {
  return key === RESERVED || key === AUTHENTICATED
}
