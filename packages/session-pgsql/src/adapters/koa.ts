import { SessionPgsqlError } from '../errors.ts'
import type { SaveHandler } from '../save-handler.ts'
import { addressOf } from './shared/address.ts'
import { type AdapterHandler, type AdapterOptions, endOf, openHandler } from './shared/open-handler.ts'
import { type Stored, viewOf, withhold } from './shared/session-data.ts'
import { EXACT_BELOW, secondsOf } from './shared/stored-cookie.ts'
import type { SessionUpdate } from './shared/update-row.ts'
import { WorkingCopy } from './shared/working-copy.ts'

/**
 * Sessions for Koa, on koa-session: `session({ store: new PgsqlStore({ db }) }, app)`. docs/koa.md has a complete file.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { SessionUpdate } from './shared/update-row.ts'

/** The data of a session as it is stored: the application's keys, and koa-session's. */
export type StoredData<Data = Record<string, unknown>> = Partial<Data> & {
  /** Milliseconds since 1970. Stored only if `_maxAge` is below 5 minutes; otherwise the row's expiry is used. */
  _expire?: number | undefined
  /** Milliseconds. */
  _maxAge?: number | undefined
  /** True if the cookie lasts until the browser is closed. */
  _session?: boolean | undefined
}

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name`
 * 'koa.sess', `gcMaxlifetime` 86400.
 */
export type PgsqlStoreOptions<Data = Record<string, unknown>> = AdapterOptions<StoredData<Data>>

/** What koa-session passes with each call. `ctx` identifies the request. */
export interface KoaCall {
  readonly ctx?: unknown
}

/** The part of Koa's context that `update` uses, as koa-session extends it. */
interface KoaContext {
  // biome-ignore lint/suspicious/noExplicitAny: koa-session's Session, or null
  readonly session?: any
  readonly sessionOptions?: { readonly maxAge?: number | 'session' | undefined } | undefined
}

/**
 * koa-session's store on a save handler.
 *
 * Overlapping requests keep each other's changes, and a destroyed session is not written back: the store
 * remembers by `ctx` which row a request has read. It compares every save with that row, forced saves included,
 * and ignores `changed`. A database error is an error of the request.
 *
 * With koa-session's defaults the expiry moves only when the session changes. `rolling: true` or `renew: true`
 * extends it with each request. Both are cheap here: an unchanged session is touched once in a tenth of its
 * lifetime.
 *
 * For a new id at the login: `await ctx.session.regenerate()`, which keeps the data.
 */
export class PgsqlStore<Data = Record<string, unknown>> {
  /** The save handler, for `gc()`, `status()`, `findByField()` and so on. */
  readonly handler: SaveHandler<StoredData<Data>>
  readonly #sessions: SaveHandler<Stored>
  readonly #opened: AdapterHandler<StoredData<Data>>
  /** By `ctx`: the sessions of the request, by key. */
  readonly #requests: WeakMap<object, Map<string, Link>> = new WeakMap()

  /** @throws INVALID_OPTION */
  constructor(options: PgsqlStoreOptions<Data> = {}) {
    this.#opened = openHandler(options, 'koa.sess')
    this.handler = this.#opened.handler
    this.#sessions = this.handler as unknown as SaveHandler<Stored>
  }

  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void> {
    return this.#opened.close()
  }

  /** Reads the session with this key; undefined if it does not exist. */
  async get(
    key: string,
    _maxAge?: number | 'session' | undefined,
    { ctx }: KoaCall = {},
    // biome-ignore lint/suspicious/noExplicitAny: koa-session passes it to the application unchanged
  ): Promise<any> {
    const record = await this.#sessions.read(key)
    if (record === undefined) return undefined
    const copy = new WorkingCopy(this.#sessions, key, record)
    const { data } = record
    const withheld = withhold(data, isShadowed)
    this.#linksOf(ctx)?.set(key, { copy, withheld, isEnded: false })
    const age = data._maxAge
    if (typeof age === 'number' && data._expire === undefined) {
      // The row outlives the cookie: by what koa-session adds, and by the time that a touch may be late. At the end of
      // the session it does not.
      const latest = Date.now() + age
      const rowExpires = record.expires?.getTime() ?? Number.POSITIVE_INFINITY
      const isAtEnd = record.endsAt !== null && rowExpires >= record.endsAt.getTime()
      data._expire = Math.min(isAtEnd ? rowExpires : rowExpires - ADDED, latest)
    }
    return data
  }

  /**
   * Saves the changes of a session since this request read it.
   *
   * @param maxAge milliseconds; 'session' or undefined: `gcMaxlifetime`
   */
  async set(
    key: string,
    session: object,
    maxAge?: number | 'session' | undefined,
    { ctx }: KoaCall = {},
  ): Promise<void> {
    const link = this.#linkOf(ctx, key)
    const { _expire, ...data } = session as Stored
    const age = data._maxAge
    if (typeof age === 'number' && age < EXACT_BELOW) data._expire = _expire
    await link.copy.write(
      { ...data, ...link.withheld },
      {
        lifetime: secondsOf(maxAge) ?? this.#opened.lifetime,
        address: addressOf(ctx),
        name: this.#opened.name,
      },
    )
    const { maxLifetime } = this.#opened
    if (maxLifetime !== Number.POSITIVE_INFINITY) {
      limitCookie(ctx, key, () => endOf(link.copy.record, maxLifetime) - Date.now())
    }
  }

  /** Destroys a session. A request in progress does not write it back. */
  async destroy(key: string, { ctx }: KoaCall = {}): Promise<void> {
    this.#linkOf(ctx, key).isEnded = true
    await this.#sessions.destroy(key)
  }

  /**
   * Applies a function to the stored session of a request at once, such that no change of another request comes in
   * between: for counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one
   * session all take effect, in any number of processes.
   *
   * ```ts
   * const { value: granted } = await store.update(ctx, (data) => {
   *   if (data.redeemed) return false
   *   data.redeemed = true
   *   return true
   * })
   * ```
   *
   * `ctx.session` then shows the result, and what other requests have stored. What this request has changed in it and
   * not saved is kept, and saved at the end of the request as always; the function does not see it. A new session is
   * stored with the values that the function sets. After `ctx.session = null`, and if another request has destroyed the
   * session, the outcome is `gone`.
   *
   * @param ctx Koa's context
   * @param change receives a copy of the stored data, without the keys of koa-session. It changes that copy or returns a
   * new object, which becomes the data; any other return value (a primitive, an array, a part of the data) is only
   * returned to the caller. It must be synchronous and free of side effects: after a conflict it is called again.
   * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`;
   * INVALID_ARGUMENT if koa-session is not in use
   */
  async update<Value = void>(
    ctx: object,
    change: (data: Partial<Data>) => Value,
  ): Promise<SessionUpdate<Value>> {
    const { session, sessionOptions } = ctx as KoaContext
    const link = this.#currentLink(ctx)
    if (link === undefined) return { outcome: 'gone', value: undefined }
    const view = viewOf(session, {
      data: () => ({ ...session.toJSON(), ...link.withheld }),
      isHidden: (key) => isShadowed(key) || OWN.includes(key),
    })
    return link.copy.update(change as (data: Stored) => Value, view, {
      lifetime: ({ _maxAge: age = sessionOptions?.maxAge }) =>
        secondsOf(typeof age === 'number' ? age + ADDED : undefined) ?? this.#opened.lifetime,
      address: addressOf(ctx),
      name: this.#opened.name,
    })
  }

  /**
   * Sets the custom field of a request's session, for example to the user's id at the login: `handler.findByField`,
   * `destroyByField` and `devices` select sessions by it. The session is saved at the end of the request. After
   * `regenerate`, the field belongs to the new session. After `ctx.session = null`, nothing is stored.
   *
   * @param ctx Koa's context
   * @param value null clears the field
   * @throws INVALID_ARGUMENT if the value is not text that PostgreSQL can store, or koa-session is not in use
   */
  setField(ctx: object, value: string | null): void {
    const link = this.#currentLink(ctx)
    if (link === undefined) return
    link.copy.setField(value)
    // koa-session would not save unchanged data.
    ;(ctx as KoaContext).session._requireSave = true
  }

  /** Returns the link of the request's session; undefined if the request has destroyed it. @throws INVALID_ARGUMENT */
  #currentLink(ctx: object): Link | undefined {
    const { session } = ctx as KoaContext
    if (session === undefined) {
      throw new SessionPgsqlError(
        'INVALID_ARGUMENT',
        'Cannot change the session: the context has none. Add the middleware session({ store }, app) of koa-session before.',
      )
    }
    const key = session === null ? undefined : this.#keyOf(ctx, session.externalKey)
    return key === undefined ? undefined : this.#linkOf(ctx, key)
  }

  /** Returns the key of the request's session: koa-session's Session keeps the former key after `regenerate`. */
  #keyOf(ctx: object, externalKey: string | undefined): string | undefined {
    const links = [...(this.#linksOf(ctx) ?? [])]
    const isEnded = links.some(([key, link]) => key === externalKey && link.isEnded)
    return isEnded ? links.findLast(([, link]) => !link.isEnded)?.[0] : externalKey
  }

  /** Returns the link of a session that the request has read or creates. */
  #linkOf(ctx: unknown, key: string): Link {
    const links = this.#linksOf(ctx)
    const known = links?.get(key)
    if (known !== undefined) return known
    // A session that the request has not read is new. It must not replace a session of another request.
    const copy = new WorkingCopy(this.#sessions, key, links === undefined ? undefined : null)
    const link: Link = { copy, withheld: {}, isEnded: false }
    links?.set(key, link)
    return link
  }

  #linksOf(ctx: unknown): Map<string, Link> | undefined {
    if (typeof ctx !== 'object' || ctx === null) return undefined
    let links = this.#requests.get(ctx)
    if (links === undefined) {
      links = new Map()
      this.#requests.set(ctx, links)
    }
    return links
  }
}

/** The cookies of Koa's context, as far as they are used here. */
interface KoaCookies {
  set(name: string, value?: string | null, options?: { readonly maxAge?: unknown }): unknown
}

/**
 * Makes the cookie that koa-session sets after a save expire when the session ends at the latest. Its own option
 * `maxAge` stays as it is: koa-session stores it with the session.
 *
 * @param key the session's key, the value of the cookie
 * @param left returns the milliseconds until the end
 */
function limitCookie(ctx: unknown, key: string, left: () => number): void {
  const { cookies } = (ctx ?? {}) as { cookies?: KoaCookies }
  if (typeof cookies?.set !== 'function') return
  const set = cookies.set.bind(cookies)
  cookies.set = (name, value, options) => {
    const age = options?.maxAge
    const isTooLong = value === key && typeof age === 'number' && age > left()
    return set(name, value, isTooLong ? { ...options, maxAge: Math.max(0, left()) } : options)
  }
}

interface Link {
  readonly copy: WorkingCopy
  /** The keys that koa-session's Session hides; see `withhold`. */
  readonly withheld: Stored
  /** The request has destroyed the session. */
  isEnded: boolean
}

/** Milliseconds that koa-session adds to the maxAge, so that the stored session outlives the cookie. */
const ADDED = 10_000

/** The keys that koa-session adds to the data. */
const OWN = ['_expire', '_maxAge', '_session']

/** The property names of koa-session's Session. */
const SHADOWED = new Set(
  'commit constructor externalKey isNew length manuallyCommit maxAge populated regenerate save toJSON __proto__'.split(
    ' ',
  ),
)

function isShadowed(key: string): boolean {
  return SHADOWED.has(key) || (key.startsWith('_') && !OWN.includes(key))
}
