import { type BetterAuthOptions, betterAuth, type SecondaryStorage } from 'better-auth'
import {
  type Entry,
  type PgsqlSecondaryStorage,
  pgsqlSecondaryStorage,
} from '../../src/adapters/better-auth.ts'

/** Compiled, never run: the storage fits better-auth, which stores strings. */

const storage: PgsqlSecondaryStorage = pgsqlSecondaryStorage({ db: 'pglite:', table: 'app.auth' })
export const real: SecondaryStorage = storage
export const options: BetterAuthOptions = { secondaryStorage: storage }
betterAuth({ secondaryStorage: storage })

export async function entry(key: string): Promise<Entry | undefined> {
  const value: string | null = await storage.get(key)
  await storage.set(key, value ?? '', 60)
  // @ts-expect-error values are strings
  await storage.set(key, { user: 'ada' })
  const sum: number = await storage.increment(key, 60)
  await storage.set(key, String(sum))
  return (await storage.handler.read(key))?.data
}

// @ts-expect-error no such option
pgsqlSecondaryStorage({ gcIntervall: 1 })
// @ts-expect-error `increment` depends on it
pgsqlSecondaryStorage({ conflict: 'overwrite' })
