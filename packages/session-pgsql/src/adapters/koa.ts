import type { SaveHandler } from '../save-handler.ts'
import { addressOf } from './shared/address.ts'
import { type AdapterHandler, type AdapterOptions, openHandler } from './shared/open-handler.ts'
import { type Stored, withhold } from './shared/session-data.ts'
import { EXACT_BELOW, secondsOf } from './shared/stored-cookie.ts'
import { WorkingCopy } from './shared/working-copy.ts'

/** Sessions for Koa, on koa-session: `session({ store: new PgsqlStore({ db }) }, app)`. */

export type { SharedHandlerOptions } from './shared/open-handler.ts'

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
    this.#linksOf(ctx)?.set(key, { copy, withheld })
    const age = data._maxAge
    if (typeof age === 'number' && data._expire === undefined) {
      // The row outlives the cookie: by what koa-session adds, and by the time that a touch may be late.
      const latest = Date.now() + age
      data._expire = Math.min((record.expires?.getTime() ?? Number.POSITIVE_INFINITY) - ADDED, latest)
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
    const links = this.#linksOf(ctx)
    let link = links?.get(key)
    if (link === undefined) {
      // The request has not read this session, so it creates it. It must not replace a session of another request.
      const base = links === undefined ? undefined : null
      link = { copy: new WorkingCopy(this.#sessions, key, base), withheld: {} }
      links?.set(key, link)
    }
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
  }

  /** Destroys a session. A request in progress does not write it back. */
  async destroy(key: string, _call?: KoaCall): Promise<void> {
    await this.#sessions.destroy(key)
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

interface Link {
  readonly copy: WorkingCopy
  /** The keys that koa-session's Session hides; see `withhold`. */
  readonly withheld: Stored
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
