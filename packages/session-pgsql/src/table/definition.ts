import { createHash } from 'node:crypto'
import type { Columns } from '../session/columns.ts'
import { BYTEWISE } from './sql.ts'

/**
 * The session table: its columns, the DDL that creates it, and the privileges that it needs. The DDL is code and not
 * a separate file, because bundlers leave such files out.
 */

/**
 * The columns of the C extension, session_pgsql, with their types in a new table. Its integer columns are bigint here.
 * Ids are compared byte by byte: with the collation of a language, a lookup takes up to a third longer.
 */
const EXTENSION_COLUMNS = [
  ['sess_id', 'pg_catalog.text COLLATE pg_catalog."C" PRIMARY KEY'],
  ['sess_name', 'pg_catalog.text'],
  ['sess_data', 'pg_catalog.text'],
  ['sess_created', 'bigint'],
  ['sess_modified', 'bigint'],
  ['sess_expire', 'bigint'],
  ['sess_addr_created', 'pg_catalog.text'],
  ['sess_addr_modified', 'pg_catalog.text'],
  ['sess_counter', 'bigint'],
  ['sess_error', 'bigint'],
  ['sess_warning', 'bigint'],
  ['sess_notice', 'bigint'],
  ['sess_err_message', 'pg_catalog.text'],
  ['sess_custom', 'pg_catalog.text'],
] as const

/** The columns that the C extension does not have. They are optional; see `Shape`. */
const ADDED_COLUMNS = [
  // When garbage collection checks the row: its expiry, rounded up to the hour. 0: at the next run, so that rows of
  // other writers are checked and get a time. NULL: never (the row is emptied, or does not expire).
  ['sess_sweep', 'bigint DEFAULT 0'],
  // Distinguishes two generations of an id, even within one second: microseconds since 1970 at its creation.
  ['sess_generation', 'bigint'],
  // Counts the writes of data in a generation, from 1. A compare-and-swap tests it. NULL counts as 0.
  ['sess_version', 'bigint'],
  // When the session began, in seconds since 1970: its first generation, if it has changed its id since. NULL: with this
  // generation. `maxLifetime` counts from it.
  ['sess_began', 'bigint'],
  // For several servers: the row's home server, what the row replaces there, and when it was destroyed.
  ['sess_home', 'pg_catalog.text'],
  ['sess_base', 'pg_catalog.text'],
  ['sess_destroyed', 'bigint'],
] as const

/** A column of the C extension, session_pgsql. */
export type ExtensionColumn = (typeof EXTENSION_COLUMNS)[number][0]
/** An optional column that this library adds. */
export type AddedColumn = (typeof ADDED_COLUMNS)[number][0]

export const EXTENSION_COLUMN_NAMES: readonly ExtensionColumn[] = EXTENSION_COLUMNS.map(([name]) => name)
export const ADDED_COLUMN_NAMES: readonly AddedColumn[] = ADDED_COLUMNS.map(([name]) => name)

/** Returns the columns of the session table in order, each with its type in a new table. */
export function sessionColumns(): readonly (readonly [column: string, type: string])[] {
  return [...EXTENSION_COLUMNS, ...ADDED_COLUMNS]
}

/** `fillfactor` leaves room for HOT updates. Autovacuum's defaults are too slow for a large table with many updates. */
const STORAGE = [
  'fillfactor = 80',
  'autovacuum_vacuum_scale_factor = 0.02',
  'autovacuum_analyze_scale_factor = 0.05',
  'autovacuum_vacuum_cost_delay = 1',
  'toast.autovacuum_vacuum_scale_factor = 0.02',
  'toast.autovacuum_vacuum_cost_delay = 1',
]

/** A table's full name, unquoted. */
export interface TableName {
  readonly schema: string
  readonly table: string
}

/** Returns the name as SQL: `"schema"."table"`. */
export function sqlName(name: TableName): string {
  return `${quoteIdentifier(name.schema)}.${quoteIdentifier(name.table)}`
}

export function quoteIdentifier(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

export function quoteLiteral(text: string): string {
  const quoted = `'${text.replaceAll("'", "''")}'`
  // E'…', so that a backslash means the same whatever standard_conforming_strings is.
  return quoted.includes('\\') ? `E${quoted.replaceAll('\\', '\\\\')}` : quoted
}

/** Returns DDL as a person would write it: without the schema of PostgreSQL's own names. */
export function readable(ddl: string): string {
  return ddl.replaceAll('pg_catalog.', '').replaceAll(/OPERATOR\(([^)]+)\)/g, '$1')
}

/**
 * Returns the statements that create the session table and its journal, in order.
 *
 * @param computed the columns of the option `columns`, quoted, and their types
 */
export function createStatements(
  name: TableName,
  computed: readonly (readonly [column: string, type: string])[] = [],
): string[] {
  const columns = [...EXTENSION_COLUMNS, ...ADDED_COLUMNS, ...computed].map(
    ([column, type]) => `  ${column.padEnd(18)} ${type}`,
  )
  return [
    `CREATE TABLE ${sqlName(name)} (\n${columns.join(',\n')}\n) WITH (\n  ${STORAGE.join(',\n  ')}\n)`,
    sweepIndexStatement(name),
    customIndexStatement(name),
    homeIndexStatement(name),
    createCompanionStatement(name, 'event'),
  ]
}

/** Maximum length of a name in PostgreSQL, in bytes. */
const MAX_NAME_BYTES = 63

/**
 * Returns the name of a companion of the session table: the table of locks, journal events or imports, or the function
 * of the trigger on a table of users.
 */
export function companionName(
  { schema, table }: TableName,
  what: 'lock' | 'event' | 'import' | 'user_deleted',
): TableName {
  const name = `${table}_${what}`
  if (Buffer.byteLength(name) <= MAX_NAME_BYTES) return { schema, table: name }
  // PostgreSQL would truncate the name to that of the session table.
  return { schema, table: `session_${what}_${createHash('sha256').update(table).digest('hex').slice(0, 32)}` }
}

/** The companion tables that are created on first use. */
export type Companion = 'lock' | 'event'

/** Returns the statement that creates a companion table if it does not exist. */
export function createCompanionStatement(name: TableName, what: Companion): string {
  return `CREATE TABLE IF NOT EXISTS ${sqlName(companionName(name, what))} (\n${COMPANION_COLUMNS[what]}`
}

const COMPANION_COLUMNS: Record<Companion, string> = {
  lock: `  sess_id     pg_catalog.text ${BYTEWISE} PRIMARY KEY,
  lock_owner  pg_catalog.text NOT NULL,
  lock_until  double precision NOT NULL
) WITH (fillfactor = 50)`,
  event: `  event_id     pg_catalog.text ${BYTEWISE} PRIMARY KEY,
  event_at     double precision NOT NULL,
  event_kind   pg_catalog.text NOT NULL,
  event_about  pg_catalog.text NOT NULL
)`,
}

/** @param how `CONCURRENTLY`: does not block writers, and must run outside a transaction */
export function sweepIndexStatement(name: TableName, how: '' | ' CONCURRENTLY' = ''): string {
  return `CREATE INDEX${how} ON ${sqlName(name)} (sess_sweep)`
}

/** A hash index, because a b-tree rejects long values. Only queries by custom field use it. */
export function customIndexStatement(name: TableName, how: '' | ' CONCURRENTLY' = ''): string {
  return `CREATE INDEX${how} ON ${sqlName(name)} USING hash (sess_custom)`
}

/** Several servers search for such rows every two seconds. The index is usually empty. */
export function homeIndexStatement(name: TableName, how: '' | ' CONCURRENTLY' = ''): string {
  return `CREATE INDEX${how} ON ${sqlName(name)} (sess_home, sess_id) WHERE sess_home IS NOT NULL`
}

/** Returns the statement that adds the missing columns to an existing table. */
export function addColumnsStatement(
  name: TableName,
  missing: readonly (ExtensionColumn | AddedColumn)[],
): string {
  const added = [...EXTENSION_COLUMNS, ...ADDED_COLUMNS]
    .filter(([column]) => missing.includes(column))
    .map(([column, type]) => `ADD COLUMN IF NOT EXISTS ${column} ${type}`)
  return `ALTER TABLE ${sqlName(name)} ${added.join(', ')}`
}

/** Returns the GRANT statements that `role` needs to store sessions in the table. */
export function grantStatements(name: TableName, role: string): string[] {
  return [
    `GRANT USAGE ON SCHEMA ${quoteIdentifier(name.schema)} TO ${quoteIdentifier(role)}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ${sqlName(name)} TO ${quoteIdentifier(role)}`,
  ]
}

/** Returns the GRANT statement that `role` needs to write the journal. To read it, SELECT is enough. */
export function grantJournalStatement(name: TableName, role: string): string {
  return `GRANT SELECT, INSERT, DELETE ON ${sqlName(companionName(name, 'event'))} TO ${quoteIdentifier(role)}`
}

/** What the statements depend on of a table's computed columns. */
export interface TableColumns {
  /** The option `columns`. */
  readonly wanted: Columns
  /** The names of those that the table has. */
  readonly present: ReadonlySet<string>
  /** Whether the table has `sess_filled`; see computed-columns.ts. */
  readonly marked: boolean
}

/** What the statements depend on: the properties of an existing session table, and a setting. */
export interface Shape {
  readonly name: TableName
  /** The added columns that the table has. */
  readonly added: ReadonlySet<AddedColumn>
  /** The extension's columns that have 32 bits. Dates and counters are clamped there. */
  readonly narrow: ReadonlySet<ExtensionColumn>
  /**
   * The seed of the data's digest: the identifier of the database cluster, which no client knows. undefined: the
   * role may not read it.
   */
  readonly digestSeed: string | undefined
  /** The setting `maxLifetime`, in seconds; Infinity: unlimited. */
  readonly maxLifetime: number
  /** Whether an index starts with sess_sweep. Without one, garbage collection scans the table in the order of ids. */
  readonly sweepIndex: boolean
  /** The computed columns. */
  readonly columns: TableColumns
}
