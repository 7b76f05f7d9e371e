import { type SessionData, Store } from 'express-session'
import { SessionPgsqlError } from '../../errors.ts'
import type { SaveHandler } from '../../save-handler.ts'
import { addressOf } from '../shared/address.ts'
import { AUTHENTICATED, authenticatedAt, setAuthenticated } from '../shared/authentication.ts'
import { type Callback, settle } from '../shared/callbacks.ts'
import { idPages } from '../shared/id-pages.ts'
import {
  type AdapterHandler,
  type AdapterOptions,
  endOf,
  openHandler,
  type SharedHandlerOptions,
} from '../shared/open-handler.ts'
import { type Stored, viewOf, withhold } from '../shared/session-data.ts'
import { type SessionLink, storedForm } from '../shared/session-link.ts'
import {
  lifetimeOf,
  PLAIN_COOKIE,
  restoredCookie,
  type StoredCookie,
  type StoredData,
  sameAttributes,
  sameCookie,
  storedCookie,
} from '../shared/stored-cookie.ts'
import type { SessionUpdate } from '../shared/update-row.ts'
import { type CopyWriteOptions, WorkingCopy } from '../shared/working-copy.ts'
import { limitCookie } from './limited-cookie.ts'
import { linkOf, links, newLink, requestOf, stateOf } from './registry.ts'

export type { SharedHandlerOptions, StoredData }

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name`
 * 'connect.sid', `gcMaxlifetime` (for cookies without maxAge) 86400. `all`, `length`, `ids` and `clear` affect only
 * sessions of this name.
 */
export type PgsqlStoreOptions<Data = SessionData> = AdapterOptions<StoredData<Data>>

/**
 * express-session's store on a save handler.
 *
 * Overlapping requests keep each other's changes: each Session remembers the row that it was made from, and a save
 * writes the difference. A destroyed session is not written back. A database error is passed to the callback, never
 * hidden as "no session".
 *
 * `set` with a plain copy of a session knows no such row: it creates or replaces.
 */
export class PgsqlStore<Data = SessionData> extends Store {
  /** The save handler, for `gc()`, `status()`, `findByField()` and so on. */
  readonly handler: SaveHandler<StoredData<Data>>
  /** The save handler, typed for any data. */
  readonly #sessions: SaveHandler<Stored>
  readonly #opened: AdapterHandler<StoredData<Data>>
  readonly #name: string
  /** Seconds that a session lives if its cookie has no maxAge. */
  readonly #lifetime: number
  /** By request: the session that it has read last. */
  readonly #read: WeakMap<object, SessionLink> = new WeakMap()

  /** @throws INVALID_OPTION */
  constructor(options: PgsqlStoreOptions<Data> = {}) {
    super()
    this.#opened = openHandler(options, 'connect.sid')
    const { handler, name, lifetime } = this.#opened
    this.handler = handler
    this.#sessions = handler as unknown as SaveHandler<Stored>
    this.#name = name
    this.#lifetime = lifetime
    if (this.#opened.maxLifetime !== Number.POSITIVE_INFINITY) this.#limitNewCookies()
  }

  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void> {
    return this.#opened.close()
  }

  /** Reads a session; undefined if it does not exist. */
  override get(
    sid: string,
    callback: (error: unknown, session?: (SessionData & Partial<Data>) | null) => void,
  ): void {
    settle(this.#get(sid), callback as Callback<Stored | undefined>)
  }

  /** Saves a session as it is at the time of the call. */
  override set(
    sid: string,
    session: SessionData & Partial<Data>,
    callback?: (error?: unknown) => void,
  ): void {
    settle(this.#set(sid, session as unknown as Stored), callback)
  }

  /** Extends the expiry of a session. Creates no session. */
  override touch(
    sid: string,
    session: SessionData & Partial<Data>,
    callback?: (error?: unknown) => void,
  ): void {
    settle(this.#touch(sid, session as unknown as Stored), callback)
  }

  /** Destroys a session. A request in progress does not write it back. */
  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    settle(
      this.#sessions.destroy(sid).then(() => {}),
      callback,
    )
  }

  /** Reads all sessions into memory, by id; with hashed ids, by their stored forms. */
  override all(
    callback: (error: unknown, sessions?: Record<string, SessionData & Partial<Data>> | null) => void,
  ): void {
    settle(this.#all(), callback as Callback<Record<string, Stored>>)
  }

  /** Returns the ids of all sessions; with hashed ids, their stored forms, for `handler.destroyListed`. */
  ids(callback: (error: unknown, ids?: string[]) => void): void {
    settle(this.#ids(), callback)
  }

  /** Counts the sessions. PostgreSQL reads each of them. */
  override length(callback: (error: unknown, length?: number) => void): void {
    settle(this.#sessions.count({ name: this.#name }), callback)
  }

  /** Destroys all sessions of this store's name. */
  override clear(callback?: (error?: unknown) => void): void {
    settle(this.#clear(), callback)
  }

  /** Creates the Session of a request from the object that `get` returned. express-session calls it. */
  override createSession(
    ...[request, session]: Parameters<Store['createSession']>
  ): ReturnType<Store['createSession']> {
    const link = links.get(session)
    if (link?.cookieless) Object.assign(session, { cookie: this.#configuredCookie(request) })
    const created = super.createSession(request, session)
    // The Session may show the stored cookie differently, for example with defaults: that is not a change.
    const cookie = storedCookie(created.cookie)
    if (link === undefined) {
      const copy = new WorkingCopy(this.#sessions, created.id, undefined)
      links.set(created, { ...newLink(copy), cookie })
      return created
    }
    link.cookie = cookie
    link.withheld = { ...link.withheld, ...withhold({ ...session }, (key) => isShadowed(created, key)) }
    links.set(created, link)
    this.#read.set(request, link)
    this.#limitCookie(created)
    return created
  }

  /** @param sessions of the save handler: by id, or by the stored form of a listed one */
  async #get(
    sid: string,
    sessions: Pick<SaveHandler<Stored>, 'read'> = this.#sessions,
  ): Promise<Stored | undefined> {
    const record = await sessions.read(sid)
    if (record === undefined) return undefined
    const copy = new WorkingCopy(this.#sessions, sid, record)
    const { data } = record
    const withheld = withhold(data, (key) => key === AUTHENTICATED)
    const stored = data.cookie as StoredCookie | null | undefined
    if (stored === null) {
      // `set` was called without a cookie. express-session rejects such a session, with any store.
      delete data.cookie
    } else if (stored === undefined) {
      data.cookie = { ...PLAIN_COOKIE }
    } else {
      const cookie = restoredCookie(stored, record)
      if (cookie === undefined) return undefined
      data.cookie = cookie
    }
    const link = newLink(copy)
    links.set(data, { ...link, withheld, cookie: stored ?? undefined, cookieless: stored === undefined })
    return data
  }

  /** @internal See `CurrentSession.update`. */
  async updateSession<Value>(
    session: Stored,
    change: (data: Stored) => Value,
  ): Promise<SessionUpdate<Value>> {
    const request = requestOf(session)
    const link = linkOf(this.#sessions, session.id as string, session, request)
    const cookie = storedCookie(session.cookie, link.cookie)
    this.#authenticate(link, request)
    const view = viewOf(session, {
      data: () => toStore(link, session, storedCookie(session.cookie, link.cookie) ?? null),
      isHidden: (key) => key === 'cookie' || key === AUTHENTICATED || isShadowed(session, key),
    })
    const updated = await link.copy.update(change, view, this.#writeOptions(request, cookie))
    if (updated.outcome === 'created') link.cookie = cookie
    return updated
  }

  async #set(sid: string, session: Stored): Promise<void> {
    const request = requestOf(session)
    const link = linkOf(this.#sessions, sid, session, request)
    const cookie = storedCookie(session.cookie, link.cookie)
    this.#authenticate(link, request)
    const stored = toStore(link, session, cookie ?? null)
    const outcome = await link.copy.write(stored, this.#writeOptions(request, cookie))
    stateOf(request).isAuthenticationStored = true
    if (outcome !== 'gone' && !link.cookieless) link.cookie = cookie
  }

  /** Sets when the user has authenticated: in this request, or under the id that the session of the same user had. */
  #authenticate(link: SessionLink, request: object | undefined): void {
    const time = stateOf(request).authenticated ?? this.#authenticatedBefore(link, request)
    if (time === undefined) return
    link.withheld = { ...link.withheld }
    setAuthenticated(link.withheld, time)
  }

  /** Returns the time of the session that the request had before a new id, if it is of the same user. */
  #authenticatedBefore(link: SessionLink, request: object | undefined): number | undefined {
    const before = request && this.#read.get(request)
    if (before === undefined || before === link || link.copy.record !== undefined) return undefined
    const user = before.copy.record?.custom ?? null
    if (user === null || stateOf(request).custom !== user) return undefined
    return authenticatedAt(before.withheld)
  }

  /** Makes the cookie of a session expire when the session ends. */
  #limitCookie(session: { readonly cookie: object }): void {
    const { maxLifetime } = this.#opened
    if (maxLifetime === Number.POSITIVE_INFINITY) return
    limitCookie(session.cookie, () => endOf(links.get(session)?.copy.record, maxLifetime))
  }

  /** Does the same for the sessions that express-session creates, with a method that it gives to the store. */
  #limitNewCookies(): void {
    type Generate = (request: { session: { readonly cookie: object } }) => void
    let generate: Generate | undefined
    Object.defineProperty(this, 'generate', {
      configurable: true,
      get: () => generate,
      set: (given: Generate) => {
        generate = (request) => {
          given(request)
          this.#limitCookie(request.session)
        }
      },
    })
  }

  #writeOptions(request: object | undefined, cookie: StoredCookie | undefined): CopyWriteOptions {
    return {
      lifetime: (stored) => lifetimeOf((stored.cookie as StoredCookie | undefined) ?? cookie, this.#lifetime),
      address: addressOf(request),
      name: this.#name,
      request: stateOf(request),
    }
  }

  async #touch(sid: string, session: Stored): Promise<void> {
    const request = requestOf(session)
    const link = linkOf(this.#sessions, sid, session, request)
    const cookie = storedCookie(session.cookie, link.cookie)
    const isUnchanged = link.cookieless
      ? sameAttributes(cookie, link.cookie)
      : sameCookie(cookie, link.cookie)
    const touch = (): Promise<void> =>
      link.copy.touch({ lifetime: lifetimeOf(cookie, this.#lifetime), request: stateOf(request) })
    const isAuthenticated = !stateOf(request).isAuthenticationStored
    if ((isUnchanged && !isAuthenticated) || link.copy.record === undefined) return touch()
    try {
      await this.#set(sid, session)
    } catch (error) {
      // Only with `conflict: 'error'`. A touch changes no data that could be in conflict.
      if (!(error instanceof SessionPgsqlError) || error.code !== 'CONFLICT') throw error
      await touch()
    }
  }

  async #all(): Promise<Record<string, Stored>> {
    const sessions: Record<string, Stored> = Object.create(null)
    for await (const ids of this.#idPages()) {
      const page = await Promise.all(ids.map((id) => this.#get(id, this.#sessions.listed)))
      for (const [index, id] of ids.entries()) {
        const session = page[index]
        if (session !== undefined) sessions[id] = session
      }
    }
    return sessions
  }

  async #ids(): Promise<string[]> {
    const all: string[][] = []
    for await (const ids of this.#idPages()) all.push(ids)
    return all.flat()
  }

  async #clear(): Promise<void> {
    for await (const ids of this.#idPages()) {
      await Promise.all(ids.map((id) => this.#sessions.destroyListed(id)))
    }
  }

  #idPages(): AsyncGenerator<string[]> {
    return idPages(this.#sessions, { name: this.#name })
  }

  /** Returns the application's cookie attributes for a row without a cookie: without them `secure` would be lost. */
  #configuredCookie(request: object): unknown {
    const { generate } = this as { generate?: (request: object) => void }
    if (generate === undefined) return { ...PLAIN_COOKIE }
    const probe: { session?: { cookie: { toJSON(): object } } } = Object.create(request)
    generate(probe)
    return probe.session?.cookie.toJSON()
  }
}

/** Returns what to store for a session object. Its own key of that name is not the time at which the user authenticated. */
function toStore(link: SessionLink, session: Stored, cookie: StoredCookie | null | undefined): Stored {
  const stored = storedForm(link, session, cookie)
  if (!Object.hasOwn(link.withheld, AUTHENTICATED)) delete stored[AUTHENTICATED]
  return stored
}

/** Returns true if a Session hides this key of the row: it has a property of that name that is not data. */
function isShadowed(session: object, key: string): boolean {
  return key in session && !Object.prototype.propertyIsEnumerable.call(session, key)
}
