import { type SessionData, Store } from 'express-session'
import { SessionPgsqlError } from '../../errors.ts'
import type { WriteResult } from '../../operations.ts'
import type { SaveHandler } from '../../save-handler.ts'
import { type Callback, settle } from '../shared/callbacks.ts'
import { inTurn } from '../shared/in-turn.ts'
import {
  type AdapterHandler,
  type AdapterOptions,
  openHandler,
  type SharedHandlerOptions,
} from '../shared/open-handler.ts'
import {
  lifetimeOf,
  PLAIN_COOKIE,
  restoredCookie,
  type StoredCookie,
  sameAttributes,
  sameCookie,
  storedCookie,
} from '../shared/stored-cookie.ts'
import { countedOf, linkOf, newLink, requestOf, upToDate } from './link.ts'
import { giveBack, takeMetadata } from './pending-metadata.ts'
import { baseOf, type Link, registry, type Stored, type StoredData } from './registry.ts'

export type { SharedHandlerOptions, StoredData }

/**
 * All options of a save handler, with other defaults for three of them: `shortCircuit` true, `name`
 * 'connect.sid', `gcMaxlifetime` (for cookies without maxAge) 86400; or a `handler` to share. `all`, `length`,
 * `ids` and `clear` stay within the name.
 */
export type PgsqlStoreOptions<Data = SessionData> = AdapterOptions<StoredData<Data>>

/** How many sessions are asked for at a time. */
const PAGE = 1000

/**
 * express-session's store on a save handler.
 *
 * Requests that overlap do not undo each other's changes: each Session remembers the row that it was made
 * from, and what it saves is its difference from that. What was destroyed meanwhile is not written back. An
 * error of the database is the callback's error, never "no session".
 *
 * A plain copy given to `set` has no such memory: it creates or replaces.
 */
export class PgsqlStore<Data = SessionData> extends Store {
  /** What the sessions go through: for `gc()`, `status()`, `findByField()` and the like. */
  readonly handler: SaveHandler<StoredData<Data>>
  /** The same, of data that is nobody's in particular. */
  readonly #sessions: SaveHandler<Stored>
  readonly #opened: AdapterHandler<StoredData<Data>>
  readonly #name: string
  /** Seconds; for cookies without an age. */
  readonly #lifetime: number

  /** @throws INVALID_OPTION */
  constructor(options: PgsqlStoreOptions<Data> = {}) {
    super()
    this.#opened = openHandler(options, 'connect.sid')
    const { handler, name, lifetime } = this.#opened
    this.handler = handler
    this.#sessions = handler as unknown as SaveHandler<Stored>
    this.#name = name
    this.#lifetime = lifetime
  }

  /** Waits for what is under way and closes the connections; a shared handler stays open. */
  close(): Promise<void> {
    return this.#opened.close()
  }

  /** What is stored under this id; undefined if there is nothing. */
  override get(
    sid: string,
    callback: (error: unknown, session?: (SessionData & Partial<Data>) | null) => void,
  ): void {
    settle(this.#get(sid), callback as Callback<Stored | undefined>)
  }

  /** Saves a session as it is at this moment; later changes are not meant. */
  override set(
    sid: string,
    session: SessionData & Partial<Data>,
    callback?: (error?: unknown) => void,
  ): void {
    settle(this.#set(sid, session as unknown as Stored), callback)
  }

  /** Moves the expiry of a session that has not changed. One that is not there stays absent. */
  override touch(
    sid: string,
    session: SessionData & Partial<Data>,
    callback?: (error?: unknown) => void,
  ): void {
    settle(this.#touch(sid, session as unknown as Stored), callback)
  }

  /** Removes a session, for good: a request that is under way does not bring it back. */
  override destroy(sid: string, callback?: (error?: unknown) => void): void {
    settle(
      this.#sessions.destroy(sid).then(() => {}),
      callback,
    )
  }

  /** All sessions by their ids. They are all in memory then. */
  override all(
    callback: (error: unknown, sessions?: Record<string, SessionData & Partial<Data>> | null) => void,
  ): void {
    settle(this.#all(), callback as Callback<Record<string, Stored>>)
  }

  /** The ids of all sessions. */
  ids(callback: (error: unknown, ids?: string[]) => void): void {
    settle(this.#ids(), callback)
  }

  /** How many sessions there are. It counts them one by one. */
  override length(callback: (error: unknown, length?: number) => void): void {
    settle(this.#sessions.count({ name: this.#name }), callback)
  }

  /** Destroys all sessions of this store's name. */
  override clear(callback?: (error?: unknown) => void): void {
    settle(this.#clear(), callback)
  }

  /** Makes the Session of a request of what `get` gave. express-session calls it. */
  override createSession(
    ...[request, session]: Parameters<Store['createSession']>
  ): ReturnType<Store['createSession']> {
    const { links } = registry
    const link = links.get(session)
    if (link?.cookieless) Object.assign(session, { cookie: this.#configuredCookie(request) })
    const created = super.createSession(request, session)
    const cookie = storedCookie(created.cookie)
    if (link === undefined) {
      links.set(created, { ...newLink(created.id), base: undefined, cookie })
      return created
    }
    // Through express-session it may look unlike the row, which need not be of ours. That is no change.
    link.cookie = cookie
    links.set(created, link)
    return created
  }

  async #get(sid: string): Promise<Stored | undefined> {
    const record = await this.#sessions.read(sid)
    if (record === undefined) return undefined
    const { data } = record
    if (typeof data !== 'object' || data === null || Array.isArray(data)) {
      throw new SessionPgsqlError(
        'UNDECODABLE',
        'The stored data of this session is not an object with keys, so it cannot be a session of Express. Was it written by something else?',
      )
    }
    const stored = data.cookie as StoredCookie | null | undefined
    if (stored === null) {
      // Given to `set` without a cookie: express-session refuses it, as it does with every store.
      delete data.cookie
    } else if (stored === undefined) {
      data.cookie = { ...PLAIN_COOKIE }
    } else {
      const cookie = restoredCookie(stored, record)
      if (cookie === undefined) return undefined
      data.cookie = cookie
    }
    const base = { session: record }
    const cookieless = stored === undefined
    registry.links.set(data, { ...newLink(sid), base, data, cookie: stored ?? undefined, cookieless })
    return data
  }

  async #set(sid: string, session: Stored): Promise<void> {
    const request = requestOf(session)
    const link = linkOf(sid, session, request)
    const cookie = storedCookie(session.cookie, link.cookie)
    const data = upToDate(link, session, cookie)
    // What waits for the save before it must not see what is changed meanwhile; the handler makes fast what it is given.
    const fast = link.tail === undefined ? data : this.#sessions.snapshot(data)
    const address = addressOf(request)
    await inTurn(link, () => this.#write(link, fast, { cookie, request, address }))
  }

  async #write(
    link: Link,
    data: Stored,
    about: { cookie: StoredCookie | undefined; request: object | undefined; address: string | undefined },
  ): Promise<void> {
    const { cookie, request, address } = about
    const counted = countedOf(request)
    const metadata = takeMetadata(request)
    let result: WriteResult<Stored>
    try {
      result = await this.#sessions.write(link.id, data, {
        base: baseOf(link),
        seen: link.seen,
        lifetime: (stored) =>
          lifetimeOf((stored.cookie as StoredCookie | undefined) ?? cookie, this.#lifetime),
        address,
        name: this.#name,
        access: !counted.has(link.id),
        ...metadata,
      })
    } catch (error) {
      giveBack(request, metadata)
      throw error
    }
    const { outcome } = result
    if (outcome !== 'skipped') counted.add(link.id)
    if (outcome === 'gone') return
    // What others have written is not in the Session: the next write must not take that for a deletion.
    if (outcome === 'merged' || link.seen !== undefined) link.seen = result.sent
    link.base = result
    link.cookie = cookie
  }

  async #touch(sid: string, session: Stored): Promise<void> {
    const request = requestOf(session)
    const link = linkOf(sid, session, request)
    const cookie = storedCookie(session.cookie, link.cookie)
    const isKept = link.cookieless ? sameAttributes(cookie, link.cookie) : sameCookie(cookie, link.cookie)
    const refresh = (): Promise<void> => inTurn(link, () => this.#refresh(link, request, cookie))
    if (isKept || !link.base) return refresh()
    try {
      await this.#set(sid, session)
    } catch (error) {
      // With `conflict: 'error'`: this request has changed nothing that could be in conflict.
      if (!(error instanceof SessionPgsqlError) || error.code !== 'CONFLICT') throw error
      await refresh()
    }
  }

  async #refresh(link: Link, request: object | undefined, cookie: StoredCookie | undefined): Promise<void> {
    const counted = countedOf(request)
    const metadata = takeMetadata(request)
    try {
      await this.#sessions.touch(link.id, {
        base: baseOf(link) ?? undefined,
        lifetime: lifetimeOf(cookie, this.#lifetime),
        access: !counted.has(link.id),
        ...metadata,
      })
    } catch (error) {
      giveBack(request, metadata)
      throw error
    }
    counted.add(link.id)
  }

  async #all(): Promise<Record<string, Stored>> {
    const sessions: Record<string, Stored> = Object.create(null)
    for await (const ids of this.#pages()) {
      const page = await Promise.all(ids.map((id) => this.#get(id)))
      for (const [index, id] of ids.entries()) {
        const session = page[index]
        if (session !== undefined) sessions[id] = session
      }
    }
    return sessions
  }

  async #ids(): Promise<string[]> {
    const all: string[][] = []
    for await (const ids of this.#pages()) all.push(ids)
    return all.flat()
  }

  async #clear(): Promise<void> {
    for await (const ids of this.#pages()) {
      await Promise.all(ids.map((id) => this.#sessions.destroy(id)))
    }
  }

  async *#pages(): AsyncGenerator<string[]> {
    let after: string | undefined
    do {
      const page = await this.#sessions.list({ name: this.#name, after, limit: PAGE })
      yield page.map(({ id }) => id)
      after = page.next
    } while (after !== undefined)
  }

  /** The attributes that the application has chosen, for a row that has none: `secure` must not be lost. */
  #configuredCookie(request: object): unknown {
    const { generate } = this as { generate?: (request: object) => void }
    if (generate === undefined) return { ...PLAIN_COOKIE }
    const probe: { session?: { cookie: { toJSON(): object } } } = Object.create(request)
    generate(probe)
    return probe.session?.cookie.toJSON()
  }
}

function addressOf(request: object | undefined): string | undefined {
  const { ip, socket } = (request ?? {}) as { ip?: string; socket?: { remoteAddress?: string } }
  return ip || socket?.remoteAddress || undefined
}
