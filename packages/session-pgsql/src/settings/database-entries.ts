import { type Conninfo, parseConninfo, splitEntries } from '../conninfo/conninfo.ts'
import { endsInPassword } from '../conninfo/syntax.ts'
import type { PgliteLike, PoolConfigLike, PoolLike, PostgresJsLike } from '../database/drivers.ts'
import { hidden } from '../hidden.ts'
import { isObjectWith, problem, typeName } from './checks.ts'
import { poolConfig } from './pool-config.ts'
import { isNeonHttp, isPostgresJs, postgresJsConfig } from './postgres-js.ts'

/** One server of `db`. Driver objects and values that may contain a password are not enumerable. */
export type DatabaseEntry =
  | { readonly kind: 'conninfo'; readonly name: string; readonly conninfo: Conninfo }
  /** The caller's pool, which is never ended here. */
  | { readonly kind: 'pool'; readonly name: string; readonly pool: PoolLike }
  /** Options of node-postgres. */
  | { readonly kind: 'poolConfig'; readonly name: string; readonly config: PoolConfigLike }
  /** The caller's PGlite instance, which is never closed here. */
  | { readonly kind: 'pglite'; readonly name: string; readonly instance: PgliteLike }
  /** Embedded PostgreSQL in a data directory; undefined for in memory, lost with the process. */
  | { readonly kind: 'pgliteFolder'; readonly name: string; readonly folder: string | undefined }

/** The type of `db`: a string of one or more entries separated by `;`, one of the other forms, or an array of them. */
export type DatabaseOption = OneDatabase | readonly OneDatabase[]

/** A `URL`, described by its structure so that this package's types need neither Node's nor the DOM's. */
export interface UrlLike {
  readonly href: string
  readonly searchParams: object
}

export type OneDatabase = string | UrlLike | PoolConfigLike | PoolLike | PostgresJsLike | PgliteLike

type Environment = Record<string, string | undefined>

const EXPECTED =
  'a conninfo string such as "host=db1 dbname=php_session user=php_session", a URL such as "postgresql://php_session@db1/php_session", "pglite:./folder", a pg.Pool, options for one, a `sql` of postgres.js, a PGlite instance, or an array of these'

/** Messages never contain the value, which may contain a password. */
export function databaseEntries(
  where: string,
  value: unknown,
  environment: Environment,
): readonly DatabaseEntry[] {
  const given: readonly unknown[] = Array.isArray(value) ? value : [value]
  const entries = given.flatMap((one) =>
    typeof one === 'string' ? textEntries(where, one, environment) : [objectEntry(where, one, environment)],
  )
  if (entries.length === 0) throw problem(`${where}: expected ${EXPECTED}; received an empty array`)
  const named = numberMemories(entries)
  const names = new Set<string>()
  for (const { name } of named) {
    if (names.has(name)) {
      throw problem(
        `${where}: two entries have the name "${name}". Names decide which sessions a server gets, so they must be unique: remove one entry, or add name=… to it`,
      )
    }
    names.add(name)
  }
  return Object.freeze(named.map((entry) => Object.freeze(entry)))
}

/** Returns the server of libpq's environment variables (PGHOST, …), with libpq's defaults. */
export function environmentEntries(environment: Environment): readonly DatabaseEntry[] {
  return Object.freeze([conninfoEntry('environment', '', environment, false)])
}

function conninfoEntry(
  where: string,
  text: string,
  environment: Environment,
  afterPassword: boolean,
): DatabaseEntry {
  const conninfo = parseConninfo(text, environment, where, afterPassword)
  return Object.freeze({ kind: 'conninfo', name: conninfo.name, conninfo })
}

function textEntries(where: string, text: string, environment: Environment): DatabaseEntry[] {
  const advice = adviceFor(text.trim())
  if (advice !== undefined) throw problem(`${where}: ${advice}`)
  const parts = splitEntries(text)
  if (parts.length === 0) throw problem(`${where}: expected ${EXPECTED}; received an empty string`)
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
    const isInMemory = folder === '' || folder === '//' || folder.startsWith('memory:')
    return isInMemory
      ? { kind: 'pgliteFolder', name: 'pglite:', folder: undefined }
      : { kind: 'pgliteFolder', name: `pglite:${folder}`, folder }
  }
  if (/^[a-z][a-z0-9+.-]*:/i.test(text) && !/^postgres(?:ql)?:\/\//.test(text)) {
    throw problem(`${where}: expected ${EXPECTED}; received a URL with another scheme`)
  }
  return conninfoEntry(where, text, environment, afterPassword)
}

/** Returns what to change in a text of another program, as hosting providers print it; undefined for other texts. */
function adviceFor(text: string): string | undefined {
  if (/^psql\s/.test(text))
    return 'the text begins with "psql". Set the URL alone, without the command and the quotes'
  if (/^["'`]/.test(text)) {
    return 'the text begins with a quotation mark. Remove the quotes; what reads the environment file has kept them'
  }
  if (/^jdbc:/i.test(text)) {
    return 'this is a URL for JDBC. Remove "jdbc:", and write user and password as in postgresql://user:password@host/database'
  }
  const [, driver] = /^postgres(?:ql)?(\+\w+):/i.exec(text) ?? []
  if (driver !== undefined) return `this is a URL for SQLAlchemy. Remove "${driver}"`
  if (/^prisma(?:\+postgres)?:/i.test(text)) {
    return "this is a URL of Prisma Accelerate, not of a PostgreSQL server. Set the server's direct URL, which begins with postgresql://"
  }
  // libpq's keywords have no capital letters.
  if (/^\s*(?:Server|Host|User ?Id|Username|Database|Port|Password|Ssl ?Mode)\s*=[^;]*;/.test(text)) {
    return 'this is a connection string for .NET. Set the URL instead: postgresql://user:password@host/database?sslmode=require'
  }
  return undefined
}

function objectEntry(where: string, value: unknown, environment: Environment): DatabaseEntry {
  if (value instanceof URL) return textEntry(where, value.href, environment, false)
  if (isObjectWith(value, ['query', 'exec', 'transaction']) && 'waitReady' in value) {
    const instance = value as unknown as PgliteLike
    const folder = instance.dataDir
    const isInMemory = folder === undefined || folder === '' || folder.startsWith('memory:')
    return entryWith('pglite', isInMemory ? 'pglite:' : `pglite:${folder}`, { instance })
  }
  if (isObjectWith(value, ['connect', 'query'])) {
    if (!('totalCount' in value)) {
      throw problem(
        `${where}: expected ${EXPECTED}; received a single connection (${typeName(value)}), which cannot serve concurrent requests. Pass a pg.Pool instead`,
      )
    }
    const pool = value as unknown as PoolLike & { readonly options?: PoolConfigLike }
    return entryWith('pool', configName(pool.options ?? {}, environment), { pool })
  }
  if (isPostgresJs(value)) {
    const config = poolConfig(where, postgresJsConfig(where, value))
    return entryWith('poolConfig', configName(config, environment), { config })
  }
  if (isNeonHttp(value)) {
    throw problem(
      `${where}: expected ${EXPECTED}; received the function of neon(), which has no transactions that read first. Pass a Pool of @neondatabase/serverless`,
    )
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && isPlain(value)) {
    const config = poolConfig(where, value)
    return entryWith('poolConfig', configName(config, environment), { config })
  }
  throw problem(`${where}: expected ${EXPECTED}; received ${typeName(value)}`)
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

/** Returns the name of the server of these options, from the same sources as node-postgres, without the password. */
function configName(config: PoolConfigLike, environment: Environment): string {
  if (typeof config.name === 'string' && config.name !== '') return config.name
  if (typeof config.connectionString === 'string') {
    const [beforeQuery = ''] = config.connectionString.split('?')
    for (const text of [config.connectionString, beforeQuery]) {
      try {
        return parseConninfo(text, environment).name
      } catch {
        // node-postgres has parameters that libpq has not; host and database usually come before them.
      }
    }
  }
  const host = config.host || environment.PGHOST || 'localhost'
  const port = config.port || environment.PGPORT || 5432
  const user = config.user || environment.PGUSER || ''
  return `${host.includes(':') ? `[${host}]` : host}:${port}/${config.database || environment.PGDATABASE || user}`
}

/** Names several in-memory databases by their order. */
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
