import { setTimeout } from 'node:timers/promises'
import { plain, type Query, type Row } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import { companionName, quoteLiteral, type Shape, sqlName } from './definition.ts'
import { demandMarkColumns, hashedIdText, isPlain, writeMarkText } from './id-forms.ts'
import { triggerFault } from './inspect.ts'
import { CLOCK, divide, eq, ge, isIn, lt } from './sql.ts'
import type { SessionTable } from './table.ts'

/**
 * Turns the plain ids of a table into hashed ones, in batches. A batch is one transaction, in which the locks and the
 * entries of the import ledger of its sessions follow. PostgreSQL computes the hashes, and batches are ranges of pages,
 * so that no id is sent and none appears in PostgreSQL's log.
 */

/** Pages of a batch: some 500 sessions of 1 KB. */
const PAGES = 32

/** Rows of a batch of locks, or of entries of the ledger, whose session does not exist. */
const ROWS = 500

/** Milliseconds between two batches, so that requests are not slowed down. */
const PAUSE = 5

/** Milliseconds between two passes over the table, while rows are left because other transactions have locked them. */
const LOCKED_PAUSE = 200

/** Passes in sequence that may leave only rows that other transactions have locked. */
const MAX_LOCKED_PASSES = 25

export interface HashIdsOptions {
  /** Returns the deadline of a batch that begins now. */
  readonly deadline: () => number
  /** Ends the work after the current batch. */
  readonly signal: AbortSignal
  /** Called after every batch. */
  readonly onProgress?: ((done: HashedIds) => void) | undefined
}

/** What was done so far. */
export interface HashedIds {
  /** Number of sessions whose ids were hashed. */
  readonly sessions: number
  /** Number of plain rows that were deleted, because their session also had a hashed row. */
  readonly duplicates: number
  /** Number of locks, and of entries of the import ledger. */
  readonly locks: number
  readonly imports: number
  /** Number of rows with plain ids that the last pass has left: another transaction had locked them. */
  readonly left: number
}

interface Batch extends HashedIds {
  /** Number of pages that the table has. */
  readonly pages: number
}

/** @throws TABLE_UNFIT; DATABASE if a trigger prevents the change */
export async function hashIds(table: SessionTable, options: HashIdsOptions): Promise<HashedIds> {
  const { signal } = options
  demandMarkColumns(await table.open(options.deadline()))
  let total: HashedIds = { sessions: 0, duplicates: 0, locks: 0, imports: 0, left: 0 }
  const add = (batch: HashedIds): void => {
    total = {
      sessions: total.sessions + batch.sessions,
      duplicates: total.duplicates + batch.duplicates,
      locks: total.locks + batch.locks,
      imports: total.imports + batch.imports,
      left: total.left + batch.left,
    }
    options.onProgress?.(total)
  }
  // Rows may appear behind the pass while it runs: the last pass must find none.
  for (let lockedPasses = 0; lockedPasses < MAX_LOCKED_PASSES; ) {
    const before = total.sessions + total.duplicates
    total = { ...total, left: 0 }
    let pages = 1
    for (let page = 0; page < pages; page += PAGES) {
      if (signal.aborted) return total
      const batch = await hashPages(table, page, options.deadline())
      pages = batch.pages
      add(batch)
      if (batch.sessions > 0) await setTimeout(PAUSE)
    }
    if (total.sessions + total.duplicates > before) continue
    if (total.left === 0) break
    lockedPasses++
    await setTimeout(LOCKED_PAUSE)
  }
  for (const what of ['lock', 'import'] as const) {
    for (;;) {
      if (signal.aborted) return total
      const count = await hashCompanion(table, what, options.deadline())
      add({ ...NOTHING, [what === 'lock' ? 'locks' : 'imports']: count })
      if (count === 0) break
    }
  }
  return total
}

const NOTHING: HashedIds = { sessions: 0, duplicates: 0, locks: 0, imports: 0, left: 0 }

/** Returns the number of rows with plain ids. */
export async function countPlainIds(table: SessionTable, deadline: number): Promise<number> {
  const [row] = await table.query(
    (_shape, sql) => `SELECT pg_catalog.count(*) FROM ${sql} t WHERE ${isPlain('t')}`,
    [],
    deadline,
  )
  return Number(row?.[0])
}

/**
 * Locks the import ledger until the transaction ends. An import would otherwise take a session for one that was never
 * imported, because its entry has just got another id.
 *
 * @param who imports run side by side, `hash-ids` alone
 */
export async function lockLedger(query: Query, shape: Shape, who: 'import' | 'hash-ids'): Promise<void> {
  const mode = who === 'import' ? 'ROW EXCLUSIVE' : 'SHARE ROW EXCLUSIVE'
  await query(plain(`LOCK TABLE ${sqlName(companionName(shape.name, 'import'))} IN ${mode} MODE`), [])
}

/** SQLSTATE: a process has inserted the same session under its hashed id meanwhile. */
const UNIQUE_VIOLATION = '23505'

async function hashPages(table: SessionTable, page: number, deadline: number): Promise<Batch> {
  for (;;) {
    try {
      return await table.transaction(async (query, shape) => {
        const [existing = []] = await query(plain(companionsText(shape)), [])
        if (existing[1] != null) await lockLedger(query, shape, 'hash-ids')
        await query(plain(writeMarkText(sqlName(shape.name))), [])
        const [row] = await query(plain(hashText(shape, page, existing)), [])
        const [pages, plainRows, found, sessions, duplicates, locks, imports] = (row ?? []).map(Number)
        const batch = { pages, sessions, duplicates, locks, imports } as Batch
        if (found !== batch.sessions + batch.duplicates) throw triggerFault(shape.name)
        return { ...batch, left: (plainRows as number) - found }
      }, deadline)
    } catch (error) {
      if (!(error instanceof SessionPgsqlError) || error.sqlState !== UNIQUE_VIOLATION) throw error
      if (performance.now() > deadline) throw error
    }
  }
}

/** Returns SQL of two columns: the OIDs of the table of locks and of the ledger; NULL if they do not exist. */
function companionsText(shape: Shape): string {
  const oids = (['lock', 'import'] as const).map(
    (what) => `pg_catalog.to_regclass(${quoteLiteral(sqlName(companionName(shape.name, what)))})`,
  )
  return `SELECT ${oids.join(', ')}`
}

/** Returns SQL that hashes the ids in a range of pages. Rows that other transactions have locked are left. */
function hashText(shape: Shape, page: number, [lock, ledger]: Row): string {
  const table = sqlName(shape.name)
  const literal = quoteLiteral(table)
  const range = `${ge('t.ctid', `'(${page},0)'::pg_catalog.tid`)} AND ${lt('t.ctid', `'(${page + PAGES},0)'::pg_catalog.tid`)}
        AND ${isPlain('t')}`
  const hasHashed = `EXISTS (SELECT FROM ${table} h WHERE ${eq('h.sess_id', 'p.hashed')})`
  const isOfBatch = isIn('c.sess_id', 'SELECT p.sess_id FROM page p')
  // Of a partitioned table, the largest partition: a range of pages is one of each of them.
  const bytes = `greatest(pg_catalog.pg_relation_size(${literal}::pg_catalog.regclass), (SELECT
      pg_catalog.max(pg_catalog.pg_relation_size(r.relid)) FROM pg_catalog.pg_partition_tree(${literal}::pg_catalog.regclass) r))`
  const count = (name: string): string => `(SELECT pg_catalog.count(*) FROM ${name})`
  return `
    WITH page AS MATERIALIZED (
      SELECT t.sess_id, ${hashedIdText('t.sess_id')} AS hashed FROM ${table} t WHERE ${range}
      FOR UPDATE OF t SKIP LOCKED
    ),
    duplicates AS (
      DELETE FROM ${table} t USING page p WHERE ${eq('t.sess_id', 'p.sess_id')} AND ${hasHashed} RETURNING 1
    ),
    sessions AS (
      UPDATE ${table} t SET sess_id = p.hashed FROM page p
      WHERE ${eq('t.sess_id', 'p.sess_id')} AND NOT ${hasHashed} RETURNING 1
    )
    ${lock == null ? '' : `, ${companionQueries(shape, 'lock', isOfBatch)}`}
    ${ledger == null ? '' : `, ${companionQueries(shape, 'import', isOfBatch)}`}
    SELECT ${divide(bytes, "pg_catalog.current_setting('block_size')::bigint")},
      (SELECT pg_catalog.count(*) FROM ${table} t WHERE ${range}),
      ${count('page')}, ${count('sessions')}, ${count('duplicates')},
      ${lock == null ? '0' : count('plain_lock')}, ${ledger == null ? '0' : count('plain_import')}`
}

/** The columns of a companion table besides `sess_id`, and which of two rows of a session stays. */
const COMPANIONS = {
  lock: {
    columns: 'lock_owner, lock_until',
    // A lock that is held stays.
    onConflict: `UPDATE SET lock_owner = excluded.lock_owner, lock_until = excluded.lock_until
        WHERE ${lt('c.lock_until', CLOCK)}`,
  },
  import: { columns: 'source, run, mark', onConflict: 'NOTHING' },
} as const

/** Returns SQL of queries that hash ids in a companion table. `plain_lock`, `plain_import` returns a row for each. */
function companionQueries(shape: Shape, what: 'lock' | 'import', where: string): string {
  const table = sqlName(companionName(shape.name, what))
  const { columns, onConflict } = COMPANIONS[what]
  return `plain_${what} AS (
      DELETE FROM ${table} c WHERE ${where} RETURNING c.sess_id, ${columns}
    ),
    hashed_${what} AS (
      INSERT INTO ${table} AS c (sess_id, ${columns})
      SELECT ${hashedIdText('p.sess_id')}, ${columns} FROM plain_${what} p
      ON CONFLICT (sess_id) DO ${onConflict}
    )`
}

/** Hashes ids in a companion table whose sessions do not exist. Returns their number; 0: none is left. */
async function hashCompanion(
  table: SessionTable,
  what: 'lock' | 'import',
  deadline: number,
): Promise<number> {
  return table.transaction(async (query, shape) => {
    const [existing = []] = await query(plain(companionsText(shape)), [])
    if (existing[what === 'lock' ? 0 : 1] == null) return 0
    if (what === 'import') await lockLedger(query, shape, 'hash-ids')
    const companion = sqlName(companionName(shape.name, what))
    const some = isIn('c.sess_id', `SELECT o.sess_id FROM ${companion} o WHERE ${isPlain('o')} LIMIT ${ROWS}`)
    const [row] = await query(
      plain(`WITH ${companionQueries(shape, what, some)} SELECT pg_catalog.count(*) FROM plain_${what}`),
      [],
    )
    return Number(row?.[0])
  }, deadline)
}
