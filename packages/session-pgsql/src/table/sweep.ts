import { setTimeout } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import { GRACE } from '../session/stored.ts'
import type { Shape } from './definition.ts'
import { CLOCK, sweepTime } from './statements.ts'
import type { SessionTable } from './table.ts'

export interface SweepOptions {
  /** Empties an expired row instead of deleting it. */
  readonly keepExpired: boolean
  /** Seconds after its expiry at which a kept row is deleted after all; Infinity: never. */
  readonly keepExpiredFor: number
  /** Seconds for each statement. */
  readonly operationTimeout: number
  /** Ends the sweep after the batch that is under way. */
  readonly signal: AbortSignal
  /** Called after every batch, with how many were removed or emptied so far. */
  readonly onProgress?: ((removed: number) => void) | undefined
}

type KeepOptions = Pick<SweepOptions, 'keepExpired' | 'keepExpiredFor'>

export interface Swept {
  /** How many sessions were removed or emptied. */
  readonly removed: number
  /** `done`: nothing is left; `busy`: another process is at it, and was left to it; `interrupted`: by the signal. */
  readonly ended: 'done' | 'busy' | 'interrupted'
}

const BATCH = 1000

/** Milliseconds between two batches: the sweep is in no hurry, and those who read are. */
const PAUSE = 10

/** Seconds by which the clocks of the database and of this machine may differ before nothing is deleted. */
export const IMPLAUSIBLE = 3600

/** What one statement has done: the row that every sweep statement answers with. */
interface Round {
  /** Whether nobody else is sweeping. */
  readonly mine: boolean
  /** Rows that were looked at; none: there is nothing left. */
  readonly seen: number
  readonly removed: number
  /** Where an ordered pass has come to. */
  readonly last: string | null
}

/**
 * Removes (or empties) what has expired more than the grace ago, batch by batch. One sweeper at a time on
 * each server: whoever finds another at work stops. Rows that somebody holds are left for the next sweep.
 */
export async function sweep(table: SessionTable, options: SweepOptions): Promise<Swept> {
  const soon = (): number => performance.now() + options.operationTimeout * 1000
  checkClock(await table.readClock(soon()))
  let removed = 0
  let after = ''
  for (;;) {
    const deadline = soon()
    const { sweepIndex: indexed } = await table.open(deadline)
    const [row] = await table.query(
      (shape, sql) => (indexed ? dueText(shape, sql, options) : passText(shape, sql, options)),
      indexed ? [] : [after],
      deadline,
    )
    const round = roundOf(row as readonly (string | null)[])
    removed += round.removed
    options.onProgress?.(removed)
    if (!round.mine) return { removed, ended: 'busy' }
    if (round.seen === 0) return { removed, ended: 'done' }
    if (options.signal.aborted) return { removed, ended: 'interrupted' }
    if (!indexed) after = round.last as string
    await setTimeout(PAUSE, undefined, { ref: false })
  }
}

export interface Due {
  readonly count: number
  /** false: so many at least. */
  readonly exact: boolean
}

/** For who must not be a burden: rows to look at, and seconds that it may take. */
export interface CountBounds {
  readonly rows: number
  readonly timeLimit: number
}

/** How many sessions a sweep would remove or empty now: of the rows that it would look at, all unless it is bounded. */
export async function countDue(
  table: SessionTable,
  options: KeepOptions & Pick<SweepOptions, 'operationTimeout'>,
  bounds?: CountBounds,
): Promise<Due> {
  const [row] = await table.query(
    (shape, sql) => `
      WITH clock AS MATERIALIZED (SELECT ${CLOCK} AS now),
      looked AS (
        SELECT ${isDue(shape, options)} AS due FROM ${sql} t
        ${shape.sweepIndex ? `WHERE ${HOUR_HAS_COME} ORDER BY t.sess_sweep` : ''}
        ${bounds === undefined ? '' : `LIMIT ${bounds.rows}`}
      )
      SELECT count(*), count(*) FILTER (WHERE due) FROM looked`,
    [],
    performance.now() + options.operationTimeout * 1000,
    bounds?.timeLimit,
  )
  const [looked, due] = (row ?? []).map(Number) as [number, number]
  return { count: due, exact: bounds === undefined || looked < bounds.rows }
}

/** A clock that is far ahead would take every session for expired. */
function checkClock(clock: number): void {
  const ahead = clock - Date.now() / 1000
  if (Math.abs(ahead) <= IMPLAUSIBLE) return
  throw new SessionPgsqlError(
    'CLOCK_IMPLAUSIBLE',
    `The database's clock is ${Math.round(Math.abs(ahead))} seconds ${ahead > 0 ? 'ahead of' : 'behind'} this machine's. ` +
      'No session is swept until they agree within an hour: set the clock that is wrong.',
  )
}

function roundOf([mine, seen, removed, last]: readonly (string | null)[]): Round {
  return {
    mine: mine === 't' || mine === 'true',
    seen: Number(seen),
    removed: Number(removed),
    last: last ?? null,
  }
}

/** By the index on sess_sweep: whether the row is looked at. */
const HOUR_HAS_COME = 't.sess_sweep <= (SELECT now FROM clock)::bigint'

const CLOCK_AND_LOCK = (sql: string): string => `
  clock AS MATERIALIZED (SELECT ${CLOCK} AS now),
  sweeper AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(hashtext('session_pgsql gc'), hashtext('${sql.replaceAll("'", "''")}')) AS mine
  )`

/** By the index on sess_sweep: what is due, and of that what has really expired; the rest is filed anew. */
function dueText(shape: Shape, sql: string, options: SweepOptions): string {
  const again = sweepTime(`greatest(t.sess_expire::float8 + ${GRACE + 1}, (SELECT now FROM clock) + 1)`)
  return `
    WITH ${CLOCK_AND_LOCK(sql)},
    due AS MATERIALIZED (
      SELECT t.sess_id, t.sess_expire < (SELECT now FROM clock) - ${GRACE} AS expired,
        ${finallyExpired(shape, options)} AS outlived
      FROM ${sql} t
      WHERE (SELECT mine FROM sweeper) AND ${HOUR_HAS_COME}
      ORDER BY t.sess_sweep LIMIT ${BATCH} FOR UPDATE OF t SKIP LOCKED
    ),
    ${removal(shape, sql, options)},
    filed AS (
      UPDATE ${sql} t SET sess_sweep = CASE WHEN t.sess_expire IS NULL THEN NULL ELSE ${again} END
      WHERE t.sess_id = ANY(ARRAY(SELECT d.sess_id FROM due d WHERE d.expired IS NOT TRUE))
      RETURNING 1
    )
    SELECT (SELECT mine FROM sweeper), (SELECT count(*) FROM due), (SELECT count(*) FROM removed),
      NULL::text, (SELECT count(*) FROM filed)`
}

/** A table without that index: through it once, in the order of ids. */
function passText(shape: Shape, sql: string, options: SweepOptions): string {
  const expired = isDue(shape, options)
  return `
    WITH ${CLOCK_AND_LOCK(sql)},
    page AS MATERIALIZED (
      SELECT t.sess_id, ${expired} AS expired FROM ${sql} t
      WHERE (SELECT mine FROM sweeper) AND t.sess_id > $1 ORDER BY t.sess_id LIMIT ${BATCH * 5}
    ),
    due AS MATERIALIZED (
      SELECT t.sess_id, true AS expired, ${finallyExpired(shape, options)} AS outlived FROM ${sql} t
      WHERE t.sess_id = ANY(ARRAY(SELECT p.sess_id FROM page p WHERE p.expired)) AND ${expired}
      FOR UPDATE OF t SKIP LOCKED
    ),
    ${removal(shape, sql, options)}
    SELECT (SELECT mine FROM sweeper), (SELECT count(*) FROM page), (SELECT count(*) FROM removed),
      (SELECT max(sess_id) FROM page)`
}

/** Expired, longer ago than the grace, and with something left to remove. */
function isDue(shape: Shape, options: KeepOptions): string {
  const kept = options.keepExpired ? ` AND (t.sess_data <> '' OR ${finallyExpired(shape, options)})` : ''
  // A tombstone stays for its time, which sess_sweep tells.
  const tombstone = shape.ours.has('sess_destroyed')
    ? ' AND (t.sess_destroyed IS NULL OR t.sess_sweep <= (SELECT now FROM clock))'
    : ''
  return `(t.sess_expire < (SELECT now FROM clock) - ${GRACE}${tombstone}${kept})`
}

function finallyExpired({ ours }: Shape, { keepExpired, keepExpiredFor }: KeepOptions): string {
  if (!keepExpired) return 'true'
  // There is nothing to keep of a session that was destroyed.
  const tombstone = ours.has('sess_destroyed') ? 't.sess_destroyed IS NOT NULL' : 'false'
  if (keepExpiredFor === Number.POSITIVE_INFINITY) return tombstone
  return `(${tombstone} OR t.sess_expire < (SELECT now FROM clock) - ${Math.max(GRACE, keepExpiredFor)})`
}

function removal(shape: Shape, sql: string, options: SweepOptions): string {
  const gone = `
    deleted AS (
      DELETE FROM ${sql} t WHERE t.sess_id = ANY(ARRAY(SELECT d.sess_id FROM due d WHERE d.expired AND d.outlived))
      RETURNING 1
    )`
  if (!options.keepExpired)
    return `${gone},
    removed AS (SELECT * FROM deleted)`
  const last = options.keepExpiredFor
  const sweepAt = last === Number.POSITIVE_INFINITY ? 'NULL' : sweepTime(`t.sess_expire::float8 + ${last}`)
  const filed = shape.ours.has('sess_sweep') ? `, sess_sweep = ${sweepAt}` : ''
  return `${gone},
    emptied AS (
      UPDATE ${sql} t SET sess_data = ''${filed}
      WHERE t.sess_id = ANY(ARRAY(SELECT d.sess_id FROM due d WHERE d.expired AND NOT d.outlived))
      RETURNING 1
    ),
    removed AS (SELECT * FROM deleted UNION ALL SELECT * FROM emptied)`
}
