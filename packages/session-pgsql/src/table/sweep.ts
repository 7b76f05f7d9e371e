import { setTimeout } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import { announceText } from './announcements.ts'
import { secondsOf } from './answers.ts'
import type { Shape } from './definition.ts'
import { triggerFault } from './inspect.ts'
import { expiryOf } from './lifetime.ts'
import { nextVersion, sweepTime } from './row-sql.ts'
import { CLOCK, gt, isIn, le, lt, microseconds, minus, ne, plus } from './sql.ts'
import type { SessionTable } from './table.ts'

/** Options of a sweep. */
export interface SweepOptions {
  /** Whether expired rows are emptied instead of deleted. */
  readonly keepExpired: boolean
  /** Seconds after its expiry at which an emptied row is deleted; Infinity: never. */
  readonly keepExpiredFor: number
  /** Seconds after its expiry for which a session may be saved, and so is not removed. */
  readonly expiryGrace: number
  /** Timeout of each statement, in seconds. */
  readonly operationTimeout: number
  /** Ends the sweep after the current batch. */
  readonly signal: AbortSignal
  /** Called after every batch with the number of sessions removed or emptied so far. */
  readonly onProgress?: ((removed: number) => void) | undefined
}

/** Which sessions a sweep removes. */
export type KeepOptions = Pick<SweepOptions, 'keepExpired' | 'keepExpiredFor' | 'expiryGrace'>

/** The result of a sweep. */
export interface Swept {
  /** Number of sessions removed or emptied. */
  readonly removed: number
  /**
   * `done`: no expired session is left; `busy`: other transactions, usually of another process that is sweeping, have
   * locked the rest; `interrupted`: by the signal.
   */
  readonly ended: 'done' | 'busy' | 'interrupted'
}

/** Maximum number of rows that one statement removes. */
const BATCH = 1000

/** Milliseconds between two batches, so that a sweep does not slow down requests. */
const PAUSE = 10

/** Seconds by which the database's clock and this machine's may differ. If they differ by more, nothing is removed. */
export const IMPLAUSIBLE = 60

/** The row that every sweep statement returns. */
interface Round {
  /** The database's clock, in seconds since 1970. */
  readonly clock: number
  /** Number of rows that were checked; 0: none are left. */
  readonly checked: number
  /** Number of rows to change. */
  readonly due: number
  /** How many of these no other transaction has locked. */
  readonly locked: number
  /** How many of the locked rows were changed. A trigger has kept the others. */
  readonly changed: number
  readonly removed: number
  /** The last id that a scan in the order of ids has reached. */
  readonly last: string | null
}

/**
 * Removes (or empties) sessions that expired longer ago than `expiryGrace` by both clocks, the database's and this
 * machine's, in batches. A database's clock that was set forward makes live sessions look expired.
 *
 * On each server one process sweeps at a time: the rows of a batch are the first that are due, and a process that finds
 * all of them locked stops. A separate lock would be a table that the role may not be allowed to create, or an advisory
 * lock, which any role can hold forever. A batch skips single locked rows.
 *
 * @throws CLOCK_IMPLAUSIBLE if the clocks differ by more than a minute; DATABASE if a trigger keeps rows, after removing
 * the others
 */
export async function sweep(table: SessionTable, options: SweepOptions): Promise<Swept> {
  const nextDeadline = (): number => performance.now() + options.operationTimeout * 1000
  const sent = machineClock()
  checkClock(await table.readClock(nextDeadline()), sent)
  let removed = 0
  let prevented = 0
  let after = ''
  for (;;) {
    const deadline = nextDeadline()
    const { name, sweepIndex: indexed } = await table.open(deadline)
    const sent = machineClock()
    const [row] = await table.announcing((announce) =>
      table.query(
        (shape, sql) =>
          indexed ? dueText(shape, sql, options, announce) : passText(shape, sql, options, announce),
        indexed ? [sent] : [sent, after],
        deadline,
      ),
    )
    const round = roundOf(row as readonly (string | null)[])
    removed += round.removed
    options.onProgress?.(removed)
    checkClock(round.clock, sent)
    prevented += round.locked - round.changed
    if (round.due > 0 && round.locked === 0) return { removed, ended: 'busy' }
    // By the index, the rows that a trigger keeps are found again.
    const isLast = round.checked === 0 || (indexed && round.changed === 0)
    if (isLast && prevented > 0) throw triggerFault(name)
    if (isLast) return { removed, ended: 'done' }
    if (options.signal.aborted) return { removed, ended: 'interrupted' }
    if (!indexed) after = round.last as string
    await setTimeout(PAUSE, undefined, { ref: false })
  }
}

/** The number of sessions that a sweep would remove. */
export interface Due {
  readonly count: number
  /** false: `count` is a lower bound. */
  readonly exact: boolean
}

/** Bounds the cost of counting. */
export interface CountBounds {
  /** Maximum number of rows to check. */
  readonly rows: number
  /** Seconds after which PostgreSQL cancels the statement. */
  readonly timeLimit: number
}

/**
 * Counts the sessions that a sweep would remove or empty now. Without `bounds` it checks every row that a sweep would.
 */
export async function countDue(
  table: SessionTable,
  options: KeepOptions & Pick<SweepOptions, 'operationTimeout'>,
  bounds?: CountBounds,
): Promise<Due> {
  const [row] = await table.query(
    (shape, sql) => `
      WITH ${CLOCKS},
      looked AS (
        SELECT ${isDue(shape, options)} AS due FROM ${sql} t
        ${shape.sweepIndex ? `WHERE ${IS_SCHEDULED} ORDER BY t.sess_sweep` : ''}
        ${bounds === undefined ? '' : `LIMIT ${bounds.rows}`}
      )
      SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE due) FROM looked`,
    [machineClock()],
    performance.now() + options.operationTimeout * 1000,
    bounds?.timeLimit,
  )
  const [looked, due] = (row ?? []).map(Number) as [number, number]
  return { count: due, exact: bounds === undefined || looked < bounds.rows }
}

/** Returns this machine's clock, in seconds since 1970. */
export function machineClock(): number {
  return Date.now() / 1000
}

/**
 * Throws if the database's clock was provably wrong, or this machine's: the statement read it after this machine's clock
 * showed `sent`, and before now.
 */
function checkClock(clock: number, sent: number): void {
  const ahead = Math.max(0, clock - machineClock())
  const behind = Math.max(0, sent - clock)
  const off = Math.max(ahead, behind)
  if (off <= IMPLAUSIBLE) return
  throw new SessionPgsqlError(
    'CLOCK_IMPLAUSIBLE',
    `The database's clock is ${Math.round(off)} seconds ${ahead > 0 ? 'ahead of' : 'behind'} this machine's. ` +
      'Garbage collection is suspended until they agree within a minute. Correct the wrong clock.',
  )
}

function roundOf([clock, last = null, ...counts]: readonly (string | null)[]): Round {
  const [checked, due, locked, changed, removed] = counts.map(Number) as [
    number,
    number,
    number,
    number,
    number,
  ]
  return { clock: secondsOf(clock), checked, due, locked, changed, removed, last }
}

/**
 * The clocks of a sweep statement: `clock` is the database's; `now` is the earlier one of it and this machine's ($1). As
 * this machine's was read before sending, a slow network only makes the sweep remove less.
 */
export const CLOCKS: string = `clock AS MATERIALIZED (
    SELECT c.clock, least(c.clock, $1::double precision) AS now FROM (SELECT ${CLOCK} AS clock) c
  )`

const NOW = '(SELECT now FROM clock)'
const DATABASE_CLOCK = `(SELECT ${microseconds('c.clock')} FROM clock c)`

/** The condition by the index on sess_sweep: the row is to be checked now. */
export const IS_SCHEDULED: string = le('t.sess_sweep', `${NOW}::bigint`)

/**
 * Finds rows by the index on sess_sweep, removes those that have expired, and schedules the others again. `due` finds
 * them again by their place in the table, at a tenth of the cost of their ids. It checks them again under the row lock,
 * by IS TRUE, for which the planner cannot use the index: it would scan all scheduled rows.
 */
function dueText(shape: Shape, sql: string, options: SweepOptions, announce: boolean): string {
  const expiry = expiryOf('t', shape)
  const unexpired = plus(`${expiry}::double precision`, String(options.expiryGrace + 1))
  const again = sweepTime(`greatest(${unexpired}, ${plus(NOW, '1')})`)
  return `
    WITH ${CLOCKS},
    scheduled AS MATERIALIZED (
      SELECT t.ctid FROM ${sql} t WHERE ${IS_SCHEDULED} ORDER BY t.sess_sweep LIMIT ${BATCH}
    ),
    due AS MATERIALIZED (
      SELECT t.sess_id, ${expiredFor(shape, options.expiryGrace)} AS expired,
        ${finallyExpired(shape, options)} AS outlived
      FROM ${sql} t
      WHERE ${isIn('t.ctid', 'ARRAY(SELECT s.ctid FROM scheduled s)')} AND ${IS_SCHEDULED} IS TRUE
      FOR UPDATE OF t SKIP LOCKED
    ),
    ${removal(shape, sql, options, announce)},
    rescheduled AS (
      UPDATE ${sql} t SET sess_sweep = CASE WHEN ${expiry} IS NULL THEN NULL ELSE ${again} END
      WHERE ${isIn('t.sess_id', 'ARRAY(SELECT d.sess_id FROM due d WHERE d.expired IS NOT TRUE)')}
      RETURNING 1
    )
    SELECT ${DATABASE_CLOCK}, NULL, scheduled.count, scheduled.count, due.count,
      ${plus('removed.count', 'rescheduled.count')}, removed.count
    FROM ${counts('scheduled', 'due', 'removed', 'rescheduled')}`
}

/** For a table without that index: scans it once, in the order of ids. */
function passText(shape: Shape, sql: string, options: SweepOptions, announce: boolean): string {
  const expired = isDue(shape, options)
  return `
    WITH ${CLOCKS},
    page AS MATERIALIZED (
      SELECT t.sess_id, ${expired} AS expired FROM ${sql} t
      WHERE ${gt('t.sess_id', '$2')} ORDER BY t.sess_id LIMIT ${BATCH * 5}
    ),
    due AS MATERIALIZED (
      SELECT t.sess_id, true AS expired, ${finallyExpired(shape, options)} AS outlived FROM ${sql} t
      WHERE ${isIn('t.sess_id', 'ARRAY(SELECT p.sess_id FROM page p WHERE p.expired)')} AND ${expired}
      FOR UPDATE OF t SKIP LOCKED
    ),
    ${removal(shape, sql, options, announce)}
    SELECT ${DATABASE_CLOCK}, (SELECT pg_catalog.max(sess_id) FROM page), page.count,
      (SELECT pg_catalog.count(*) FROM page WHERE expired), due.count, removed.count, removed.count
    FROM ${counts('page', 'due', 'removed')}`
}

/** Returns SQL for the FROM clause: a row with the number of rows of each of these queries. */
function counts(...names: readonly string[]): string {
  return names.map((name) => `(SELECT pg_catalog.count(*) FROM ${name}) AS ${name}`).join(', ')
}

/** Returns the condition: expired more than `seconds` ago. */
function expiredFor(shape: Shape, seconds: number): string {
  return lt(expiryOf('t', shape), minus(NOW, String(seconds)))
}

/** Returns the condition: expired longer ago than `expiryGrace`, and not emptied yet. */
export function isDue(shape: Shape, options: KeepOptions): string {
  const kept = options.keepExpired
    ? ` AND (${ne('t.sess_data', "''")} OR ${finallyExpired(shape, options)})`
    : ''
  // sess_sweep of a tombstone is the time until which it is kept.
  const tombstone = shape.added.has('sess_destroyed')
    ? ` AND (t.sess_destroyed IS NULL OR ${le('t.sess_sweep', NOW)})`
    : ''
  return `(${expiredFor(shape, options.expiryGrace)}${tombstone}${kept})`
}

/** Returns the condition: the row is to be deleted, not emptied. */
function finallyExpired(shape: Shape, { keepExpired, keepExpiredFor, expiryGrace }: KeepOptions): string {
  if (!keepExpired) return 'true'
  // A destroyed session is not kept.
  const tombstone = shape.added.has('sess_destroyed') ? 't.sess_destroyed IS NOT NULL' : 'false'
  if (keepExpiredFor === Number.POSITIVE_INFINITY) return tombstone
  return `(${tombstone} OR ${expiredFor(shape, Math.max(expiryGrace, keepExpiredFor))})`
}

function removal(shape: Shape, sql: string, options: SweepOptions, announce: boolean): string {
  const announcement = announce ? announceText(shape.name, 't', "'expired'") : undefined
  const emptied = announcement === undefined ? '' : `, ${announcement}`
  const ended =
    announcement === undefined ? '' : `, CASE WHEN ${isSession(shape, options)} THEN ${announcement} END`
  const deleted = `
    deleted AS (
      DELETE FROM ${sql} t
      WHERE ${isIn('t.sess_id', 'ARRAY(SELECT d.sess_id FROM due d WHERE d.expired AND d.outlived)')}
      RETURNING 1${ended}
    )`
  if (!options.keepExpired)
    return `${deleted},
    removed AS (SELECT * FROM deleted)`
  const { keepExpiredFor } = options
  const sweepAt =
    keepExpiredFor === Number.POSITIVE_INFINITY
      ? 'NULL'
      : sweepTime(plus(`${expiryOf('t', shape)}::double precision`, String(keepExpiredFor)))
  const setSweep = shape.added.has('sess_sweep') ? `, sess_sweep = ${sweepAt}` : ''
  const setVersion = shape.added.has('sess_version') ? `, sess_version = ${nextVersion('t')}` : ''
  return `${deleted},
    emptied AS (
      UPDATE ${sql} t SET sess_data = ''${setSweep}${setVersion}
      WHERE ${isIn('t.sess_id', 'ARRAY(SELECT d.sess_id FROM due d WHERE d.expired AND NOT d.outlived)')}
      RETURNING 1${emptied}
    ),
    removed AS (SELECT * FROM deleted UNION ALL SELECT * FROM emptied)`
}

/** Returns the condition: a row that is deleted is neither a tombstone nor emptied, so its end was not announced. */
function isSession(shape: Shape, { keepExpired }: SweepOptions): string {
  const tombstone = shape.added.has('sess_destroyed') ? 't.sess_destroyed IS NULL' : 'true'
  return keepExpired ? `(${tombstone} AND ${ne('t.sess_data', "''")})` : tombstone
}
