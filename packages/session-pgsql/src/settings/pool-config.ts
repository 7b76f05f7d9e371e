import { KEYWORDS } from '../conninfo/keywords.ts'
import type { PoolConfigLike } from '../database/drivers.ts'
import { nearest } from '../nearest.ts'
import { problem, typeName } from './checks.ts'

/** What the value of each option of node-postgres must be; undefined if it is passed on unchecked. */
const OPTIONS: { readonly [K in Exclude<keyof PoolConfigLike, 'connect'>]: Expected | undefined } = {
  host: text(),
  port: number('a number from 1 to 65535', 65_535),
  user: text(),
  database: text(),
  password: {
    what: 'a string or a function',
    fits: (value) => typeof value === 'string' || typeof value === 'function',
  },
  connectionString: text(),
  ssl: {
    what: 'true, false or an object such as { rejectUnauthorized: false }',
    fits: (value) =>
      typeof value === 'boolean' ||
      (typeof value === 'object' && !Array.isArray(value)) ||
      value === 'true' ||
      value === 'no-verify',
  },
  max: number('a whole number from 1 to 10000', 10_000),
  name: text(),
  Client: undefined,
  Promise: undefined,
  allowExitOnIdle: undefined,
  application_name: text(),
  binary: undefined,
  client_encoding: text(),
  connectionTimeoutMillis: undefined,
  enableChannelBinding: undefined,
  fallback_application_name: text(),
  idleTimeoutMillis: undefined,
  idle_in_transaction_session_timeout: undefined,
  keepAlive: undefined,
  keepAliveInitialDelayMillis: undefined,
  lock_timeout: undefined,
  log: undefined,
  maxLifetimeSeconds: undefined,
  maxUses: undefined,
  min: undefined,
  onConnect: undefined,
  options: text(),
  pipeline: undefined,
  query_timeout: undefined,
  scramMaxIterations: undefined,
  sslnegotiation: text(),
  statement_timeout: undefined,
  stream: undefined,
  types: undefined,
  verify: undefined,
}

interface Expected {
  readonly what: string
  fits(value: unknown): boolean
}

function text(): Expected {
  return { what: 'a string', fits: (value) => typeof value === 'string' }
}

/** node-postgres takes a number also as text, for example from an environment variable. */
function number(what: string, max: number): Expected {
  return {
    what,
    fits(value) {
      const isNumber = typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value))
      return isNumber && Number.isInteger(Number(value)) && Number(value) >= 1 && Number(value) <= max
    },
  }
}

/** Names of other clients for options of node-postgres that do not look alike. */
const OTHER_NAMES: { readonly [name: string]: keyof typeof OPTIONS } = {
  connectTimeout: 'connectionTimeoutMillis',
  connectionTimeout: 'connectionTimeoutMillis',
  db: 'database',
  dbname: 'database',
  hostname: 'host',
  idleTimeout: 'idleTimeoutMillis',
  pass: 'password',
  poolSize: 'max',
  pwd: 'password',
  uri: 'connectionString',
  url: 'connectionString',
  username: 'user',
}

/**
 * Checks an object for `db`. node-postgres ignores keys that it does not know, and would connect to another database
 * or without TLS. Messages never contain a value, which may be a password.
 *
 * @throws INVALID_OPTION
 */
export function poolConfig(where: string, value: object): PoolConfigLike {
  if ('client' in value && 'connection' in value) {
    throw problem(
      `${where}: expected options for a pg.Pool; received a configuration of knex. Pass its connection`,
    )
  }
  for (const [key, given] of Object.entries(value)) {
    if (!Object.hasOwn(OPTIONS, key)) throw problem(`${where}: ${aboutUnknown(key)}`)
    const expected = OPTIONS[key as keyof typeof OPTIONS]
    if (given === undefined || given === null || expected === undefined || expected.fits(given)) continue
    throw problem(`${where}: ${key}: expected ${expected.what}; received ${typeName(given)}`)
  }
  return value
}

function aboutUnknown(key: string): string {
  const other = Object.hasOwn(OTHER_NAMES, key) ? OTHER_NAMES[key] : undefined
  if (other === undefined && key.startsWith('ssl')) {
    return `"${key}" has no effect in an object. Set ssl: { rejectUnauthorized: false } for TLS, ssl: { ca, cert, key } with the contents of the files, or pass a conninfo string, which takes ${key}`
  }
  if (other === undefined && Object.hasOwn(KEYWORDS, key)) {
    return `"${key}" has no effect in an object. Pass a conninfo string, which takes it`
  }
  const known = Object.keys(OPTIONS)
  const meant = other ?? nearest(key, known)
  return `unknown key "${key}"${meant === undefined ? `. Known keys: ${known.join(', ')}` : `; did you mean "${meant}"?`}`
}
