import { applyChange, checkChange } from '../apply-change.ts'
import type { SaveHandler } from '../save-handler.ts'
import { addressOf } from './shared/address.ts'
import { type AdapterHandler, type AdapterOptions, endOf, openHandler } from './shared/open-handler.ts'
import { checkField, RequestState } from './shared/request-state.ts'
import type { Stored } from './shared/session-data.ts'
import type { SessionUpdate } from './shared/update-row.ts'
import { WorkingCopy } from './shared/working-copy.ts'

/**
 * Sessions for Hono, on @hono/session: `app.use(pgsqlSessions({ db }), useSession({ secret }))`. docs/hono.md has a
 * complete file.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { SessionUpdate } from './shared/update-row.ts'

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name`
 * 'sid', `gcMaxlifetime` 86400.
 *
 * A session lives for `gcMaxlifetime` seconds after its last request. The `duration` of @hono/session, which is
 * the cookie's, should not be longer.
 */
export type PgsqlSessionsOptions<Data = Record<string, unknown>> = AdapterOptions<Data>

/** The part of Hono's Context that the middleware uses. */
export interface HonoContext {
  // biome-ignore lint/suspicious/noExplicitAny: depends on the runtime
  readonly env?: any
  // biome-ignore lint/suspicious/noExplicitAny: Hono's own knows the application's variables
  set(key: any, value: any): void
  // biome-ignore lint/suspicious/noExplicitAny: Hono's own knows the application's variables
  get(key: any): any
  /** The response. */
  readonly res: { readonly headers: Headers }
}

/** The part of Hono's Context that `updateSession` uses, as @hono/session extends it. */
export interface HonoContextWithSession<Data> extends HonoContext {
  readonly var: { readonly session: HonoSession<Data> }
}

/** The part of the Session of @hono/session that `updateSession` uses. */
export interface HonoSession<Data> {
  readonly data: Data | null
  readonly id: string | null
  get(): Promise<Data | null>
  update(data: never): Promise<void>
}

/** The middleware and its save handler. */
export interface PgsqlSessions<Data> {
  (context: HonoContext, next: () => Promise<void>): Promise<void>
  /** The save handler, for `gc()`, `status()`, `findByField()` and so on. */
  readonly handler: SaveHandler<Data>
  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void>
}

/**
 * Creates the middleware that goes before `useSession` of @hono/session, instead of `useSessionStorage`.
 *
 * It remembers what each request has read, so that overlapping requests keep each other's changes and a destroyed
 * session is not written back. @hono/session does not wait for its writes. This middleware does, before the
 * response is sent: a failed write is an error of the request, never an unhandled rejection. It extends the
 * expiry of a session that is only read.
 *
 * Within a request, every `session.get()` returns the data that the first one has read.
 *
 * Limitations of @hono/session: `session.delete()` removes only the cookie if the request has not read the
 * session, so call `await session.get()` first. It does not change the session's id at the login; for that call
 * `regenerateSession`.
 *
 * @throws INVALID_OPTION
 */
export function pgsqlSessions<Data = Record<string, unknown>>(
  options: PgsqlSessionsOptions<Data> = {},
): PgsqlSessions<Data> {
  const opened = openHandler<Data>(options, 'sid')
  const middleware = async (context: HonoContext, next: () => Promise<void>): Promise<void> => {
    // Only @hono/node-server gives Node's request, and with it the client's address.
    const address = addressOf(context.env?.incoming)
    const storage = new RequestStorage(opened as unknown as AdapterHandler<Stored>, address)
    context.set(VARIABLE, storage)
    try {
      await next()
    } catch (error) {
      // The request fails with this error, which came first.
      await storage.settled().catch(() => {})
      throw error
    }
    await storage.settled()
    if (storage.left !== Number.POSITIVE_INFINITY) limitCookie(context.res.headers, storage.left)
  }
  return Object.assign(middleware, { handler: opened.handler, close: () => opened.close() })
}

/**
 * Gives the session a new id. Call it at the login: the old session is destroyed, so that an attacker who knows its
 * id is not logged in. Then call `session.update` with the data to keep.
 *
 * ```ts
 * const data = await c.var.session.get()
 * await regenerateSession(c)
 * await c.var.session.update({ ...data, user })
 * ```
 *
 * @throws TypeError if the middleware `pgsqlSessions` is not installed
 */
export async function regenerateSession(context: HonoContext): Promise<void> {
  await storageOf(context, 'regenerate').regenerate()
}

/**
 * Applies a function to the stored session of a request at once, such that no change of another request comes in
 * between: for counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one
 * session all take effect, in any number of processes.
 *
 * ```ts
 * const { value: granted } = await updateSession(c, (data) => {
 *   if (data.redeemed) return false
 *   data.redeemed = true
 *   return true
 * })
 * ```
 *
 * `session.get()` still returns the data that the request has read first, so that a `session.update` with that data
 * undoes nothing. To use a new value in the request, return it from the function. A session that does not exist yet is
 * created with the response, as by `session.update`. After `session.delete()`, and if another request has destroyed the
 * session, the outcome is `gone`.
 *
 * @param change receives a copy of the stored data. It changes that copy or returns a new object, which becomes the data;
 * any other return value (a primitive, an array, a part of the data) is only returned to the caller. It must be
 * synchronous and free of side effects: after a conflict it is called again.
 * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`; TypeError
 * if the middleware `pgsqlSessions` or `useSession` is not installed
 */
export async function updateSession<Data, Value = void>(
  context: HonoContextWithSession<Data>,
  change: (data: Partial<Data>) => Value,
): Promise<SessionUpdate<Value>> {
  const session: HonoSession<Data> | undefined = context.get('session')
  if (session === undefined) {
    throw new TypeError('Cannot update the session: the middleware useSession is not installed.')
  }
  return storageOf(context, 'update').update(
    session as unknown as HonoSession<Stored>,
    change as (data: Stored) => Value,
  )
}

/**
 * Sets the custom field of a request's session, for example to the user's id at the login: `handler.findByField`,
 * `destroyByField` and `devices` select sessions by it. It is stored with the response, in the session that the request
 * has updated or, without an update, has read.
 *
 * @param value null clears the field
 * @throws INVALID_ARGUMENT if the value is not text that PostgreSQL can store; TypeError if the middleware
 * `pgsqlSessions` is not installed
 */
export function setSessionField(context: HonoContext, value: string | null): void {
  storageOf(context, 'change').setField(value)
}

function storageOf(context: HonoContext, purpose: 'regenerate' | 'update' | 'change'): RequestStorage {
  const storage = context.get(VARIABLE)
  if (storage instanceof RequestStorage) return storage
  throw new TypeError(
    `Cannot ${purpose} the session: the middleware pgsqlSessions is not installed. Add it before useSession.`,
  )
}

/** The name of @hono/session's cookie. */
const COOKIE = 'sid'

/**
 * Makes the cookie of the session expire when the session ends at the latest.
 *
 * @param left seconds until the end
 */
function limitCookie(headers: Headers, left: number): void {
  const cookies = headers.getSetCookie()
  const limited = cookies.map((cookie) =>
    cookie.startsWith(`${COOKIE}=`)
      ? cookie.replace(/(; *max-age=)(\d+)/i, (whole, name: string, age: string) =>
          Number(age) > left ? name + Math.max(0, Math.floor(left)) : whole,
        )
      : cookie,
  )
  if (limited.every((cookie, index) => cookie === cookies[index])) return
  headers.delete('set-cookie')
  for (const cookie of limited) headers.append('set-cookie', cookie)
}

/** The context variable in which @hono/session expects its storage. */
const VARIABLE = 'sessionStorage'

/** The storage of one request. */
class RequestStorage {
  readonly #opened: AdapterHandler<Stored>
  readonly #address: string | undefined
  /** The sessions that the request has read, by id; null: absent. */
  readonly #read: Map<string, Promise<Read | null>> = new Map()
  /** The sessions that the request has created, by id. */
  readonly #created: Map<string, WorkingCopy> = new Map()
  /** Ids that were written or destroyed. The others are touched. */
  readonly #changed: Set<string> = new Set()
  /** Ids that `update` has written, without the custom field: they are touched only if it is set. */
  readonly #updated: Set<string> = new Set()
  readonly #pending: Promise<unknown>[] = []
  readonly #request: RequestState = new RequestState()
  /** What updates have set in a session that is not stored yet. */
  #unstored: Stored = {}
  /** What the last of them has given to `session.update`. */
  #given: Stored | undefined
  #isRegenerated = false
  /** When the session that was written ends at the latest, in milliseconds since 1970. */
  #end = Number.POSITIVE_INFINITY

  constructor(opened: AdapterHandler<Stored>, address: string | undefined) {
    this.#opened = opened
    this.#address = address
  }

  // biome-ignore lint/suspicious/noExplicitAny: the application's data, as @hono/session types it
  async get(id: string): Promise<any> {
    if (this.#isRegenerated && !this.#created.has(id)) {
      await this.#destroy(id)
      return null
    }
    let reading = this.#read.get(id)
    if (reading === undefined) {
      reading = this.#load(id)
      this.#read.set(id, reading)
    }
    const read = await reading
    // A copy for each caller: a change of one must not show in another.
    return read && this.#opened.handler.snapshot(read.data)
  }

  set(id: string, data: Stored): void {
    this.#changed.add(id)
    this.#keep(this.#write(id, this.#opened.handler.snapshot(data)))
  }

  delete(id: string): void {
    this.#keep(this.#destroy(id))
  }

  async update<Value>(
    session: HonoSession<Stored>,
    change: (data: Stored) => Value,
  ): Promise<SessionUpdate<Value>> {
    const id = await currentId(session)
    if (id === undefined) return { outcome: 'gone', value: undefined }
    const { handler, name, lifetime } = this.#opened
    const read = await this.#read.get(id)
    if (read && !this.#isRegenerated) {
      this.#updated.add(id)
      return read.copy.update(change, undefined, {
        lifetime,
        name,
        address: this.#address,
        request: this.#request,
      })
    }
    checkChange(change)
    const before = this.#unstored
    const { data, value } = applyChange(change, handler.snapshot(before), () => handler.snapshot(before))
    this.#unstored = handler.snapshot(data)
    if (Object.keys(data).length === 0) return { outcome: 'skipped', value }
    // @hono/session stores what `session.update` was given last. If the request has called it, that is not replaced.
    const isUnset = read || session.data === null || session.data === this.#given
    if (isUnset) {
      this.#given = handler.snapshot(data)
      await session.update(this.#given as never)
    }
    return { outcome: 'created', value }
  }

  setField(value: string | null): void {
    checkField(value)
    this.#request.custom = value
  }

  async regenerate(): Promise<void> {
    this.#isRegenerated = true
    await Promise.all([...this.#read.keys()].map((id) => this.#destroy(id)))
  }

  /** Seconds until the session ends at the latest; Infinity: never, or the request has no session. */
  get left(): number {
    return (this.#end - Date.now()) / 1000
  }

  /** Waits for all reads and writes, and rejects with the first error. */
  async settled(): Promise<void> {
    for (const [id, reading] of this.#read) {
      const isWritten = this.#changed.has(id) || (this.#updated.has(id) && !this.#request.hasMetadata)
      if (!isWritten) this.#keep(this.#touch(reading))
    }
    for (const result of await Promise.allSettled(this.#pending)) {
      if (result.status === 'rejected') throw result.reason
    }
  }

  async #load(id: string): Promise<Read | null> {
    const { handler } = this.#opened
    const record = await handler.read(id)
    if (record === undefined) return null
    return { copy: new WorkingCopy(handler, id, record), data: record.data }
  }

  async #write(id: string, data: Stored): Promise<void> {
    const { handler, name, lifetime } = this.#opened
    const about = { lifetime, name, address: this.#address, request: this.#request }
    const read = await this.#read.get(id)
    const copy = read?.copy ?? this.#created.get(id) ?? new WorkingCopy(handler, id, null)
    if (!read) this.#created.set(id, copy)
    await copy.write(read ? data : { ...this.#unstored, ...data }, about)
    this.#end = endOf(copy.record, this.#opened.maxLifetime)
  }

  async #destroy(id: string): Promise<void> {
    this.#changed.add(id)
    await this.#opened.handler.destroy(id)
  }

  async #touch(reading: Promise<Read | null>): Promise<void> {
    // An error of the read is already that of the caller of `get`.
    const read = await reading.catch(() => null)
    await read?.copy.touch({ lifetime: this.#opened.lifetime, request: this.#request })
  }

  #keep(work: Promise<void>): void {
    // Until `settled` handles it, a rejection must not count as unhandled.
    work.catch(() => {})
    this.#pending.push(work)
  }
}

/** Returns the id of the request's session, stored or not; undefined if the request has deleted it. */
async function currentId(session: HonoSession<Stored>): Promise<string | undefined> {
  try {
    return session.id ?? undefined
  } catch (error) {
    // @hono/session throws such an error for a session that was deleted, and another one before the first `get`.
    if (error instanceof Error && error.message.includes('destroyed')) return undefined
  }
  await session.get()
  return session.id ?? undefined
}

/** A session that the request has read. */
interface Read {
  readonly copy: WorkingCopy
  /** The data as it was read. */
  readonly data: Stored
}
