import type { Row } from '../database/database.ts'
import { companionName, type Shape, sqlName, type TableName } from './definition.ts'
import { CLOCK } from './statements.ts'
import type { SessionTable } from './table.ts'

/**
 * What has happened to a server and its sessions, for operators who look later and from elsewhere: notes in a table
 * of its own beside the session table, made when the first is written. Nobody depends on it. Where it is missing
 * and may not be made, or is not ours to write, sessions are kept all the same.
 */

/** What is noted. */
export interface Note {
  /** No two notes have the same. */
  readonly id: string
  readonly kind: string
  /** What there is to tell of it. */
  readonly about: Readonly<Record<string, unknown>>
}

/** Days for which a note is kept, and most of one kind: what happens often does not drive out what is rare. */
const KEPT = 30
const MOST = 500

/** Most notes that are read: more than there are, as a rule. */
const MOST_READ = 5000

/**
 * Writes one, and removes those that have had their time: so the table is bounded, whoever sweeps or does not.
 *
 * @param age seconds that have passed since
 * @throws where there is no journal to write, why; PostgreSQL was not bothered then with what it would have refused
 */
export async function writeEvent(
  table: SessionTable,
  { id, kind, about }: Note,
  age: number,
  deadline: number,
): Promise<void> {
  const place = await lookAt(table, deadline)
  if (place.readOnly) throw refusal('the server is read-only')
  if (!place.there) {
    if (!place.creatable) throw refusal('it is missing, and may not be created')
    await table.createCompanion('event', deadline)
  } else if (!place.fits) throw refusal('another table has its name')
  else if (!place.writable) throw refusal('SELECT, INSERT or DELETE is missing')
  await table.queryCompanion(writeText, [id, age, kind, JSON.stringify(about)], deadline)
}

/** Makes the journal where it is missing and may be made, before there is anything to note. */
export async function createJournal(table: SessionTable, deadline: number): Promise<void> {
  const { there, creatable, readOnly } = await lookAt(table, deadline)
  if (!there && creatable && !readOnly) await table.createCompanion('event', deadline)
}

/** Those of the last so many seconds, the oldest first; none where there is no journal to read. */
export async function readEvents(
  table: SessionTable,
  seconds: number,
  deadline: number,
): Promise<(Note & { readonly at: Date })[]> {
  const { fits, readable } = await lookAt(table, deadline)
  if (!fits || !readable) return []
  const rows = await table.queryCompanion(readText, [seconds], deadline)
  return rows.reverse().flatMap(([id, at, kind, text]) => {
    const about = parsed(text)
    return about === undefined
      ? []
      : [{ id: id as string, kind: kind as string, about, at: new Date(Number(at) * 1000) }]
  })
}

/** What there is of a journal, and what may be done with it. */
export interface JournalPlace {
  readonly there: boolean
  /** Whether it is what we would have made. */
  readonly fits: boolean
  readonly readable: boolean
  readonly writable: boolean
  /** Whether the user may make it. */
  readonly creatable: boolean
  /** Whether nothing at all can be written there. */
  readonly readOnly: boolean
}

/** Looks before each use: a statement that is refused would stand in PostgreSQL's log. */
async function lookAt(table: SessionTable, deadline: number): Promise<JournalPlace> {
  const { name } = await table.open(deadline)
  const [row] = await table.queryCompanion(() => placeText(name), [name.schema], deadline)
  return placeOf(row)
}

/** $1 the schema. */
export function placeText(name: TableName): string {
  const columns = ['event_id', 'event_at', 'event_kind', 'event_about'].map((column) => `'${column}'`)
  return `
    SELECT (j.oid IS NOT NULL)::text,
      (SELECT count(*) = ${columns.length} FROM pg_attribute a
        WHERE a.attrelid = j.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname IN (${columns}))::text,
      has_table_privilege(j.oid, 'SELECT')::text,
      (has_table_privilege(j.oid, 'SELECT') AND has_table_privilege(j.oid, 'INSERT')
        AND has_table_privilege(j.oid, 'DELETE'))::text,
      has_schema_privilege($1::text, 'CREATE')::text, (current_setting('transaction_read_only') = 'on')::text
    FROM (SELECT to_regclass('${sqlName(companionName(name, 'event')).replaceAll("'", "''")}')::oid AS oid) AS j`
}

export function placeOf(row: Row = []): JournalPlace {
  const [
    there = false,
    fits = false,
    readable = false,
    writable = false,
    creatable = false,
    readOnly = false,
  ] = row.map((text) => text === 'true')
  return { there, fits, readable, writable, creatable, readOnly }
}

const journal = ({ name }: Shape): string => sqlName(companionName(name, 'event'))

function writeText(shape: Shape): string {
  const sql = journal(shape)
  return `
    WITH worn AS (
      DELETE FROM ${sql} e WHERE e.event_at < ${CLOCK} - ${KEPT * 86_400} OR e.event_id IN (
        SELECT event_id FROM (
          SELECT event_id, row_number() OVER (PARTITION BY event_kind ORDER BY event_at DESC) AS place FROM ${sql}
        ) AS ranked WHERE place >= ${MOST})
    )
    INSERT INTO ${sql} (event_id, event_at, event_kind, event_about)
    VALUES ($1, ${CLOCK} - $2::float8, $3, $4)`
}

function readText(shape: Shape): string {
  return `
    SELECT event_id, event_at::text, event_kind, event_about FROM ${journal(shape)}
    WHERE event_at >= ${CLOCK} - $1::float8 ORDER BY event_at DESC LIMIT ${MOST_READ}`
}

function parsed(text: string | null | undefined): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    // Nobody of us has written that.
    return undefined
  }
}

function refusal(why: string): Error {
  return new Error(`The journal beside the session table is not written: ${why}.`)
}
