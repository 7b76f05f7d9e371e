import { SessionPgsqlError } from '../errors.ts'
import { companionName, quoteLiteral, type Shape, sqlName } from './definition.ts'
import { formsFor } from './id-forms.ts'
import { BYTEWISE, CLOCK, eq, ge, isIn, lt, minus, plus } from './sql.ts'
import type { SessionTable } from './table.ts'

/**
 * Session locks, for callers that run one request of a session at a time. They are leases in a companion table, which
 * is created with the first lock. A lease has an owner, and ends at a time by the database's clock unless the owner
 * renews it. The library's own operations ignore these locks.
 */

/** The forms under which the session's id may be stored. A lock is taken under each of them. $1 as a JSON array */
const FORMS = 'pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb) AS i(id)'

/** Seconds after its end for which a lease that was not released is kept. */
const KEPT = 3600

/**
 * Takes the lock, or renews it if `owner` has it.
 *
 * @param seconds duration of the lease
 * @returns false if another owner has the lock
 */
export async function takeLock(
  table: SessionTable,
  id: string,
  owner: string,
  seconds: number,
  deadline: number,
): Promise<boolean> {
  const forms = await formsOf(table, id, deadline)
  const rows = await creatingTable(table, deadline, () =>
    table.query(
      (shape) => `
        INSERT INTO ${lockTable(shape)} AS l (sess_id, lock_owner, lock_until)
        SELECT i.id, $2, ${plus(CLOCK, '$3::double precision')} FROM ${FORMS} ORDER BY i.id ${BYTEWISE}
        ON CONFLICT (sess_id) DO UPDATE SET lock_owner = excluded.lock_owner, lock_until = excluded.lock_until
        WHERE ${eq('l.lock_owner', 'excluded.lock_owner')} OR ${lt('l.lock_until', CLOCK)}
        RETURNING 1`,
      [JSON.stringify(forms), owner, seconds],
      deadline,
    ),
  )
  if (rows.length === forms.length) return true
  // Another owner has the lock under one of two forms.
  if (rows.length > 0) await releaseLock(table, id, owner, deadline)
  return false
}

/** Releases the lock. @returns false if `owner` did not have it */
export async function releaseLock(
  table: SessionTable,
  id: string,
  owner: string,
  deadline: number,
): Promise<boolean> {
  const rows = await ifExists(
    table.query(
      (shape) =>
        `DELETE FROM ${lockTable(shape)} WHERE ${isIn('sess_id', `SELECT i.id FROM ${FORMS}`)} AND ${eq('lock_owner', '$2')} RETURNING 1`,
      [JSON.stringify(await formsOf(table, id, deadline)), owner],
      deadline,
    ),
  )
  return rows.length > 0
}

/** Returns the lock's owner; undefined if it is free. */
export async function lockOwner(
  table: SessionTable,
  id: string,
  deadline: number,
): Promise<string | undefined> {
  const [row] = await ifExists(
    table.query(
      (shape) =>
        `SELECT lock_owner FROM ${lockTable(shape)} WHERE ${isIn('sess_id', `SELECT i.id FROM ${FORMS}`)} AND ${ge('lock_until', CLOCK)}`,
      [JSON.stringify(await formsOf(table, id, deadline))],
      deadline,
    ),
  )
  return row?.[0] ?? undefined
}

/** Removes leases that ended long ago without a release. */
export async function sweepLocks(table: SessionTable, deadline: number): Promise<void> {
  const [row] = await table.query(
    (shape) => `SELECT pg_catalog.to_regclass(${quoteLiteral(lockTable(shape))})`,
    [],
    deadline,
  )
  if (row?.[0] == null) return
  await ifExists(
    table.query(
      (shape) => `DELETE FROM ${lockTable(shape)} WHERE ${lt('lock_until', minus(CLOCK, String(KEPT)))}`,
      [],
      deadline,
    ),
  )
}

async function formsOf(table: SessionTable, id: string, deadline: number): Promise<readonly string[]> {
  const { lookup } = await table.open(deadline)
  return formsFor(lookup, id)
}

function lockTable(shape: Shape): string {
  return sqlName(companionName(shape.name, 'lock'))
}

const UNDEFINED_TABLE = '42P01'

function isMissing(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.sqlState === UNDEFINED_TABLE
}

async function creatingTable<T>(table: SessionTable, deadline: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  await table.createCompanion('lock', deadline)
  return work()
}

/** Returns no rows if the table does not exist, because no lock was taken yet. */
async function ifExists<T>(rows: Promise<T[]>): Promise<T[]> {
  return rows.catch((error) => {
    if (isMissing(error)) return []
    throw error
  })
}
