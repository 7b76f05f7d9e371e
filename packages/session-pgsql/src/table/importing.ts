import { keyIdOf } from '../codec/sealed.ts'
import { plain, type Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import { hashedId, type IdsMode } from '../session/stored-id.ts'
import { FILLED } from './computed-columns.ts'
import { companionName, type Shape, sqlName } from './definition.ts'
import { lockLedger } from './hash-ids.ts'
import { formsOf, hasMark, writeMarkText } from './id-forms.ts'
import { creating } from './inspect.ts'
import { expiryOf } from './lifetime.ts'
import { capped, nextVersion, sweepTime } from './row-sql.ts'
import { BYTEWISE, CLOCK, eq, gt, isIn, lt, microseconds, minus, plus, same } from './sql.ts'
import type { OpenTable, SessionTable } from './table.ts'

/**
 * Imports sessions from another store. Both stores may be in use during the import.
 *
 * A companion table, the *ledger*, records each imported id and a digest of its row. A later run can then distinguish
 * three cases. A row with the same digest is unused, and follows its source. A row with another digest was used here,
 * and stays unchanged. A missing row was destroyed here, and is not imported again.
 */

/** A session to import. */
export interface ImportedSession {
  readonly id: string
  readonly text: string
  /** Seconds to live from now. */
  readonly lifetime: number
  /** The custom field; null: empty. */
  readonly custom: string | null
}

/** One run of an import. */
export interface Run {
  /** The source's name in the ledger. */
  readonly source: string
  /** Greater than the number of every earlier run. */
  readonly number: number
  /** The cookie's name. */
  readonly name: string
}

/** How many sessions a batch of an import wrote. */
export interface ImportCounts {
  /** Number of sessions that were imported for the first time. */
  readonly moved: number
  /** Number of unused sessions that were updated from their source. */
  readonly renewed: number
}

/**
 * Seconds after its expiry for which garbage collection keeps an unused row. Its source may extend it before the next
 * run. If it were removed by then, the run could not distinguish it from a destroyed one.
 */
const KEPT = 7 * 86_400

/** Seconds by which two computations of one expiry may differ, because of transit time and rounding. */
const SAME_EXPIRY = 2

/** Creates the ledger if it does not exist, and returns the number of a new run. @throws PRIVILEGE_MISSING */
export async function beginRun(table: SessionTable, deadline: number): Promise<number> {
  const shape = await table.open(deadline)
  const ddl = ledgerStatement(shape)
  try {
    const begin = async (query: Query): Promise<number> => {
      // Not CREATE TABLE IF NOT EXISTS, which requires the privilege to create even if the table exists.
      const [existing] = await query(plain('SELECT pg_catalog.to_regclass($1)'), [ledgerName(shape)])
      if (existing?.[0] == null) await query(plain(ddl), [])
      const [row] = await query(
        plain(
          `SELECT greatest(${plus('coalesce(pg_catalog.max(l.run), 0)', '1')}, ${microseconds(CLOCK)})
           FROM ${ledgerName(shape)} l`,
        ),
        [],
      )
      return Number(row?.[0])
    }
    return await creating(() => table.transaction(begin, deadline))
  } catch (error) {
    if (!(error instanceof SessionPgsqlError) || error.code !== 'PRIVILEGE_MISSING') throw error
    throw new SessionPgsqlError(
      'PRIVILEGE_MISSING',
      `The import records the moved sessions in the table ${ledgerName(shape)}, and this database user may not create or use it. ` +
        `Import as the owner of ${sqlName(shape.name)}, or run as the owner: ${ddl}; and GRANT SELECT, INSERT, UPDATE, DELETE on it.`,
      { cause: error },
    )
  }
}

/** Imports sessions with different ids. Those that were used or destroyed here stay unchanged. */
export function importSessions(
  table: SessionTable,
  sessions: readonly ImportedSession[],
  run: Run,
  deadline: number,
): Promise<ImportCounts> {
  return table.transaction(async (query, shape) => {
    const ids = sessions.map(({ id }) => id)
    if (table.idsMode !== 'plain') await query(plain(writeMarkText(sqlName(shape.name))), [])
    const forms = await importedForms(query, shape, ids, table.idsMode)
    const rows = await query(plain(importText(shape)), [
      { type: 'text', values: forms },
      { type: 'text', values: await sealedTexts(query, shape, sessions, forms) },
      { type: 'float8', values: sessions.map(({ lifetime }) => lifetime) },
      { type: 'text', values: sessions.map(({ custom }) => custom) },
      run.name,
      run.source,
      run.number,
    ])
    if (rows.length > 0) {
      await query(
        plain(`
          UPDATE ${ledgerName(shape)} l SET mark = i.mark
          FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::bigint[])) AS i(id, mark)
          WHERE ${eq('l.sess_id', 'i.id')}`),
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

/**
 * Returns what to store for each session. Encrypted, the same text is stored differently each time: a session whose data
 * has not changed keeps what is stored, so that it is not renewed.
 *
 * @param forms the stored forms of the sessions' ids
 */
async function sealedTexts(
  query: Query,
  { name, cipher }: OpenTable,
  sessions: readonly ImportedSession[],
  forms: readonly string[],
): Promise<string[]> {
  const rows = cipher.hasKeys
    ? await query(
        plain(
          `SELECT t.sess_id, t.sess_data FROM ${sqlName(name)} t WHERE ${isIn('t.sess_id', '$1::pg_catalog.text[]')}`,
        ),
        [{ type: 'text', values: forms }],
      )
    : []
  const stored = new Map(rows.map(([id, text]) => [id, text ?? '']))
  return sessions.map(({ text }, index) => {
    const id = forms[index] as string
    const before = stored.get(id) ?? ''
    const isStored = keyIdOf(before) !== undefined && cipher.open(before, 'sess_data', id) === text
    return isStored ? before : cipher.seal(text, 'sess_data', id)
  })
}

/**
 * Returns the form under which to store each id: that of an earlier import or of the session itself, otherwise that of
 * new sessions. Until the transaction ends, `hash-ids` does not change them.
 */
async function importedForms(
  query: Query,
  shape: Shape,
  ids: readonly string[],
  mode: IdsMode,
): Promise<readonly string[]> {
  if (mode === 'hashed') return ids.map(hashedId)
  const table = sqlName(shape.name)
  await lockLedger(query, shape, 'import')
  if (mode === 'plain' && !(await hasMark(query, table))) return ids
  const isOne = isIn('o.sess_id', '$1::pg_catalog.text[]')
  const rows = await query(
    plain(
      `SELECT o.sess_id FROM ${ledgerName(shape)} o WHERE ${isOne} UNION ALL SELECT o.sess_id FROM ${table} o WHERE ${isOne}`,
    ),
    [{ type: 'text', values: ids.flatMap(formsOf) }],
  )
  const known = new Set(rows.map(([form]) => form))
  return ids.map((id) => {
    const hashed = hashedId(id)
    return known.has(hashed) || (mode === 'migrate' && !known.has(id)) ? hashed : id
  })
}

/** Records in the ledger that this run has seen sessions in the source, for those that cannot be imported. */
export async function recordSeen(
  table: SessionTable,
  ids: readonly string[],
  run: Run,
  deadline: number,
): Promise<void> {
  await table.transaction(
    (query, shape) =>
      query(
        plain(
          `UPDATE ${ledgerName(shape)} SET run = $2::bigint
           WHERE ${isIn('sess_id', '$1::pg_catalog.text[]')} AND ${lt('run', '$2::bigint')}`,
        ),
        [{ type: 'text', values: ids.flatMap(formsOf) }, run.number],
      ),
    deadline,
  )
}

/** Returns the next page, after the id `after`, of ids in their stored forms that were imported from this source and not seen in this run. */
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
      WHERE ${gt('l.sess_id', '$1')} AND ${eq('l.source', '$2')} AND ${lt('l.run', '$3::bigint')}
        AND l.mark IS NOT NULL
      ORDER BY l.sess_id LIMIT ${limit}`,
    [after, run.source, run.number],
    deadline,
  )
  return rows.map(([id]) => id as string)
}

/** Removes unused sessions that ended in the source, by the stored forms of their ids. @returns their number */
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
          WHERE ${isIn('t.sess_id', '$1::pg_catalog.text[]')} AND ${eq('l.sess_id', 't.sess_id')}
            AND ${lt('l.run', '$2::bigint')} AND ${isUnused('t', 'l', shape)}
          RETURNING t.sess_id
        )
        DELETE FROM ${ledgerName(shape)} l USING removed r WHERE ${eq('l.sess_id', 'r.sess_id')} RETURNING 1`),
      [{ type: 'text', values: ids }, run.number],
    )
    return rows.length
  }, deadline)
}

/** Returns the quoted name of the ledger. */
export function ledgerName(shape: Shape): string {
  return sqlName(companionName(shape.name, 'import'))
}

function ledgerStatement(shape: Shape): string {
  return `CREATE TABLE ${ledgerName(shape)} (
  sess_id  pg_catalog.text ${BYTEWISE} PRIMARY KEY,
  source   pg_catalog.text NOT NULL,
  run      bigint NOT NULL,
  mark     bigint
)`
}

/** Returns SQL of a digest of the columns that change when the session is used. */
export function rowDigest(row: string, shape: Shape): string {
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
    ...(shape.added.has('sess_generation') ? ['sess_generation'] : []),
  ]
  const values = `ROW(${columns.map((column) => `${row}.${column}`).join(', ')})`
  return `pg_catalog.hashtextextended(${values}::pg_catalog.text ${BYTEWISE}, 0)`
}

function isUnused(row: string, ledger: string, shape: Shape): string {
  return eq(rowDigest(row, shape), `${ledger}.mark`)
}

/** Returns SQL that writes sessions, and returns `id, mark, 'moved' | 'renewed'` for each row it wrote. */
function importText(shape: Shape): string {
  const sql = sqlName(shape.name)
  const expiry = capped(shape, 'sess_expire', `pg_catalog.ceil(${plus('i.now', 'i.lifetime')})::bigint`)
  const values: Record<string, string> = {
    sess_id: 'i.id',
    sess_name: '$5::pg_catalog.text',
    sess_data: 'i.data',
    sess_created: capped(shape, 'sess_created', 'pg_catalog.ceil(i.now)::bigint'),
    sess_modified: capped(shape, 'sess_modified', 'pg_catalog.ceil(i.now)::bigint'),
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
  const added: Record<string, string> = {
    sess_sweep: sweepTime(plus(plus('i.now', 'i.lifetime'), String(KEPT))),
    sess_generation: microseconds('i.now'),
    sess_version: '1',
    sess_began: 'pg_catalog.ceil(i.now)::bigint',
    sess_home: 'NULL',
    sess_base: 'NULL',
    sess_destroyed: 'NULL',
  }
  for (const [column, value] of Object.entries(added)) {
    if (shape.added.has(column as never)) values[column] = value
  }
  // A process with the functions computes the columns later.
  const unfilled = shape.columns.marked ? `, ${FILLED} = NULL` : ''
  if (shape.columns.marked) values[FILLED] = 'NULL'
  const columns = Object.keys(values)
  const tombstone = shape.added.has('sess_destroyed') ? ' AND t.sess_destroyed IS NULL' : ''
  const sweep = shape.added.has('sess_sweep') ? `, sess_sweep = ${values.sess_sweep}` : ''
  const version = shape.added.has('sess_version') ? `, sess_version = ${nextVersion('t')}` : ''
  return `
    WITH clock AS MATERIALIZED (SELECT ${CLOCK} AS now),
    input AS MATERIALIZED (
      SELECT i.*, c.now
      FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]),
          pg_catalog.unnest($3::double precision[]), pg_catalog.unnest($4::pg_catalog.text[]))
          AS i(id, data, lifetime, custom)
        CROSS JOIN clock c
    ),
    known AS (
      INSERT INTO ${ledgerName(shape)} AS l (sess_id, source, run)
      SELECT i.id, $6::pg_catalog.text, $7::bigint FROM input i ORDER BY i.id ${BYTEWISE}
      ON CONFLICT (sess_id) DO UPDATE SET source = excluded.source, run = greatest(l.run, excluded.run)
      RETURNING l.sess_id, l.mark, ${eq('l.xmax', '0')} AS is_new
    ),
    moved AS (
      INSERT INTO ${sql} AS t (${columns.join(', ')})
      SELECT ${columns.map((column) => values[column]).join(', ')}
      FROM input i JOIN known k ON ${eq('k.sess_id', 'i.id')} WHERE k.is_new ORDER BY i.id ${BYTEWISE}
      ON CONFLICT (sess_id) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}
        WHERE ${lt(expiryOf('t', shape), CLOCK)}${tombstone}
      RETURNING t.sess_id, ${rowDigest('t', shape)}, 'moved'
    ),
    renewed AS (
      UPDATE ${sql} t SET sess_data = i.data, sess_custom = i.custom, sess_expire = ${expiry}${sweep}${version}${unfilled}
      FROM input i JOIN known k ON ${eq('k.sess_id', 'i.id')}
      WHERE ${eq('t.sess_id', 'i.id')} AND NOT k.is_new AND ${isUnused('t', 'k', shape)} AND (
        NOT ${same('t.sess_data', 'i.data')} OR NOT ${same('t.sess_custom', 'i.custom')}
        OR ${gt(`pg_catalog.abs(${minus('t.sess_expire', expiry)})`, String(SAME_EXPIRY))})
      RETURNING t.sess_id, ${rowDigest('t', shape)}, 'renewed'
    )
    SELECT * FROM moved UNION ALL SELECT * FROM renewed`
}
