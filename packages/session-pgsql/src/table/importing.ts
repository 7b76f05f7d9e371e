import { plain } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import { companionName, type Shape, sqlName } from './definition.ts'
import { lockOutCreators } from './inspect.ts'
import { CLOCK, sweepTime } from './statements.ts'
import type { SessionTable } from './table.ts'

/**
 * Sessions that come from another store, while that one is still in use and this one may be, too.
 *
 * A table beside the sessions, the *ledger*, remembers each id that has come and what its row was then, by a
 * digest. So a later run can tell: a row that is as it came may follow its source, one that was used here since
 * is left alone, and one that is no longer here was destroyed and is not brought back.
 */

export interface Arriving {
  readonly id: string
  readonly text: string
  /** Seconds to live from now. */
  readonly lifetime: number
  /** The custom field; null: empty. */
  readonly custom: string | null
}

/** One pass over a source. */
export interface Run {
  /** What the source is called in the ledger. */
  readonly source: string
  /** Greater than that of every run before it. */
  readonly number: number
  /** The name of the sessions' cookie. */
  readonly name: string
}

export interface ReceivedRow {
  /** How many are here for the first time. */
  readonly moved: number
  /** How many were here as they had come, and follow what has changed in the source since. */
  readonly renewed: number
}

/**
 * Seconds after its expiry for which a row that came and was never used is kept from GC. Its source may have
 * prolonged it by the next run; were it swept by then, that could not be told from destroyed.
 */
const KEPT = 7 * 86_400

/** Seconds by which two reckonings of one expiry may differ: sent at another time, rounded up. */
const SAME_EXPIRY = 2

/** Makes the ledger where it is missing, and numbers the run. */
export async function beginRun(table: SessionTable, deadline: number): Promise<number> {
  const shape = await table.open(deadline)
  const ddl = ledgerStatement(shape)
  try {
    return await table.transaction(async (query) => {
      await query(lockOutCreators, [shape.name.table])
      // Looked for first: IF NOT EXISTS needs the privilege to create even if it is there.
      const [there] = await query(plain('SELECT to_regclass($1)'), [ledgerName(shape)])
      if (there?.[0] == null) await query(plain(ddl), [])
      const [row] = await query(
        plain(
          `SELECT greatest(coalesce(max(l.run), 0) + 1, (${CLOCK} * 1000000)::bigint) FROM ${ledgerName(shape)} l`,
        ),
        [],
      )
      return Number(row?.[0])
    }, deadline)
  } catch (error) {
    if (!(error instanceof SessionPgsqlError) || error.code !== 'PRIVILEGE_MISSING') throw error
    throw new SessionPgsqlError(
      'PRIVILEGE_MISSING',
      `An import remembers in the table ${ledgerName(shape)} what it has moved, and this database user may not create or use it. ` +
        `Import as the owner of ${sqlName(shape.name)}, or let the owner run: ${ddl}; and GRANT SELECT, INSERT, UPDATE, DELETE on it.`,
      { cause: error },
    )
  }
}

/** Takes sessions in; no id may come twice. What is newer here, or was destroyed here, stays as it is. */
export function takeIn(
  table: SessionTable,
  arriving: readonly Arriving[],
  run: Run,
  deadline: number,
): Promise<ReceivedRow> {
  return table.transaction(async (query, shape) => {
    const rows = await query(plain(arrivalText(shape)), [
      { type: 'text', values: arriving.map(({ id }) => id) },
      { type: 'text', values: arriving.map(({ text }) => text) },
      { type: 'float8', values: arriving.map(({ lifetime }) => lifetime) },
      { type: 'text', values: arriving.map(({ custom }) => custom) },
      run.name,
      run.source,
      run.number,
    ])
    if (rows.length > 0) {
      await query(
        plain(`
          UPDATE ${ledgerName(shape)} l SET mark = i.mark
          FROM unnest($1::text[], $2::bigint[]) AS i(id, mark) WHERE l.sess_id = i.id`),
        [
          { type: 'text', values: rows.map(([id]) => id as string) },
          { type: 'bigint', values: rows.map(([, mark]) => mark as string) },
        ],
      )
    }
    const moved = rows.filter(([, , how]) => how === 'moved').length
    return { moved, renewed: rows.length - moved }
  }, deadline)
}

/** Records sessions as seen in this run without taking them in, for those that cannot be. */
export async function sawIds(
  table: SessionTable,
  ids: readonly string[],
  run: Run,
  deadline: number,
): Promise<void> {
  await table.transaction(
    (query, shape) =>
      query(
        plain(
          `UPDATE ${ledgerName(shape)} SET run = $2::bigint WHERE sess_id = ANY($1::text[]) AND run < $2::bigint`,
        ),
        [{ type: 'text', values: ids }, run.number],
      ),
    deadline,
  )
}

/** Ids that have come from this source, and that this run has not seen there; a page of them, in order. */
export async function missedIds(
  table: SessionTable,
  run: Run,
  after: string,
  limit: number,
  deadline: number,
): Promise<string[]> {
  const rows = await table.query(
    (shape) => `
      SELECT l.sess_id FROM ${ledgerName(shape)} l
      WHERE l.sess_id > $1 AND l.source = $2 AND l.run < $3::bigint AND l.mark IS NOT NULL
      ORDER BY l.sess_id LIMIT ${limit}`,
    [after, run.source, run.number],
    deadline,
  )
  return rows.map(([id]) => id as string)
}

/** Removes what has ended in the source, as far as it is here as it came. @returns how many */
export function removeMissed(
  table: SessionTable,
  ids: readonly string[],
  run: Run,
  deadline: number,
): Promise<number> {
  return table.transaction(async (query, shape) => {
    const rows = await query(
      plain(`
        WITH removed AS (
          DELETE FROM ${sqlName(shape.name)} t USING ${ledgerName(shape)} l
          WHERE t.sess_id = ANY($1::text[]) AND l.sess_id = t.sess_id AND l.run < $2::bigint AND ${isAsItCame('t', 'l', shape)}
          RETURNING t.sess_id
        )
        DELETE FROM ${ledgerName(shape)} l USING removed r WHERE l.sess_id = r.sess_id RETURNING 1`),
      [{ type: 'text', values: ids }, run.number],
    )
    return rows.length
  }, deadline)
}

function ledgerName(shape: Shape): string {
  return sqlName(companionName(shape.name, 'import'))
}

function ledgerStatement(shape: Shape): string {
  return `CREATE TABLE ${ledgerName(shape)} (
  sess_id  text COLLATE "C" PRIMARY KEY,
  source   text NOT NULL,
  run      bigint NOT NULL,
  mark     bigint
)`
}

/** A digest of everything in a row that a use of the session changes. */
function recordBase(row: string, shape: Shape): string {
  const columns = [
    'sess_data',
    'sess_created',
    'sess_modified',
    'sess_expire',
    'sess_addr_modified',
    'sess_counter',
    'sess_error',
    'sess_warning',
    'sess_notice',
    'sess_err_message',
    'sess_custom',
    ...(shape.ours.has('sess_generation') ? ['sess_generation'] : []),
  ]
  return `hashtextextended(ROW(${columns.map((column) => `${row}.${column}`).join(', ')})::text COLLATE "C", 0)`
}

function isAsItCame(row: string, ledger: string, shape: Shape): string {
  return `${recordBase(row, shape)} = ${ledger}.mark`
}

/** Answers `id, mark, 'moved' | 'renewed'` for what was written. */
function arrivalText(shape: Shape): string {
  const sql = sqlName(shape.name)
  const cap = (column: string, value: string): string =>
    shape.narrow.has(column as never) ? `least(${value}, 2147483647)` : value
  const expiry = cap('sess_expire', 'ceil(i.now + i.lifetime)::bigint')
  const values: Record<string, string> = {
    sess_id: 'i.id',
    sess_name: '$5::text',
    sess_data: 'i.data',
    sess_created: cap('sess_created', 'ceil(i.now)::bigint'),
    sess_modified: cap('sess_modified', 'ceil(i.now)::bigint'),
    sess_expire: expiry,
    sess_addr_created: 'NULL',
    sess_addr_modified: 'NULL',
    sess_counter: '0',
    sess_error: '0',
    sess_warning: '0',
    sess_notice: '0',
    sess_err_message: 'NULL',
    sess_custom: 'i.custom',
  }
  const ours: Record<string, string> = {
    sess_sweep: sweepTime(`i.now + i.lifetime + ${KEPT}`),
    sess_generation: '(i.now * 1000000)::bigint',
    sess_home: 'NULL',
    sess_base: 'NULL',
    sess_destroyed: 'NULL',
  }
  for (const [column, value] of Object.entries(ours)) {
    if (shape.ours.has(column as never)) values[column] = value
  }
  const columns = Object.keys(values)
  const tombstone = shape.ours.has('sess_destroyed') ? ' AND t.sess_destroyed IS NULL' : ''
  const sweep = shape.ours.has('sess_sweep') ? `, sess_sweep = ${values.sess_sweep}` : ''
  return `
    WITH clock AS MATERIALIZED (SELECT ${CLOCK} AS now),
    input AS MATERIALIZED (
      SELECT i.*, c.now
      FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[]) AS i(id, data, lifetime, custom)
        CROSS JOIN clock c
    ),
    known AS (
      INSERT INTO ${ledgerName(shape)} AS l (sess_id, source, run)
      SELECT i.id, $6::text, $7::bigint FROM input i ORDER BY i.id COLLATE "C"
      ON CONFLICT (sess_id) DO UPDATE SET source = excluded.source, run = greatest(l.run, excluded.run)
      RETURNING l.sess_id, l.mark, l.xmax = 0 AS fresh
    ),
    moved AS (
      INSERT INTO ${sql} AS t (${columns.join(', ')})
      SELECT ${columns.map((column) => values[column]).join(', ')}
      FROM input i JOIN known k ON k.sess_id = i.id WHERE k.fresh ORDER BY i.id COLLATE "C"
      ON CONFLICT (sess_id) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}
        WHERE t.sess_expire < ${CLOCK}${tombstone}
      RETURNING t.sess_id, ${recordBase('t', shape)}, 'moved'
    ),
    renewed AS (
      UPDATE ${sql} t SET sess_data = i.data, sess_custom = i.custom, sess_expire = ${expiry}${sweep}
      FROM input i JOIN known k ON k.sess_id = i.id
      WHERE t.sess_id = i.id AND NOT k.fresh AND ${isAsItCame('t', 'k', shape)} AND (
        t.sess_data IS DISTINCT FROM i.data OR t.sess_custom IS DISTINCT FROM i.custom
        OR abs(t.sess_expire - ${expiry}) > ${SAME_EXPIRY})
      RETURNING t.sess_id, ${recordBase('t', shape)}, 'renewed'
    )
    SELECT * FROM moved UNION ALL SELECT * FROM renewed`
}
