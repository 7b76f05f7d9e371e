import type { SaveHandler } from '../save-handler.ts'
import { addressOf } from './shared/address.ts'
import { type AdapterHandler, type AdapterOptions, openHandler } from './shared/open-handler.ts'
import type { Stored } from './shared/session-data.ts'
import { WorkingCopy } from './shared/working-copy.ts'

/** Sessions for Hono, on @hono/session: `app.use(pgsqlSessions({ db }), useSession({ secret }))`. */

export type { SharedHandlerOptions } from './shared/open-handler.ts'

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
 * Within a request every `session.get()` returns what the first one has read.
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
  const storage = context.get(VARIABLE)
  if (!(storage instanceof RequestStorage)) {
    throw new TypeError(
      'Cannot regenerate the session: the middleware pgsqlSessions is not installed. Add it before useSession.',
    )
  }
  await storage.regenerate()
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
  readonly #pending: Promise<unknown>[] = []
  #isRegenerated = false

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

  async regenerate(): Promise<void> {
    this.#isRegenerated = true
    await Promise.all([...this.#read.keys()].map((id) => this.#destroy(id)))
  }

  /** Waits for all reads and writes, and rejects with the first error. */
  async settled(): Promise<void> {
    for (const [id, reading] of this.#read) {
      if (!this.#changed.has(id)) this.#keep(this.#touch(reading))
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
    let copy = (await this.#read.get(id))?.copy ?? this.#created.get(id)
    if (copy === undefined) {
      copy = new WorkingCopy(handler, id, null)
      this.#created.set(id, copy)
    }
    await copy.write(data, { lifetime, name, address: this.#address })
  }

  async #destroy(id: string): Promise<void> {
    this.#changed.add(id)
    await this.#opened.handler.destroy(id)
  }

  async #touch(reading: Promise<Read | null>): Promise<void> {
    // An error of the read is already that of the caller of `get`.
    const read = await reading.catch(() => null)
    await read?.copy.touch({ lifetime: this.#opened.lifetime })
  }

  #keep(work: Promise<void>): void {
    // Until `settled` handles it, a rejection must not count as unhandled.
    work.catch(() => {})
    this.#pending.push(work)
  }
}

/** A session that the request has read. */
interface Read {
  readonly copy: WorkingCopy
  /** The data as it was read. */
  readonly data: Stored
}
