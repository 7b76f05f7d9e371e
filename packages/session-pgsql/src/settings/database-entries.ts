import { type Conninfo, parseConninfo, splitEntries } from '../conninfo/conninfo.ts'
import { endsInPassword } from '../conninfo/syntax.ts'
import type { PgliteLike, PoolConfigLike, PoolLike } from '../database/drivers.ts'
import { hidden } from '../hidden.ts'
import { isObjectWith, problem, typeName } from './checks.ts'

/** One server of `db`. What may hold a password, or is a driver's object, is not enumerable. */
export type DatabaseEntry =
  | { readonly kind: 'conninfo'; readonly name: string; readonly conninfo: Conninfo }
  /** The caller's own pool: it is used, and never ended. */
  | { readonly kind: 'pool'; readonly name: string; readonly pool: PoolLike }
  /** node-postgres' own options. */
  | { readonly kind: 'poolConfig'; readonly name: string; readonly config: PoolConfigLike }
  /** The caller's own PGlite: it is used, and never closed. */
  | { readonly kind: 'pglite'; readonly name: string; readonly instance: PgliteLike }
  /** The embedded PostgreSQL in a folder; undefined: in memory, gone with the process. */
  | { readonly kind: 'pgliteFolder'; readonly name: string; readonly folder: string | undefined }

/** What `db` may be: a string (several entries separated by `;`), one of the others, or an array of them. */
export type DatabaseOption = OneDatabase | readonly OneDatabase[]

/** A `URL`; as a structure, so that the types of this package need neither those of Node nor of a browser. */
export interface UrlLike {
  readonly href: string
  readonly searchParams: object
}

export type OneDatabase =
  | string
  | UrlLike
  | PoolConfigLike
  // Options of node-postgres that no name is made of, in an object that is written out.
  | (PoolConfigLike & Record<string, unknown>)
  | PoolLike
  | PgliteLike

type Environment = Record<string, string | undefined>

const EXPECTED =
  'a conninfo string such as "host=db1 dbname=php_session user=php_session", a URL such as "postgresql://php_session@db1/php_session", "pglite:./folder", a pg.Pool, options for one, a PGlite instance, or an array of these'

/** Never shows what came: it may hold a password. */
export function databaseEntries(
  where: string,
  value: unknown,
  environment: Environment,
): readonly DatabaseEntry[] {
  const given: readonly unknown[] = Array.isArray(value) ? value : [value]
  const entries = given.flatMap((one) =>
    typeof one === 'string' ? textEntries(where, one, environment) : [objectEntry(where, one, environment)],
  )
  if (entries.length === 0) throw problem(`${where}: expected ${EXPECTED}; got nothing`)
  const named = numberMemories(entries)
  const names = new Set<string>()
  for (const { name } of named) {
    if (names.has(name)) {
      throw problem(
        `${where}: two entries are called "${name}". Sessions are spread by these names, so each needs its own: remove one, or add name=… to it`,
      )
    }
    names.add(name)
  }
  return Object.freeze(named.map((entry) => Object.freeze(entry)))
}

/** The server that libpq's variables (PGHOST, …) name, everything else by its defaults. */
export function environmentEntries(environment: Environment): readonly DatabaseEntry[] {
  return Object.freeze([conninfoEntry('', environment, false)])
}

function conninfoEntry(text: string, environment: Environment, afterPassword: boolean): DatabaseEntry {
  const conninfo = parseConninfo(text, environment, afterPassword)
  return Object.freeze({ kind: 'conninfo', name: conninfo.name, conninfo })
}

function textEntries(where: string, text: string, environment: Environment): DatabaseEntry[] {
  const parts = splitEntries(text)
  if (parts.length === 0) throw problem(`${where}: expected ${EXPECTED}; got an empty string`)
  return parts.map((part, i) => textEntry(where, part, environment, endsInPassword(parts[i - 1])))
}

function textEntry(
  where: string,
  text: string,
  environment: Environment,
  afterPassword: boolean,
): DatabaseEntry {
  if (/^pglite:/i.test(text)) {
    const folder = text.slice('pglite:'.length)
    const inMemory = folder === '' || folder === '//' || folder.startsWith('memory:')
    return inMemory
      ? { kind: 'pgliteFolder', name: 'pglite:', folder: undefined }
      : { kind: 'pgliteFolder', name: `pglite:${folder}`, folder }
  }
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(text)
  if (scheme !== null && !/^postgres(?:ql)?:\/\//.test(text)) {
    throw problem(`${where}: expected ${EXPECTED}; got a text that begins like a URL of another kind`)
  }
  return conninfoEntry(text, environment, afterPassword)
}

function objectEntry(where: string, value: unknown, environment: Environment): DatabaseEntry {
  if (value instanceof URL) return textEntry(where, value.href, environment, false)
  if (isObjectWith(value, ['query', 'exec', 'transaction']) && 'waitReady' in value) {
    const instance = value as unknown as PgliteLike
    const folder = instance.dataDir
    const inMemory = folder === undefined || folder === '' || folder.startsWith('memory:')
    return entryWith('pglite', inMemory ? 'pglite:' : `pglite:${folder}`, { instance })
  }
  if (isObjectWith(value, ['connect', 'query'])) {
    if (!('totalCount' in value)) {
      throw problem(
        `${where}: expected ${EXPECTED}; got a single connection (${typeName(value)}). One connection cannot serve overlapping requests: give a pg.Pool`,
      )
    }
    const pool = value as unknown as PoolLike & { readonly options?: PoolConfigLike }
    return entryWith('pool', configName(pool.options ?? {}, environment), { pool })
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && isPlain(value)) {
    const config: PoolConfigLike = value
    if (config.connectionString !== undefined && typeof config.connectionString !== 'string') {
      throw problem(`${where}: connectionString: expected a string, got ${typeName(config.connectionString)}`)
    }
    return entryWith('poolConfig', configName(config, environment), { config })
  }
  throw problem(`${where}: expected ${EXPECTED}; got ${typeName(value)}`)
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  // A plain object of another realm (Jest, vm) has another Object.prototype.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function entryWith<K extends DatabaseEntry['kind'], S extends object>(
  kind: K,
  name: string,
  secrets: S,
): { readonly kind: K; readonly name: string } & S {
  return hidden({ kind, name }, secrets)
}

/** The name of a server that node-postgres' options lead to: node-postgres' own order of sources, without the password. */
function configName(config: PoolConfigLike, environment: Environment): string {
  if (typeof config.name === 'string' && config.name !== '') return config.name
  if (typeof config.connectionString === 'string') {
    const [beforeQuery = ''] = config.connectionString.split('?')
    for (const text of [config.connectionString, beforeQuery]) {
      try {
        return parseConninfo(text, environment).name
      } catch {
        // node-postgres knows parameters that libpq does not; host and database stand before them, as a rule.
      }
    }
  }
  const host = config.host || environment.PGHOST || 'localhost'
  const port = config.port || environment.PGPORT || 5432
  const user = config.user || environment.PGUSER || ''
  return `${host.includes(':') ? `[${host}]` : host}:${port}/${config.database || environment.PGDATABASE || user}`
}

/** Databases in memory have no place that could name them; their order does. */
function numberMemories(entries: DatabaseEntry[]): DatabaseEntry[] {
  let count = 0
  return entries.map((entry) => {
    if (entry.name !== 'pglite:') return entry
    count++
    if (count === 1) return entry
    const name = `pglite:#${count}`
    return entry.kind === 'pglite'
      ? entryWith('pglite', name, { instance: entry.instance })
      : { ...entry, name }
  })
}
