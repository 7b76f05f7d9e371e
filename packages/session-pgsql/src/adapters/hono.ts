import type { SaveHandler } from '../save-handler.ts'
import { type AdapterHandler, type AdapterOptions, openHandler } from './shared/open-handler.ts'
import { type Stored, WorkingCopy } from './shared/working-copy.ts'

/** Sessions of Hono, by @hono/session: `app.use(pgsqlSessions({ db }), useSession({ secret }))`. */

export type { SharedHandlerOptions } from './shared/open-handler.ts'

/**
 * All options of a save handler, with `shortCircuit` true, `name` 'sid' and `gcMaxlifetime` 86400 by default; or
 * a `handler` to share. `gcMaxlifetime` is how long a session lives after its last request; let the `duration`
 * of @hono/session, which is the cookie's, be no longer.
 */
export type PgsqlSessionsOptions<Data = Record<string, unknown>> = AdapterOptions<Data>

/** The least of Hono's Context that is needed here. */
export interface HonoContext {
  // biome-ignore lint/suspicious/noExplicitAny: what the runtime gives
  readonly env?: any
  // biome-ignore lint/suspicious/noExplicitAny: Hono's own knows the application's variables
  set(key: any, value: any): void
  // biome-ignore lint/suspicious/noExplicitAny: Hono's own knows the application's variables
  get(key: any): any
}

/** The middleware, with what its sessions go through. */
export interface PgsqlSessions<Data> {
  (context: HonoContext, next: () => Promise<void>): Promise<void>
  /** For `gc()`, `status()`, `findByField()` and the like. */
  readonly handler: SaveHandler<Data>
  /** Waits for what is under way and closes the connections; a shared handler stays open. */
  close(): Promise<void>
}

/**
 * The middleware that goes before `useSession` of @hono/session, in the place of `useSessionStorage`.
 *
 * For each request it keeps what the request has read, so that requests that overlap do not undo each other's
 * changes, and nothing comes back that was destroyed meanwhile. @hono/session does not wait for its writes; this
 * does, before the answer goes out: a write that fails is an error of the request, and never an unhandled
 * rejection. A session that is only read is kept alive.
 *
 * Within a request every `session.get()` sees what the first one has seen.
 *
 * What @hono/session cannot do: `session.delete()` removes only the cookie if the request has not read the
 * session; so `await session.get()` before it. It gives no new id at the sign-in; `regenerateSession` does.
 *
 * @throws INVALID_OPTION
 */
export function pgsqlSessions<Data = Record<string, unknown>>(
  options: PgsqlSessionsOptions<Data> = {},
): PgsqlSessions<Data> {
  const opened = openHandler<Data>(options, 'sid')
  const middleware = async (context: HonoContext, next: () => Promise<void>): Promise<void> => {
    const storage = new RequestStorage(opened as unknown as AdapterHandler<Stored>, addressOf(context))
    context.set(VARIABLE, storage)
    try {
      await next()
    } catch (error) {
      // The first thing that went wrong is what the request has failed with.
      await storage.settled().catch(() => {})
      throw error
    }
    await storage.settled()
  }
  return Object.assign(middleware, { handler: opened.handler, close: () => opened.close() })
}

/**
 * Gives the session a new id, for the sign-in: destroys the old one, so that whoever knew it does not get in.
 * What is to be kept is passed to `session.update` after it, and that must be called.
 *
 * ```ts
 * const data = await c.var.session.get()
 * await regenerateSession(c)
 * await c.var.session.update({ ...data, user })
 * ```
 */
export async function regenerateSession(context: HonoContext): Promise<void> {
  const storage = context.get(VARIABLE)
  if (!(storage instanceof RequestStorage)) {
    throw new TypeError('regenerateSession: the middleware pgsqlSessions is not in use here')
  }
  await storage.regenerate()
}

/** Where @hono/session looks for its storage. */
const VARIABLE = 'sessionStorage'

/** The storage of one request. */
class RequestStorage {
  readonly #opened: AdapterHandler<Stored>
  readonly #address: string | undefined
  /** What was read, by id; null: nothing. */
  readonly #read: Map<string, Promise<Read | null>> = new Map()
  readonly #created: Map<string, WorkingCopy> = new Map()
  /** Ids that were written or destroyed; the others are kept alive. */
  readonly #changed: Set<string> = new Set()
  readonly #pending: Promise<unknown>[] = []
  #isRetired = false

  constructor(opened: AdapterHandler<Stored>, address: string | undefined) {
    this.#opened = opened
    this.#address = address
  }

  // biome-ignore lint/suspicious/noExplicitAny: the application's data, as @hono/session types it
  async get(id: string): Promise<any> {
    if (this.#isRetired && !this.#created.has(id)) {
      await this.#destroy(id)
      return null
    }
    let reading = this.#read.get(id)
    if (reading === undefined) {
      reading = this.#load(id)
      this.#read.set(id, reading)
    }
    const read = await reading
    // Each caller may change what it is given.
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
    this.#isRetired = true
    await Promise.all([...this.#read.keys()].map((id) => this.#destroy(id)))
  }

  /** Waits for everything that was begun; throws what has failed first. */
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
    // The copy keeps the record; its data is this storage's own, and stays as it was read.
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
    // Who has read knows already if that has failed.
    const read = await reading.catch(() => null)
    await read?.copy.touch(this.#opened.lifetime)
  }

  #keep(work: Promise<void>): void {
    // Until `settled` comes to it nobody listens.
    work.catch(() => {})
    this.#pending.push(work)
  }
}

interface Read {
  readonly copy: WorkingCopy
  readonly data: Stored
}

/** Under @hono/node-server; elsewhere it is not known. */
function addressOf({ env }: HonoContext): string | undefined {
  const address: unknown = env?.incoming?.socket?.remoteAddress
  return typeof address === 'string' ? address : undefined
}
