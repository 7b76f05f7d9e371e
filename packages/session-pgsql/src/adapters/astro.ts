import { isDeepStrictEqual } from 'node:util'
import { applyChange, checkChange } from '../apply-change.ts'
import type { SaveHandler } from '../save-handler.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { type Entries, EntryFormat, lastEnd, RESERVED } from './astro/entries.ts'
import { type AdapterOptions, openHandler } from './shared/open-handler.ts'
import { keysOf, type Stored, setKey } from './shared/session-data.ts'
import type { SessionUpdate } from './shared/update-row.ts'

/**
 * A session driver for Astro that merges by key and keeps destroyed sessions destroyed:
 *
 * ```js
 * // astro.config.mjs
 * export default defineConfig({
 *   session: { driver: { entrypoint: 'session-pgsql/astro', config: { field: 'user' } } },
 * })
 *
 * // src/middleware.js
 * export { onRequest } from 'session-pgsql/astro'
 * ```
 *
 * Astro passes a driver only an id and a text, and with unstorage's drivers the last text wins. This driver keeps the
 * data that a request has read in Astro's session object, under a reserved key, and compares it with the data that Astro
 * saves. `onRequest` hides that key from `keys`, `values` and `entries`.
 *
 * Limitations of Astro's contract: `regenerate` copies the data that the request has read. Changes of overlapping
 * requests are lost, and so is an overlapping logout. Sessions do not record the client's address.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { SessionUpdate } from './shared/update-row.ts'

/** The options that concern the session's data. */
export interface DriverOptions {
  /**
   * The key whose value is stored as the custom field, for example the key of the user's id, for `findByField` and
   * `destroyByField`. @default none
   */
  field?: string | undefined
}

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name` the
 * default name of Astro's cookie, 'astro-session', `gcMaxlifetime` 86400.
 */
export type PgsqlSessionDriverOptions = DriverOptions & AdapterOptions<Record<string, unknown>>

/** The part of Astro's session that the adapter uses. */
export interface AstroSession {
  readonly sessionID: string | undefined
  get(key: string): Promise<unknown>
  set(key: string, value: unknown): void
  destroy(): void
  keys(): Promise<Iterable<string>>
  values(): Promise<unknown[]>
  entries(): Promise<unknown[][]>
}

/** The part of Astro's context that `onRequest` uses. */
export interface AstroContext {
  readonly isPrerendered: boolean
  readonly session?: AstroSession | undefined
}

/** Astro's interface of a driver, and what else the application may use. */
export interface PgsqlSessionDriver {
  getItem(id: string): Promise<unknown>
  setItem(id: string, value: string): Promise<void>
  removeItem(id: string): Promise<void>
  /**
   * Applies a function to the stored session at once, such that no change of another request comes in between: for
   * counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one session all
   * take effect, in any number of processes.
   *
   * ```ts
   * const { value: granted } = await driver.update(Astro.session, (data) => {
   *   if (data.redeemed) return false
   *   data.redeemed = true
   *   return true
   * })
   * ```
   *
   * `session.get` still returns the data that the request has read. To use a new value, return it from the function. A
   * session that does not exist yet is created with the response, as by `session.set`. If another request has destroyed
   * the session, the outcome is `gone`. The option `field` has no effect here: the next `session.set` of a request stores
   * the custom field.
   *
   * @param change receives a copy of the stored data. It changes that copy or returns a new object, which becomes the
   * data; any other return value (a primitive, an array, a part of the data) is only returned to the caller. It must be
   * synchronous and free of side effects: after a conflict it is called again.
   * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`
   */
  update<Value = void>(
    session: AstroSession,
    change: (data: Record<string, unknown>) => Value,
  ): Promise<SessionUpdate<Value>>
  /**
   * Destroys the session of a request. Use it instead of `session.destroy()`, for which Astro sends the response of a
   * successful logout even if the database is unreachable.
   *
   * @throws the errors of `SaveHandler.destroy`
   */
  destroy(session: AstroSession): Promise<void>
  /** The save handler, for `gc()`, `destroyByField()` and so on. */
  readonly handler: SaveHandler<Record<string, unknown>>
  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void>
}

/** @throws INVALID_OPTION */
export default function pgsqlSessionDriver(options: PgsqlSessionDriverOptions = {}): PgsqlSessionDriver {
  const { field, ...rest } = options
  const { handler, name, lifetime, close } = openHandler<Stored>(
    rest as SaveHandlerOptions<Stored>,
    'astro-session',
  )

  let loading: Promise<EntryFormat> | undefined
  const format = (): Promise<EntryFormat> => (loading ??= EntryFormat.load())

  /** A value may have been set for longer than the session's lifetime. */
  const lifetimeOf = (data: Stored): number => Math.max(lifetime, (lastEnd(data) - Date.now()) / 1000)

  /** Returns the custom field that the data asks for; undefined if it stays. */
  function fieldOf(data: Stored, before: Stored): string | null | undefined {
    if (field === undefined) return undefined
    const [value, former] = [data[field], before[field]]
    if (isDeepStrictEqual(value, former)) return undefined
    return value === undefined || value === null ? null : String(value)
  }

  async function getItem(id: string): Promise<unknown> {
    const record = await handler.read(id)
    if (record === undefined) return null
    const data = keysOf(record)
    // Astro tells a driver nothing of requests that only read.
    await handler.touch(id, { base: record, lifetime: lifetimeOf(data) })
    return (await format()).flattened({ id, data })
  }

  async function setItem(id: string, value: string): Promise<void> {
    const form = await format()
    const { entries, read } = form.unflattened(value)
    const data = form.storedForm(entries)
    const about = { name, lifetime: lifetimeOf }
    if (read?.id !== id) {
      // A new session, or one with a new id.
      await handler.write(id, data, { ...about, base: null, custom: fieldOf(data, {}) })
      return
    }
    if (isDeepStrictEqual(data, read.data)) return
    const base = await handler.read(id)
    if (base === undefined) return
    await handler.write(id, data, { ...about, base, seen: read.data, custom: fieldOf(data, read.data) })
  }

  async function update<Value>(
    session: AstroSession,
    change: (data: Stored) => Value,
  ): Promise<SessionUpdate<Value>> {
    checkChange(change)
    const isStored = (await session.get(RESERVED)) !== undefined
    const id = session.sessionID
    if (!isStored || id === undefined) {
      const { data, value } = applyChange(change, {}, () => ({}))
      for (const [key, set] of Object.entries(data)) session.set(key, set)
      return { outcome: Object.keys(data).length === 0 ? 'skipped' : 'created', value }
    }
    const form = await format()
    const result = await handler.update(id, (stored) => [inValues(stored, change, form)] as const, {
      base: 'existing',
      name,
      lifetime: lifetimeOf,
    })
    return result.session === undefined
      ? { outcome: 'gone', value: undefined }
      : { outcome: 'updated', value: result.value?.[0] }
  }

  return {
    handler,
    close,
    getItem,
    setItem,
    removeItem: async (id) => void (await handler.destroy(id)),
    update,
    async destroy(session) {
      // Astro knows the id when it has read the session.
      await session.get(RESERVED)
      if (session.sessionID !== undefined) await handler.destroy(session.sessionID)
      session.destroy()
    },
  }
}

/** Applies a function of the session's values to its row. */
function inValues<Value>(stored: Stored, change: (data: Stored) => Value, form: EntryFormat): Value {
  keysOf({ data: stored })
  const before = form.entriesOf(stored)
  const values = (entries: Entries): Stored =>
    Object.fromEntries([...entries].map(([key, { data }]) => [key, data]))
  const { data, value } = applyChange(change, values(before), () => values(form.entriesOf(stored)))
  const after = Object.entries(data).map(
    ([key, changed]) => [key, { data: changed, expires: before.get(key)?.expires }] as const,
  )
  const result = form.storedForm(new Map(after))
  for (const key of Object.keys(stored)) delete stored[key]
  for (const [key, changed] of Object.entries(result)) setKey(stored, key, changed)
  return value
}

/** A middleware of Astro that hides the driver's own key from the `keys`, `values` and `entries` of the session. */
export function onRequest<Result>(context: AstroContext, next: () => Result): Result {
  const session = context.isPrerendered ? undefined : context.session
  if (session !== undefined) {
    const { entries } = session
    const visible = async (): Promise<unknown[][]> => {
      const all = await entries.call(session)
      return all.filter(([key]) => key !== RESERVED)
    }
    Object.assign(session, {
      entries: visible,
      keys: async () => (await visible()).map(([key]) => key).values(),
      values: async () => (await visible()).map(([, value]) => value),
    })
  }
  return next()
}
