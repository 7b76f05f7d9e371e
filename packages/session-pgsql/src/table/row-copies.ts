import { checkReadable } from '../codec/sealed.ts'
import { type Parameter, plain, type Query, type Row, type Statement } from '../database/database.ts'
import type { SealedColumn, SessionCipher } from '../session/cipher.ts'
import { earlier, endOf } from '../session/lifetime.ts'
import type { ColumnTexts, StoredSession } from '../session/stored.ts'
import { clockOf, RECORD_COLUMNS, storedOf } from './answers.ts'
import { filledBy, filledWith, namesFilled, writtenColumns } from './computed-columns.ts'
import { quoteIdentifier, type Shape, sqlName } from './definition.ts'
import { triggerFault } from './inspect.ts'
import { type OwnColumns, type OwnTypes, ownTypesOf, ownTypesText, PORTABLE } from './own-columns.ts'
import { recordColumns, sweepTime } from './row-sql.ts'
import { CLOCK, eq, gt, isIn, jsonHas, microseconds } from './sql.ts'
import type { OpenTable, SessionTable } from './table.ts'

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
  /**
   * For a tombstone: when the session was destroyed, in seconds since 1970 by the home server's clock as the process
   * knew it, or `UNKNOWN_TIME` (tombstones.ts). The clocks of two servers are never compared.
   */
  readonly destroyed: number | null
  /** For a tombstone: when garbage collection removes it, by this server's clock. */
  readonly keptUntil: number | null
  /** The user's own columns, as text. undefined: not known, and not written. */
  readonly own?: OwnColumns | undefined
  /** `sess_filled`: the computed columns whose values in `own` are those of the session's data. Default: none. */
  readonly filled?: string | null | undefined
  /** To write: what this process has computed for the session's data. It takes precedence over `own` and `filled`. */
  readonly computed?: ColumnTexts | undefined
}

/** The columns for several servers of a session's row on its home server. */
export const AT_HOME = { home: null, base: null, received: null, destroyed: null, keptUntil: null } as const

/** Returns true if the table has the columns that a fallback server needs. */
export function canBeFallback({ added }: Shape): boolean {
  return ['sess_home', 'sess_base', 'sess_destroyed', 'sess_generation', 'sess_sweep'].every((column) =>
    added.has(column as never),
  )
}

/** The row of one id, locked until the transaction ends. */
export interface LockedRow {
  /** undefined: there is none. */
  readonly row: RowCopy | undefined
  /** The server's clock, in seconds since 1970. */
  readonly clock: number
}

/** Reads the row with this id, also if it has expired, and locks it until the transaction ends. */
export async function lockRowCopy(query: Query, shape: OpenTable, id: string): Promise<LockedRow> {
  const { row, clock } = await lock(query, shape, id)
  return { row, clock }
}

/**
 * Writes what `decide` makes of the row with this id. The base of a new row on a fallback server records the defaults of
 * the user's own columns, so that failback moves only what has been changed since.
 *
 * A row that does not exist cannot be locked. If another transaction inserts it meanwhile, `decide` is called again.
 *
 * @returns the answer of `decide`, and the row as it is stored
 */
export async function changeRowCopy<Answer>(
  query: Query,
  shape: OpenTable,
  id: string,
  decide: (locked: LockedRow) => Decision<Answer> | Promise<Decision<Answer>>,
): Promise<{ readonly answer: Answer; readonly stored: RowCopy | undefined }> {
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt++) {
    const { row, clock, types, columns } = await lock(query, shape, id)
    const { next, answer } = await decide({ row, clock })
    if (next === undefined) return { answer, stored: row }
    const write = async (copy: RowCopy, mayReplace: boolean): Promise<RowCopy | undefined> => {
      const [written] = await query(...upsert(shape, types, copy, mayReplace, columns))
      return written && rowCopyOf(written, types, shape.cipher)
    }
    const stored = await write(next, row !== undefined)
    if (stored === undefined && row === undefined) continue
    if (stored === undefined) break
    const { base, own = {} } = stored
    const isNew = (row === undefined || row.destroyed !== null) && next.own === undefined && base !== null
    if (!isNew || Object.values(own).every((value) => value === null)) return { answer, stored }
    return {
      answer,
      stored: await write({ ...stored, base: JSON.stringify({ ...baseOf(base), own }) }, true),
    }
  }
  throw triggerFault(shape.name)
}

/** Number of inserts without effect after which a trigger is the cause. */
const MAX_ATTEMPTS = 10

/** What to do with a row. */
export interface Decision<Answer> {
  /** The row to write; undefined: the row stays as it is. */
  readonly next?: RowCopy | undefined
  readonly answer: Answer
}

interface Lock extends LockedRow {
  readonly types: OwnTypes
  /** SQL of the row's columns. */
  readonly columns: string
}

async function lock(query: Query, shape: OpenTable, id: string): Promise<Lock> {
  const table = sqlName(shape.name)
  const [look] = await query(
    plain(`SELECT ${ownTypesText(table)}, NULL, NULL, ${microseconds(CLOCK)}${PORTABLE}`),
    [],
  )
  const types = ownTypesOf(look?.[0])
  const columns = columnsOf(shape, types)
  const [found] = await query(
    plain(`SELECT ${columns} FROM ${table} t WHERE ${eq('t.sess_id', '$1')} FOR UPDATE`),
    [id],
  )
  return {
    row: found && rowCopyOf(found, types, shape.cipher),
    clock: clockOf(found ?? (look as Row)),
    types,
    columns,
  }
}

/** Returns those of the ids that have a row, also if it has expired or is a tombstone. */
export async function idsWithRows(
  table: SessionTable,
  ids: readonly string[],
  deadline: number,
): Promise<string[]> {
  const rows = await table.query(
    (_shape, sql) => `SELECT t.sess_id FROM ${sql} t
      WHERE ${isIn('t.sess_id', 'ARRAY(SELECT pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb))')}`,
    [JSON.stringify(ids)],
    deadline,
  )
  return rows.map(([id]) => id as string)
}

/** Deletes the row with this id, which this transaction has locked. */
export async function deleteRow(query: Query, shape: Shape, id: string): Promise<void> {
  const deleted = await query(
    plain(`DELETE FROM ${sqlName(shape.name)} t WHERE ${eq('t.sess_id', '$1')} RETURNING 1`),
    [id],
  )
  if (deleted.length === 0) throw triggerFault(shape.name)
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

/** Returns SQL of a row's columns, in the order in which `rowCopyOf` reads them. */
function columnsOf(shape: Shape, types: OwnTypes): string {
  const own = [...types.keys()].map((column) => `t.${quoteIdentifier(column)}::pg_catalog.text`)
  const filled = shape.columns.marked ? 't.sess_filled' : 'NULL'
  const ours = ['t.sess_home', 't.sess_base', 't.sess_destroyed', 't.sess_sweep', filled]
  return [
    'NULL',
    "'read'",
    't.sess_data',
    microseconds(CLOCK),
    recordColumns('t', shape),
    ...ours,
    ...own,
  ].join(', ')
}

function rowCopyOf(row: Row, types: OwnTypes, cipher: SessionCipher): RowCopy {
  const [home = null, sealed = null, destroyed = null, sweep, filled = null, ...own] = row.slice(
    4 + RECORD_COLUMNS,
  )
  const session = storedOf(row, cipher, clockOf(row), performance.now())
  const base = sealed === null ? null : cipher.open(sealed, 'sess_base', session.id)
  return {
    session,
    home,
    base: home === null ? null : base,
    received: home === null ? base : null,
    destroyed: destroyed === null ? null : Number(destroyed),
    keptUntil: destroyed === null ? null : Number(sweep),
    filled,
    own: Object.fromEntries([...types.keys()].map((column, index) => [column, own[index] ?? null])),
  }
}

/**
 * Returns the statement that writes a row, and its parameters. A tombstone gets the defaults of the user's own columns:
 * their values may be personal data.
 */
function upsert(
  shape: OpenTable,
  types: OwnTypes,
  { session, home, base, received, destroyed, keptUntil, ...columnsOfCopy }: RowCopy,
  mayReplace: boolean,
  returning: string,
): [Statement, Parameter[]] {
  const cap = (column: string, value: number | null): number | null =>
    value !== null && shape.narrow.has(column as never) ? Math.min(value, 2_147_483_647) : value
  // Whatever was decided, a row lives to the end of its session at most.
  const expires = earlier(session.expires, endOf(session, shape.maxLifetime))
  const sealed = (text: string | null, column: SealedColumn): string | null =>
    text === null ? null : shape.cipher.seal(text, column, session.id)
  const values: Record<string, string | number | null> = {
    sess_id: session.id,
    sess_name: session.name,
    sess_data: sealed(session.text, 'sess_data'),
    sess_created: cap('sess_created', session.created),
    sess_modified: cap('sess_modified', session.modified),
    sess_expire: cap('sess_expire', expires),
    sess_addr_created: session.addressCreated,
    sess_addr_modified: session.addressModified,
    sess_counter: cap('sess_counter', session.accesses),
    sess_error: cap('sess_error', session.errors),
    sess_warning: cap('sess_warning', session.warnings),
    sess_notice: cap('sess_notice', session.notices),
    sess_err_message: sealed(session.errorMessage, 'sess_err_message'),
    sess_custom: session.custom,
    sess_generation: session.generation,
    ...(shape.added.has('sess_version') ? { sess_version: session.version } : {}),
    ...(shape.added.has('sess_began') ? { sess_began: session.began } : {}),
    sess_home: home,
    sess_base: sealed(base ?? received, 'sess_base'),
    sess_destroyed: destroyed,
  }
  const { computed, own: copied = {} } = columnsOfCopy
  const own = computed === undefined ? copied : { ...copied, ...writtenColumns(shape, computed) }
  if (shape.columns.marked) {
    // A column that this table lacks is not filled.
    const kept = namesFilled(columnsOfCopy.filled ?? null).filter((name) => types.has(name))
    const filled = computed === undefined ? filledWith(kept) : filledBy(shape.columns)
    values.sess_filled = destroyed === null ? filled : null
  }
  const sweepAt = destroyed === null ? expires : keptUntil
  const sweep = sweepAt === null ? 'NULL' : destroyed === null ? sweepTime(String(sweepAt)) : String(sweepAt)
  const theirs = [...types].filter(([column]) => destroyed === null && Object.hasOwn(own, column))
  const ours = Object.keys(values)
  const columns = [...ours, ...theirs.map(([column]) => quoteIdentifier(column)), 'sess_sweep']
  const inserted = [
    ...ours.map((_, index) => `$${index + 1}`),
    ...theirs.map(([, type], index) => `CAST($${ours.length + index + 1}::pg_catalog.text AS ${type})`),
    sweep,
  ]
  const updated = columns.slice(1).map((column) => `${column} = excluded.${column}`)
  const cleared = destroyed === null ? [] : [...types.keys()]
  const set = [...updated, ...cleared.map((column) => `${quoteIdentifier(column)} = DEFAULT`)]
  const text = `
    INSERT INTO ${sqlName(shape.name)} AS t (${columns.join(', ')}) VALUES (${inserted.join(', ')})
    ON CONFLICT (sess_id) DO ${mayReplace ? `UPDATE SET ${set.join(', ')}` : 'NOTHING'}
    RETURNING ${returning}`
  return [plain(text), [...Object.values(values), ...theirs.map(([column]) => own[column] ?? null)]]
}

/** Clears `received` on the home server, after the row was deleted at its origin. */
export async function clearReceived(
  query: Query,
  shape: OpenTable,
  id: string,
  received: string,
): Promise<void> {
  // Compared here: encrypted, the same text is stored differently each time.
  const { row } = await lockRowCopy(query, shape, id)
  if (row?.received !== received) return
  await query(plain(`UPDATE ${sqlName(shape.name)} SET sess_base = NULL WHERE ${eq('sess_id', '$1')}`), [id])
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
  /** The user's own columns of the new row. undefined: all NULL. */
  readonly own?: OwnColumns
  /** When it was destroyed, as in `RowCopy`. The row with this base is another generation of the id. */
  readonly destroyed?: number
  /**
   * When it was written without a base, by the home server's clock as the process knew it, or `UNKNOWN_TIME`. It
   * replaces any row that the home server had then.
   */
  readonly replaced?: number
  /** The first change of the row, if the home server may have applied it too: its answer was lost. */
  readonly lost?: LostChange
}

/** The text and the counters that a change left. */
export type LostChange = Pick<StoredSession, 'text' | 'accesses' | 'errors' | 'warnings' | 'notices'>

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
 * @param since the time of the tombstone that the row replaces, or of the write without a base; a change that may have
 * been applied at home; the user's own columns of the new row
 */
export function recordBase(
  base: StoredSession,
  since: Pick<RecordedBase, 'destroyed' | 'replaced' | 'lost' | 'own'> = {},
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

/** Returns the `RecordedBase` in a text. @throws UNDECODABLE */
export function baseOf(text: string): RecordedBase {
  checkReadable(text)
  return JSON.parse(text)
}

/** Returns what a row on a fallback server replaces, if that is recorded. @throws UNDECODABLE */
export function recordedBaseOf({ base }: Pick<RowCopy, 'base'>): RecordedBase | undefined {
  return base === null ? undefined : baseOf(base)
}

/** Returns the `ReceivedRow` in a text. @throws UNDECODABLE */
export function receivedOf(text: string): ReceivedRow {
  checkReadable(text)
  return JSON.parse(text)
}
