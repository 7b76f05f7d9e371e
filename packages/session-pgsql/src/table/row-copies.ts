import type { Query } from '../database/database.ts'
import { plain } from '../database/database.ts'
import type { StoredSession } from '../session/stored.ts'
import { clockOf, RECORD_COLUMNS, storedOf } from './answers.ts'
import { type Shape, sqlName } from './definition.ts'
import { CLOCK, recordColumns, sweepTime } from './statements.ts'

/**
 * Rows as they are carried between servers: with what the columns for several servers say. Not for the everyday
 * life of a session, but for the time in which its home is away, and for the way back.
 */
export interface RowCopy {
  readonly session: StoredSession
  /** The server where it belongs; null: here. */
  readonly home: string | null
  /** What it replaces there; see `RecordedBase`. null: nothing was there. */
  readonly base: string | null
  /** At home: what was brought there last, until that is known to be gone from where it came; see `ReceivedRow`. */
  readonly received: string | null
  /** A tombstone: when it was destroyed, in seconds since 1970 by the clock of this server. */
  readonly destroyed: number | null
}

/** Whether the table can hold such rows. */
export function canBeFallback({ ours }: Shape): boolean {
  return ['sess_home', 'sess_base', 'sess_destroyed', 'sess_generation', 'sess_sweep'].every((column) =>
    ours.has(column as never),
  )
}

/** The row of this id, expired or not, locked until the transaction ends; and the server's clock. */
export async function lockRowCopy(
  query: Query,
  shape: Shape,
  id: string,
): Promise<{ row: RowCopy | undefined; clock: number }> {
  const [clock] = await query(plain(`SELECT NULL, NULL, NULL, ${CLOCK}`), [])
  const [row] = await query(
    plain(
      `SELECT NULL, 'read', t.sess_data, ${CLOCK}, ${recordColumns('t', shape)}, ${OWN} FROM ${sqlName(shape.name)} t
       WHERE t.sess_id = $1 FOR UPDATE`,
    ),
    [id],
  )
  return {
    row: row && rowCopyOf(row),
    clock: clockOf(row ?? (clock as readonly (string | null)[])),
  }
}

/**
 * Homes and ids of rows that belong elsewhere, in their order. $1, $2: those after this one; $3: not those of these
 * homes, as a JSON array.
 */
export function markedText(sql: string, most: number): string {
  return `SELECT t.sess_home, t.sess_id FROM ${sql} t
    WHERE t.sess_home IS NOT NULL AND (t.sess_home, t.sess_id) > ($1::text, $2::text) AND NOT $3::jsonb ? t.sess_home
    ORDER BY t.sess_home, t.sess_id LIMIT ${most}`
}

const OWN = 't.sess_home, t.sess_base, t.sess_destroyed'

/** Where those columns come in a row: after `n, outcome, text, now` and the record. */
const OWN_AT = 4 + RECORD_COLUMNS

function rowCopyOf(row: readonly (string | null)[]): RowCopy {
  const destroyed = row[OWN_AT + 2]
  const home = row[OWN_AT] ?? null
  const mark = row[OWN_AT + 1] ?? null
  return {
    session: storedOf(row, clockOf(row), performance.now()),
    home,
    base: home === null ? null : mark,
    received: home === null ? mark : null,
    destroyed: destroyed == null ? null : Number(destroyed),
  }
}

/** Writes a row whole, over whatever is there. */
export async function writeRowCopy(query: Query, shape: Shape, whole: RowCopy): Promise<void> {
  const { session, home, base, received, destroyed } = whole
  const cap = (column: string, value: number | null): number | null =>
    value !== null && shape.narrow.has(column as never) ? Math.min(value, 2_147_483_647) : value
  const values: Record<string, string | number | null> = {
    sess_id: session.id,
    sess_name: session.name,
    sess_data: session.text,
    sess_created: cap('sess_created', session.created),
    sess_modified: cap('sess_modified', session.modified),
    sess_expire: cap('sess_expire', session.expires),
    sess_addr_created: session.addressCreated,
    sess_addr_modified: session.addressModified,
    sess_counter: cap('sess_counter', session.accesses),
    sess_error: cap('sess_error', session.errors),
    sess_warning: cap('sess_warning', session.warnings),
    sess_notice: cap('sess_notice', session.notices),
    sess_err_message: session.errorMessage,
    sess_custom: session.custom,
    sess_generation: session.generation,
    sess_home: home,
    sess_base: base ?? received,
    sess_destroyed: destroyed,
  }
  const columns = Object.keys(values)
  const sweep =
    destroyed === null
      ? session.expires === null
        ? 'NULL'
        : sweepTime(String(session.expires))
      : String(Math.ceil(destroyed + TOMBSTONE))
  await query(
    plain(
      `INSERT INTO ${sqlName(shape.name)} (${columns.join(', ')}, sess_sweep)
       VALUES (${columns.map((_, index) => `$${index + 1}`).join(', ')}, ${sweep})
       ON CONFLICT (sess_id) DO UPDATE SET ${[...columns.slice(1), 'sess_sweep']
         .map((column) => `${column} = excluded.${column}`)
         .join(', ')}`,
    ),
    Object.values(values),
  )
}

export async function deleteRow(query: Query, shape: Shape, id: string): Promise<void> {
  await query(plain(`DELETE FROM ${sqlName(shape.name)} WHERE sess_id = $1`), [id])
}

/** What was brought is gone from where it came: home need not know of it any more. */
export async function forgetArrived(query: Query, shape: Shape, id: string, received: string): Promise<void> {
  await query(
    plain(
      `UPDATE ${sqlName(shape.name)} SET sess_base = NULL
       WHERE sess_id = $1 AND sess_base = $2 AND sess_home IS NULL`,
    ),
    [id, received],
  )
}

/**
 * Seconds for which a tombstone stays: as long as any session may live that was read before, and so be written
 * somewhere by a process that does not know that it was destroyed.
 */
const TOMBSTONE = 30 * 86_400

/**
 * A tombstone for this id: it reads as absent, and nothing of the session is left in it but what tells its life.
 * That it tells only if it is the life that home knows: otherwise whatever home has from before is meant as well.
 */
export function tombstone(id: string, row: RowCopy | undefined, home: string | null, clock: number): RowCopy {
  const { session } = row ?? {}
  const isKnown = home === null || (row !== undefined && isOfHome(row, home))
  return {
    session: {
      id,
      name: null,
      text: '',
      digest: null,
      created: session?.created ?? null,
      modified: null,
      expires: 0,
      addressCreated: null,
      addressModified: null,
      accesses: 0,
      errors: 0,
      warnings: 0,
      notices: 0,
      errorMessage: null,
      custom: null,
      generation: isKnown ? (session?.generation ?? null) : null,
      clock,
      readAt: performance.now(),
    },
    home,
    base: row?.base ?? null,
    received: home === null ? (row?.received ?? null) : null,
    // In whole seconds, and rounded up, as sess_created is.
    destroyed: Math.ceil(clock),
  }
}

/** Whether what a stand-in has was made of what lay at home. */
function isOfHome({ session, base }: RowCopy, home: string): boolean {
  if (base === null) return false
  const { destroyed, generation, server } = baseOf(base)
  return destroyed === undefined && server === home && generation === session.generation
}

/**
 * What a stand-in's row replaces at home, in `sess_base`: digest and life to know it by, and text, counters and
 * custom field to tell what was changed since, where home has moved on as well.
 */
export interface RecordedBase {
  readonly digest: string | null
  readonly generation: number | null
  readonly created: number | null
  /** Where it was read: only there does it mean anything that there is no row any more. */
  readonly server: string | null
  /** Past it the row may have been swept there. */
  readonly expires: number | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly custom: string | null
  readonly text: string
  /** When it was destroyed, by the clock of the stand-in: what is marked so is another life of the id. */
  readonly destroyed?: number
  /** When it was written without a base, by the clock of the stand-in: it replaces whatever home had then. */
  readonly replaced?: number
}

/**
 * What a home has taken in, for whoever finds it still lying where it came from: a process may die, or lose its
 * connection, between the two commits, and home may have moved on since. It stays if two lives of the id have become
 * one: both were created while nobody knew of the other, or one was and its answer was lost; and if what came was
 * made from what lies on yet another server.
 */
export interface ReceivedRow {
  readonly from: string
  /** The mark that it bore there. */
  readonly base: string | null
  /** The life that it had there. Where home had begun another one, who knows the session by this one knows it still. */
  readonly generation: number | null
  /** As it was then. */
  readonly row: RecordedBase
}

/** @param since of a tombstone, whose place another life takes, and of what replaces something unknown */
export function recordBase(
  base: StoredSession,
  since: Pick<RecordedBase, 'destroyed' | 'replaced'> = {},
): string {
  const { digest, generation, created, server = null, expires, text } = base
  const { accesses, errors, warnings, notices, errorMessage, custom } = base
  const mark: RecordedBase = {
    ...{ digest, generation, created, server, expires, text },
    ...{ accesses, errors, warnings, notices, errorMessage, custom },
    ...since,
  }
  return JSON.stringify(mark)
}

export function baseOf(mark: string): RecordedBase {
  return JSON.parse(mark)
}
