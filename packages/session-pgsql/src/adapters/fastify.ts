import fastifySession, { type FastifySessionOptions } from '@fastify/session'
import type { SaveHandler } from '../save-handler.ts'
import { type Callback, settle } from './shared/callbacks.ts'
import { type AdapterHandler, type AdapterOptions, openHandler } from './shared/open-handler.ts'
import {
  LONGEST_LIFETIME,
  lifetimeOf,
  restoredCookie,
  type StoredCookie,
  sameAttributes,
  storedCookie,
} from './shared/stored-cookie.ts'
import { keysOf, type Stored, WorkingCopy, withhold } from './shared/working-copy.ts'

/**
 * Sessions of Fastify, by @fastify/session. The plugin `pgsqlSession` is registered in its place, with the same
 * options: `app.register(pgsqlSession, { store: new PgsqlStore({ db }), secret })`.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { StoredCookie } from './shared/stored-cookie.ts'

/** The data of a session as it is stored: what the application keeps, and the cookie's attributes. */
export type StoredData<Data = Record<string, unknown>> = Partial<Omit<Data, 'cookie'>> & {
  cookie?: StoredCookie | null
}

/** All options of a save handler, with `shortCircuit` true, `name` 'sessionId' and `gcMaxlifetime` 86400 by default; or a `handler` to share. */
export type PgsqlStoreOptions<Data = Record<string, unknown>> = AdapterOptions<StoredData<Data>>

/** What @fastify/session takes, with our store. */
export interface PgsqlSessionOptions extends Omit<FastifySessionOptions, 'store'> {
  // biome-ignore lint/suspicious/noExplicitAny: sessions of whatever data
  readonly store: PgsqlStore<any>
}

/** The least of Fastify that is needed here. */
export interface FastifyLike {
  // biome-ignore lint/suspicious/noExplicitAny: Fastify's own has an overload for each hook
  addHook(name: any, hook: any): unknown
  // biome-ignore lint/suspicious/noExplicitAny: of whatever plugin
  register(plugin: any, options?: any): PromiseLike<unknown>
}

/**
 * @fastify/session on a save handler. @fastify/session copies what a store gives it; a hook before it ties the
 * copy to its row, so that a request writes its difference from what it has read. At the end the save handler
 * is closed, unless it is shared.
 *
 * It wants @fastify/cookie, as @fastify/session does, and no @fastify/session beside it.
 */
export async function pgsqlSession(fastify: FastifyLike, options: PgsqlSessionOptions): Promise<void> {
  const { store } = options
  fastify.addHook('onRequest', (request: object, _reply: unknown, done: () => void) => {
    follow(request, store)
    done()
  })
  fastify.addHook('onClose', () => store.close())
  await fastify.register(fastifySession, options)
}

// What fastify-plugin does: hooks and decorators belong to the application, not to the plugin alone.
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
 * Requests that overlap do not undo each other's changes, and what was destroyed meanwhile is not written back.
 * With `rolling: true`, @fastify/session's default, every request saves; only what has changed is written, and
 * an expiry that is old enough is moved. An error of the database is an error of the request.
 *
 * New id at the sign-in: `await request.session.regenerate()`.
 *
 * Given to @fastify/session without the plugin, or a plain object, it has nothing to compare with: a save merges
 * into what is there, and deletions come undone. So it is for requests that are made up for `decryptSession`.
 */
export class PgsqlStore<Data = Record<string, unknown>> {
  /** What the sessions go through: for `gc()`, `status()`, `findByField()` and the like. */
  readonly handler: SaveHandler<StoredData<Data>>
  readonly #sessions: SaveHandler<Stored>
  readonly #opened: AdapterHandler<StoredData<Data>>
  /** By @fastify/session's Session. */
  readonly #links: WeakMap<object, Link> = new WeakMap()
  /** What is being handed over at this moment: @fastify/session makes its Session of it before anything else runs. */
  #given: Link | undefined

  /** @throws INVALID_OPTION */
  constructor(options: PgsqlStoreOptions<Data> = {}) {
    this.#opened = openHandler(options, 'sessionId')
    this.handler = this.#opened.handler
    this.#sessions = this.handler as unknown as SaveHandler<Stored>
  }

  /** Waits for what is under way and closes the connections; a shared handler stays open. */
  close(): Promise<void> {
    return this.#opened.close()
  }

  /** What is stored under this id; undefined if there is nothing. */
  // biome-ignore lint/suspicious/noExplicitAny: @fastify/session's own type, which the application extends
  get(id: string, callback: (error: unknown, session?: any) => void): void {
    settle(this.#get(id), (error, found) => {
      this.#given = found?.link
      try {
        callback(error, found?.data)
      } finally {
        this.#given = undefined
      }
    })
  }

  /** Saves a session as it is at this moment; later changes are not meant. */
  set(id: string, session: object, callback: (error?: unknown) => void): void {
    settle(this.#set(id, session), callback)
  }

  /** Removes a session, for good: a request that is under way does not bring it back. */
  destroy(id: string, callback: (error?: unknown) => void): void {
    settle(this.#sessions.destroy(id), callback as Callback<boolean>)
  }

  /** @internal A request has been given its Session. */
  adopt(session: unknown, request: object): void {
    if (!isSession(session)) return
    const given = this.#given?.copy.id === session.sessionId ? this.#given : undefined
    const link = given ?? this.#links.get(session) ?? this.#newLink(session.sessionId)
    this.#given = undefined
    link.request = request
    if (link.cookieless) link.cookie = storedFastifyCookie(session.cookie, undefined)
    this.#links.set(session, link)
  }

  async #get(id: string): Promise<{ data: Stored; link: Link } | undefined> {
    const record = await this.#sessions.read(id)
    if (record === undefined) return undefined
    const copy = new WorkingCopy(this.#sessions, id, record)
    const data = keysOf(record)
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
    const { cookie: given, ...data } = session as Stored
    const cookie = storedFastifyCookie(given, link.cookie)
    const isKept = link.cookieless && sameAttributes(cookie, link.cookie)
    if (!link.cookieless) link.cookie = cookie
    const kept = isKept || cookie === undefined ? {} : { cookie }
    await link.copy.write(
      { ...kept, ...data, ...link.withheld },
      {
        lifetime: (stored) =>
          secondsOf((stored.cookie as StoredCookie | null | undefined) ?? cookie, this.#opened.lifetime),
        address: addressOf(link.request),
        name: this.#opened.name,
      },
    )
  }

  #linkOf(id: string, session: object): Link {
    const known = this.#links.get(session)
    if (known?.copy.id === id) return known
    // A Session that no request has been given yet is new: `regenerate` saves it first.
    const link = this.#newLink(id)
    if (isSession(session) && session.sessionId === id) this.#links.set(session, link)
    return link
  }

  #newLink(id: string): Link {
    const copy = new WorkingCopy(this.#sessions, id, null)
    return { copy, cookie: undefined, cookieless: false, withheld: {}, request: undefined }
  }
}

/** What ties a Session to the row that it was made from. */
interface Link {
  readonly copy: WorkingCopy
  /** As it was when it was last in step. */
  cookie: StoredCookie | undefined
  /** The row has none, as PHP's have none: it is not given one as long as nobody changes it. */
  readonly cookieless: boolean
  /** What the Session would not show. */
  readonly withheld: Stored
  request: object | undefined
}

interface Session {
  readonly sessionId: string
  readonly cookie: unknown
}

function isSession(session: unknown): session is Session {
  return typeof (session as Partial<Session> | null | undefined)?.sessionId === 'string'
}

/** Tells the store of each Session that a request is given: at its beginning, by `regenerate` and by `reload`. */
// biome-ignore lint/suspicious/noExplicitAny: sessions of whatever data
function follow(request: object, store: PgsqlStore<any>): void {
  let current: unknown = null
  Object.defineProperty(request, 'session', {
    configurable: true,
    enumerable: true,
    get: () => current,
    set(session: unknown) {
      current = session
      store.adopt(session, request)
    },
  })
}

/** Names that a Session of @fastify/session has itself. */
const SHADOWED = new Set(
  'constructor destroy encryptedSessionId get isModified isSaved options regenerate reload save sessionId set touch __proto__'.split(
    ' ',
  ),
)

/** A cookie's stored form. Of a cookie with a date and no age the date is kept; @fastify/session's own note of it is not. */
function storedFastifyCookie(cookie: unknown, before: StoredCookie | undefined): StoredCookie | undefined {
  if (typeof cookie !== 'object' || cookie === null) return undefined
  const { toJSON } = cookie as { toJSON?: unknown }
  const json = (typeof toJSON === 'function' ? toJSON.call(cookie) : cookie) as Record<string, unknown>
  const { originalExpires: _, ...attributes } = json
  const { expires } = attributes
  if (typeof attributes.originalMaxAge === 'number' || !(expires instanceof Date)) {
    return storedCookie(attributes, before)
  }
  return { ...storedCookie({ ...attributes, expires: null }), expires: expires.toISOString() }
}

/** How long a session with this cookie lives, in seconds. */
function secondsOf(cookie: StoredCookie | undefined, otherwise: number): number {
  if (typeof cookie?.originalMaxAge === 'number' || cookie?.expires === undefined) {
    return lifetimeOf(cookie, otherwise)
  }
  const left = (new Date(cookie.expires).getTime() - Date.now()) / 1000
  // The date itself is judged at the read. In hours, so that the row is not moved at every request.
  return Math.min(Math.max(1, Math.ceil(left / 3600)) * 3600, LONGEST_LIFETIME)
}

function addressOf(request: object | undefined): string | undefined {
  const { ip } = (request ?? {}) as { ip?: unknown }
  return typeof ip === 'string' && ip !== '' ? ip : undefined
}
