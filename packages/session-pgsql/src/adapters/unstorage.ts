import type { SaveHandler } from '../save-handler.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { ownOrShared } from './shared/own-handler.ts'

/**
 * A driver of unstorage, for h3, Nitro and Nuxt:
 *
 * ```js
 * import { createStorage } from 'unstorage'
 * import pgsqlDriver from 'session-pgsql/unstorage'
 * const storage = createStorage({ driver: pgsqlDriver({ db: 'host=localhost dbname=app' }) })
 * await storage.setItem('user:1', { name: 'Ada' }, { ttl: 3600 })
 * ```
 *
 * Each item is a row, its key the row's id. Items that are asked for at the same time go as one statement. An
 * outage is an error, never "no item". Raw values take unstorage's own way (base64 in the text).
 *
 * What unstorage's contract cannot do: `setItem` says neither what it started from nor whether it creates, so the
 * last one wins, and one that was under way at a `removeItem` brings the item back.
 */

/** What concerns the keys. */
export interface DriverOptions {
  /** A prefix of all keys in the table, without the colon behind it. @default none */
  base?: string | undefined
  /** Seconds that an item lives that is set without a `ttl`. @default until it is removed */
  ttl?: number | undefined
}

/** For a driver over a save handler that others use too. */
export interface SharedHandlerOptions {
  /** The save handler, with the codec json; `dispose` does not close it. Its `idPattern` limits the keys. */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  handler: SaveHandler<any>
  /** Stored with each item; `getKeys` and `clear` stay within it. @default 'unstorage' */
  name?: string | undefined
}

/**
 * All options of a save handler, with other defaults for two of them: `name` 'unstorage', and `idPattern` any 1
 * to 512 characters without NUL; or a `handler` to share.
 */
export type PgsqlDriverOptions = DriverOptions &
  (
    | (Omit<SaveHandlerOptions<string>, 'codec' | 'conflict' | 'gcMaxlifetime' | 'shortCircuit'> & {
        handler?: undefined
      })
    | SharedHandlerOptions
  )

type ItemOptions = { ttl?: number } & Record<string, unknown>

/** What unstorage expects of a driver; a type test holds it to the real one. */
export interface PgsqlDriver {
  readonly name: string
  readonly flags: { readonly ttl: true }
  readonly options: PgsqlDriverOptions
  /** What the items go through: for `gc()`, `status()` and the like. */
  getInstance(): SaveHandler<string>
  hasItem(key: string): Promise<boolean>
  getItem(key: string): Promise<string | null>
  getItems(items: readonly { key: string }[]): Promise<{ key: string; value: string | null }[]>
  /** @param options `ttl`: seconds */
  setItem(key: string, value: string, options?: ItemOptions): Promise<void>
  setItems(
    items: readonly { key: string; value: string; options?: ItemOptions }[],
    options?: ItemOptions,
  ): Promise<void>
  removeItem(key: string): Promise<void>
  /** `ttl`: seconds left, for items that expire. */
  getMeta(key: string): Promise<{ mtime?: Date; birthtime?: Date; ttl?: number } | null>
  getKeys(base?: string): Promise<string[]>
  clear(base?: string): Promise<void>
  /** Closes the connections; a shared handler stays open. */
  dispose(): Promise<void>
}

/** Seconds; for what is kept until it is removed. About 30 years. */
const FOR_GOOD = 1e9

/** b-tree pages bound the length of a key. */
const ANY_KEY = /^[^\0\p{Cs}]{1,512}$/u

const NAME = 'unstorage'

const PAGE = 1000

/** @throws INVALID_OPTION */
export default function pgsqlDriver(options: PgsqlDriverOptions = {}): PgsqlDriver {
  const { base = '', ttl: defaultTtl, handler: shared, ...rest } = options
  let { name = NAME } = rest
  if (shared !== undefined) delete rest.name
  const { handler, close } = ownOrShared<string>(shared, rest, {
    name: NAME,
    idPattern: ANY_KEY,
    gcMaxlifetime: FOR_GOOD,
  })
  if (shared === undefined) name = handler.status().settings.name as string
  const prefix = base === '' || base.endsWith(':') ? base : `${base}:`

  async function getItem(key: string): Promise<string | null> {
    const record = await handler.read(prefix + key)
    // A row of another writer may hold what is not ours; unstorage would have it as text.
    if (record === undefined) return null
    return typeof record.data === 'string' ? record.data : JSON.stringify(record.data)
  }

  async function setItem(key: string, value: string, { ttl }: ItemOptions = {}): Promise<void> {
    await handler.write(prefix + key, value, { name, lifetime: ttl || defaultTtl || FOR_GOOD })
  }

  async function* pages(within: string): AsyncGenerator<string[]> {
    let after: string | undefined
    do {
      const page = await handler.list({ name, idPrefix: prefix + within, after, limit: PAGE })
      yield page.map(({ id }) => id)
      after = page.next
    } while (after !== undefined)
  }

  return {
    name: 'pgsql',
    flags: { ttl: true },
    options,
    getInstance: () => handler,
    hasItem: async (key) => (await handler.info(prefix + key)) !== undefined,
    getItem,
    getItems: (items) => Promise.all(items.map(async ({ key }) => ({ key, value: await getItem(key) }))),
    setItem,
    async setItems(items, common) {
      await Promise.all(
        items.map(({ key, value, options: own }) => setItem(key, value, { ...common, ...own })),
      )
    },
    async removeItem(key) {
      await handler.destroy(prefix + key)
    },
    async getMeta(key) {
      const info = await handler.info(prefix + key)
      if (info === undefined) return null
      const { created, modified, expires } = info
      const left = expires === null ? FOR_GOOD : Math.ceil((expires.getTime() - Date.now()) / 1000)
      return {
        ...(modified && { mtime: modified }),
        ...(created && { birthtime: created }),
        // Of what is kept for good some of its thirty years may have passed.
        ...(left < FOR_GOOD / 2 && { ttl: Math.max(0, left) }),
      }
    },
    async getKeys(within = '') {
      const keys: string[][] = []
      for await (const ids of pages(within)) keys.push(ids.map((id) => id.slice(prefix.length)))
      return keys.flat()
    },
    async clear(within = '') {
      for await (const ids of pages(within)) await Promise.all(ids.map((id) => handler.destroy(id)))
    },
    dispose: close,
  }
}
