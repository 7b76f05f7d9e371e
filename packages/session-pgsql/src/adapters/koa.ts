import type { SaveHandler } from '../save-handler.ts'
import { type AdapterHandler, type AdapterOptions, openHandler } from './shared/open-handler.ts'
import { LONGEST_LIFETIME } from './shared/stored-cookie.ts'
import { keysOf, type Stored, WorkingCopy, withhold } from './shared/working-copy.ts'

/** Sessions of Koa, by koa-session: `session({ store: new PgsqlStore({ db }) }, app)`. */

export type { SharedHandlerOptions } from './shared/open-handler.ts'

/** The data of a session as it is stored: what the application keeps, and what koa-session adds. */
export type StoredData<Data = Record<string, unknown>> = Partial<Data> & {
  /** Milliseconds since 1970; only below 5 minutes of `_maxAge`. Otherwise the row's expiry stands for it. */
  _expire?: number | undefined
  /** Milliseconds. */
  _maxAge?: number | undefined
  /** It lasts until the browser is closed. */
  _session?: boolean | undefined
}

/** All options of a save handler, with `shortCircuit` true, `name` 'koa.sess' and `gcMaxlifetime` 86400 by default; or a `handler` to share. */
export type PgsqlStoreOptions<Data = Record<string, unknown>> = AdapterOptions<StoredData<Data>>

/** What koa-session passes along; its `ctx` ties the calls of one request together. */
export interface KoaCall {
  readonly ctx?: unknown
}

/** Milliseconds of `_maxAge` below which the row's whole seconds are too coarse. */
const EXACT_BELOW = 300_000

/**
 * koa-session's store on a save handler.
 *
 * Requests that overlap do not undo each other's changes, and what was destroyed meanwhile is not written back:
 * the row that a request has read is remembered by its `ctx`. Every save is compared with that row, forced ones
 * too; `changed` is not relied on. An error of the database is an error of the request.
 *
 * With koa-session's defaults an expiry moves only when the session changes; `rolling: true` or `renew: true`
 * moves it on. Both are cheap here: an unchanged session is touched only once in a tenth of its lifetime.
 *
 * New id at the sign-in: `await ctx.session.regenerate()`, which takes the data along.
 */
export class PgsqlStore<Data = Record<string, unknown>> {
  /** What the sessions go through: for `gc()`, `status()`, `findByField()` and the like. */
  readonly handler: SaveHandler<StoredData<Data>>
  readonly #sessions: SaveHandler<Stored>
  readonly #opened: AdapterHandler<StoredData<Data>>
  readonly #requests: WeakMap<object, Map<string, Held>> = new WeakMap()

  /** @throws INVALID_OPTION */
  constructor(options: PgsqlStoreOptions<Data> = {}) {
    this.#opened = openHandler(options, 'koa.sess')
    this.handler = this.#opened.handler
    this.#sessions = this.handler as unknown as SaveHandler<Stored>
  }

  /** Waits for what is under way and closes the connections; a shared handler stays open. */
  close(): Promise<void> {
    return this.#opened.close()
  }

  /** What is stored under this key; undefined if there is nothing. */
  async get(
    key: string,
    _maxAge?: number | 'session' | undefined,
    { ctx }: KoaCall = {},
    // biome-ignore lint/suspicious/noExplicitAny: koa-session hands it on as it is
  ): Promise<any> {
    const record = await this.#sessions.read(key)
    if (record === undefined) return undefined
    const copy = new WorkingCopy(this.#sessions, key, record)
    const data = keysOf(record)
    const withheld = withhold(data, isShadowed)
    this.#heldBy(ctx)?.set(key, { copy, withheld })
    const age = data._maxAge
    if (typeof age === 'number' && data._expire === undefined) {
      // The row lives for longer than the cookie by what koa-session adds and by what a touch may be late.
      const latest = Date.now() + age
      data._expire = Math.min((record.expires?.getTime() ?? Number.POSITIVE_INFINITY) - ADDED, latest)
    }
    return data
  }

  /**
   * Saves a session, as its difference from what this request has read.
   *
   * @param maxAge milliseconds; 'session' or undefined: `gcMaxlifetime`
   */
  async set(
    key: string,
    session: object,
    maxAge?: number | 'session' | undefined,
    { ctx }: KoaCall = {},
  ): Promise<void> {
    const held = this.#heldBy(ctx)
    let known = held?.get(key)
    if (known === undefined) {
      // A request that has not read it has made it, and must not fall over somebody else's.
      known = { copy: new WorkingCopy(this.#sessions, key, held === undefined ? undefined : null) }
      held?.set(key, known)
    }
    const { _expire, ...data } = session as Stored
    const age = data._maxAge
    if (typeof age === 'number' && age < EXACT_BELOW) data._expire = _expire
    await known.copy.write(
      { ...data, ...known.withheld },
      {
        lifetime: secondsOf(maxAge) ?? this.#opened.lifetime,
        address: addressOf(ctx),
        name: this.#opened.name,
      },
    )
  }

  /** Removes a session, for good: a request that is under way does not bring it back. */
  async destroy(key: string, _call?: KoaCall): Promise<void> {
    await this.#sessions.destroy(key)
  }

  #heldBy(ctx: unknown): Map<string, Held> | undefined {
    if (typeof ctx !== 'object' || ctx === null) return undefined
    let held = this.#requests.get(ctx)
    if (held === undefined) {
      held = new Map()
      this.#requests.set(ctx, held)
    }
    return held
  }
}

interface Held {
  readonly copy: WorkingCopy
  /** What koa-session's Session would not show. */
  readonly withheld?: Stored
}

/** Milliseconds that koa-session adds to the maxAge, so that the store forgets after the browser. */
const ADDED = 10_000

/** koa-session's own. */
const OWN = ['_expire', '_maxAge', '_session']

/** What its Session has itself. */
const SHADOWED = new Set(
  'commit constructor externalKey isNew length manuallyCommit maxAge populated regenerate save toJSON __proto__'.split(
    ' ',
  ),
)

function isShadowed(key: string): boolean {
  return SHADOWED.has(key) || (key.startsWith('_') && !OWN.includes(key))
}

function secondsOf(maxAge: unknown): number | undefined {
  if (typeof maxAge !== 'number' || !Number.isFinite(maxAge)) return undefined
  return Math.min(Math.max(0, maxAge / 1000), LONGEST_LIFETIME)
}

function addressOf(ctx: unknown): string | undefined {
  const { ip } = (ctx ?? {}) as { ip?: unknown }
  return typeof ip === 'string' && ip !== '' ? ip : undefined
}
