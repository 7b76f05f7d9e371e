import { SessionPgsqlError } from '../errors.ts'
import { companionName, type Shape, sqlName } from './definition.ts'
import { CLOCK } from './statements.ts'
import type { SessionTable } from './table.ts'

/**
 * Locks of sessions, for those who want one request at a time: leases in a table of their own beside the
 * session table, made when the first lock is taken. A lease has an owner and ends by itself, by the database's
 * clock; who wants it longer renews it. Nothing of the save handler's own waits for such a lock.
 */

/** Seconds after its end for which a lease that nobody has given back is kept. */
const KEPT = 3600

/** Takes it, or prolongs it for who has it; false while somebody else does. */
export async function takeLock(
  table: SessionTable,
  id: string,
  owner: string,
  seconds: number,
  deadline: number,
): Promise<boolean> {
  const rows = await withTable(table, deadline, () =>
    table.query(
      (shape) => `
        INSERT INTO ${lockTable(shape)} AS l (sess_id, lock_owner, lock_until)
        VALUES ($1, $2, ${CLOCK} + $3::float8)
        ON CONFLICT (sess_id) DO UPDATE SET lock_owner = excluded.lock_owner, lock_until = excluded.lock_until
        WHERE l.lock_owner = excluded.lock_owner OR l.lock_until < ${CLOCK}
        RETURNING 1`,
      [id, owner, seconds],
      deadline,
    ),
  )
  return rows.length > 0
}

/** Gives it back. @returns whether it was the owner's */
export async function releaseLock(
  table: SessionTable,
  id: string,
  owner: string,
  deadline: number,
): Promise<boolean> {
  const rows = await ifThere(
    table.query(
      (shape) => `DELETE FROM ${lockTable(shape)} WHERE sess_id = $1 AND lock_owner = $2 RETURNING 1`,
      [id, owner],
      deadline,
    ),
  )
  return rows.length > 0
}

/** Who has it; undefined if nobody does. */
export async function lockOwner(
  table: SessionTable,
  id: string,
  deadline: number,
): Promise<string | undefined> {
  const [row] = await ifThere(
    table.query(
      (shape) => `SELECT lock_owner FROM ${lockTable(shape)} WHERE sess_id = $1 AND lock_until >= ${CLOCK}`,
      [id],
      deadline,
    ),
  )
  return row?.[0] ?? undefined
}

/** Removes the leases of those who have died with them. */
export async function sweepLocks(table: SessionTable, deadline: number): Promise<void> {
  const [row] = await table.query((shape) => `SELECT to_regclass('${quoted(shape)}')`, [], deadline)
  if (row?.[0] == null) return
  await ifThere(
    table.query(
      (shape) => `DELETE FROM ${lockTable(shape)} WHERE lock_until < ${CLOCK} - ${KEPT}`,
      [],
      deadline,
    ),
  )
}

function lockTable(shape: Shape): string {
  return sqlName(companionName(shape.name, 'lock'))
}

function quoted(shape: Shape): string {
  return lockTable(shape).replaceAll("'", "''")
}

const UNDEFINED_TABLE = '42P01'

function isMissing(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.sqlState === UNDEFINED_TABLE
}

async function withTable<T>(table: SessionTable, deadline: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!isMissing(error)) throw error
  }
  await table.createCompanion('lock', deadline)
  return work()
}

/** Where no lock was ever taken there is no table of them. */
async function ifThere<T>(rows: Promise<T[]>): Promise<T[]> {
  return rows.catch((error) => {
    if (isMissing(error)) return []
    throw error
  })
}
