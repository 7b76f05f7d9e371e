import { randomUUID } from 'node:crypto'
import { SaveHandler } from '../save-handler.ts'
import { resolveSettings, type SaveHandlerOptions } from '../settings/settings.ts'
import {
  deletionOf,
  type Entry,
  endOf,
  entryOf,
  incremented,
  isPresent,
  lifetimeOf,
  settle,
} from './better-auth/entry.ts'
import { ANY_KEY, idsOfKeys } from './shared/key-value.ts'

/**
 * The `secondaryStorage` of better-auth: sessions, verification values and rate limits.
 *
 * ```js
 * import { pgsqlSecondaryStorage } from 'session-pgsql/better-auth'
 * export const auth = betterAuth({ secondaryStorage: pgsqlSecondaryStorage({ db: 'host=localhost dbname=app' }) })
 * ```
 *
 * In any number of processes, `getAndDelete` returns a value to exactly one caller, and `increment` counts every
 * call. Times to live are exact by the clocks of these processes, which should agree. The rows expire by the
 * database's clock.
 *
 * better-auth reads a session, changes it and sets all of it, and likewise its list of a user's sessions. Both are
 * recognized: a deleted session stays deleted although a request in progress sets it again, and overlapping sets of
 * a list keep each other's sessions. A list loses a session only when that session is deleted or expires; a `delete`
 * of the list itself does nothing.
 *
 * Limitations of better-auth's contract: `set` does not say which value it started from, or whether it creates.
 * So of two changes of one session's own fields, such as its active organization, the last one wins. The user in it is
 * the one that was updated last. Other values, such as verifications, are replaced by the last `set`, and a `set` in
 * progress during a `delete` restores them.
 */

export type { Entry } from './better-auth/entry.ts'

/**
 * All options of a save handler except those on which the exactness of the values depends. Default that differs:
 * `name` 'better-auth'. `maxLifetime` counts from the time at which better-auth has created a session, and applies to
 * sessions only.
 */
export type SecondaryStorageOptions = Omit<
  SaveHandlerOptions<Entry>,
  'codec' | 'conflict' | 'gcMaxlifetime' | 'shortCircuit' | 'keepExpired'
>

/** better-auth's interface of a secondary storage. A type test compares it with better-auth's own. */
export interface PgsqlSecondaryStorage {
  get(key: string): Promise<string | null>
  /** @param ttl seconds. @default until it is deleted */
  set(key: string, value: string, ttl?: number): Promise<void>
  delete(key: string): Promise<void>
  /** Removes a value and returns it, to exactly one caller. */
  getAndDelete(key: string): Promise<string | null>
  /**
   * Adds one to a number and returns the sum.
   *
   * @param ttl seconds from the first call. Later calls do not extend them.
   */
  increment(key: string, ttl: number): Promise<number>
  /** The save handler, for `gc()`, `status()` and so on. */
  readonly handler: SaveHandler<Entry>
  /** Waits for operations in progress and closes the connections. */
  close(): Promise<void>
}

/** @throws INVALID_OPTION */
export function pgsqlSecondaryStorage(options: SecondaryStorageOptions = {}): PgsqlSecondaryStorage {
  // Only sessions end: a user's list of them, and what is remembered of deleted ones, may be needed for longer.
  const { maxLifetime } = resolveSettings({ db: options.db, maxLifetime: options.maxLifetime })
  const handler = new SaveHandler<Entry>(
    {
      ...options,
      ...{ codec: 'json', conflict: settle, shortCircuit: false, keepExpired: false },
      maxLifetime: Number.POSITIVE_INFINITY,
    },
    { defaults: { name: 'better-auth', idPattern: ANY_KEY } },
  )
  const idOf = idsOfKeys(handler)

  return {
    handler,
    close: () => handler.close(),
    async get(key) {
      const entry = (await handler.read(idOf(key)))?.data
      return isPresent(entry) ? entry.value : null
    },
    async set(key, value, ttl) {
      const until = ttl === undefined ? Number.POSITIVE_INFINITY : Date.now() + ttl * 1000
      const end = Math.min(until, endOf(key, value, maxLifetime))
      const entry = entryOf(key, value, end === Number.POSITIVE_INFINITY ? null : end)
      // An entry of a kind is merged with the stored one, by `settle`.
      const base = entry.kind === undefined ? undefined : null
      await handler.write(idOf(key), entry, { base, lifetime: lifetimeOf })
    },
    async delete(key) {
      const id = idOf(key)
      const base = await handler.read(id)
      if (base === undefined) return
      const deletion = deletionOf(key, base.data)
      if (deletion === 'remove') return void (await handler.destroy(id))
      const { entry, list } = deletion
      if (entry !== undefined) await handler.write(id, entry, { base, lifetime: lifetimeOf })
      if (list !== undefined) {
        await handler.write(idOf(list.key), list.entry, { base: null, lifetime: lifetimeOf })
      }
    },
    async getAndDelete(key) {
      const id = idOf(key)
      const base = await handler.read(id)
      if (base === undefined || !isPresent(base.data)) return null
      const by = randomUUID()
      const { session } = await handler.write(id, { ...base.data, by, taken: true }, { base, lifetime: 0 })
      // The row expires instead of being destroyed: a destroy would remove a value that was set in between.
      return session?.data.by === by ? session.data.value : null
    },
    async increment(key, ttl) {
      const first = { value: '1', until: Date.now() + ttl * 1000 }
      const id = idOf(key)
      for (;;) {
        const base = await handler.read(id)
        const by = randomUUID()
        const { session } = await handler.write(
          id,
          { ...(isPresent(base?.data) ? incremented(base.data) : first), by },
          { base: base ?? null, lifetime: lifetimeOf },
        )
        // No session: the value was deleted after the read. Start again from 1.
        if (session !== undefined) return Number(session.data.value)
      }
    },
  }
}
