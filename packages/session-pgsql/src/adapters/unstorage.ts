import type { ListedSession } from '../index.ts'
import type { SaveHandler } from '../save-handler.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { sessionPages } from './shared/id-pages.ts'
import { ANY_KEY, HASHED, idsOfKeys, isStorable, UNLIMITED } from './shared/key-value.ts'
import { invalidOption, ownOrShared } from './shared/open-handler.ts'

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
 * In Nitro and Nuxt, set the storage's driver to the name of this module:
 *
 * ```js
 * export default defineNitroConfig({ storage: { sessions: { driver: 'session-pgsql/unstorage' } } })
 * ```
 *
 * Nitro writes the options into the server that it builds. So leave out `db`, and set DATABASE_URL where the server
 * runs.
 *
 * Each item is a row, and its key is the row's id. A key that `idPattern` does not accept is stored under its hash, and
 * as JSON in the custom field. Items that are requested at the same time share one statement.
 * The option `ids` must be 'plain': keys are data, and `getKeys` returns them.
 * An outage is an error, never "no item". unstorage itself encodes raw values, as base64.
 *
 * Limitations of unstorage's contract: `setItem` does not say which value it started from, or whether it creates.
 * So the last write wins, and a `setItem` in progress during a `removeItem` restores the item.
 */

/** The options that concern the keys. */
export interface DriverOptions {
  /** A prefix of all keys in the table, without the colon after it. @default none */
  base?: string | undefined
  /** Seconds that an item lives that is set without a `ttl`. @default unlimited */
  ttl?: number | undefined
  /** Ignored. Nitro and Nuxt pass the whole entry of their configuration, with the module's name in `driver`. */
  driver?: string | undefined
}

/** The options of a driver that shares a save handler with others. */
export interface SharedHandlerOptions {
  /** The save handler, with the codec json. `dispose` does not close it. */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of any data
  handler: SaveHandler<any>
  /** Stored with each item. `getKeys` and `clear` affect only items of this name. @default 'unstorage' */
  name?: string | undefined
}

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `name` 'unstorage', and
 * `idPattern` any 1 to 512 characters without NUL.
 */
export type PgsqlDriverOptions = DriverOptions &
  (
    | (Omit<SaveHandlerOptions<string>, 'codec' | 'conflict' | 'gcMaxlifetime' | 'shortCircuit'> & {
        handler?: undefined
      })
    | SharedHandlerOptions
  )

type ItemOptions = { ttl?: number } & Record<string, unknown>

/** unstorage's interface of a driver. A type test compares it with unstorage's own. */
export interface PgsqlDriver {
  readonly name: string
  readonly flags: { readonly ttl: true }
  readonly options: PgsqlDriverOptions
  /** Returns the save handler, for `gc()`, `status()` and so on. */
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
  /** Returns the dates of an item, and in `ttl` the seconds that are left if it expires. */
  getMeta(key: string): Promise<{ mtime?: Date; birthtime?: Date; ttl?: number } | null>
  getKeys(base?: string): Promise<string[]>
  clear(base?: string): Promise<void>
  /** Closes the connections. A shared handler stays open. */
  dispose(): Promise<void>
}

const NAME = 'unstorage'

/** The length of the longest key that `getKeys` returns and `clear` removes. JSON has up to 6 characters for one. */
const LONGEST_LISTED = 100_000

/** @throws INVALID_OPTION */
export default function pgsqlDriver(options: PgsqlDriverOptions = {}): PgsqlDriver {
  const { base = '', driver: _, ttl: defaultTtl, handler: shared, ...rest } = options
  let { name = NAME } = rest
  if (shared !== undefined) delete rest.name
  const { handler, close } = ownOrShared<string>(shared, rest, {
    name: NAME,
    idPattern: ANY_KEY,
    gcMaxlifetime: UNLIMITED,
  })
  if (handler.status().settings.ids !== 'plain') {
    throw invalidOption(
      "option ids: expected 'plain', because unstorage lists keys, which cannot be computed from their hashes. For items and hashed sessions in one database, use two tables",
    )
  }
  if (shared === undefined) name = handler.status().settings.name as string
  const prefix = base === '' || base.endsWith(':') ? base : `${base}:`

  const idOf = idsOfKeys(handler)

  async function getItem(key: string): Promise<string | null> {
    const record = await handler.read(idOf(prefix + key))
    if (record === undefined) return null
    // Another writer may have stored a value that is not a string. unstorage expects text.
    return typeof record.data === 'string' ? record.data : JSON.stringify(record.data)
  }

  async function setItem(key: string, value: string, { ttl }: ItemOptions = {}): Promise<void> {
    const whole = prefix + key
    const id = idOf(whole)
    const custom = id === whole || whole.length > LONGEST_LISTED ? undefined : JSON.stringify(whole)
    await handler.write(id, value, { name, custom, lifetime: ttl || defaultTtl || UNLIMITED })
  }

  /** Returns the ids and the keys of all items whose key begins with `within`, page by page. */
  async function* itemPages(within: string): AsyncGenerator<{ readonly id: string; readonly key: string }[]> {
    const start = prefix + within
    const selected = ({ id, custom }: ListedSession) => {
      const key = id.startsWith(HASHED) ? keyIn(custom) : id
      return key?.startsWith(start) ? [{ id, key: key.slice(prefix.length) }] : []
    }
    if (isStorable(start)) {
      for await (const page of sessionPages(handler, { name, idPrefix: start })) {
        yield page.filter(({ id }) => !id.startsWith(HASHED)).flatMap(selected)
      }
    }
    for await (const page of sessionPages(handler, { name, idPrefix: HASHED })) yield page.flatMap(selected)
  }

  return {
    name: 'pgsql',
    flags: { ttl: true },
    options,
    getInstance: () => handler,
    hasItem: async (key) => (await handler.info(idOf(prefix + key))) !== undefined,
    getItem,
    getItems: (items) => Promise.all(items.map(async ({ key }) => ({ key, value: await getItem(key) }))),
    setItem,
    async setItems(items, common) {
      await Promise.all(
        items.map(({ key, value, options: own }) => setItem(key, value, { ...common, ...own })),
      )
    },
    async removeItem(key) {
      await handler.destroy(idOf(prefix + key))
    },
    async getMeta(key) {
      const info = await handler.info(idOf(prefix + key))
      if (info === undefined) return null
      const { created, modified, expires } = info
      const left = expires === null ? UNLIMITED : Math.ceil((expires.getTime() - Date.now()) / 1000)
      return {
        ...(modified && { mtime: modified }),
        ...(created && { birthtime: created }),
        // An unlimited item has a lifetime of 30 years, of which some may have passed: more than half is left.
        ...(left < UNLIMITED / 2 && { ttl: Math.max(0, left) }),
      }
    },
    async getKeys(within = '') {
      const keys: string[][] = []
      for await (const items of itemPages(within)) keys.push(items.map(({ key }) => key))
      return keys.flat()
    },
    async clear(within = '') {
      for await (const items of itemPages(within)) {
        await Promise.all(items.map(({ id }) => handler.destroy(id)))
      }
    },
    dispose: close,
  }
}

/** Returns the key of an item that is stored under its hash. */
function keyIn(custom: string | null): string | undefined {
  try {
    const key: unknown = JSON.parse(custom ?? '')
    return typeof key === 'string' ? key : undefined
  } catch {
    return undefined
  }
}
