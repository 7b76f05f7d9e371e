import { randomUUID } from 'node:crypto'
import { SaveHandler } from '../save-handler.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { ANY_KEY, idsOfKeys, UNLIMITED } from './shared/key-value.ts'

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
 * Limitations of better-auth's contract: `set` does not say which value it started from, or whether it creates.
 * So the last write wins: better-auth reads a session, changes it and sets all of it, and likewise its list of a
 * user's sessions. A `set` in progress during a `delete` restores the value.
 */

/**
 * All options of a save handler except those on which the exactness of the values depends. Default that differs:
 * `name` 'better-auth'.
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

/** A value as it is stored. */
export interface Entry {
  readonly value: string
  /** Milliseconds since 1970; null: it does not expire. */
  readonly until: number | null
  /** A unique text that identifies the last call of `increment` or `getAndDelete`. */
  readonly by?: string
  /** `getAndDelete` has returned the value to a caller; it reads as absent. */
  readonly taken?: true
}

/** @throws INVALID_OPTION */
export function pgsqlSecondaryStorage(options: SecondaryStorageOptions = {}): PgsqlSecondaryStorage {
  const handler = new SaveHandler<Entry>(
    { ...options, codec: 'json', conflict: settle, shortCircuit: false, keepExpired: false },
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
      const until = ttl === undefined ? null : Date.now() + ttl * 1000
      await handler.write(idOf(key), { value, until }, { lifetime: lifetimeOf })
    },
    async delete(key) {
      await handler.destroy(idOf(key))
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
          { ...(isPresent(base?.data) ? next(base.data) : first), by },
          { base: base ?? null, lifetime: lifetimeOf },
        )
        // No session: the value was deleted after the read. Start again from 1.
        if (session !== undefined) return Number(session.data.value)
      }
    },
  }
}

/** Settles a conflict between two calls of `increment` or `getAndDelete`. `set` has no base and cannot conflict. */
function settle(ours: Entry, theirs: Entry): Entry {
  const by = ours.by as string
  if (ours.taken) return theirs.taken ? theirs : { ...theirs, by, taken: true }
  return isPresent(theirs) ? { ...next(theirs), by } : { ...ours, value: '1' }
}

function next({ value, until }: Entry): Entry {
  return { value: String((Number(value) || 0) + 1), until }
}

function isPresent(entry: Entry | undefined): entry is Entry {
  return entry?.value !== undefined && !entry.taken && (entry.until === null || entry.until > Date.now())
}

function lifetimeOf({ until }: Entry): number {
  return until === null ? UNLIMITED : Math.max(0, (until - Date.now()) / 1000)
}
