import type { Codec } from '../codec/codec.ts'
import type { Conninfo } from '../conninfo/conninfo.ts'
import { nearest } from '../nearest.ts'
import type { Encryption } from '../session/cipher.ts'
import type { Columns } from '../session/columns.ts'
import type { IdsMode } from '../session/stored-id.ts'
import { problem, typeName } from './checks.ts'
import { type DatabaseEntry, databaseEntries, environmentEntries } from './database-entries.ts'
import { describeEncryption, resolveEncryption } from './encryption.ts'
import type { CodecName, ConflictFunction, ConflictRule, Logger, SaveHandlerOptions } from './options.ts'
import { RULES, type Rule } from './rules.ts'
import { inSchema, type TableName } from './table-name.ts'

/**
 * Resolves the options of a user to settings: from options, php.ini, environment variables and defaults, in this
 * order. options.ts documents the options, rules.ts checks them.
 */

export type { DatabaseEntry, DatabaseOption } from './database-entries.ts'
export type {
  CodecName,
  ConflictFunction,
  ConflictRule,
  EncryptionKey,
  EncryptionOption,
  Logger,
  SaveHandlerOptions,
} from './options.ts'
export type { TableName } from './table-name.ts'

/** The complete, checked settings. Frozen, and safe to print: passwords and keys are not enumerable. */
export interface Settings<Data = Record<string, unknown>> {
  /** At least one. */
  readonly db: readonly DatabaseEntry[]
  readonly table: TableName
  readonly createTable: boolean
  readonly failoverMode: boolean
  readonly shortCircuit: boolean
  /** Seconds; undefined for a tenth of the session's lifetime, Infinity for never. */
  readonly refreshAfter: number | undefined
  readonly keepExpired: boolean
  /** Seconds; Infinity for never removed. */
  readonly keepExpiredFor: number
  /** Seconds. */
  readonly expiryGrace: number
  /** Seconds; Infinity for unlimited. */
  readonly maxLifetime: number
  readonly durableTouches: boolean
  readonly announce: boolean
  /** Seconds; 0 for never, negative for after every access. */
  readonly gcInterval: number
  /** Seconds. */
  readonly gcMaxlifetime: number
  readonly name: string
  /** undefined: off. */
  readonly encryption: Encryption | undefined
  readonly codec: CodecName | Codec<Data>
  readonly conflict: ConflictRule | ConflictFunction<Data>
  readonly columns: Columns
  readonly batch: boolean
  /** Seconds. */
  readonly operationTimeout: number
  readonly poolSize: number
  /** Matches a whole id; has no state between tests. */
  readonly idPattern: RegExp
  readonly ids: IdsMode
  readonly whenHomeIsDown: 'absent' | 'error'
  readonly logger: Logger
}

export interface SettingsSources {
  /** The directives of a php.ini; see `parsePhpIni`. */
  ini?: ReadonlyMap<string, string> | undefined
  /** @default process.env */
  environment?: Record<string, string | undefined> | undefined
  /** An adapter's defaults, which replace the save handler's. Settings from any source override them. */
  defaults?: Partial<Settings> | undefined
}

const DEFAULT_CONNINFO = 'host=localhost dbname=php_session user=nobody'

/** The database if no source names one: the default of the C extension session_pgsql. */
export const DEFAULT_DB: {
  readonly conninfo: string
  /** The `originOf` of its host. */
  readonly origin: string
  /** For the message of a failed connection. */
  readonly advice: string
} = {
  conninfo: DEFAULT_CONNINFO,
  origin: 'default of db',
  advice: `No database was named: set the option db or DATABASE_URL. The default is "${DEFAULT_CONNINFO}".`,
}

/** libpq's variables that select a database, as opposed to those that describe how to connect. */
const WHICH_DATABASE = ['PGHOST', 'PGHOSTADDR', 'PGDATABASE', 'PGSERVICE', 'PGUSER']

const OPTION_NAMES: readonly string[] = ['db', ...Object.keys(RULES), 'encryption']

export function resolveSettings<Data = Record<string, unknown>>(
  options: SaveHandlerOptions<Data>,
  sources: SettingsSources = {},
): Settings<Data> {
  const { ini = new Map<string, string>(), environment = process.env, defaults } = sources
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw problem(`options: expected an object such as { db: 'host=db1' }; received ${typeName(options)}`)
  }
  for (const name of Object.keys(options)) {
    if (!OPTION_NAMES.includes(name)) throw problem(`unknown option "${name}"${hint(name, OPTION_NAMES)}`)
  }
  checkDirectives(ini)
  const settings: Record<string, unknown> = { db: resolveDb(options.db, ini, environment) }
  for (const [name, rule] of Object.entries(RULES) as [keyof typeof RULES, Rule<unknown>][]) {
    const fallback = defaults?.[name] ?? rule.fallback
    settings[name] = resolve(name, options[name], { ...rule, fallback }, ini, environment)
  }
  settings.encryption = resolveEncryption(options.encryption, environment, RULES.batch.fromText)
  if (settings.ids === 'migrate' && (settings.db as readonly DatabaseEntry[]).length > 1) {
    throw problem(
      `option ids: expected 'plain' or 'hashed' with several entries in db; received 'migrate'. Ids can be moved to the hashed form on a single entry only`,
    )
  }
  settings.table = withSchemaOf(settings.db as readonly DatabaseEntry[], settings.table as TableName)
  return Object.freeze(settings) as unknown as Settings<Data>
}

function resolve(
  name: string,
  option: unknown,
  rule: Rule<unknown>,
  ini: ReadonlyMap<string, string>,
  environment: Record<string, string | undefined>,
): unknown {
  if (option !== undefined) return rule.check(`option ${name}`, option)
  for (const directive of [directiveOf(name), ...(rule.directives ?? [])]) {
    const text = ini.get(directive)
    if (text !== undefined) return rule.check(`directive ${directive}`, rule.fromText(text))
  }
  const text = environment[variableOf(name)]
  // Many deployment files set a variable to an empty string for "not set".
  if (text !== undefined && text !== '') {
    return rule.check(`environment variable ${variableOf(name)}`, rule.fromText(text))
  }
  return rule.fallback
}

function resolveDb(
  option: unknown,
  ini: ReadonlyMap<string, string>,
  environment: Record<string, string | undefined>,
): readonly DatabaseEntry[] {
  if (option !== undefined) return databaseEntries('option db', option, environment)
  const directive = ini.get(directiveOf('db'))
  if (directive) return databaseEntries('directive session_pgsql.db', directive, environment)
  for (const variable of [variableOf('db'), 'DATABASE_URL']) {
    const text = environment[variable]
    if (text) return databaseEntries(`environment variable ${variable}`, text, environment)
  }
  if (WHICH_DATABASE.some((variable) => environment[variable])) {
    return environmentEntries(environment)
  }
  return databaseEntries(DEFAULT_DB.origin, DEFAULT_DB.conninfo, environment)
}

/** Prisma's `schema` in a connection string applies to a table without one. */
function withSchemaOf(entries: readonly DatabaseEntry[], table: TableName): TableName {
  if (table.schema !== undefined) return table
  const conninfos = entries.map((entry) => (entry.kind === 'conninfo' ? entry.conninfo : undefined))
  const first = conninfos.find((conninfo) => conninfo?.schema !== undefined)
  if (first?.schema === undefined) return table
  const where = `${first.originOf('schema')}: schema`
  if (conninfos.some((conninfo) => conninfo?.schema !== first.schema)) {
    throw problem(
      `${where}: expected the same schema for all entries. Remove it, and name the schema in the option table`,
    )
  }
  return inSchema(where, table, first.schema)
}

/** A misspelt directive would have no effect without an error. Ignores directives of other extensions. */
function checkDirectives(ini: ReadonlyMap<string, string>): void {
  // Every user of the machine may be able to read a php.ini, and phpinfo() shows it: it has no keys.
  const known = [...['db', ...Object.keys(RULES)].map(directiveOf), 'session_pgsql.disable']
  for (const name of ini.keys()) {
    if (name.startsWith('session_pgsql.') && !known.includes(name)) {
      throw problem(`unknown directive "${name}"${hint(name, known)}`)
    }
  }
  const disable = ini.get('session_pgsql.disable')
  if (disable !== undefined && RULES.batch.fromText(disable) !== false) {
    throw problem(
      'directive session_pgsql.disable: not supported, because no other save handler could take over. Remove it, and do not create a save handler where you do not want one',
    )
  }
}

function hint(name: string, known: readonly string[]): string {
  const meant = nearest(name, known)
  return meant === undefined ? `. Known names: ${known.join(', ')}` : `; did you mean "${meant}"?`
}

/** Returns the name in a php.ini: `session_pgsql.gc_interval` for `gcInterval`. */
function directiveOf(name: string): string {
  return `session_pgsql.${snakeCase(name)}`
}

/** Returns the environment variable: `SESSION_PGSQL_GC_INTERVAL` for `gcInterval`. */
function variableOf(name: string): string {
  return `SESSION_PGSQL_${snakeCase(name).toUpperCase()}`
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** Returns the settings as plain JSON for `status()`: without secrets and functions, Infinity as a string. */
export function describeSettings<Data>(settings: Settings<Data>): Record<string, unknown> {
  const { schema, name } = settings.table
  const { codec, columns, conflict, refreshAfter } = settings
  return {
    db: settings.db.map(describeEntry),
    table: schema === undefined ? name : `${schema}.${name}`,
    createTable: settings.createTable,
    failoverMode: settings.failoverMode,
    shortCircuit: settings.shortCircuit,
    refreshAfter: refreshAfter === undefined ? 'a tenth of the lifetime' : jsonNumber(refreshAfter),
    keepExpired: settings.keepExpired,
    keepExpiredFor: jsonNumber(settings.keepExpiredFor),
    expiryGrace: settings.expiryGrace,
    maxLifetime: jsonNumber(settings.maxLifetime),
    durableTouches: settings.durableTouches,
    announce: settings.announce,
    gcInterval: settings.gcInterval,
    gcMaxlifetime: settings.gcMaxlifetime,
    name: settings.name,
    encryption: describeEncryption(settings.encryption),
    codec: typeof codec === 'string' ? codec : codec.name,
    conflict: typeof conflict === 'function' ? 'function' : conflict,
    columns: columns.all.map(({ name, type }) => `${name} ${type}`),
    batch: settings.batch,
    operationTimeout: settings.operationTimeout,
    poolSize: settings.poolSize,
    idPattern: String(settings.idPattern),
    ids: settings.ids,
    whenHomeIsDown: settings.whenHomeIsDown,
  }
}

function describeEntry(entry: DatabaseEntry): Record<string, unknown> {
  const { kind, name } = entry
  return entry.kind === 'conninfo' ? { kind, name, ...describeConninfo(entry.conninfo) } : { kind, name }
}

function describeConninfo(conninfo: Conninfo): Record<string, unknown> {
  return {
    hosts: conninfo.hosts.map(({ host, port }) => ({ host, port })),
    database: conninfo.database,
    user: conninfo.user,
    sslmode: conninfo.tls.mode,
    targetSessionAttrs: conninfo.targetSessionAttrs,
    weight: conninfo.weight,
  }
}

function jsonNumber(value: number): number | string {
  return Number.isFinite(value) ? value : String(value)
}
