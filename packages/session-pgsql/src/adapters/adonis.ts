import type { SaveHandler } from '../save-handler.ts'
import { isHashedId } from '../session/stored-id.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { type AdapterHandler, type AdapterOptions, openHandler } from './shared/open-handler.ts'
import { RequestState } from './shared/request-state.ts'
import { keysOf, type Stored, viewOf } from './shared/session-data.ts'
import type { SessionUpdate } from './shared/update-row.ts'
import { type CopyWriteOptions, WorkingCopy } from './shared/working-copy.ts'

/**
 * A store for the sessions of AdonisJS. In config/session.ts:
 *
 * ```ts
 * import { defineConfig } from '@adonisjs/session'
 * import { pgsqlStore } from 'session-pgsql/adonis'
 * export default defineConfig({
 *   age: '2 hours',
 *   store: 'pgsql',
 *   stores: { pgsql: pgsqlStore({ db: env.get('SESSION_DB') }) },
 * })
 * ```
 *
 * Each request remembers the row that it has read, so that overlapping requests keep each other's changes and a
 * destroyed session is not written back. `session.tag(userId)` stores the custom field.
 *
 * Limitations of AdonisJS' contract: `session.regenerate()` moves the data that the request has read to the new id.
 * Changes of overlapping requests are lost, and so is an overlapping logout. After a logout AdonisJS uses the same id
 * again.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { SessionUpdate } from './shared/update-row.ts'

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name`
 * 'adonis_session'. A session lives for the `age` of AdonisJS' configuration, not for `gcMaxlifetime`.
 */
export type PgsqlStoreOptions<Data = Record<string, unknown>> = AdapterOptions<Data>

/** The part of AdonisJS' HttpContext that the store uses. */
export interface AdonisRequest {
  readonly request: { ip(): string }
}

/** The part of AdonisJS' HttpContext that `updateSession` uses. */
export interface AdonisContext extends AdonisRequest {
  readonly session: { readonly sessionId: string; all(): Record<string, unknown> }
}

/** The part of AdonisJS' application that the adapter uses. */
export interface AdonisApplication {
  terminating(callback: () => Promise<void>): unknown
}

/** The part of the session's configuration that the adapter uses. */
export interface AdonisSessionConfig {
  readonly age: string | number
}

/** AdonisJS' interface of a store with tags, `SessionStoreWithTaggingContract`. */
export interface PgsqlStore {
  // biome-ignore lint/suspicious/noExplicitAny: the application's data, as AdonisJS types it
  read(id: string): Promise<any>
  write(id: string, data: Record<string, unknown>): Promise<void>
  destroy(id: string): Promise<void>
  touch(id: string): Promise<void>
  tag(id: string, userId: string | number): Promise<void>
  untag(id: string, userId: string | number): Promise<void>
  // biome-ignore lint/suspicious/noExplicitAny: the application's data, as AdonisJS types it
  tagged(userId: string | number): Promise<{ id: string; data: any }[]>
}

/** What `stores` of AdonisJS' configuration expects: a provider that creates a store for each request. */
export interface PgsqlStoreProvider<Data> {
  readonly type: 'provider'
  resolver(
    app: AdonisApplication,
  ): Promise<(context: AdonisRequest | null, config: AdonisSessionConfig) => PgsqlStore>
  /** The save handler, for `gc()`, `destroyByField()` and so on. */
  readonly handler: SaveHandler<Data>
  /** Waits for operations in progress and closes the connections. A shared handler stays open. AdonisJS calls it. */
  close(): Promise<void>
}

/** @throws INVALID_OPTION */
export function pgsqlStore<Data extends object = Record<string, unknown>>(
  options: PgsqlStoreOptions<Data> = {},
): PgsqlStoreProvider<Data> {
  const opened = openHandler<Data>(options as SaveHandlerOptions<Data>, 'adonis_session')
  return {
    type: 'provider',
    handler: opened.handler,
    close: () => opened.close(),
    async resolver(app) {
      app.terminating(() => opened.close())
      const { default: string } = await import('@adonisjs/core/helpers/string')
      return (context, { age }) => {
        const lifetime = string.seconds.parse(age)
        const handler = { ...(opened as unknown as AdapterHandler<Stored>), lifetime }
        const store = new RequestStore(handler, context)
        if (context !== null) stores.set(context, store)
        return store
      }
    },
  }
}

/**
 * Applies a function to the stored session of a request at once, such that no change of another request comes in
 * between: for counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one
 * session all take effect, in any number of processes.
 *
 * ```ts
 * const { value: granted } = await updateSession(ctx, (data) => {
 *   if (data.redeemed) return false
 *   data.redeemed = true
 *   return true
 * })
 * ```
 *
 * The session then shows the result, and what other requests have stored. What this request has changed and not
 * committed is kept; the function does not see it. If another request has destroyed the session, the outcome is `gone`.
 *
 * @param change receives a copy of the stored data. It changes that copy or returns a new object, which becomes the
 * data; any other return value (a primitive, an array, a part of the data) is only returned to the caller. It must be
 * synchronous and free of side effects: after a conflict it is called again.
 * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`; TypeError
 * if the request's session is not in this store
 */
export async function updateSession<Value = void>(
  context: AdonisContext,
  change: (data: Record<string, unknown>) => Value,
): Promise<SessionUpdate<Value>> {
  const store = stores.get(context)
  if (store === undefined) {
    throw new TypeError(
      'Cannot update the session: the session of this request is not in the store pgsqlStore.',
    )
  }
  return store.update(context.session.sessionId, context.session.all(), change)
}

const stores: WeakMap<object, RequestStore> = new WeakMap()

/** The store of one request, or of AdonisJS' SessionCollection, which has no request. */
class RequestStore implements PgsqlStore {
  readonly #opened: AdapterHandler<Stored>
  readonly #context: AdonisRequest | null
  /** By id, from the request's first read or write. */
  readonly #copies: Map<string, WorkingCopy> = new Map()
  /** Has the tag of a session that is not stored yet. */
  readonly #request = new RequestState()

  constructor(opened: AdapterHandler<Stored>, context: AdonisRequest | null) {
    this.#opened = opened
    this.#context = context
  }

  async read(id: string): Promise<Stored | null> {
    const { handler } = this.#opened
    const record = await this.#by(id).read(id)
    if (record === undefined) return null
    this.#copies.set(id, new WorkingCopy(handler, id, record))
    // Not the record's own data: the application may change it at any depth.
    return keysOf<Stored>({ data: handler.snapshot(record.data) })
  }

  async write(id: string, data: Stored): Promise<void> {
    // As the stores of AdonisJS do: a Date becomes a text, and undefined is left out.
    await this.#copy(id).write(JSON.parse(JSON.stringify(data)), this.#about())
  }

  async destroy(id: string): Promise<void> {
    // A request that has read no session must not end the one that an overlapping request has created.
    if (this.#context !== null && !this.#copies.has(id)) return
    await this.#by(id).destroy(id)
  }

  /** Without a request, an id may come from `tagged`, in its stored form. The id of a request never is one. */
  #by(id: string): Pick<SaveHandler<Stored>, 'read' | 'destroy'> {
    const { handler } = this.#opened
    return this.#context === null && isHashedId(id) ? handler.listed : handler
  }

  async touch(id: string): Promise<void> {
    await this.#copies.get(id)?.touch({ lifetime: this.#opened.lifetime, request: this.#request })
  }

  async tag(id: string, userId: string | number): Promise<void> {
    await this.#setField(id, String(userId))
  }

  async untag(id: string, userId: string | number): Promise<void> {
    const field = this.#request.custom ?? (await this.#opened.handler.getField(id))
    if (field === String(userId)) await this.#setField(id, null)
  }

  async tagged(userId: string | number): Promise<{ id: string; data: Stored }[]> {
    const found = await this.#opened.handler.findByField(String(userId))
    return found.map(({ id, data }) => ({ id, data }))
  }

  update<Value>(id: string, values: Stored, change: (data: Stored) => Value): Promise<SessionUpdate<Value>> {
    const view = viewOf(values, { data: () => values, isHidden: () => false })
    return this.#copy(id).update(change, view, this.#about())
  }

  /** A session that is not stored yet gets the field with its first write. */
  async #setField(id: string, value: string | null): Promise<void> {
    if (!(await this.#opened.handler.setField(id, value))) this.#request.custom = value
  }

  #copy(id: string): WorkingCopy {
    let copy = this.#copies.get(id)
    if (copy === undefined) {
      copy = new WorkingCopy(this.#opened.handler, id, null)
      this.#copies.set(id, copy)
    }
    return copy
  }

  #about(): CopyWriteOptions {
    const { lifetime, name } = this.#opened
    return { lifetime, name, address: this.#context?.request.ip(), request: this.#request }
  }
}
