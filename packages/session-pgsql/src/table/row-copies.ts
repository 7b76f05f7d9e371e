import { plain, type Query } from '../database/database.ts'
import type { StoredSession } from '../session/stored.ts'
import { clockOf, RECORD_COLUMNS, storedOf } from './answers.ts'
import { type Shape, sqlName } from './definition.ts'
import { triggerFault } from './inspect.ts'
import { CLOCK, eq, gt, jsonHas, microseconds } from './sql.ts'
import { recordColumns, sweepTime } from './statements.ts'

/**
 * A whole row, including the columns for several servers. Row copies are moved between servers: to a fallback server
 * while the home server is down, and back at failback.
 */
export interface RowCopy {
  readonly session: StoredSession
  /** The home server; null: this server. */
  readonly home: string | null
  /** On a fallback server: what the row replaces on its home server, as a `RecordedBase`. null: there was no row. */
  readonly base: string | null
  /**
   * On the home server: what it received last, as a `ReceivedRow`, until the row's deletion at its origin is confirmed.
   */
  readonly received: string | null
  /** For a tombstone: when the session was destroyed, in seconds since 1970 by this server's clock. */
  readonly destroyed: number | null
}

/** Returns true if the table has the columns that a fallback server needs. */
export function canBeFallback({ added }: Shape): boolean {
  return ['sess_home', 'sess_base', 'sess_destroyed', 'sess_generation', 'sess_sweep'].every((column) =>
    added.has(column as never),
  )
}

/**
 * Reads the row with this id, also if it has expired, and locks it until the transaction ends. Returns the server's
 * clock too.
 */
export async function lockRowCopy(
  query: Query,
  shape: Shape,
  id: string,
): Promise<{ row: RowCopy | undefined; clock: number }> {
  const [clock] = await query(plain(`SELECT NULL, NULL, NULL, ${microseconds(CLOCK)}`), [])
  const [row] = await query(
    plain(
      `SELECT NULL, 'read', t.sess_data, ${microseconds(CLOCK)}, ${recordColumns('t', shape)}, ${SERVER_COLUMNS}
       FROM ${sqlName(shape.name)} t WHERE ${eq('t.sess_id', '$1')} FOR UPDATE`,
    ),
    [id],
  )
  return {
    row: row && rowCopyOf(row),
    clock: clockOf(row ?? (clock as readonly (string | null)[])),
  }
}

/**
 * Returns SQL that lists rows with another home server: home server and id, in this order. $1, $2: the home server and
 * id to start after; $3: home servers to leave out, as a JSON array.
 */
export function fallbackRowsText(sql: string, limit: number): string {
  return `SELECT t.sess_home, t.sess_id FROM ${sql} t
    WHERE t.sess_home IS NOT NULL
      AND ${gt('(t.sess_home, t.sess_id)', '($1::pg_catalog.text, $2::pg_catalog.text)')}
      AND NOT ${jsonHas('$3', 't.sess_home')}
    ORDER BY t.sess_home, t.sess_id LIMIT ${limit}`
}

const SERVER_COLUMNS = 't.sess_home, t.sess_base, t.sess_destroyed'

/** Index of those columns in a row: after `n, outcome, text, micros` and the record. */
const SERVER_COLUMNS_AT = 4 + RECORD_COLUMNS

function rowCopyOf(row: readonly (string | null)[]): RowCopy {
  const [home = null, base = null, destroyed] = row.slice(SERVER_COLUMNS_AT)
  return {
    session: storedOf(row, clockOf(row), performance.now()),
    home,
    base: home === null ? null : base,
    received: home === null ? base : null,
    destroyed: destroyed == null ? null : Number(destroyed),
  }
}

/** Writes the whole row, and replaces the existing one, if any. */
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
    ...(shape.added.has('sess_version') ? { sess_version: session.version } : {}),
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
      : String(Math.ceil(destroyed + TOMBSTONE_KEPT))
  const written = await query(
    plain(
      `INSERT INTO ${sqlName(shape.name)} (${columns.join(', ')}, sess_sweep)
       VALUES (${columns.map((_, index) => `$${index + 1}`).join(', ')}, ${sweep})
       ON CONFLICT (sess_id) DO UPDATE SET ${[...columns.slice(1), 'sess_sweep']
         .map((column) => `${column} = excluded.${column}`)
         .join(', ')}
       RETURNING 1`,
    ),
    Object.values(values),
  )
  if (written.length === 0) throw triggerFault(shape.name)
}

/** Deletes the row with this id, which this transaction has locked. */
export async function deleteRow(query: Query, shape: Shape, id: string): Promise<void> {
  const deleted = await query(
    plain(`DELETE FROM ${sqlName(shape.name)} WHERE ${eq('sess_id', '$1')} RETURNING 1`),
    [id],
  )
  if (deleted.length === 0) throw triggerFault(shape.name)
}

/** Clears `received` on the home server, after the row was deleted at its origin. */
export async function clearReceived(query: Query, shape: Shape, id: string, received: string): Promise<void> {
  await query(
    plain(
      `UPDATE ${sqlName(shape.name)} SET sess_base = NULL
       WHERE ${eq('sess_id', '$1')} AND ${eq('sess_base', '$2')} AND sess_home IS NULL`,
    ),
    [id, received],
  )
}

/**
 * Seconds for which a tombstone is kept. Until then, a process that read the session before may write it to another
 * server, because it does not know that the session was destroyed.
 */
const TOMBSTONE_KEPT = 30 * 86_400

/**
 * Returns a tombstone for this id. It reads as absent, and keeps only what identifies the destroyed generation. It
 * names the generation only if the home server knows it; otherwise it applies to every row there that was created
 * before.
 */
export function tombstone(id: string, row: RowCopy | undefined, home: string | null, clock: number): RowCopy {
  const { session } = row ?? {}
  const isKnown = home === null || (row !== undefined && isBasedOn(home, row))
  return {
    session: {
      id,
      name: null,
      text: '',
      digest: null,
      version: session?.version ?? 0,
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
    // In whole seconds and rounded up, like sess_created.
    destroyed: Math.ceil(clock),
  }
}

/** Returns true if the fallback server's row was made from the row on the home server. */
function isBasedOn(home: string, { session, base }: RowCopy): boolean {
  if (base === null) return false
  const { destroyed, generation, server } = baseOf(base)
  return destroyed === undefined && server === home && generation === session.generation
}

/**
 * What a fallback server's row replaces on the home server, stored in `sess_base`. Digest and generation identify the
 * replaced row. Text, counters and custom field are the base of a merge if the home server's row changed too.
 */
export interface RecordedBase {
  readonly digest: string | null
  /** undefined: recorded by a release that did not count versions. */
  readonly version?: number | undefined
  readonly generation: number | null
  readonly created: number | null
  /** The server from which it was read. Only there a missing row means that the session was destroyed. */
  readonly server: string | null
  /** After this time, garbage collection may have removed the row there. */
  readonly expires: number | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly custom: string | null
  readonly text: string
  /** When it was destroyed, by the fallback server's clock. The row with this base is another generation of the id. */
  readonly destroyed?: number
  /**
   * When it was written without a base, by the fallback server's clock. It replaces any row that the home server had
   * then.
   */
  readonly replaced?: number
}

/**
 * What the home server received at failback. A process may crash or lose its connection between the commit there and
 * the deletion at the origin, and the home server's row may change in between. The next process that finds the row at
 * its origin then only deletes it. The record is kept if two generations of the id were merged, because both were
 * created independently or the answer to one creation was lost; and if the row was made from a row on yet another
 * server.
 */
export interface ReceivedRow {
  readonly from: string
  /** `sess_base` of the row at its origin. */
  readonly base: string | null
  /** The row's generation at its origin. Callers that read the session there still know it by this generation. */
  readonly generation: number | null
  /** The row that was received. */
  readonly row: RecordedBase
}

/**
 * Returns a `RecordedBase` as text.
 *
 * @param since the time of the tombstone that the row replaces, or of the write without a base
 */
export function recordBase(
  base: StoredSession,
  since: Pick<RecordedBase, 'destroyed' | 'replaced'> = {},
): string {
  const { digest, version, generation, created, server = null, expires, text } = base
  const { accesses, errors, warnings, notices, errorMessage, custom } = base
  const recorded: RecordedBase = {
    ...{ digest, version, generation, created, server, expires, text },
    ...{ accesses, errors, warnings, notices, errorMessage, custom },
    ...since,
  }
  return JSON.stringify(recorded)
}

/** Returns the `RecordedBase` in a text. */
export function baseOf(text: string): RecordedBase {
  return JSON.parse(text)
}
