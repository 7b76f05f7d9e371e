import { plain, type Query } from '../database/database.ts'
import { sessionsBeyond, type UserSession } from '../session/limit.ts'
import { announceText } from './announcements.ts'
import { isTrue } from './answers.ts'
import { type Shape, sqlName } from './definition.ts'
import { triggerFault } from './inspect.ts'
import { beganOf, isAliveAt } from './lifetime.ts'
import { CLOCK, eq, isIn, minus } from './sql.ts'
import type { SessionTable } from './table.ts'

/** The sessions of one user, by the custom field, and how their number is limited. */

/** Returns the sessions with this custom field, also those that have expired but may still be saved. */
export function userSessions(
  table: SessionTable,
  field: string,
  expiryGrace: number,
  deadline: number,
): Promise<UserSession[]> {
  return table.transaction((query, shape) => read(query, shape, field, expiryGrace), deadline)
}

/**
 * Ends the oldest sessions with this custom field beyond `max`, in one transaction. For each value, one transaction at a
 * time does so: two logins at once would otherwise end each other, or both stay.
 *
 * @param keep see `sessionsBeyond`
 * @returns the number of ended sessions that had not expired
 */
export function endBeyond(
  table: SessionTable,
  {
    field,
    max,
    keep,
    expiryGrace,
  }: { field: string; max: number; keep: ReadonlySet<string>; expiryGrace: number },
  deadline: number,
): Promise<number> {
  const end = async (query: Query, shape: Shape, announce: boolean): Promise<number> => {
    await query(LOCK, [sqlName(shape.name), field])
    const ending = sessionsBeyond(await read(query, shape, field, expiryGrace), max, keep)
    if (ending.length === 0) return 0
    const deleted = await query(
      plain(`DELETE FROM ${sqlName(shape.name)} t WHERE ${isIn('t.sess_id', '$1::pg_catalog.text[]')}
        RETURNING t.sess_id${announce ? `, ${announceText(shape.name, 't', "'limited'")}` : ''}`),
      [{ type: 'text', values: ending.map(({ id }) => id) }],
    )
    const ended = new Set(deleted.map(([id]) => id))
    // A request may have destroyed the others meanwhile. If they are still there, a trigger has kept them.
    const kept = ended.size === ending.length ? [] : await read(query, shape, field, expiryGrace)
    const isKept = (one: UserSession): boolean =>
      kept.some(({ id, generation }) => id === one.id && generation === one.generation)
    if (ending.some(isKept)) throw triggerFault(shape.name)
    return ending.filter(({ id, isActive }) => isActive && ended.has(id)).length
  }
  return table.announcing((announce) =>
    table.transaction((query, shape) => end(query, shape, announce), deadline),
  )
}

/** $1 the table, $2 the custom field. */
const LOCK = plain(
  'SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext($1), pg_catalog.hashtext($2))',
)

async function read(query: Query, shape: Shape, field: string, expiryGrace: number): Promise<UserSession[]> {
  const generation = shape.added.has('sess_generation') ? 't.sess_generation' : 'NULL::bigint'
  const tombstones = shape.added.has('sess_destroyed') ? ' AND t.sess_destroyed IS NULL' : ''
  const rows = await query(
    plain(`
      WITH clock AS MATERIALIZED (SELECT ${CLOCK} AS now)
      SELECT t.sess_id, ${minus('c.now', `${beganOf('t', shape)}::double precision`)}, ${generation},
        ${isAliveAt('t', shape, 'c.now')}
      FROM ${sqlName(shape.name)} t CROSS JOIN clock c
      WHERE ${eq('t.sess_custom', '$1')}${tombstones}
        AND ${isAliveAt('t', shape, minus('c.now', String(expiryGrace)))}`),
    [field],
  )
  return rows.map(([id, age, generation, isActive]) => ({
    id: id as string,
    age: age == null ? null : Number(age),
    generation: generation == null ? null : Number(generation),
    isActive: isTrue(isActive),
  }))
}
