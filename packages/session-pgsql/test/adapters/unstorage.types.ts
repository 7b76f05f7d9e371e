import { createStorage, type Driver, type Storage } from 'unstorage'
import pgsqlDriver, { type PgsqlDriver, type PgsqlDriverOptions } from '../../src/adapters/unstorage.ts'
import { SaveHandler } from '../../src/index.ts'

/** Compiled, never run: the driver fits unstorage, whose types describe an item. */

const driver: PgsqlDriver = pgsqlDriver({ db: 'pglite:', base: 'notes', ttl: 60 })
export const real: Driver<PgsqlDriverOptions, SaveHandler<string>> = driver

interface Note {
  text: string
}

const storage: Storage<Note> = createStorage<Note>({ driver })

export async function note(key: string): Promise<string | undefined> {
  await storage.setItem(key, { text: 'x' }, { ttl: 3600 })
  // @ts-expect-error a note is no number
  await storage.setItem(key, 7)
  return (await storage.getItem(key))?.text
}

/** The save handler stores an item as text. */
export async function texts(): Promise<string[]> {
  const page = await driver.getInstance().list({ name: 'unstorage' })
  const records = await Promise.all(page.map(({ id }) => driver.getInstance().read(id)))
  return records.map((record) => record?.data ?? '')
}

pgsqlDriver({ handler: new SaveHandler(), name: 'notes' })
// @ts-expect-error no such option
pgsqlDriver({ gcIntervall: 1 })
// @ts-expect-error items are JSON, and the last write wins
pgsqlDriver({ conflict: 'merge' })
// @ts-expect-error a shared handler has its table already
pgsqlDriver({ handler: new SaveHandler(), table: 'other' })
