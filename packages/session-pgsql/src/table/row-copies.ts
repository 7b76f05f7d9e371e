import type { Query } from '../database/database.ts'
import { plain } from '../database/database.ts'
import type { StoredSession } from '../session/stored.ts'
import { clockOf, RECORD_COLUMNS, storedOf } from './answers.ts'
import { type Shape, sqlName } from './definition.ts'
import { CLOCK, recordColumns, sweepTime } from './statements.ts'

/**
 * A whole row, with the columns for several servers, as it is moved between servers. Used for failover and failback
 * only.
 */
export interface RowCopy {
  readonly session: StoredSession
  /** The name of its home server; null if it is here. */
  readonly home: string | null
  /** The row that it replaces there; see `RecordedBase`. null: none existed. */
  readonly base: string | null
  /** On the home server: the last row received by failback, until it is known to be deleted at its source; see `ReceivedRow`. */
  readonly received: string | null
  /** Set on a tombstone: when the session was destroyed, in seconds since 1970 by the clock of this server. */
  readonly destroyed: number | null
}

/** Returns true if the table has the columns for such rows. */
export function canBeFallback({ ours }: Shape): boolean {
  return ['sess_home', 'sess_base', 'sess_destroyed', 'sess_generation', 'sess_sweep'].every((column) =>
    ours.has(column as never),
  )
}

/** Reads the row of an id, expired or not, and locks it until the transaction ends. Also returns the server's clock. */
export async function lockRowCopy(
  query: Query,
  shape: Shape,
  id: string,
): Promise<{ row: RowCopy | undefined; clock: number }> {
  const [clock] = await query(plain(`SELECT NULL, NULL, NULL, ${CLOCK}`), [])
  const [row] = await query(
    plain(
      `SELECT NULL, 'read', t.sess_data, ${CLOCK}, ${recordColumns('t', shape)}, ${FAILOVER_COLUMNS} FROM ${sqlName(shape.name)} t
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
 * Returns the SQL that selects home server and id of rows that belong on another server, in this order. $1, $2: after
 * this home server and id; $3: without rows of these home servers, a JSON array.
 */
export function fallbackRowsText(sql: string, most: number): string {
  return `SELECT t.sess_home, t.sess_id FROM ${sql} t
    WHERE t.sess_home IS NOT NULL AND (t.sess_home, t.sess_id) > ($1::text, $2::text) AND NOT $3::jsonb ? t.sess_home
    ORDER BY t.sess_home, t.sess_id LIMIT ${most}`
}

const FAILOVER_COLUMNS = 't.sess_home, t.sess_base, t.sess_destroyed'

/** Index of the first of these columns: after `n, outcome, text, now` and the record. */
const FAILOVER_AT = 4 + RECORD_COLUMNS

function rowCopyOf(row: readonly (string | null)[]): RowCopy {
  const destroyed = row[FAILOVER_AT + 2]
  const home = row[FAILOVER_AT] ?? null
  const base = row[FAILOVER_AT + 1] ?? null
  return {
    session: storedOf(row, clockOf(row), performance.now()),
    home,
    base: home === null ? null : base,
    received: home === null ? base : null,
    destroyed: destroyed == null ? null : Number(destroyed),
  }
}

/** Inserts the row, replacing an existing one. */
export async function writeRowCopy(query: Query, shape: Shape, row: RowCopy): Promise<void> {
  const { session, home, base, received, destroyed } = row
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
      : String(Math.ceil(destroyed + TOMBSTONE_LIFETIME))
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

/** Clears `received` once the row is deleted at its source. */
export async function forgetReceived(
  query: Query,
  shape: Shape,
  id: string,
  received: string,
): Promise<void> {
  await query(
    plain(
      `UPDATE ${sqlName(shape.name)} SET sess_base = NULL
       WHERE sess_id = $1 AND sess_base = $2 AND sess_home IS NULL`,
    ),
    [id, received],
  )
}

/**
 * Seconds for which a tombstone is kept: as long as a session that was read before may live, and be written to some
 * server by a process that does not know that it was destroyed.
 */
const TOMBSTONE_LIFETIME = 30 * 86_400

/**
 * Returns the tombstone of a session. It reads as absent and keeps nothing but creation time and generation. It has
 * the generation only if that is known to be the home server's: otherwise it also ends older sessions there.
 */
export function tombstone(id: string, row: RowCopy | undefined, home: string | null, clock: number): RowCopy {
  const { session } = row ?? {}
  const isKnown = home === null || (row !== undefined && isBasedOnHome(row, home))
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
    // In whole seconds and rounded up, as sess_created is.
    destroyed: Math.ceil(clock),
  }
}

/** Returns true if a fallback's row was made from the row on the home server. */
function isBasedOnHome({ session, base }: RowCopy, home: string): boolean {
  if (base === null) return false
  const { destroyed, generation, server } = parseBase(base)
  return destroyed === undefined && server === home && generation === session.generation
}

/**
 * The version of the session that a fallback's row replaces on the home server, stored in `sess_base`. Digest and
 * generation identify it. Text, counters and custom field are the merge base if the home server has changed too.
 */
export interface RecordedBase {
  readonly digest: string | null
  readonly generation: number | null
  readonly created: number | null
  /** The server that it was read from: only on that server does a missing row mean that the session was destroyed. */
  readonly server: string | null
  /** After this time, GC may have removed the row there. */
  readonly expires: number | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly custom: string | null
  readonly text: string
  /** When the session was destroyed, by the clock of the fallback: the row is a new generation of the id. */
  readonly destroyed?: number
  /** When the row was written without a base, by the clock of the fallback: it replaces what the home server had then. */
  readonly replaced?: number
}

/**
 * A row that the home server has received, to recognise it if it is still at its source: a process may die or lose
 * its connection between the two commits, and the home server may have changed the session since. Kept after that if
 * two generations of the id were merged, because both were created without knowledge of the other or an answer was
 * lost; and if the row was made from a row of a third server.
 */
export interface ReceivedRow {
  readonly from: string
  /** Its `sess_base` there. */
  readonly base: string | null
  /** Its generation there. If the home server has another one, records with this generation remain valid. */
  readonly generation: number | null
  /** The row as received. */
  readonly row: RecordedBase
}

/** Returns the `sess_base` of a row made from `base`. @param since for a row that follows a tombstone, or was written without a base */
export function recordBase(
  base: StoredSession,
  since: Pick<RecordedBase, 'destroyed' | 'replaced'> = {},
): string {
  const { digest, generation, created, server = null, expires, text } = base
  const { accesses, errors, warnings, notices, errorMessage, custom } = base
  const recorded: RecordedBase = {
    ...{ digest, generation, created, server, expires, text },
    ...{ accesses, errors, warnings, notices, errorMessage, custom },
    ...since,
  }
  return JSON.stringify(recorded)
}

export function parseBase(base: string): RecordedBase {
  return JSON.parse(base)
}
