import type { Row } from '../database/database.ts'
import { secondsOf } from './answers.ts'
import { companionName, quoteLiteral, type Shape, sqlName, type TableName } from './definition.ts'
import { CLOCK, eq, ge, isIn, lt, microseconds, minus } from './sql.ts'
import type { SessionTable } from './table.ts'

/**
 * The journal: events of a server and its sessions, for operators in other processes and at later times. It is a
 * companion table of the session table, created with the first event. It is optional: sessions work without it.
 */

/** An event of the journal. */
export interface JournalEvent {
  /** Unique. */
  readonly id: string
  readonly kind: string
  /** The details, which depend on the kind. */
  readonly about: Readonly<Record<string, unknown>>
}

/** Days for which an event is kept. */
const KEPT_DAYS = 30

/**
 * Maximum number of events of one kind. The limit is for each kind, so that frequent events do not displace rare ones.
 */
const MAX_OF_KIND = 500

/** Maximum number of events that one read returns. The journal usually has fewer. */
const MAX_READ = 5000

/**
 * Writes an event, and removes old events and those above the maximum. So the table is bounded without a sweep.
 *
 * @param age seconds since the event
 * @throws Error with the reason if the journal cannot be written; no statement was then sent that PostgreSQL would
 * reject
 */
export async function writeEvent(
  table: SessionTable,
  { id, kind, about }: JournalEvent,
  age: number,
  deadline: number,
): Promise<void> {
  const state = await stateOf(table, deadline)
  if (state.readOnly) throw notWritable('the server is read-only')
  if (!state.exists) {
    if (!state.creatable)
      throw notWritable('its table does not exist, and the database user may not create it')
    await table.createCompanion('event', deadline)
  } else if (!state.fits) throw notWritable('another table has its name')
  else if (!state.writable) throw notWritable('the database user lacks SELECT, INSERT or DELETE on its table')
  await table.queryCompanion(writeText, [id, age, kind, JSON.stringify(about)], deadline)
}

/** Creates the journal if it does not exist and the database user may create it. */
export async function createJournal(table: SessionTable, deadline: number): Promise<void> {
  const { exists, creatable, readOnly } = await stateOf(table, deadline)
  if (!exists && creatable && !readOnly) await table.createCompanion('event', deadline)
}

/** Returns the events of the last `seconds`, the oldest first; none if there is no journal or it cannot be read. */
export async function readEvents(
  table: SessionTable,
  seconds: number,
  deadline: number,
): Promise<(JournalEvent & { readonly at: Date })[]> {
  const { fits, readable } = await stateOf(table, deadline)
  if (!fits || !readable) return []
  const rows = await table.queryCompanion(readText, [seconds], deadline)
  return rows.reverse().flatMap(([id, at, kind, text]) => {
    const about = parsed(text)
    return about === undefined
      ? []
      : [{ id: id as string, kind: kind as string, about, at: new Date(secondsOf(at) * 1000) }]
  })
}

/** The state of a server's journal, and the database user's privileges on it. */
export interface JournalState {
  readonly exists: boolean
  /** Whether it has the journal's columns. */
  readonly fits: boolean
  readonly readable: boolean
  readonly writable: boolean
  /** Whether the database user may create it. */
  readonly creatable: boolean
  /** Whether the server accepts no writes. */
  readonly readOnly: boolean
}

/** Asked before each use, because PostgreSQL logs every statement that it rejects. */
async function stateOf(table: SessionTable, deadline: number): Promise<JournalState> {
  const { name } = await table.open(deadline)
  const [row] = await table.queryCompanion(() => journalStateText(name), [name.schema], deadline)
  return journalStateOf(row)
}

/** Returns the SQL that queries the state. $1 the schema. */
export function journalStateText(name: TableName): string {
  const columns = ['event_id', 'event_at', 'event_kind', 'event_about']
  const may = (privilege: string): string => `pg_catalog.has_table_privilege(j.oid, '${privilege}')`
  const facts = [
    'j.oid IS NOT NULL',
    `(SELECT ${eq('pg_catalog.count(*)', String(columns.length))} FROM pg_catalog.pg_attribute a
        WHERE ${eq('a.attrelid', 'j.oid')} AND NOT a.attisdropped
          AND ${isIn('a.attname', `'{${columns}}'::pg_catalog.name[]`)})`,
    may('SELECT'),
    `${may('SELECT')} AND ${may('INSERT')} AND ${may('DELETE')}`,
    "pg_catalog.has_schema_privilege($1::pg_catalog.text, 'CREATE')",
    eq("pg_catalog.current_setting('transaction_read_only')", "'on'"),
  ]
  const table = quoteLiteral(sqlName(companionName(name, 'event')))
  return `
    SELECT ${facts.map((fact) => `(${fact})::pg_catalog.text`).join(',\n      ')}
    FROM (SELECT pg_catalog.to_regclass(${table})::pg_catalog.oid AS oid) AS j`
}

export function journalStateOf(row: Row = []): JournalState {
  const [
    exists = false,
    fits = false,
    readable = false,
    writable = false,
    creatable = false,
    readOnly = false,
  ] = row.map((text) => text === 'true')
  return { exists, fits, readable, writable, creatable, readOnly }
}

const journal = ({ name }: Shape): string => sqlName(companionName(name, 'event'))

function writeText(shape: Shape): string {
  const sql = journal(shape)
  return `
    WITH removed AS (
      DELETE FROM ${sql} e
      WHERE ${lt('e.event_at', minus(CLOCK, String(KEPT_DAYS * 86_400)))} OR ${isIn(
        'e.event_id',
        `SELECT event_id FROM (
          SELECT event_id,
            pg_catalog.row_number() OVER (PARTITION BY event_kind ORDER BY event_at DESC) AS place
          FROM ${sql}
        ) AS ranked WHERE ${ge('place', String(MAX_OF_KIND))}`,
      )}
    )
    INSERT INTO ${sql} (event_id, event_at, event_kind, event_about)
    VALUES ($1, ${minus(CLOCK, '$2::double precision')}, $3, $4)`
}

function readText(shape: Shape): string {
  return `
    SELECT event_id, ${microseconds('event_at')}, event_kind, event_about FROM ${journal(shape)}
    WHERE ${ge('event_at', minus(CLOCK, '$1::double precision'))} ORDER BY event_at DESC LIMIT ${MAX_READ}`
}

function parsed(text: string | null | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    // Not written by this library.
    return undefined
  }
}

function notWritable(reason: string): Error {
  return new Error(`Cannot write the journal: ${reason}.`)
}
