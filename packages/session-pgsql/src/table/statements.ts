import { prepared, type Statement } from '../database/database.ts'
import { announceText } from './announcements.ts'
import { NO_RECORD, type Outcome } from './answers.ts'
import { columnAssignments, inputColumns, setColumns } from './computed-columns.ts'
import {
  type AddedColumn,
  type ExtensionColumn,
  quoteLiteral,
  type Shape,
  sqlName,
  type TableName,
} from './definition.ts'
import { type Guard, guardOf, markText, NO_GUARD, writeMarkText } from './id-forms.ts'
import { beganOf, isAliveAt, limited } from './lifetime.ts'
import {
  ANNOUNCED_DESTROYS,
  type BatchSize,
  DESTROYS,
  type RequestRows,
  TOUCHES,
  writeRows,
} from './requests.ts'
import { capped, digest, nextVersion, recordColumns, sweepTime } from './row-sql.ts'
import {
  BYTEWISE,
  CLOCK,
  eq,
  ge,
  gt,
  isIn,
  jsonHas,
  jsonText,
  le,
  microseconds,
  minus,
  ne,
  plus,
  same,
  setLockTimeout,
} from './sql.ts'

/**
 * The SQL of requests for sessions. Each statement serves a whole batch, in which no id occurs twice. All have the same
 * structure:
 *
 * - `input`: the requests, a row for each, numbered by `n`.
 * - `found`: the rows that exist. It locks them and skips rows that other transactions have locked, so that no batch
 *   waits for a row. It returns the newest version of each row; a second scan in the statement would use the old
 *   snapshot.
 * - `judged`: the outcome for each row.
 * - Then the change, and an answer for each row that was found (see answers.ts). Answers of `touch` and `destroy` have
 *   no record. A row that exists but was not found is locked: `busy`. A request without an answer has no row.
 *
 * Every access to the table starts from a FEW rows and uses the index of ids. Otherwise a plan made while the table was
 * empty would scan the table, and stay cached.
 */
export interface Statements {
  /**
   * Reads sessions that have not expired. $1 ids, or one id. The last row, which is always there, has the database's
   * clock and says whether the server is a standby (see `standbyOf`); `hidden`: row-level security may hide sessions.
   */
  readonly read: Statement
  /** Writes sessions that must exist: with a base as compare-and-swap, without one over any data. */
  readonly save: Statement
  /** Writes sessions that may or must be absent. */
  readonly put: Statement
  /** Moves the expiry, and updates counters and metadata. */
  readonly touch: Statement
  /** Deletes sessions. */
  readonly destroy: Statement
  /** Deletes sessions and announces them. */
  readonly announcedDestroy: Statement
  /**
   * The fast path of `save` and `touch`: a plain UPDATE, at two thirds of the cost. It returns answers for the rows
   * that it changed only; the other requests go on to the slow path. It waits for row locks for LOCK_TIMEOUT at most,
   * then it fails without changing any row. Not for requests with metadata, or touches that do not move the expiry.
   */
  readonly quickSave: Statement
  readonly quickTouch: Statement
}

/**
 * A limit on the rows that a join with the table starts from. For a limit that is not a constant, the planner expects a
 * tenth of the rows, here one; and it looks up one row by the index, whatever size it assumes for the table. Expecting
 * ten rows, it chose to scan an empty table, and repeated that for each batch until the next ANALYZE.
 */
const FEW = 'LIMIT (SELECT 1000000)'

export interface StatementOptions {
  readonly keepExpired: boolean
  /** Seconds. */
  readonly expiryGrace: number
  /** Whether changes of the slow path do nothing in a table that may contain hashed ids; see id-forms.ts. */
  readonly guarded: boolean
  /** Whether new rows have hashed ids. */
  readonly hashing: boolean
  /** Whether a touch without metadata waits for the disk. */
  readonly durableTouches: boolean
}

/** Returns the statements for a table with this shape, by the size of the batch. */
export function statements(
  shape: Shape,
  { keepExpired, expiryGrace, durableTouches, guarded, hashing }: StatementOptions,
): Readonly<Record<BatchSize, Statements>> {
  const sql = fragments(shape, expiryGrace, NO_GUARD)
  const orGuarded = guarded ? fragments(shape, expiryGrace, guardOf(sqlName(shape.name))) : sql
  const rows = writeRows(shape.columns.wanted)
  const forBatch = (size: BatchSize): Statements => ({
    read: prepared(size === 'one' ? readOneText(sql, guarded) : readText(sql)),
    save: prepared(saveText(orGuarded, rows.saves.source(size))),
    put: prepared(putText(orGuarded, rows.puts.source(size), keepExpired, hashing)),
    touch: prepared(touchText(orGuarded, TOUCHES.source(size))),
    destroy: prepared(destroyText(orGuarded, DESTROYS.source(size))),
    announcedDestroy: prepared(destroyText(orGuarded, ANNOUNCED_DESTROYS.source(size), shape.name)),
    quickSave: prepared(fastSaveText(sql, fastPathInput(rows.saves, size))),
    quickTouch: prepared(
      fastTouchText(sql, fastPathInput(TOUCHES, size, ...(durableTouches ? [] : [COMMIT_ASYNCHRONOUSLY]))),
    ),
  })
  return { one: forBatch('one'), several: forBatch('several') }
}

type Fragments = ReturnType<typeof fragments>

function fragments(shape: Shape, expiryGrace: number, guard: Guard) {
  const table = sqlName(shape.name)
  const cap = (column: ExtensionColumn, value: string) => capped(shape, column, value)
  const time = (column: ExtensionColumn, value: string) => cap(column, `pg_catalog.ceil(${value})::bigint`)
  // As bigint: an integer column at its maximum would overflow before it is capped.
  const count = (column: ExtensionColumn, value: string) =>
    cap(column, plus(`coalesce(t.${column}, 0)::bigint`, value))
  const has = (column: AddedColumn) => shape.added.has(column)
  const alive = (row: string, now: string) => isAliveAt(row, shape, now)
  const increment = (name: string) => `coalesce(${jsonText('j.metadata', name)}::bigint, 0)`
  const extraColumns = (['sess_sweep', 'sess_generation', 'sess_version', 'sess_began'] as const).filter(has)

  return {
    table,
    /** The table's OID, as a constant. */
    oid: `${quoteLiteral(table)}::pg_catalog.regclass`,
    cap,
    time,
    count,
    increment,
    extraColumns,
    has,
    /** The computed columns: the requests' values, and what a write of data sets. */
    inputColumns: inputColumns(shape),
    setColumns: setColumns(shape, 'j'),
    columns: columnAssignments(shape, 'j'),
    record: (row: string) => recordColumns(row, shape),
    /** @param more further columns */
    clock: (more = '') =>
      `${guard.query} clock AS MATERIALIZED (SELECT ${CLOCK} AS now${more} ${guard.where})`,
    guard,

    /** @param requested columns of `input` besides `n` */
    found: (
      columns: string,
      requested: string,
      strength: 'UPDATE' | 'NO KEY UPDATE',
    ) => `found AS MATERIALIZED (
      SELECT i.n, ${requested}, c.now, ${columns}
      FROM (SELECT * FROM input ORDER BY id ${BYTEWISE} ${FEW}) i
        JOIN ${table} t ON ${eq('t.sess_id', 'i.id')} CROSS JOIN clock c
      FOR ${strength} OF t SKIP LOCKED
    )`,
    foundColumns: `t.sess_id, t.sess_name, t.sess_data, t.sess_created, t.sess_modified, t.sess_expire,
        t.sess_addr_created, t.sess_addr_modified, t.sess_counter, t.sess_error, t.sess_warning, t.sess_notice,
        t.sess_err_message, t.sess_custom${(['sess_generation', 'sess_version', 'sess_began'] as const)
          .filter(has)
          .map((column) => `, t.${column}`)
          .join('')}`,
    /** The columns from which the expiry follows that applies. */
    expiryColumns: [
      't.sess_expire',
      ...(shape.maxLifetime === Number.POSITIVE_INFINITY
        ? []
        : [
            't.sess_created',
            ...(['sess_generation', 'sess_began'] as const).filter(has).map((column) => `t.${column}`),
          ]),
    ].join(', '),
    /** Selects the requests whose row was not found, usually none. */
    missing: `NOT ${isIn('i.n', 'SELECT f.n FROM found f')}`,

    alive,
    began: (row: string) => beganOf(row, shape),
    /** The expiry, or the end of a session that began at `began` if that is earlier. */
    limited: (expiry: string, began: string) => limited(expiry, began, shape),
    /** The session may still be saved by a request that read it before it expired. */
    savable: (row: string, now: string) => alive(row, minus(now, String(expiryGrace))),
    sameGeneration: (row: string, base: string) => {
      const conditions = [
        same(`${row}.sess_created`, `${base}.created`),
        ge(`coalesce(${row}.sess_counter, 0)`, `${base}.accesses`),
        ...(has('sess_generation') ? [same(`${row}.sess_generation`, `${base}.generation`)] : []),
      ]
      return `(${conditions.join(' AND ')})`
    },
    /** The version covers the writes of this library, the digest those of programs that do not count versions. */
    sameData: (row: string, base: string) => {
      // Not `same`, which could compute the digest twice. No digest is empty.
      const sameDigest = eq(
        `coalesce(${digest(`${row}.sess_data`, shape)}, '')`,
        `coalesce(${base}.digest, '')`,
      )
      return has('sess_version')
        ? `(${eq(`coalesce(${row}.sess_version, 0)`, `${base}.version`)} AND ${sameDigest})`
        : sameDigest
    },
    setVersion: has('sess_version') ? `, sess_version = ${nextVersion('t')}` : '',

    /** `, sess_sweep = …` for an expiry, if the table has that column. */
    setSweep: (expiry: string) =>
      shape.added.has('sess_sweep') ? `, sess_sweep = ${sweepTime(expiry)}` : '',
    setMetadata: `
        sess_error = ${count('sess_error', increment('errors'))},
        sess_warning = ${count('sess_warning', increment('warnings'))},
        sess_notice = ${count('sess_notice', increment('notices'))},
        sess_err_message = coalesce(${MESSAGE}, t.sess_err_message),
        sess_custom = ${UPDATED_CUSTOM}`,
  }
}

/** The error message and the custom field of a request's metadata; NULL if it has none. */
const MESSAGE = jsonText('j.metadata', 'message')
const CUSTOM = jsonText('j.metadata', 'custom')

const UPDATED_CUSTOM = `CASE WHEN ${jsonHas('j.metadata', "'custom'")} THEN ${CUSTOM} ELSE t.sess_custom END`

function readText(sql: Fragments): string {
  return `
    WITH ${sql.clock()}
    SELECT NULL::bigint, 'read', t.sess_data, NULL::bigint, ${sql.record('t')}, NULL::boolean
    FROM (SELECT * FROM pg_catalog.unnest($1::pg_catalog.text[]) AS i(id) ${FEW}) i
      JOIN ${sql.table} t ON ${eq('t.sess_id', 'i.id')}
    WHERE ${sql.alive('t', '(SELECT now FROM clock)')}
    UNION ALL
    SELECT NULL, CASE WHEN pg_catalog.row_security_active(${sql.oid}) THEN 'hidden' ELSE 'clock' END,
      NULL, ${microseconds('now')}${NO_RECORD}, pg_catalog.pg_is_in_recovery() FROM clock`
}

/** @param guarded whether the table may contain hashed ids: then the outcome is `hashed` */
function readOneText(sql: Fragments, guarded: boolean): string {
  return `
    SELECT NULL::bigint, CASE WHEN c.hidden THEN 'hidden'
        ${guarded ? `WHEN EXISTS (${markText(sql.table)}) THEN 'hashed'` : ''}
        WHEN t.sess_id IS NULL THEN 'clock' ELSE 'read' END,
      t.sess_data, ${microseconds('c.now')}, ${sql.record('t')}, c.standby
    FROM (SELECT $1::pg_catalog.text AS id, ${CLOCK} AS now, pg_catalog.pg_is_in_recovery() AS standby,
          pg_catalog.row_security_active(${sql.oid}) AS hidden ${FEW}) c
      LEFT JOIN ${sql.table} t ON ${eq('t.sess_id', 'c.id')} AND ${sql.alive('t', 'c.now')}`
}

const EXPIRY = plus('j.now', 'j.lifetime')

/** The data of a row without conflict is not returned, because the caller has sent it. */
const CONFLICTING_DATA = `CASE WHEN ${eq('j.outcome', "'conflict'")} THEN j.sess_data END`

/** The columns of `input` that `save` and `put` write. */
const SAVED = 'i.data, i.lifetime, i.access, i.address, i.name, i.metadata, i.until'

function saveText(sql: Fragments, source: string): string {
  return `
    WITH ${sql.clock()},
    input AS (
      SELECT * FROM ${source} i
    ),
    ${sql.found(sql.foundColumns, `${SAVED}${sql.inputColumns}, i.based, i.digest, i.version, i.created, i.accesses, i.generation`, 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*,
        CASE
          WHEN ${gt('f.now', 'f.until')} THEN 'late'
          WHEN NOT f.based AND NOT ${sql.alive('f', 'f.now')} THEN 'gone'
          WHEN NOT f.based THEN 'updated'
          WHEN NOT ${sql.sameGeneration('f', 'f')} OR NOT ${sql.savable('f', 'f.now')} THEN 'gone'
          WHEN ${sql.sameData('f', 'f')} THEN 'updated'
          ELSE 'conflict'
        END AS outcome
      FROM found f
    ),
    updated AS (
      UPDATE ${sql.table} t SET ${setSaved(sql)},${sql.setMetadata}
      FROM (SELECT * FROM judged WHERE ${eq('outcome', "'updated'")} ${FEW}) j
      WHERE ${eq('t.sess_id', 'j.sess_id')}
      RETURNING j.n, 'updated', NULL::pg_catalog.text, ${microseconds('j.now')}, ${sql.record('t')}
    )
    SELECT * FROM updated
    UNION ALL
    SELECT j.n, ${unlessDone('updated')}, ${CONFLICTING_DATA}, ${microseconds('j.now')}, ${sql.record('j')}
    FROM judged j WHERE NOT ${isIn('j.n', 'SELECT u.n FROM updated u')}
    UNION ALL
    ${busyRows(sql, NO_RECORD)}${sql.guard.answer(NO_RECORD)}`
}

function setSaved(sql: Fragments): string {
  const began = sql.began('t')
  return `
        sess_data = j.data${sql.setVersion},
        sess_modified = ${sql.time('sess_modified', 'j.now')},
        sess_expire = ${sql.limited(sql.time('sess_expire', EXPIRY), began)}${sql.setSweep(sql.limited(EXPIRY, began))},
        sess_addr_modified = coalesce(j.address, t.sess_addr_modified),
        sess_counter = ${sql.count('sess_counter', 'j.access::int')},
        sess_name = coalesce(t.sess_name, j.name)${sql.setColumns}`
}

/**
 * Milliseconds for which a statement of the fast path waits for a row lock. Batches of two processes that have a row in
 * common take less time. Rows that are locked for longer are left to the slow path.
 */
const LOCK_TIMEOUT = 5

/**
 * Returns the `input` of a statement of the fast path. Several requests are sorted by id: two statements then lock their
 * common rows in the same order and cannot deadlock.
 */
function fastPathInput(
  rows: Pick<RequestRows<never>, 'source'>,
  size: BatchSize,
  ...settings: string[]
): string {
  const order = size === 'one' ? '' : `ORDER BY i.id ${BYTEWISE}`
  return `
    WITH clock AS MATERIALIZED (
      SELECT ${[`${CLOCK} AS now`, setLockTimeout(LOCK_TIMEOUT), ...settings].join(', ')}
    ),
    input AS ${size === 'one' ? '' : 'MATERIALIZED'} (
      SELECT i.*, c.now FROM ${rows.source(size)} i CROSS JOIN clock c ${order} ${FEW}
    )`
}

/**
 * Commits the transaction without waiting for the disk or a standby. If the server crashes within about half a second, the
 * change is lost: see the option `durableTouches`. A later commit that waits also flushes this one.
 */
const COMMIT_ASYNCHRONOUSLY = `pg_catalog.set_config('synchronous_commit', 'off', true)`

/** Returns the conditions of `judged`. The deadline is checked for each row, because the statement may have waited. */
function fastPathConditions(sql: Fragments, saving: boolean): string {
  return `${eq('t.sess_id', 'j.id')} AND ${le('pg_catalog.clock_timestamp()', 'pg_catalog.to_timestamp(j.until)')}
      AND CASE WHEN j.based
        THEN ${sql.sameGeneration('t', 'j')} AND ${sql.savable('t', 'j.now')}${
          saving ? ` AND ${sql.sameData('t', 'j')}` : ''
        }
        ELSE ${sql.alive('t', 'j.now')} END`
}

function fastSaveText(sql: Fragments, input: string): string {
  return `${input}
    UPDATE ${sql.table} t SET ${setSaved(sql)}
    FROM input j
    WHERE ${fastPathConditions(sql, true)}
    RETURNING j.n, 'updated', NULL::pg_catalog.text, ${microseconds('j.now')}, ${sql.record('t')}`
}

function fastTouchText(sql: Fragments, input: string): string {
  const expiry = sql.time('sess_expire', EXPIRY)
  const limited = (expiry: string): string => sql.limited(expiry, sql.began('t'))
  // If the data differs from the base, the later expiry is kept, and garbage collection checks the row too early. That
  // does no harm, and avoids computing the digest twice.
  const setSweep = sql.extraColumns.includes('sess_sweep')
    ? `, sess_sweep = CASE WHEN j.based THEN ${sweepTime(limited(EXPIRY))} ELSE ${sweepTime(limited(`greatest(t.sess_expire, ${EXPIRY})`))} END`
    : ''
  return `${input}
    UPDATE ${sql.table} t SET
        sess_expire = CASE
          WHEN j.based AND ${sql.sameData('t', 'j')} THEN ${limited(expiry)}
          ELSE ${limited(`greatest(t.sess_expire, ${expiry})`)}
        END${setSweep},
        sess_counter = ${sql.count('sess_counter', 'j.access::int')}
    FROM input j
    WHERE ${fastPathConditions(sql, false)}
    RETURNING j.n, 'touched', t.sess_expire::pg_catalog.text, ${microseconds('j.now')}`
}

/** Returns SQL of the answers for rows that exist and were not found: another transaction has locked them. */
function busyRows(sql: Fragments, record: string): string {
  return `SELECT i.n, 'busy', NULL, ${microseconds('c.now')}${record}
    FROM (SELECT * FROM input i WHERE ${sql.missing} ${FEW}) i
      JOIN ${sql.table} t ON ${eq('t.sess_id', 'i.id')} CROSS JOIN clock c`
}

/**
 * Seconds for which an INSERT waits for another transaction that inserts the same id. Unlike a locked row, it cannot be
 * skipped.
 */
const INSERT_TIMEOUT = 0.05

function putText(sql: Fragments, source: string, keepExpired: boolean, hashing: boolean): string {
  const generation = microseconds('j.now')
  const isNew = eq('j.outcome', "'created'")
  /** A new session starts with `first`. With `keepExpired` it goes on with the values of the expired row. */
  const start = (column: ExtensionColumn, first: string, next: string) =>
    keepExpired ? next : `CASE WHEN ${isNew} THEN ${sql.cap(column, first)} ELSE ${next} END`
  const newGeneration = sql.extraColumns.includes('sess_generation')
    ? `, sess_generation = CASE WHEN ${isNew} THEN ${generation} ELSE t.sess_generation END`
    : ''
  const began = `coalesce(${jsonText('j.metadata', 'began')}::bigint, pg_catalog.ceil(j.now)::bigint)`
  const newBegan = sql.has('sess_began')
    ? `, sess_began = CASE WHEN ${isNew} THEN ${began} ELSE t.sess_began END`
    : ''
  const thisBegan = `CASE WHEN ${isNew} THEN ${began} ELSE ${sql.began('t')} END`
  const newVersion = sql.has('sess_version')
    ? `, sess_version = CASE WHEN ${isNew} THEN 1 ELSE ${nextVersion('t')} END`
    : ''
  // A tombstone, or a row of another home server, becomes a session of this server.
  const cleared = (['sess_home', 'sess_base', 'sess_destroyed'] as const)
    .filter(sql.has)
    .map((column) => `, ${column} = CASE WHEN ${isNew} THEN NULL ELSE t.${column} END`)
    .join('')
  const marked = hashing
    ? `,
    marked AS (
      ${writeMarkText(sql.table, 'EXISTS (SELECT FROM missing)')}
    )`
    : ''
  const extraValues = {
    sess_sweep: sweepTime(sql.limited(EXPIRY, began)),
    sess_generation: generation,
    sess_version: '1',
    sess_began: began,
  }
  const extra = [...sql.extraColumns.map((column) => [column, extraValues[column]] as const), ...sql.columns]

  return `
    WITH ${sql.clock(`, ${setLockTimeout(INSERT_TIMEOUT * 1000)}`)},
    input AS (
      SELECT * FROM ${source} i
    ),
    ${sql.found(sql.foundColumns, `${SAVED}${sql.inputColumns}, i.absent`, 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*,
        CASE
          WHEN ${gt('f.now', 'f.until')} THEN 'late'
          WHEN NOT ${sql.alive('f', 'f.now')} THEN 'created'
          WHEN f.absent THEN 'conflict'
          ELSE 'updated'
        END AS outcome
      FROM found f
    ),
    missing AS MATERIALIZED (
      SELECT i.*, c.now, ${gt('c.now', minus('i.until', String(INSERT_TIMEOUT)))} AS late
      FROM input i CROSS JOIN clock c WHERE ${sql.missing}
    ),
    present AS MATERIALIZED (
      SELECT m.n, m.now FROM (SELECT * FROM missing ${FEW}) m JOIN ${sql.table} t ON ${eq('t.sess_id', 'm.id')}
    ),
    updated AS (
      UPDATE ${sql.table} t SET
        sess_data = j.data,
        sess_name = CASE WHEN ${isNew} THEN j.name ELSE coalesce(t.sess_name, j.name) END,
        sess_created = ${start('sess_created', 'pg_catalog.ceil(j.now)::bigint', 't.sess_created')},
        sess_modified = ${sql.time('sess_modified', 'j.now')},
        sess_expire = ${sql.limited(sql.time('sess_expire', EXPIRY), thisBegan)}${sql.setSweep(sql.limited(EXPIRY, thisBegan))}${newGeneration}${newVersion}${newBegan}${cleared}${sql.setColumns},
        sess_addr_created = ${start('sess_id', 'j.address', 't.sess_addr_created')},
        sess_addr_modified = ${start('sess_id', 'j.address', 'coalesce(j.address, t.sess_addr_modified)')},
        sess_counter = ${start('sess_counter', '1', sql.count('sess_counter', 'j.access::int'))},
        sess_error = ${start('sess_error', sql.increment('errors'), sql.count('sess_error', sql.increment('errors')))},
        sess_warning = ${start('sess_warning', sql.increment('warnings'), sql.count('sess_warning', sql.increment('warnings')))},
        sess_notice = ${start('sess_notice', sql.increment('notices'), sql.count('sess_notice', sql.increment('notices')))},
        sess_err_message = ${start('sess_id', MESSAGE, `coalesce(${MESSAGE}, t.sess_err_message)`)},
        sess_custom = ${start('sess_id', CUSTOM, UPDATED_CUSTOM)}
      FROM (SELECT * FROM judged WHERE ${isOneOf('outcome', 'updated', 'created')} ${FEW}) j
      WHERE ${eq('t.sess_id', 'j.sess_id')}
      RETURNING j.n, j.outcome, NULL::pg_catalog.text, ${microseconds('j.now')}, ${sql.record('t')}
    ),
    inserted AS (
      INSERT INTO ${sql.table} AS t (sess_id, sess_data, sess_name, sess_created, sess_modified, sess_expire,
        sess_addr_created, sess_addr_modified, sess_counter, sess_error, sess_warning, sess_notice,
        sess_err_message, sess_custom${extra.map(([column]) => `, ${column}`).join('')})
      SELECT j.id, j.data, j.name, ${sql.time('sess_created', 'j.now')}, ${sql.time('sess_modified', 'j.now')},
        ${sql.limited(sql.time('sess_expire', EXPIRY), began)}, j.address, j.address, 1,
        ${sql.cap('sess_error', sql.increment('errors'))}, ${sql.cap('sess_warning', sql.increment('warnings'))},
        ${sql.cap('sess_notice', sql.increment('notices'))}, ${MESSAGE}, ${CUSTOM}${extra.map(([, value]) => `, ${value}`).join('')}
      FROM missing j WHERE NOT j.late AND NOT ${isIn('j.n', 'SELECT n FROM present')}
      ORDER BY j.id
      ON CONFLICT (sess_id) DO NOTHING
      RETURNING ${sql.record('t')}
    )${marked}
    SELECT * FROM updated
    UNION ALL
    SELECT m.n, 'created', NULL, ${microseconds('m.now')}, r.* FROM inserted r JOIN missing m ON ${eq('m.id', 'r.sess_id')}
    UNION ALL
    SELECT p.n, 'busy', NULL, ${microseconds('p.now')}${NO_RECORD} FROM present p
    UNION ALL
    SELECT m.n, 'late', NULL, ${microseconds('m.now')}${NO_RECORD} FROM missing m WHERE m.late
    UNION ALL
    SELECT j.n, ${unlessDone('updated', 'created')}, ${CONFLICTING_DATA}, ${microseconds('j.now')}, ${sql.record('j')}
    FROM judged j WHERE NOT ${isIn('j.n', 'SELECT u.n FROM updated u')}${sql.guard.answer(NO_RECORD)}`
}

/** Returns the condition: the outcome is one of these. */
function isOneOf(outcome: string, ...outcomes: readonly Outcome[]): string {
  return `(${outcomes.map((one) => eq(outcome, `'${one}'`)).join(' OR ')})`
}

/** Returns SQL of the outcome for a row of `judged` that was not changed, although it was to be changed with `done`. */
function unlessDone(...done: readonly Outcome[]): string {
  return `CASE WHEN ${isOneOf('j.outcome', ...done)} THEN 'prevented' ELSE j.outcome END`
}

function touchText(sql: Fragments, source: string): string {
  const expiry = sql.time('sess_expire', plus('f.now', 'f.lifetime'))
  const limited = (expiry: string): string => sql.limited(expiry, sql.began('f'))
  const setSweep = sql.extraColumns.includes('sess_sweep')
    ? `, sess_sweep = CASE WHEN j.expiry IS NULL THEN t.sess_sweep ELSE ${sweepTime('j.expiry')} END`
    : ''
  return `
    WITH ${sql.clock()},
    input AS (
      SELECT * FROM ${source} i
    ),
    ${sql.found(sql.foundColumns, 'i.lifetime, i.access, i.metadata, i.until, i.based, i.digest, i.version, i.created, i.accesses, i.generation', 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.n, f.access, f.metadata, f.now, f.sess_id,
        CASE
          WHEN f.lifetime IS NULL THEN f.sess_expire
          WHEN f.based AND ${sql.sameData('f', 'f')} THEN ${limited(expiry)}
          ELSE ${limited(`greatest(f.sess_expire, ${expiry})`)}
        END AS expiry,
        CASE
          WHEN ${gt('f.now', 'f.until')} THEN 'late'
          WHEN NOT f.based AND NOT ${sql.alive('f', 'f.now')} THEN 'gone'
          WHEN f.based AND (NOT ${sql.sameGeneration('f', 'f')} OR NOT ${sql.savable('f', 'f.now')}) THEN 'gone'
          ELSE 'touched'
        END AS outcome
      FROM found f
    ),
    updated AS (
      UPDATE ${sql.table} t SET
        sess_expire = j.expiry${setSweep},
        sess_counter = ${sql.count('sess_counter', 'j.access::int')},${sql.setMetadata}
      FROM (SELECT * FROM judged WHERE ${eq('outcome', "'touched'")} ${FEW}) j
      WHERE ${eq('t.sess_id', 'j.sess_id')}
      RETURNING j.n, 'touched', t.sess_expire::pg_catalog.text, ${microseconds('j.now')}
    )
    SELECT * FROM updated
    UNION ALL
    SELECT j.n, ${unlessDone('touched')}, NULL, ${microseconds('j.now')}
    FROM judged j WHERE NOT ${isIn('j.n', 'SELECT u.n FROM updated u')}
    UNION ALL
    ${busyRows(sql, '')}${sql.guard.answer('')}`
}

/** @param announced the table, if the sessions are announced */
function destroyText(sql: Fragments, source: string, announced?: TableName): string {
  const reason = announced === undefined ? '' : ', i.reason'
  // An expired session is announced too: garbage collection will not find it.
  const announcement = announced === undefined ? '' : `, ${announceText(announced, 't', 'j.reason')}`
  return `
    WITH ${sql.clock()},
    input AS (SELECT * FROM ${source} i),
    ${sql.found(`t.sess_id, ${sql.expiryColumns}`, `i.until${reason}`, 'UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*,
        CASE WHEN ${gt('f.now', 'f.until')} THEN 'late' WHEN ${sql.alive('f', 'f.now')} THEN 'destroyed' ELSE 'gone' END AS outcome
      FROM found f
    ),
    deleted AS (
      DELETE FROM ${sql.table} t USING (SELECT * FROM judged WHERE ${ne('outcome', "'late'")} ${FEW}) j
      WHERE ${eq('t.sess_id', 'j.sess_id')}
      RETURNING j.n${announcement}
    )
    SELECT j.n,
      CASE WHEN ${isIn('j.n', 'SELECT d.n FROM deleted d')} THEN j.outcome ELSE ${unlessDone('destroyed')} END,
      NULL::pg_catalog.text, ${microseconds('j.now')}
    FROM judged j
    UNION ALL
    ${busyRows(sql, '')}${sql.guard.answer('')}`
}

/** Returns SQL that reads one session and locks its row. $1: the forms of its id. */
export function lockText(shape: Shape, expiryGrace: number): string {
  return `SELECT NULL, 'read', t.sess_data, ${microseconds(CLOCK)}, ${recordColumns('t', shape)}
    FROM ${sqlName(shape.name)} t
    WHERE ${isIn('t.sess_id', '$1::pg_catalog.text[]')} AND ${isAliveAt('t', shape, minus(CLOCK, String(expiryGrace)))}
    ORDER BY t.sess_id ${BYTEWISE} FOR NO KEY UPDATE`
}
