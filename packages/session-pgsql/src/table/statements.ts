import { prepared, type Statement } from '../database/database.ts'
import { GRACE } from '../session/stored.ts'
import { type SeedColumn, type Shape, sqlName } from './definition.ts'

/**
 * The SQL of a session's life. Each statement takes arrays and serves a whole batch, in which no id comes
 * twice. They are of one build:
 *
 * - `input` is what was asked, a row for each, numbered by `n`;
 * - `found` locks the rows in the order of their ids and skips what others hold: so that no batch waits for
 *   a row, and none for a batch that waits. It returns the newest version of each; a second look at the
 *   table within the statement would see the old snapshot;
 * - `judged` says what is to become of each row: its outcome;
 * - then the change, and a row of answer (see answers.ts) for what was found; a short one, without the
 *   record, from `touch` and `destroy`. What is there but was not
 *   found is locked by somebody: `busy`. What has no answer is not there.
 *
 * Every look at the table names the ids, as `= ANY(...)` or by the few rows of `judged`: a plan made while the
 * table was empty would otherwise scan it for good. Not both at once: measured, that takes twice as long.
 */
export interface Statements {
  /** What has not expired. $1 ids. One row more, `clock`, comes even if nothing is found. */
  readonly read: Statement
  /** Writes to a session that must be there: with a base as compare-and-swap, or whatever its data. */
  readonly save: Statement
  /** Writes a session that may or must be absent. */
  readonly put: Statement
  /** Moves the expiry, counts, marks. */
  readonly touch: Statement
  /** Deletes. */
  readonly destroy: Statement
}

/**
 * The ids of a batch. Behind a SELECT the planner cannot see how many they are: seeing it, it would plan
 * anew for every small batch, which takes longer than the statement itself.
 */
const IDS = 'ANY((SELECT $1::text[])::text[])'

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
  }
}

/** The columns of every answer, in the order that answers.ts reads: `n, outcome, text, now`, and these. */
export function recordColumns(row: string, shape: Shape): string {
  const columns = [
    'sess_id',
    'sess_name',
    'digest',
    'sess_created',
    'sess_modified',
    'sess_expire',
    'sess_addr_created',
    'sess_addr_modified',
    'sess_counter',
    'sess_error',
    'sess_warning',
    'sess_notice',
    'sess_err_message',
    'sess_custom',
    'sess_generation',
  ]
  return columns
    .map((column) => {
      if (column === 'digest') return digest(`${row}.sess_data`)
      if (column === 'sess_generation' && !shape.ours.has(column)) return 'NULL::bigint'
      return `${row}.${column}`
    })
    .join(', ')
}

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
  const mark = (name: string) => `coalesce((j.marks->>'${name}')::bigint, 0)`
  const ownColumns = (['sess_sweep', 'sess_generation'] as const).filter((column) => shape.ours.has(column))

  return {
    table,
    cap,
    time,
    count,
    mark,
    ownColumns,
    record: (row: string) => recordColumns(row, shape),
    clock: `clock AS MATERIALIZED (SELECT ${CLOCK} AS now)`,

    found: (columns: string, strength: 'UPDATE' | 'NO KEY UPDATE') => `found AS MATERIALIZED (
      SELECT ${columns} FROM ${table} t WHERE t.sess_id = ${IDS} ORDER BY t.sess_id FOR ${strength} SKIP LOCKED
    )`,
    foundColumns: `t.sess_id, t.sess_name, t.sess_data, t.sess_created, t.sess_modified, t.sess_expire,
        t.sess_addr_created, t.sess_addr_modified, t.sess_counter, t.sess_error, t.sess_warning, t.sess_notice,
        t.sess_err_message, t.sess_custom${hasGeneration ? ', t.sess_generation' : ''}`,
    /** Ids that were not found: empty, and so free, as a rule. */
    missing: 'ARRAY(SELECT i.id FROM input i EXCEPT SELECT f.sess_id FROM found f)',

    alive: (row: string, grace = 0) =>
      `(${row}.sess_expire IS NULL OR ${row}.sess_expire >= c.now${grace ? ` - ${grace}` : ''})`,
    sameLife: `(f.sess_created IS NOT DISTINCT FROM i.created AND coalesce(f.sess_counter, 0) >= i.accesses${
      hasGeneration ? ' AND f.sess_generation IS NOT DISTINCT FROM i.generation' : ''
    })`,
    sameData: `${digest('f.sess_data')} IS NOT DISTINCT FROM i.digest::bigint`,

    /** ", sess_sweep = ..." for an expiry, where the table has that column. */
    setSweep: (expiry: string) => (shape.ours.has('sess_sweep') ? `, sess_sweep = ${sweepTime(expiry)}` : ''),
    setMarks: `
        sess_error = ${count('sess_error', mark('errors'))},
        sess_warning = ${count('sess_warning', mark('warnings'))},
        sess_notice = ${count('sess_notice', mark('notices'))},
        sess_err_message = coalesce(j.marks->>'message', t.sess_err_message),
        sess_custom = CASE WHEN j.marks ? 'custom' THEN j.marks->>'custom' ELSE t.sess_custom END`,
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
    SELECT NULL::bigint, 'read', t.sess_data, c.now, ${sql.record('t')}
    FROM ${sql.table} t CROSS JOIN clock c
    WHERE t.sess_id = ${IDS} AND ${sql.alive('t')}
    UNION ALL
    SELECT NULL, 'clock', pg_is_in_recovery()::text, c.now${', NULL'.repeat(RECORD_LENGTH)} FROM clock c`
}

const RECORD_LENGTH = 15

/** The columns of a record, named by their place. */
const RECORD_NAMES = Array.from({ length: RECORD_LENGTH }, (_, index) => `r${index + 1}`).join(', ')

const EXPIRY = 'j.now + j.lifetime'

function saveText(sql: Fragments): string {
  return `
    WITH ${sql.clock},
    input AS (
      SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::boolean[], $5::text[], $6::text[],
        $7::text[], $8::float8[], $9::boolean[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[])
        WITH ORDINALITY AS i(id, data, lifetime, access, address, name, marks, until,
          based, digest, created, accesses, generation, n)
    ),
    ${sql.found(sql.foundColumns, 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*, i.n, i.data, i.lifetime, i.access, i.address, i.name, i.marks::jsonb AS marks, c.now,
        CASE
          WHEN c.now > i.until THEN 'late'
          WHEN NOT i.based AND NOT ${sql.alive('f')} THEN 'gone'
          WHEN NOT i.based THEN 'updated'
          WHEN NOT ${sql.sameLife} OR NOT ${sql.alive('f', GRACE)} THEN 'gone'
          WHEN ${sql.sameData} THEN 'updated'
          ELSE 'conflict'
        END AS outcome
      FROM input i JOIN found f ON f.sess_id = i.id CROSS JOIN clock c
    ),
    updated AS (
      UPDATE ${sql.table} t SET
        sess_data = j.data,
        sess_modified = ${sql.time('sess_modified', 'j.now')},
        sess_expire = ${sql.time('sess_expire', EXPIRY)}${sql.setSweep(EXPIRY)},
        sess_addr_modified = coalesce(j.address, t.sess_addr_modified),
        sess_counter = ${sql.count('sess_counter', 'j.access::int')},
        sess_name = coalesce(t.sess_name, j.name),${sql.setMarks}
      FROM judged j
      WHERE t.sess_id = j.sess_id AND j.outcome = 'updated'
      RETURNING j.n, 'updated', NULL::text, j.now, ${sql.record('t')}
    )
    SELECT * FROM updated
    UNION ALL
    SELECT j.n, j.outcome, CASE j.outcome WHEN 'conflict' THEN j.sess_data END, j.now, ${sql.record('j')}
    FROM judged j WHERE j.outcome <> 'updated'
    UNION ALL
    ${busyRows(sql, RECORD_LENGTH)}`
}

/** Rows that are there and were not found. As a rule nothing is missing, and this costs nothing. */
function busyRows(sql: Fragments, record: number): string {
  return `SELECT i.n, 'busy', NULL, c.now${', NULL'.repeat(record)}
    FROM ${sql.table} t JOIN input i ON i.id = t.sess_id CROSS JOIN clock c
    WHERE t.sess_id = ANY(${sql.missing})`
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
  const newLife = sql.ownColumns.includes('sess_generation')
    ? `, sess_generation = CASE WHEN ${fresh} THEN ${generation} ELSE t.sess_generation END`
    : ''
  const ownValues = { sess_sweep: sweepTime(EXPIRY), sess_generation: generation }

  return `
    WITH clock AS MATERIALIZED (
      SELECT ${CLOCK} AS now, set_config('lock_timeout', '${INSERT_WAIT * 1000}', true)
    ),
    input AS (
      SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::boolean[], $5::text[], $6::text[],
        $7::text[], $8::float8[], $9::boolean[])
        WITH ORDINALITY AS i(id, data, lifetime, access, address, name, marks, until, absent, n)
    ),
    ${sql.found(sql.foundColumns, 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT f.*, i.id, i.n, i.data, i.lifetime, i.access, i.address, i.name, i.marks::jsonb AS marks, c.now,
        CASE
          WHEN c.now > i.until THEN 'late'
          WHEN f.sess_id IS NULL AND c.now > i.until - ${INSERT_WAIT} THEN 'late'
          WHEN f.sess_id IS NULL THEN 'absent'
          WHEN NOT ${sql.alive('f')} THEN 'created'
          WHEN i.absent THEN 'conflict'
          ELSE 'updated'
        END AS outcome
      FROM input i LEFT JOIN found f ON f.sess_id = i.id CROSS JOIN clock c
    ),
    updated AS (
      UPDATE ${sql.table} t SET
        sess_data = j.data,
        sess_name = ${start('sess_id', 'j.name', 'coalesce(t.sess_name, j.name)')},
        sess_created = ${start('sess_created', 'ceil(j.now)::bigint', 't.sess_created')},
        sess_modified = ${sql.time('sess_modified', 'j.now')},
        sess_expire = ${sql.time('sess_expire', EXPIRY)}${sql.setSweep(EXPIRY)}${newLife},
        sess_addr_created = ${start('sess_id', 'j.address', 't.sess_addr_created')},
        sess_addr_modified = ${start('sess_id', 'j.address', 'coalesce(j.address, t.sess_addr_modified)')},
        sess_counter = ${start('sess_counter', '1', sql.count('sess_counter', 'j.access::int'))},
        sess_error = ${start('sess_error', sql.mark('errors'), sql.count('sess_error', sql.mark('errors')))},
        sess_warning = ${start('sess_warning', sql.mark('warnings'), sql.count('sess_warning', sql.mark('warnings')))},
        sess_notice = ${start('sess_notice', sql.mark('notices'), sql.count('sess_notice', sql.mark('notices')))},
        sess_err_message = ${start('sess_id', "j.marks->>'message'", "coalesce(j.marks->>'message', t.sess_err_message)")},
        sess_custom = ${start('sess_id', "j.marks->>'custom'", "CASE WHEN j.marks ? 'custom' THEN j.marks->>'custom' ELSE t.sess_custom END")}
      FROM judged j
      WHERE t.sess_id = j.sess_id AND j.outcome IN ('updated', 'created')
      RETURNING j.n, j.outcome, NULL::text, j.now, ${sql.record('t')}
    ),
    inserted (${RECORD_NAMES}) AS (
      INSERT INTO ${sql.table} AS t (sess_id, sess_data, sess_name, sess_created, sess_modified, sess_expire,
        sess_addr_created, sess_addr_modified, sess_counter, sess_error, sess_warning, sess_notice,
        sess_err_message, sess_custom${sql.ownColumns.map((column) => `, ${column}`).join('')})
      SELECT j.id, j.data, j.name, ${sql.time('sess_created', 'j.now')}, ${sql.time('sess_modified', 'j.now')},
        ${sql.time('sess_expire', EXPIRY)}, j.address, j.address, 1,
        ${sql.cap('sess_error', sql.mark('errors'))}, ${sql.cap('sess_warning', sql.mark('warnings'))},
        ${sql.cap('sess_notice', sql.mark('notices'))}, j.marks->>'message', j.marks->>'custom'${sql.ownColumns
          .map((column) => `, ${ownValues[column]}`)
          .join('')}
      FROM judged j
      WHERE j.outcome = 'absent'
        AND NOT j.id = ANY(ARRAY(SELECT t.sess_id FROM ${sql.table} t WHERE t.sess_id = ANY(${sql.missing})))
      ORDER BY j.id
      ON CONFLICT (sess_id) DO NOTHING
      RETURNING ${sql.record('t')}
    )
    SELECT * FROM updated
    UNION ALL
    SELECT j.n, 'created', NULL, j.now, r.* FROM inserted r JOIN judged j ON j.id = r.r1
    UNION ALL
    SELECT j.n, j.outcome, CASE j.outcome WHEN 'conflict' THEN j.sess_data END, j.now, ${sql.record('j')}
    FROM judged j WHERE j.outcome IN ('late', 'conflict')`
}

function touchText(sql: Fragments): string {
  const expiry = sql.time('sess_expire', 'c.now + i.lifetime')
  const setSweep = sql.ownColumns.includes('sess_sweep')
    ? `, sess_sweep = CASE WHEN j.expiry IS NULL THEN t.sess_sweep ELSE ${sweepTime('j.expiry')} END`
    : ''
  return `
    WITH ${sql.clock},
    input AS (
      SELECT * FROM unnest($1::text[], $2::float8[], $3::boolean[], $4::text[], $5::float8[],
        $6::boolean[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[])
        WITH ORDINALITY AS i(id, lifetime, access, marks, until, based, digest, created, accesses, generation, n)
    ),
    ${sql.found(sql.foundColumns, 'NO KEY UPDATE')},
    judged AS MATERIALIZED (
      SELECT i.n, i.access, i.marks::jsonb AS marks, c.now, f.sess_id,
        CASE
          WHEN i.lifetime IS NULL THEN f.sess_expire
          WHEN i.based AND ${sql.sameData} THEN ${expiry}
          ELSE greatest(f.sess_expire, ${expiry})
        END AS expiry,
        CASE
          WHEN c.now > i.until THEN 'late'
          WHEN NOT i.based AND NOT ${sql.alive('f')} THEN 'gone'
          WHEN i.based AND (NOT ${sql.sameLife} OR NOT ${sql.alive('f', GRACE)}) THEN 'gone'
          ELSE 'touched'
        END AS outcome
      FROM input i JOIN found f ON f.sess_id = i.id CROSS JOIN clock c
    ),
    updated AS (
      UPDATE ${sql.table} t SET
        sess_expire = j.expiry${setSweep},
        sess_counter = ${sql.count('sess_counter', 'j.access::int')},${sql.setMarks}
      FROM judged j
      WHERE t.sess_id = j.sess_id AND j.outcome = 'touched'
      RETURNING j.n, 'touched', t.sess_expire::text, j.now
    )
    SELECT * FROM updated
    UNION ALL
    SELECT j.n, j.outcome, NULL, j.now FROM judged j WHERE j.outcome <> 'touched'
    UNION ALL
    ${busyRows(sql, 0)}`
}

function destroyText(sql: Fragments): string {
  return `
    WITH ${sql.clock},
    input AS (SELECT * FROM unnest($1::text[], $2::float8[]) WITH ORDINALITY AS i(id, until, n)),
    ${sql.found('t.sess_id, t.sess_expire', 'UPDATE')},
    judged AS MATERIALIZED (
      SELECT i.n, c.now, f.sess_id,
        CASE WHEN c.now > i.until THEN 'late' WHEN ${sql.alive('f')} THEN 'destroyed' ELSE 'gone' END AS outcome
      FROM input i JOIN found f ON f.sess_id = i.id CROSS JOIN clock c
    ),
    deleted AS (
      DELETE FROM ${sql.table} t USING judged j
      WHERE t.sess_id = j.sess_id AND j.outcome <> 'late'
    )
    SELECT j.n, j.outcome, NULL::text, j.now FROM judged j
    UNION ALL
    ${busyRows(sql, 0)}`
}
