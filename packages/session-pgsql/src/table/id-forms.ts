import { plain, type Query } from '../database/database.ts'
import { isLocked } from '../database/faults.ts'
import { SessionPgsqlError } from '../errors.ts'
import { HASHED_ID_PREFIX, hashedId, type IdsMode, isHashedId } from '../session/stored-id.ts'
import type { Answer, Outcome } from './answers.ts'
import { type Shape, sqlName } from './definition.ts'
import { BYTEWISE, CLOCK, concat, eq, ge, lt, microseconds, setLockTimeout } from './sql.ts'

/**
 * The forms in which a table has ids: as they are, or hashed. While it may have both, a request is sent for both forms
 * of its id, in one statement: another transaction may turn one into the other at any moment.
 *
 * A table that may contain hashed ids has a *mark*: a row that no session can have, written by the statement that
 * inserts the first hashed id. A process that has found no mark looks for plain ids only, and for the mark: a read as for
 * one more id, which costs less than another query in the statement. A change that finds its plain row is sure to be right.
 * Any other change does nothing if it finds the mark. Then the process looks for both forms from then on. So no
 * process misses a hashed session because it has opened the table before.
 */

/** Under which forms a process looks for a session. */
export type Lookup = 'plain' | 'both' | 'hashed'

/** How a process stores ids, and whether it shares the sessions among several servers. */
export interface IdsOptions {
  readonly mode: IdsMode
  readonly severalServers: boolean
}

/** The id of the mark. It has no creation and no expiry, so that nothing that removes expired sessions removes it. */
export const MARK: string = HASHED_ID_PREFIX

/** See `FEW` in statements.ts: the lookup uses the index whatever the size of the table. */
const ONE_MARK = `(SELECT '${MARK}'::pg_catalog.text AS id LIMIT (SELECT 1000000))`

/** SQL of a statement that does nothing in a table with a mark. */
export interface Guard {
  /** The query `mark`, to precede others. */
  readonly query: string
  /** A WHERE clause that holds in a table without a mark. */
  readonly where: string
  /** An answer with the outcome `hashed` in a table with a mark. */
  answer(record: string): string
}

export const NO_GUARD: Guard = { query: '', where: '', answer: () => '' }

/** @param table the table's name as SQL */
export function guardOf(table: string): Guard {
  return {
    query: `mark AS MATERIALIZED (${markText(table)}),`,
    where: 'WHERE NOT EXISTS (SELECT FROM mark)',
    answer: (record) => `
    UNION ALL
    SELECT NULL::bigint, 'hashed', NULL::pg_catalog.text, ${microseconds(CLOCK)}${record} FROM mark`,
  }
}

/** Returns a query that has a row if the table has a mark. */
export function markText(table: string): string {
  return `SELECT m.sess_id FROM ${ONE_MARK} i JOIN ${table} m ON ${eq('m.sess_id', 'i.id')}`
}

/** Returns SQL that writes the mark if there is none. @param where a condition on writing it */
export function writeMarkText(table: string, where = 'true'): string {
  return `INSERT INTO ${table} (sess_id, sess_data, sess_sweep, sess_destroyed)
      SELECT '${MARK}', '', NULL, 0 WHERE ${where} AND NOT EXISTS (${markText(table)})
      ON CONFLICT (sess_id) DO NOTHING`
}

/** Returns true if the table may contain hashed ids. */
export async function hasMark(query: Query, table: string): Promise<boolean> {
  return (await query(plain(markText(table)), [])).length > 0
}

/**
 * Returns the forms under which to look for sessions. If another transaction keeps the table locked, it is taken for
 * one without a mark: the first statement that reaches the table finds out.
 *
 * @param transaction runs queries in a transaction
 * @throws TABLE_UNFIT if this process must not use the table, with what to do
 */
export async function lookupOf(
  transaction: (look: Look) => Promise<boolean>,
  shape: Shape,
  { mode, severalServers }: IdsOptions,
): Promise<Lookup> {
  const table = sqlName(shape.name)
  if (mode !== 'plain') demandMarkColumns(shape)
  const mustBeHashed = mode === 'hashed' && severalServers
  const isMarked = mode === 'plain' && (await unlessLocked(transaction, (query) => hasMark(query, table)))
  if (isMarked && severalServers) {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `The table ${table} contains hashed ids, and ids is 'plain'. With several entries in db, all processes must have the same setting: set ids to 'hashed'.`,
    )
  }
  if (mustBeHashed && (await unlessLocked(transaction, (query) => hasPlainSession(query, table)))) {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `The table ${table} contains plain ids, and ids is 'hashed'. With several entries in db, ids cannot be moved to the hashed form: set ids to 'plain', or use an empty table.`,
    )
  }
  if (mode === 'plain') return isMarked ? 'both' : 'plain'
  return mode === 'migrate' ? 'both' : 'hashed'
}

type Look = (query: Query) => Promise<boolean>

/** Returns false if the table is locked. */
async function unlessLocked(transaction: (look: Look) => Promise<boolean>, look: Look): Promise<boolean> {
  try {
    return await transaction(async (query) => {
      await query(plain(`SELECT ${setLockTimeout(100)}`), [])
      return look(query)
    })
  } catch (error) {
    if (error instanceof SessionPgsqlError && isLocked(error.sqlState)) return false
    throw error
  }
}

/** @throws TABLE_UNFIT if the table lacks columns without which garbage collection would remove a mark */
export function demandMarkColumns({ name, added }: Shape): void {
  if (added.has('sess_destroyed') && added.has('sess_sweep')) return
  throw new SessionPgsqlError(
    'TABLE_UNFIT',
    `The table ${sqlName(name)} lacks columns that hashed ids need (sess_destroyed, sess_sweep). Add them as its owner: session-pgsql init.`,
  )
}

/** Returns the condition: a row has a plain id. As two ranges, for the index. */
export function isPlain(row: string): string {
  const id = `${row}.sess_id ${BYTEWISE}`
  return `(${lt(id, `'${HASHED_ID_PREFIX}'`)} OR ${ge(id, "'h1;'")})`
}

async function hasPlainSession(query: Query, table: string): Promise<boolean> {
  // A tombstone or a note is no session.
  const text = `SELECT FROM ${table} t WHERE ${isPlain('t')} AND t.sess_destroyed IS NULL LIMIT 1`
  return (await query(plain(text), [])).length > 0
}

/** Returns SQL of the hashed form of a plain id, as `hashedId` computes it. */
export function hashedIdText(id: string): string {
  const digest = `pg_catalog.sha256(pg_catalog.convert_to(${id}, 'UTF8'))`
  // base64url: translate removes the last of the three characters.
  return concat(
    `'${HASHED_ID_PREFIX}'`,
    `pg_catalog.translate(pg_catalog.encode(${digest}, 'base64'), '+/=', '-_')`,
  )
}

/** The requests of a batch, each under every form of its id. */
export interface FormedBatch<Request> {
  readonly requests: readonly Request[]
  /** The number of the request in the batch, for each of `requests`. */
  readonly owners: readonly number[]
}

/** @param under returns a request under another id */
export function underBothForms<Request>(
  requests: readonly Request[],
  idOf: (request: Request) => string,
  under: (request: Request, id: string) => Request,
): FormedBatch<Request> {
  const formed: Request[] = []
  const owners: number[] = []
  for (const [owner, request] of requests.entries()) {
    for (const id of formsOf(idOf(request))) {
      formed.push(under(request, id))
      owners.push(owner)
    }
  }
  return { requests: formed, owners }
}

/** Returns the forms of an id, the hashed one last. */
export function formsOf(id: string): string[] {
  const hashed = hashedId(id)
  return hashed === id ? [id] : [id, hashed]
}

/** Returns the ids under which the row of a session may be stored, the hashed one last. */
export function formsFor(lookup: Lookup, id: string): readonly string[] {
  return lookup === 'both' ? formsOf(id) : [id]
}

/** Returns the session of an id's rows. If there are two rows, the hashed one counts. */
export function ofForms<Stored extends { readonly id: string }>(rows: readonly Stored[]): Stored | undefined {
  return rows.find(({ id }) => isHashedId(id)) ?? rows[0]
}

/** Returns the answers to the requests of a batch from those to a `FormedBatch`. */
export function answersOfForms(
  answers: readonly (Answer | undefined)[],
  { owners }: FormedBatch<unknown>,
  count: number,
): (Answer | undefined)[] {
  const combined = new Array<Answer | undefined>(count).fill(undefined)
  for (const [index, owner] of owners.entries())
    combined[owner] = combinedAnswer(combined[owner], answers[index])
  return combined
}

/** If there are two rows, the hashed one counts. A destroy has ended only when it has removed both. */
function combinedAnswer(plain: Answer | undefined, hashed: Answer | undefined): Answer | undefined {
  if (plain === undefined || hashed === undefined) return hashed ?? plain
  const isUndecided: Outcome[] = ['busy', 'late']
  if (hashed.outcome === 'destroyed' && isUndecided.includes(plain.outcome)) return plain
  return hashed.outcome === 'gone' ? plain : hashed
}

/** Returns SQL that deletes plain rows whose session also has a hashed row. $1, $2: the plain and the hashed ids */
export function deleteDuplicatesText(table: string): string {
  return `
    WITH input AS (
      SELECT * FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]))
        AS i(id, hashed)
    ),
    found AS MATERIALIZED (
      SELECT t.sess_id FROM input i JOIN ${table} t ON ${eq('t.sess_id', 'i.id')}
        JOIN ${table} h ON ${eq('h.sess_id', 'i.hashed')}
      FOR UPDATE OF t SKIP LOCKED
    )
    DELETE FROM ${table} t USING found f WHERE ${eq('t.sess_id', 'f.sess_id')}`
}
