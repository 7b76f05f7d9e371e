import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import { SessionPgsqlError } from '../errors.ts'
import type { SaveHandler } from '../save-handler.ts'
import { addressOf } from './shared/address.ts'
import { settle } from './shared/callbacks.ts'
import { type AdapterHandler, type AdapterOptions, endOf, openHandler } from './shared/open-handler.ts'
import { type Stored, viewOf, withhold } from './shared/session-data.ts'
import { type SessionLink, storedForm } from './shared/session-link.ts'
import {
  LONGEST_LIFETIME,
  lifetimeOf,
  restoredCookie,
  type ShownData,
  type StoredCookie,
  type StoredData,
  storedCookie,
} from './shared/stored-cookie.ts'
import type { SessionUpdate } from './shared/update-row.ts'
import { type CopyWriteOptions, WorkingCopy } from './shared/working-copy.ts'

/**
 * Sessions for Fastify, on @fastify/session. Register the plugin `pgsqlSession` instead of @fastify/session, with
 * the same options: `app.register(pgsqlSession, { store: new PgsqlStore({ db }), secret })`. docs/fastify.md has a
 * complete file.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { ShownData, StoredCookie, StoredData } from './shared/stored-cookie.ts'
export type { SessionUpdate } from './shared/update-row.ts'

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name`
 * 'sessionId', `gcMaxlifetime` 86400.
 */
export type PgsqlStoreOptions<Data = Record<string, unknown>> = AdapterOptions<StoredData<Data>>

/** The options of @fastify/session, with a `PgsqlStore` as the store. */
export interface PgsqlSessionOptions extends Omit<FastifySessionOptions, 'store'> {
  // biome-ignore lint/suspicious/noExplicitAny: sessions of any data
  readonly store: PgsqlStore<any>
}

/** The part of a Fastify instance that the plugin uses. */
export interface FastifyLike {
  // biome-ignore lint/suspicious/noExplicitAny: Fastify's own has an overload for each hook
  addHook(name: any, hook: any): unknown
  // biome-ignore lint/suspicious/noExplicitAny: of any plugin
  register(plugin: any, options?: any): PromiseLike<unknown>
}

/**
 * Registers @fastify/session on a `PgsqlStore`. @fastify/session copies the object that a store returns; a hook
 * before it links the copy to its row, so that a request writes only its own changes. When the application
 * closes, the plugin closes the store.
 *
 * Register @fastify/cookie first, as for @fastify/session. Do not register @fastify/session as well.
 */
export async function pgsqlSession(fastify: FastifyLike, options: PgsqlSessionOptions): Promise<void> {
  const { store } = options
  fastify.addHook('onRequest', (request: object, _reply: unknown, done: () => void) => {
    linkSessions(request, store)
    done()
  })
  fastify.addHook('onClose', () => store.close())
  await fastify.register(fastifySession, options)
}

// As fastify-plugin does: hooks and decorators apply to the whole application, not to the plugin's scope alone.
Object.assign(pgsqlSession, {
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'session-pgsql',
  [Symbol.for('plugin-meta')]: {
    name: 'session-pgsql',
    fastify: '5.x',
    dependencies: ['@fastify/cookie'],
  },
})

/**
 * The store behind `pgsqlSession`.
 *
 * Overlapping requests keep each other's changes, and a destroyed session is not written back. With
 * `rolling: true`, the default of @fastify/session, every request saves; the store writes only if the data has
 * changed, and extends the expiry only once in a tenth of the lifetime. A database error is an error of the request.
 *
 * For a new id at the login: `await request.session.regenerate()`.
 *
 * Without the plugin, or for a plain object, the store knows no base: a save merges the object into the stored
 * session, and keys that the object lacks stay. This includes requests that are made up for `decryptSession`.
 */
export class PgsqlStore<Data = Record<string, unknown>> {
  /** The save handler, for `gc()`, `status()`, `findByField()` and so on. */
  readonly handler: SaveHandler<StoredData<Data>>
  readonly #sessions: SaveHandler<Stored>
  readonly #opened: AdapterHandler<StoredData<Data>>
  /** By @fastify/session's Session. */
  readonly #links: WeakMap<object, Link> = new WeakMap()
  /** The link of the data that a callback is receiving. @fastify/session makes its Session within that call. */
  #returned: Link | undefined
  /** The id whose session was just destroyed. From 11.1.3, `regenerate` saves the new Session within that call. */
  #destroyed: string | undefined
  /** The requests of this store's Sessions. */
  readonly #requests: WeakSet<object> = new WeakSet()

  /** @throws INVALID_OPTION */
  constructor(options: PgsqlStoreOptions<Data> = {}) {
    this.#opened = openHandler(options, 'sessionId')
    this.handler = this.#opened.handler
    this.#sessions = this.handler as unknown as SaveHandler<Stored>
  }

  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void> {
    return this.#opened.close()
  }

  /** Reads a session; undefined if it does not exist. */
  // biome-ignore lint/suspicious/noExplicitAny: @fastify/session's own type, which the application extends
  get(id: string, callback: (error: unknown, session?: any) => void): void {
    settle(this.#get(id), (error, found) => {
      this.#returned = found?.link
      try {
        callback(error, found?.data)
      } finally {
        this.#returned = undefined
      }
    })
  }

  /** Saves a session as it is at the time of the call. */
  set(id: string, session: object, callback: (error?: unknown) => void): void {
    const replaced = this.#replacedBy(id, session)
    const done =
      replaced === undefined
        ? this.#set(id, session)
        : this.#sessions.destroy(replaced).then(() => this.#set(id, session))
    settle(done, callback)
  }

  /** Destroys a session. A request in progress does not write it back. */
  destroy(id: string, callback: (error?: unknown) => void): void {
    settle(this.#sessions.destroy(id), (error) => {
      this.#destroyed = id
      try {
        callback(error)
      } finally {
        this.#destroyed = undefined
      }
    })
  }

  /**
   * Applies a function to the stored session of a request at once, such that no change of another request comes in
   * between: for counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one
   * session all take effect, in any number of processes.
   *
   * ```ts
   * const { value: granted } = await store.update(request, (data) => {
   *   if (data.redeemed) return false
   *   data.redeemed = true
   *   return true
   * })
   * ```
   *
   * `request.session` then shows the result, and what other requests have stored. What this request has changed in it
   * and not saved is kept, and saved before the response as always; the function does not see it. A new session is
   * stored with the values that the function sets. After `request.session.destroy()`, and if another request has
   * destroyed the session, the outcome is `gone`.
   *
   * @param change receives a copy of the stored data, without `cookie`. It changes that copy or returns a new object,
   * which becomes the data; any other return value (a primitive, an array, a part of the data) is only returned to the
   * caller. It must be synchronous and free of side effects: after a conflict it is called again.
   * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`;
   * INVALID_ARGUMENT if the request has no session of @fastify/session
   */
  async update<Value = void>(
    request: { readonly session?: unknown },
    change: (data: ShownData<Data>) => Value,
  ): Promise<SessionUpdate<Value>> {
    if (request.session === null) return { outcome: 'gone', value: undefined }
    const session = sessionOf(request)
    const data = session as unknown as Stored
    const link = this.#linkOf(session.sessionId, session)
    const cookie = storedFastifyCookie(session.cookie, link.cookie)
    const view = viewOf(data, {
      data: () => storedForm(link, data, storedFastifyCookie(session.cookie, link.cookie)),
      isHidden: (key) => key === 'cookie' || SHADOWED.has(key),
    })
    const updated = await link.copy.update(
      change as (data: Stored) => Value,
      view,
      this.#writeOptions(link, cookie),
    )
    if (updated.outcome === 'created') link.cookie = cookie
    return updated
  }

  /**
   * Sets the custom field of a request's session, for example to the user's id at the login: `handler.findByField`,
   * `destroyByField` and `devices` select sessions by it. The next save of the session stores it. After `regenerate`,
   * it belongs to the new session.
   *
   * @param value null clears the field
   * @throws INVALID_ARGUMENT if the value is not text that PostgreSQL can store, or the request has no session
   */
  setField(request: { readonly session?: unknown }, value: string | null): void {
    const session = sessionOf(request)
    this.#linkOf(session.sessionId, session).copy.setField(value)
  }

  /** @internal Links the Session that a request was given. */
  link(session: unknown, request: object): void {
    if (!isSession(session)) return
    const returned = this.#returned?.copy.id === session.sessionId ? this.#returned : undefined
    const link = returned ?? this.#links.get(session) ?? this.#newLink(session.sessionId)
    this.#returned = undefined
    link.request = request
    this.#requests.add(request)
    if (link.cookieless) link.cookie = storedFastifyCookie(session.cookie, undefined)
    this.#links.set(session, link)
    const { maxLifetime } = this.#opened
    if (maxLifetime !== Number.POSITIVE_INFINITY) {
      limitCookie(session.cookie, () => endOf(link.copy.record, maxLifetime))
    }
  }

  async #get(id: string): Promise<{ data: Stored; link: Link } | undefined> {
    const record = await this.#sessions.read(id)
    if (record === undefined) return undefined
    const copy = new WorkingCopy(this.#sessions, id, record)
    const { data } = record
    const withheld = withhold(data, (key) => SHADOWED.has(key))
    const cookie = (data.cookie ?? undefined) as StoredCookie | undefined
    const link: Link = { copy, cookie, cookieless: cookie === undefined, withheld, request: undefined }
    if (cookie === undefined) {
      delete data.cookie
      return { data, link }
    }
    const restored = restoredCookie(cookie, record)
    if (restored === undefined) return undefined
    data.cookie = restored
    if (typeof cookie.originalMaxAge !== 'number' && cookie.expires !== undefined) {
      const expires = new Date(cookie.expires)
      if (expires.getTime() <= Date.now()) return undefined
      data.cookie = { ...restored, expires }
    }
    return { data, link }
  }

  async #set(id: string, session: object): Promise<void> {
    const link = this.#linkOf(id, session)
    const data = session as Stored
    const cookie = storedFastifyCookie(data.cookie, link.cookie)
    const stored = storedForm(link, data, cookie)
    if (!link.cookieless) link.cookie = cookie
    await link.copy.write(stored, this.#writeOptions(link, cookie))
  }

  #writeOptions(link: Link, cookie: StoredCookie | undefined): CopyWriteOptions {
    return {
      lifetime: (stored) =>
        secondsOf((stored.cookie as StoredCookie | null | undefined) ?? cookie, this.#opened.lifetime),
      address: addressOf(link.request),
      name: this.#opened.name,
    }
  }

  /**
   * Returns the old id if `regenerate` saves a new Session without destroying the old one, as @fastify/session does
   * before 11.1.3.
   */
  #replacedBy(id: string, session: object): string | undefined {
    if (this.#links.has(session)) return undefined
    // A Session has its request under a symbol. The request still has the old Session.
    const request = Object.getOwnPropertySymbols(session)
      .map((symbol) => (session as Record<symbol, unknown>)[symbol])
      .find((value) => typeof value === 'object' && value !== null && this.#requests.has(value))
    const { session: old } = (request ?? {}) as { session?: unknown }
    if (!isSession(old) || old.sessionId === id || old.sessionId === this.#destroyed) return undefined
    return old.sessionId
  }

  #linkOf(id: string, session: object): Link {
    const known = this.#links.get(session)
    if (known?.copy.id === id) return known
    // A Session that no request was given yet is new: `regenerate` saves it first.
    const link = this.#newLink(id)
    if (isSession(session) && session.sessionId === id) this.#links.set(session, link)
    return link
  }

  #newLink(id: string): Link {
    const copy = new WorkingCopy(this.#sessions, id, null)
    return { copy, cookie: undefined, cookieless: false, withheld: {}, request: undefined }
  }
}

interface Link extends SessionLink {
  /** The request that was given the Session. */
  request: object | undefined
}

interface Session {
  readonly sessionId: string
  readonly cookie: unknown
}

function isSession(session: unknown): session is Session {
  return typeof (session as Partial<Session> | null | undefined)?.sessionId === 'string'
}

/** @throws INVALID_ARGUMENT if the request has no session */
function sessionOf({ session }: { readonly session?: unknown }): Session {
  if (isSession(session)) return session
  throw new SessionPgsqlError(
    'INVALID_ARGUMENT',
    'Cannot change the session: the request has none. Register the plugin pgsqlSession, and look at the path of its cookie.',
  )
}

/** Links every Session that a request is given: at its start, by `regenerate` and by `reload`. */
// biome-ignore lint/suspicious/noExplicitAny: sessions of any data
function linkSessions(request: object, store: PgsqlStore<any>): void {
  let current: unknown = null
  Object.defineProperty(request, 'session', {
    configurable: true,
    enumerable: true,
    get: () => current,
    set(session: unknown) {
      current = session
      store.link(session, request)
    },
  })
}

/** The property names of @fastify/session's Session. */
const SHADOWED = new Set(
  'constructor destroy encryptedSessionId get isModified isSaved options regenerate reload save sessionId set touch __proto__'.split(
    ' ',
  ),
)

/**
 * Makes a cookie of @fastify/session expire when its session ends at the latest. What is stored stays as it is.
 *
 * @param endsAt returns the end in milliseconds since 1970, by this machine's clock
 */
function limitCookie(cookie: unknown, endsAt: () => number): void {
  if (typeof cookie !== 'object' || cookie === null || !('_expires' in cookie)) return
  interface Cookie {
    _expires: Date | null
  }
  const limited = ({ _expires: expires }: Cookie): Date | null =>
    expires instanceof Date ? new Date(Math.min(expires.getTime(), endsAt())) : expires
  const toJSON = toJsonOf(cookie) ?? (() => ({}))
  Object.defineProperties(cookie, {
    expires: {
      configurable: true,
      get(this: Cookie) {
        return limited(this)
      },
      set(this: Cookie, expires: Date | null) {
        this._expires = expires
      },
    },
    toJSON: {
      configurable: true,
      value(this: Cookie) {
        return { ...(toJSON.call(this) as object), expires: limited(this) }
      },
    },
  })
}

/** Returns the method `toJSON` of the cookie's class. */
function toJsonOf(cookie: object): (() => unknown) | undefined {
  const { toJSON } = Object.getPrototypeOf(cookie) as { toJSON?: unknown }
  return typeof toJSON === 'function' ? (toJSON as () => unknown) : undefined
}

/**
 * Returns the stored form of a cookie. Unlike express-session, @fastify/session takes a cookie with a fixed date
 * and no age: that date is stored. Its internal `originalExpires` is not.
 */
function storedFastifyCookie(cookie: unknown, before: StoredCookie | undefined): StoredCookie | undefined {
  if (typeof cookie !== 'object' || cookie === null) return undefined
  const json = (toJsonOf(cookie)?.call(cookie) ?? cookie) as Record<string, unknown>
  const { originalExpires: _, ...attributes } = json
  const { expires } = attributes
  if (typeof attributes.originalMaxAge === 'number' || !(expires instanceof Date)) {
    return storedCookie(attributes, before)
  }
  return { ...storedCookie({ ...attributes, expires: null }), expires: expires.toISOString() }
}

/** Returns the seconds that a session with this cookie lives. */
function secondsOf(cookie: StoredCookie | undefined, otherwise: number): number {
  if (typeof cookie?.originalMaxAge === 'number' || cookie?.expires === undefined) {
    return lifetimeOf(cookie, otherwise)
  }
  const left = (new Date(cookie.expires).getTime() - Date.now()) / 1000
  // Reads check the date itself. The row's expiry is in whole hours, so that not every request moves it.
  return Math.min(Math.max(1, Math.ceil(left / 3600)) * 3600, LONGEST_LIFETIME)
}
