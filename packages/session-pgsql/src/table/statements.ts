import { prepared, type Statement } from '../database/database.ts'
import { GRACE } from '../session/stored.ts'
import { RECORD_COLUMNS } from './answers.ts'
import { type SeedColumn, type Shape, sqlName } from './definition.ts'
import { DESTROYS, PUTS, SAVES, TOUCHES } from './requests.ts'

/**
 * The SQL of a session's life. Each statement takes arrays and serves a whole batch, in which no id comes
 * twice. They are of one build:
 *
 * - `input` is what was asked, a row for each, numbered by `n`;
 * - `found` is what of it is there: it locks the rows and skips what others hold, so that no batch waits for
 *   a row, and none for a batch that waits. It returns the newest version of each; a second look at the
 *   table within the statement would see the old snapshot;
 * - `judged` says what is to become of each row: its outcome;
 * - then the change, and a row of answer (see answers.ts) for what was found; a short one, without the
 *   record, from `touch` and `destroy`. What is there but was not
 *   found is locked by somebody: `busy`. What has no answer is not there.
 *
 * Every look at the table goes from a FEW rows to the index of the ids: a plan made while the table was empty
 * would otherwise scan it, and be kept.
 */
export interface Statements {
  /** What has not expired. $1 ids. One row more, `clock`, comes even if nothing is found. */
  readonly read: Statement
  /** Writes to a session that must be there: with a base as compare-and-swap, or whatever its data. */
  readonly save: Statement
  /** Writes a session that may or must be absent. */
  readonly put: Statement
  /** Moves the expiry, counts, metadata. */
  readonly touch: Statement
  /** Deletes. */
  readonly destroy: Statement
  /**
   * `save` and `touch` at two thirds of the cost, for rows that nobody holds, as is the rule: a plain UPDATE.
   * It answers for what it has changed and says nothing of the rest; that is for the others to find out. It
   * waits for a lock for a moment (LOCK_PATIENCE), then it fails, and nothing of the batch is done. Not for orders
   * with metadata, or for touches that leave the expiry as it is.
   */
  readonly quickSave: Statement
  readonly quickTouch: Statement
}

/**
 * Behind what a look at the table starts from. Where the planner cannot see a limit it expects a tenth of the
 * rows, which here is one; and one row it looks up in the index, whatever it takes the size of the table for.
 * Expecting ten, it chose to scan an empty table, and kept to it for each batch until the next ANALYZE.
 */
const FEW = 'LIMIT (SELECT 1000000)'

/** The database's clock in seconds. Never `now()`: it stands still while a statement waits. */
export const CLOCK = 'extract(epoch FROM clock_timestamp())::float8'

/**
 * Tells whether somebody has written in between; protects no secret. 64 bits at 0.9 us for 0.5 KB, against
 * 1.8 us for md5 (which FIPS forbids) and 1.9 us for sha256. "C": no collation may call two texts equal.
 */
const digest = (data: string) => `hashtextextended(${data} COLLATE "C", 0)`

export function statements(shape: Shape, keepExpired: boolean): Statements {
  const sql = fragments(shape)
  return {
    read: prepared(readText(sql)),
    save: prepared(saveText(sql)),
    put: prepared(putText(sql, keepExpired)),
    touch: prepared(touchText(sql)),
    destroy: prepared(destroyText(sql)),
    quickSave: prepared(quickSaveText(sql)),
    quickTouch: prepared(quickTouchText(sql)),
  }
}

/**
 * A session but for its data: the columns in the order in which answers.ts reads them. What is nearly always 0
 * travels as NULL, which costs nothing.
 */
export function recordColumns(row: string, shape: Shape): string {
  const generation = shape.ours.has('sess_generation') ? `${row}.sess_generation` : 'NULL::bigint'
  const unlessNone = (column: string) => `nullif(${row}.${column}, 0)`
  const columns = [
    ...['sess_id', 'sess_name'].map((column) => `${row}.${column}`),
    digest(`${row}.sess_data`),
    ...['sess_created', 'sess_modified', 'sess_expire'].map((column) => `${row}.${column}`),
    ...['sess_addr_created', 'sess_addr_modified', 'sess_counter'].map((column) => `${row}.${column}`),
    ...['sess_error', 'sess_warning', 'sess_notice'].map(unlessNone),
    ...['sess_err_message', 'sess_custom'].map((column) => `${row}.${column}`),
    generation,
  ]
  return columns.join(', ')
}

/** In place of a record. */
const NO_RECORD = ', NULL'.repeat(RECORD_COLUMNS)

type Fragments = ReturnType<typeof fragments>

function fragments(shape: Shape) {
  const table = sqlName(shape.name)
  const hasGeneration = shape.ours.has('sess_generation')
  const cap = (column: SeedColumn, value: string) =>
    shape.narrow.has(column) ? `least(${value}, 2147483647)` : value
  const time = (column: SeedColumn, value: string) => cap(column, `ceil(${value})::bigint`)
  // As bigint: an integer column that is full would overflow before it is capped.
  const count = (column: SeedColumn, value: string) =>
    cap(column, `coalesce(t.${column}, 0)::bigint + ${value}`)
  const mark = (name: string) => `coalesce((j.metadata::jsonb->>'${name}')::bigint, 0)`
  const ownColumns = (['sess_sweep', 'sess_generation'] as const).filter((column) => shape.ours.has(column))

  return {
    table,
    cap,
    time,
    count,
    mark,
    ownColumns,
    has: (column: string) => shape.ours.has(column as never),
    record: (row: string) => recordColumns(row, shape),
    clock: `clock AS MATERIALIZED (SELECT ${CLOCK} AS now)`,

    /** @param order columns of `input` that are wanted besides `n` */
    found: (columns: string, order: string, strength: 'UPDATE' | 'NO KEY UPDATE') => `found AS MATERIALIZED (
      SELECT i.n, ${order}, c.now, ${columns}
      FROM (SELECT * FROM input ORDER BY id COLLATE "C" ${FEW}) i
        JOIN ${table} t ON t.sess_id = i.id CROSS JOIN clock c
      FOR ${strength} OF t SKIP LOCKED
    )`,
    foundColumns: `t.sess_id, t.sess_name, t.sess_data, t.sess_created, t.sess_modified, t.sess_expire,
        t.sess_addr_created, t.sess_addr_modified, t.sess_counter, t.sess_error, t.sess_warning, t.sess_notice,
        t.sess_err_message, t.sess_custom${hasGeneration ? ', t.sess_generation' : ''}`,
    /** What was not found: nothing, as a rule. */
    missing: 'i.n NOT IN (SELECT f.n FROM found f)',

    alive: (row: string, now: string, grace = 0) =>
      `(${row}.sess_expire IS NULL OR ${row}.sess_expire >= ${now}${grace ? ` - ${grace}` : ''})`,
    sameGeneration: (row: string, order: string) =>
      `(${row}.sess_created IS NOT DISTINCT FROM ${order}.created AND coalesce(${row}.sess_counter, 0) >= ${order}.accesses${
        hasGeneration ? ` AND ${row}.sess_generation IS NOT DISTINCT FROM ${order}.generation` : ''
      })`,
    sameData: (row: string, order: string) =>
      `${digest(`${row}.sess_data`)} IS NOT DISTINCT FROM ${order}.digest::bigint`,

    /** ", sess_sweep = ..." for an expiry, where the table has that column. */
    setSweep: (expiry: string) => (shape.ours.has('sess_sweep') ? `, sess_sweep = ${sweepTime(expiry)}` : ''),
    setMetadata: `
        sess_error = ${count('sess_error', mark('errors'))},
        sess_warning = ${count('sess_warning', mark('warnings'))},
        sess_notice = ${count('sess_notice', mark('notices'))},
        sess_err_message = coalesce(j.metadata::jsonb->>'message', t.sess_err_message),
        sess_custom = CASE WHEN j.metadata::jsonb ? 'custom' THEN j.metadata::jsonb->>'custom' ELSE t.sess_custom END`,
  }
}

/**
 * When GC is to look at a row that expires then: rounded up to the hour, so that touches stay HOT. Capped, for
 * other writers say "never" by the greatest number there is.
 */
export function sweepTime(expiry: string): string {
  return `least(ceil((${expiry})::float8 / 3600) * 3600, 9e18)::bigint`
}

function readText(sql: Fragments): string {
  return `
    WITH ${sql.clock}
    SELECT NULL::bigint, 'read', t.sess_data, NULL::float8, ${sql.record('t')}
    FROM (SELECT * FROM unnest($1::text[]) AS i(id) ${FEW}) i JOIN ${sql.table} t ON t.sess_id = i.id
    WHERE ${sql.alive('t', '(SELECT now FROM clock)')}
    UNION ALL
    SELECT NULL, 'clock', pg_is_in_recovery()::text, now${NO_RECORD} FROM clock`
}

const EXPIRY = 'j.now + j.lifetime'

/** Of an order to save, what is written. */
const SAVED = 'i.data, i.lifetime, i.access, i.address, i.name, i.metadata, i.until'

function saveText(sql: Fragments): string {
  return `
    WITH ${sql.clock},
    input AS (
      SELECT * FROM ${SAVES.source} i
    ),
    ${sql.found(sql.foundColumns, `${SAVED}, i.based, i.digest, i.created, i.accesses, i.generation`, 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*,
        CASE
          WHEN f.now > f.until THEN 'late'
          WHEN NOT f.based AND NOT ${sql.alive('f', 'f.now')} THEN 'gone'
          WHEN NOT f.based THEN 'updated'
          WHEN NOT ${sql.sameGeneration('f', 'f')} OR NOT ${sql.alive('f', 'f.now', GRACE)} THEN 'gone'
          WHEN ${sql.sameData('f', 'f')} THEN 'updated'
          ELSE 'conflict'
        END AS outcome
      FROM found f
    ),
    updated AS (
      UPDATE ${sql.table} t SET ${setSaved(sql)},${sql.setMetadata}
      FROM (SELECT * FROM judged WHERE outcome = 'updated' ${FEW}) j
      WHERE t.sess_id = j.sess_id
      RETURNING j.n, 'updated', NULL::text, j.now, ${sql.record('t')}
    )
    SELECT * FROM updated
    UNION ALL
    SELECT j.n, j.outcome, CASE j.outcome WHEN 'conflict' THEN j.sess_data END, j.now, ${sql.record('j')}
    FROM judged j WHERE j.outcome <> 'updated'
    UNION ALL
    ${busyRows(sql, NO_RECORD)}`
}

function setSaved(sql: Fragments): string {
  return `
        sess_data = j.data,
        sess_modified = ${sql.time('sess_modified', 'j.now')},
        sess_expire = ${sql.time('sess_expire', EXPIRY)}${sql.setSweep(EXPIRY)},
        sess_addr_modified = coalesce(j.address, t.sess_addr_modified),
        sess_counter = ${sql.count('sess_counter', 'j.access::int')},
        sess_name = coalesce(t.sess_name, j.name)`
}

/**
 * Seconds that a quick statement waits for a row: two batches of different processes that meet on a row are
 * through in less, and what is held for longer is not waited for.
 */
const LOCK_PATIENCE = 0.005

/**
 * What a quick statement is asked, with the ids in order: two of them that have several rows in common meet on
 * the first, so that neither can wait for the other in a circle.
 */
function quickInput(orders: string): string {
  return `
    WITH clock AS MATERIALIZED (
      SELECT ${CLOCK} AS now, set_config('lock_timeout', '${LOCK_PATIENCE * 1000}', true)
    ),
    input AS MATERIALIZED (
      SELECT i.*, c.now FROM ${orders} i CROSS JOIN clock c ORDER BY i.id COLLATE "C" ${FEW}
    )`
}

/** The conditions of `judged`, and the deadline row by row: the statement may have waited. */
function quickConditions(sql: Fragments, saving: boolean): string {
  return `t.sess_id = j.id AND clock_timestamp() <= to_timestamp(j.until)
      AND CASE WHEN j.based
        THEN ${sql.sameGeneration('t', 'j')} AND ${sql.alive('t', 'j.now', GRACE)}${
          saving ? ` AND ${sql.sameData('t', 'j')}` : ''
        }
        ELSE ${sql.alive('t', 'j.now')} END`
}

function quickSaveText(sql: Fragments): string {
  return `${quickInput(SAVES.source)}
    UPDATE ${sql.table} t SET ${setSaved(sql)}
    FROM input j
    WHERE ${quickConditions(sql, true)}
    RETURNING j.n, 'updated', NULL::text, j.now, ${sql.record('t')}`
}

function quickTouchText(sql: Fragments): string {
  const expiry = sql.time('sess_expire', EXPIRY)
  // Where the base turns out to be old the expiry is the later one: then GC looks too early, which does no harm,
  // and the digest is not made twice.
  const setSweep = sql.ownColumns.includes('sess_sweep')
    ? `, sess_sweep = CASE WHEN j.based THEN ${sweepTime(EXPIRY)} ELSE ${sweepTime(`greatest(t.sess_expire, ${EXPIRY})`)} END`
    : ''
  return `${quickInput(TOUCHES.source)}
    UPDATE ${sql.table} t SET
        sess_expire = CASE
          WHEN j.based AND ${sql.sameData('t', 'j')} THEN ${expiry}
          ELSE greatest(t.sess_expire, ${expiry})
        END${setSweep},
        sess_counter = ${sql.count('sess_counter', 'j.access::int')}
    FROM input j
    WHERE ${quickConditions(sql, false)}
    RETURNING j.n, 'touched', t.sess_expire::text, j.now`
}

/** Rows that are there and were not found: somebody has them locked. */
function busyRows(sql: Fragments, record: string): string {
  return `SELECT i.n, 'busy', NULL, c.now${record}
    FROM (SELECT * FROM input i WHERE ${sql.missing} ${FEW}) i
      JOIN ${sql.table} t ON t.sess_id = i.id CROSS JOIN clock c`
}

/**
 * Seconds that an INSERT waits for somebody who is inserting the same id and has not committed: that cannot be
 * skipped as a locked row can.
 */
const INSERT_WAIT = 0.05

function putText(sql: Fragments, keepExpired: boolean): string {
  const generation = '(j.now * 1000000)::bigint'
  const fresh = "j.outcome = 'created'"
  /** What a new session starts from; a revived one goes on from what it had. */
  const start = (column: SeedColumn, first: string, next: string) =>
    keepExpired ? next : `CASE WHEN ${fresh} THEN ${sql.cap(column, first)} ELSE ${next} END`
  const newGeneration = sql.ownColumns.includes('sess_generation')
    ? `, sess_generation = CASE WHEN ${fresh} THEN ${generation} ELSE t.sess_generation END`
    : ''
  // What was a tombstone, or belonged elsewhere, is a session of this server now.
  const cleared = ['sess_home', 'sess_base', 'sess_destroyed']
    .filter((column) => sql.has(column))
    .map((column) => `, ${column} = CASE WHEN ${fresh} THEN NULL ELSE t.${column} END`)
    .join('')
  const ownValues = { sess_sweep: sweepTime(EXPIRY), sess_generation: generation }

  return `
    WITH clock AS MATERIALIZED (
      SELECT ${CLOCK} AS now, set_config('lock_timeout', '${INSERT_WAIT * 1000}', true)
    ),
    input AS (
      SELECT * FROM ${PUTS.source} i
    ),
    ${sql.found(sql.foundColumns, `${SAVED}, i.absent`, 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*,
        CASE
          WHEN f.now > f.until THEN 'late'
          WHEN NOT ${sql.alive('f', 'f.now')} THEN 'created'
          WHEN f.absent THEN 'conflict'
          ELSE 'updated'
        END AS outcome
      FROM found f
    ),
    missing AS MATERIALIZED (
      SELECT i.*, c.now, c.now > i.until - ${INSERT_WAIT} AS late
      FROM input i CROSS JOIN clock c WHERE ${sql.missing}
    ),
    there AS MATERIALIZED (
      SELECT m.n FROM (SELECT * FROM missing ${FEW}) m JOIN ${sql.table} t ON t.sess_id = m.id
    ),
    updated AS (
      UPDATE ${sql.table} t SET
        sess_data = j.data,
        sess_name = ${start('sess_id', 'j.name', 'coalesce(t.sess_name, j.name)')},
        sess_created = ${start('sess_created', 'ceil(j.now)::bigint', 't.sess_created')},
        sess_modified = ${sql.time('sess_modified', 'j.now')},
        sess_expire = ${sql.time('sess_expire', EXPIRY)}${sql.setSweep(EXPIRY)}${newGeneration}${cleared},
        sess_addr_created = ${start('sess_id', 'j.address', 't.sess_addr_created')},
        sess_addr_modified = ${start('sess_id', 'j.address', 'coalesce(j.address, t.sess_addr_modified)')},
        sess_counter = ${start('sess_counter', '1', sql.count('sess_counter', 'j.access::int'))},
        sess_error = ${start('sess_error', sql.mark('errors'), sql.count('sess_error', sql.mark('errors')))},
        sess_warning = ${start('sess_warning', sql.mark('warnings'), sql.count('sess_warning', sql.mark('warnings')))},
        sess_notice = ${start('sess_notice', sql.mark('notices'), sql.count('sess_notice', sql.mark('notices')))},
        sess_err_message = ${start('sess_id', "j.metadata::jsonb->>'message'", "coalesce(j.metadata::jsonb->>'message', t.sess_err_message)")},
        sess_custom = ${start('sess_id', "j.metadata::jsonb->>'custom'", "CASE WHEN j.metadata::jsonb ? 'custom' THEN j.metadata::jsonb->>'custom' ELSE t.sess_custom END")}
      FROM (SELECT * FROM judged WHERE outcome IN ('updated', 'created') ${FEW}) j
      WHERE t.sess_id = j.sess_id
      RETURNING j.n, j.outcome, NULL::text, j.now, ${sql.record('t')}
    ),
    inserted AS (
      INSERT INTO ${sql.table} AS t (sess_id, sess_data, sess_name, sess_created, sess_modified, sess_expire,
        sess_addr_created, sess_addr_modified, sess_counter, sess_error, sess_warning, sess_notice,
        sess_err_message, sess_custom${sql.ownColumns.map((column) => `, ${column}`).join('')})
      SELECT j.id, j.data, j.name, ${sql.time('sess_created', 'j.now')}, ${sql.time('sess_modified', 'j.now')},
        ${sql.time('sess_expire', EXPIRY)}, j.address, j.address, 1,
        ${sql.cap('sess_error', sql.mark('errors'))}, ${sql.cap('sess_warning', sql.mark('warnings'))},
        ${sql.cap('sess_notice', sql.mark('notices'))}, j.metadata::jsonb->>'message', j.metadata::jsonb->>'custom'${sql.ownColumns
          .map((column) => `, ${ownValues[column]}`)
          .join('')}
      FROM missing j WHERE NOT j.late AND j.n NOT IN (SELECT n FROM there)
      ORDER BY j.id
      ON CONFLICT (sess_id) DO NOTHING
      RETURNING ${sql.record('t')}
    )
    SELECT * FROM updated
    UNION ALL
    SELECT m.n, 'created', NULL, m.now, r.* FROM inserted r JOIN missing m ON m.id = r.sess_id
    UNION ALL
    SELECT m.n, 'late', NULL, m.now${NO_RECORD} FROM missing m WHERE m.late
    UNION ALL
    SELECT j.n, j.outcome, CASE j.outcome WHEN 'conflict' THEN j.sess_data END, j.now, ${sql.record('j')}
    FROM judged j WHERE j.outcome IN ('late', 'conflict')`
}

function touchText(sql: Fragments): string {
  const expiry = sql.time('sess_expire', 'f.now + f.lifetime')
  const setSweep = sql.ownColumns.includes('sess_sweep')
    ? `, sess_sweep = CASE WHEN j.expiry IS NULL THEN t.sess_sweep ELSE ${sweepTime('j.expiry')} END`
    : ''
  return `
    WITH ${sql.clock},
    input AS (
      SELECT * FROM ${TOUCHES.source} i
    ),
    ${sql.found(sql.foundColumns, 'i.lifetime, i.access, i.metadata, i.until, i.based, i.digest, i.created, i.accesses, i.generation', 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.n, f.access, f.metadata, f.now, f.sess_id,
        CASE
          WHEN f.lifetime IS NULL THEN f.sess_expire
          WHEN f.based AND ${sql.sameData('f', 'f')} THEN ${expiry}
          ELSE greatest(f.sess_expire, ${expiry})
        END AS expiry,
        CASE
          WHEN f.now > f.until THEN 'late'
          WHEN NOT f.based AND NOT ${sql.alive('f', 'f.now')} THEN 'gone'
          WHEN f.based AND (NOT ${sql.sameGeneration('f', 'f')} OR NOT ${sql.alive('f', 'f.now', GRACE)}) THEN 'gone'
          ELSE 'touched'
        END AS outcome
      FROM found f
    ),
    updated AS (
      UPDATE ${sql.table} t SET
        sess_expire = j.expiry${setSweep},
        sess_counter = ${sql.count('sess_counter', 'j.access::int')},${sql.setMetadata}
      FROM (SELECT * FROM judged WHERE outcome = 'touched' ${FEW}) j
      WHERE t.sess_id = j.sess_id
      RETURNING j.n, 'touched', t.sess_expire::text, j.now
    )
    SELECT * FROM updated
    UNION ALL
    SELECT j.n, j.outcome, NULL, j.now FROM judged j WHERE j.outcome <> 'touched'
    UNION ALL
    ${busyRows(sql, '')}`
}

function destroyText(sql: Fragments): string {
  return `
    WITH ${sql.clock},
    input AS (SELECT * FROM ${DESTROYS.source} i),
    ${sql.found('t.sess_id, t.sess_expire', 'i.until', 'UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*,
        CASE WHEN f.now > f.until THEN 'late' WHEN ${sql.alive('f', 'f.now')} THEN 'destroyed' ELSE 'gone' END AS outcome
      FROM found f
    ),
    deleted AS (
      DELETE FROM ${sql.table} t USING (SELECT * FROM judged WHERE outcome <> 'late' ${FEW}) j
      WHERE t.sess_id = j.sess_id
    )
    SELECT j.n, j.outcome, NULL::text, j.now FROM judged j
    UNION ALL
    ${busyRows(sql, '')}`
}
