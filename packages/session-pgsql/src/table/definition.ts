import { createHash } from 'node:crypto'

/**
 * The session table: its columns, how it is created, what is granted on it, and how one is looked at that
 * is already there. The DDL is code, not a file beside it: bundlers lose files.
 */

/**
 * The seed's columns with the types that a new table gets. Where the seed says integer, ours say bigint. Ids
 * are compared byte by byte: by the rules of a language, looking one up takes up to a third longer.
 */
const SEED_COLUMNS = [
  ['sess_id', 'text COLLATE "C" PRIMARY KEY'],
  ['sess_name', 'text'],
  ['sess_data', 'text'],
  ['sess_created', 'bigint'],
  ['sess_modified', 'bigint'],
  ['sess_expire', 'bigint'],
  ['sess_addr_created', 'text'],
  ['sess_addr_modified', 'text'],
  ['sess_counter', 'bigint'],
  ['sess_error', 'bigint'],
  ['sess_warning', 'bigint'],
  ['sess_notice', 'bigint'],
  ['sess_err_message', 'text'],
  ['sess_custom', 'text'],
] as const

/** What the seed did not have. A table without them is used all the same; see `Shape`. */
const OUR_COLUMNS = [
  // When GC looks at the row: its expiry rounded up to the hour. 0: at the next GC, so that a row written by
  // somebody else is looked at and filed. NULL: never (emptied, or without expiry).
  ['sess_sweep', 'bigint DEFAULT 0'],
  // Tells two lives of one id apart, even within one second: microseconds since 1970 at its beginning.
  ['sess_generation', 'bigint'],
  // For several servers: where the row belongs, what it replaces there, and when it was destroyed.
  ['sess_home', 'text'],
  ['sess_base', 'text'],
  ['sess_destroyed', 'bigint'],
] as const

export type SeedColumn = (typeof SEED_COLUMNS)[number][0]
export type OurColumn = (typeof OUR_COLUMNS)[number][0]

export const SEED_COLUMN_NAMES: readonly SeedColumn[] = SEED_COLUMNS.map(([name]) => name)
export const OUR_COLUMN_NAMES: readonly OurColumn[] = OUR_COLUMNS.map(([name]) => name)

/** `fillfactor` leaves room for HOT updates; autovacuum's own scale is far too lazy for a hot, big table. */
const STORAGE = [
  'fillfactor = 80',
  'autovacuum_vacuum_scale_factor = 0.02',
  'autovacuum_analyze_scale_factor = 0.05',
  'autovacuum_vacuum_cost_delay = 1',
  'toast.autovacuum_vacuum_scale_factor = 0.02',
  'toast.autovacuum_vacuum_cost_delay = 1',
]

export interface TableName {
  readonly schema: string
  readonly table: string
}

/** As SQL: `"schema"."table"`. */
export function sqlName(name: TableName): string {
  return `${quoteIdentifier(name.schema)}.${quoteIdentifier(name.table)}`
}

export function quoteIdentifier(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/** The statements that create the table and the journal beside it, in their order. */
export function createStatements(name: TableName): string[] {
  const columns = [...SEED_COLUMNS, ...OUR_COLUMNS].map(([column, type]) => `  ${column.padEnd(18)} ${type}`)
  return [
    `CREATE TABLE ${sqlName(name)} (\n${columns.join(',\n')}\n) WITH (\n  ${STORAGE.join(',\n  ')}\n)`,
    sweepIndexStatement(name),
    customIndexStatement(name),
    homeIndexStatement(name),
    createCompanionStatement(name, 'event'),
  ]
}

/** Bytes of a name in PostgreSQL. */
const LONGEST_NAME = 63

/** A table that lies beside that of the sessions: of their locks, of what has happened, or of what was imported. */
export function companionName({ schema, table }: TableName, what: 'lock' | 'event' | 'import'): TableName {
  const name = `${table}_${what}`
  if (Buffer.byteLength(name) <= LONGEST_NAME) return { schema, table: name }
  // PostgreSQL would cut it off, and it would be the name of the session table.
  return { schema, table: `session_${what}_${createHash('sha256').update(table).digest('hex').slice(0, 32)}` }
}

/** The tables that are made when they are first needed, at the latest. */
export type Companion = 'lock' | 'event'

export function createCompanionStatement(name: TableName, what: Companion): string {
  return `CREATE TABLE IF NOT EXISTS ${sqlName(companionName(name, what))} (\n${BESIDE[what]}`
}

const BESIDE: Record<Companion, string> = {
  lock: `  sess_id     text COLLATE "C" PRIMARY KEY,
  lock_owner  text NOT NULL,
  lock_until  double precision NOT NULL
) WITH (fillfactor = 50)`,
  event: `  event_id     text COLLATE "C" PRIMARY KEY,
  event_at     double precision NOT NULL,
  event_kind   text NOT NULL,
  event_about  text NOT NULL
)`,
}

/** @param how `CONCURRENTLY`: without holding up writers, and outside a transaction */
export function sweepIndexStatement(name: TableName, how: '' | ' CONCURRENTLY' = ''): string {
  return `CREATE INDEX${how} ON ${sqlName(name)} (sess_sweep)`
}

/** Hash: a b-tree refuses a long text. Looked at by findByField alone. */
export function customIndexStatement(name: TableName, how: '' | ' CONCURRENTLY' = ''): string {
  return `CREATE INDEX${how} ON ${sqlName(name)} USING hash (sess_custom)`
}

/** For several servers, which look for such rows every other second. There is nothing in it as a rule. */
export function homeIndexStatement(name: TableName, how: '' | ' CONCURRENTLY' = ''): string {
  return `CREATE INDEX${how} ON ${sqlName(name)} (sess_home, sess_id) WHERE sess_home IS NOT NULL`
}

/** Adds what `missing` names to a table that somebody else made. */
export function addColumnsStatement(name: TableName, missing: readonly (SeedColumn | OurColumn)[]): string {
  const added = [...SEED_COLUMNS, ...OUR_COLUMNS]
    .filter(([column]) => missing.includes(column))
    .map(([column, type]) => `ADD COLUMN IF NOT EXISTS ${column} ${type}`)
  return `ALTER TABLE ${sqlName(name)} ${added.join(', ')}`
}

/** What the owner must grant so that `role` can keep sessions in the table. */
export function grantStatements(name: TableName, role: string): string[] {
  return [
    `GRANT USAGE ON SCHEMA ${quoteIdentifier(name.schema)} TO ${quoteIdentifier(role)}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON ${sqlName(name)} TO ${quoteIdentifier(role)}`,
  ]
}

/** What `role` needs to write the journal; to read it, SELECT is enough. */
export function grantJournalStatement(name: TableName, role: string): string {
  return `GRANT SELECT, INSERT, DELETE ON ${sqlName(companionName(name, 'event'))} TO ${quoteIdentifier(role)}`
}

/** What a table turned out to have. Everything that statements are made of. */
export interface Shape {
  readonly name: TableName
  /** Of ours, those that are there. */
  readonly ours: ReadonlySet<OurColumn>
  /** Of the seed's, those of 32 bits: dates and counters are clamped there. */
  readonly narrow: ReadonlySet<SeedColumn>
  /** Whether an index leads with sess_sweep; without one GC goes through the table in the order of ids. */
  readonly sweepIndex: boolean
}
