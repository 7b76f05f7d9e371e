import { randomUUID } from 'node:crypto'
import { SaveHandler } from '../save-handler.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'

/**
 * The `secondaryStorage` of better-auth: sessions, verification values and rate limits.
 *
 * ```js
 * import { pgsqlSecondaryStorage } from 'session-pgsql/better-auth'
 * export const auth = betterAuth({ secondaryStorage: pgsqlSecondaryStorage({ db: 'host=localhost dbname=app' }) })
 * ```
 *
 * `getAndDelete` gives a value to one caller and no other, `increment` counts every call, in however many
 * processes. Times to live are exact by the clocks of these processes, which should agree; the rows go by the
 * database's.
 *
 * What better-auth's contract cannot do: `set` says neither what it started from nor whether it creates, so the
 * last one wins (better-auth reads a session, changes it, and sets it whole; likewise its list of a user's
 * sessions), and one that was under way at a `delete` brings the value back.
 */

/** All options of a save handler but those that the values' exactness hangs on. Default of `name`: 'better-auth'. */
export type SecondaryStorageOptions = Omit<
  SaveHandlerOptions<Entry>,
  'codec' | 'conflict' | 'gcMaxlifetime' | 'shortCircuit' | 'keepExpired'
>

/** What better-auth expects; a type test holds it to the real one. */
export interface PgsqlSecondaryStorage {
  get(key: string): Promise<string | null>
  /** @param ttl seconds; left out: until it is deleted */
  set(key: string, value: string, ttl?: number): Promise<void>
  delete(key: string): Promise<void>
  /** The value, to one caller and no other. */
  getAndDelete(key: string): Promise<string | null>
  /**
   * Adds one, and gives the sum.
   *
   * @param ttl seconds from the first call, which later ones do not move
   */
  increment(key: string, ttl: number): Promise<number>
  /** What the values go through: for `gc()`, `status()` and the like. */
  readonly handler: SaveHandler<Entry>
  /** Waits for what is under way and closes the connections. */
  close(): Promise<void>
}

/** A value as it lies in the table. */
export interface Entry {
  readonly value: string
  /** Milliseconds since 1970; null: it does not expire. */
  readonly until: number | null
  /** Who has counted or taken it last: no two of these texts are the same. */
  readonly by?: string
  /** `getAndDelete` has given it to somebody; it reads as absent. */
  readonly taken?: true
}

/** Seconds; for what is kept until it is deleted. About 30 years. */
const FOR_GOOD = 1e9

/** An identifier may hold anything; b-tree pages bound its length. */
const ANY_KEY = /^[^\0\p{Cs}]{1,512}$/u

/** @throws INVALID_OPTION */
export function pgsqlSecondaryStorage(options: SecondaryStorageOptions = {}): PgsqlSecondaryStorage {
  const handler = new SaveHandler<Entry>(
    { ...options, codec: 'json', conflict: settle, shortCircuit: false, keepExpired: false },
    { defaults: { name: 'better-auth', idPattern: ANY_KEY } },
  )

  return {
    handler,
    close: () => handler.close(),
    async get(key) {
      const entry = (await handler.read(key))?.data
      return isThere(entry) ? entry.value : null
    },
    async set(key, value, ttl) {
      const until = ttl === undefined ? null : Date.now() + ttl * 1000
      await handler.write(key, { value, until }, { lifetime: lifetimeOf })
    },
    async delete(key) {
      await handler.destroy(key)
    },
    async getAndDelete(key) {
      const base = await handler.read(key)
      if (base === undefined || !isThere(base.data)) return null
      const by = randomUUID()
      const { session } = await handler.write(key, { ...base.data, by, taken: true }, { base, lifetime: 0 })
      // It is not destroyed, but left to expire: a destroy would take away what somebody has set in between.
      return session?.data.by === by ? session.data.value : null
    },
    async increment(key, ttl) {
      const first = { value: '1', until: Date.now() + ttl * 1000 }
      for (;;) {
        const base = await handler.read(key)
        const by = randomUUID()
        const { session } = await handler.write(
          key,
          { ...(isThere(base?.data) ? next(base.data) : first), by },
          { base: base ?? null, lifetime: lifetimeOf },
        )
        // Deleted since it was read: it begins anew.
        if (session !== undefined) return Number(session.data.value)
      }
    },
  }
}

/** What becomes of a value that was counted or taken by two at once. `set` has no base, and never comes here. */
function settle(mine: Entry, theirs: Entry): Entry {
  if (mine.taken) return theirs.taken ? theirs : { ...theirs, by: mine.by as string, taken: true }
  return isThere(theirs) ? { ...next(theirs), by: mine.by as string } : { ...mine, value: '1' }
}

function next({ value, until }: Entry): Entry {
  return { value: String((Number(value) || 0) + 1), until }
}

function isThere(entry: Entry | undefined): entry is Entry {
  return entry?.value !== undefined && !entry.taken && (entry.until === null || entry.until > Date.now())
}

function lifetimeOf({ until }: Entry): number {
  return until === null ? FOR_GOOD : Math.max(0, (until - Date.now()) / 1000)
}
