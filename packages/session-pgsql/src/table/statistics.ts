import type { Row } from '../database/database.ts'
import type { NameStatistics, StandbyStatistics, TableStatistics } from '../session/statistics.ts'
import { secondsOf } from './answers.ts'
import { quoteLiteral, type Shape } from './definition.ts'
import { MARK } from './id-forms.ts'
import { expiryOf } from './lifetime.ts'
import { CLOCK, concat, divide, eq, ge, gt, le, lt, microseconds, minus, ne } from './sql.ts'
import type { SessionTable } from './table.ts'

/** Maximum size of a table that is read completely, in pages: 16 MB. */
const EXACT_PAGES = 2048

/** Approximate maximum size of a sample, in pages: 8 MB. */
const SAMPLE_PAGES = 1024

/** Seconds after which PostgreSQL cancels a statement. */
const TIME_LIMIT = 1

/** Seconds after its expiry at which garbage collection should have removed a session. */
const LATE = 7200

const HOURS = 24
const MOST_NAMES = 30

/** Number of seconds for which the rows created in each are counted. */
const SECONDS = 10

/** Values of the column `hour` for rows that do not expire in the future. */
const EXPIRED = -1
const UNSWEPT = -2
const TOMBSTONE = -3

/**
 * Returns the statistics of a table and its server, by three statements that read a bounded number of pages.
 *
 * @param before earlier statistics, from which `written` counts
 */
export async function tableStatistics(
  table: SessionTable,
  before: Pick<TableStatistics, 'transaction'> | undefined,
  deadline: number,
): Promise<TableStatistics> {
  const shape = await table.open(deadline)
  const ask = (
    text: (shape: Shape, sql: string) => string,
    parameters: readonly (number | string | null)[] = [],
  ): Promise<Row[]> => table.query(text, parameters, deadline, TIME_LIMIT)
  const [row = []] = await ask(factsText)
  const [clock, version, standby, transaction, vacuum, ...rest] = row
  const [pages, rows, tableBytes, indexBytes, inserted, deleted, updated, hotUpdated, live, dead] = rest.map(
    (text) => (text === null ? null : Number(text)),
  )
  const at = new Date(secondsOf(clock) * 1000)
  const sampled = sampledOf(pages ?? 0)
  // A row's xmin has 32 bits.
  const since = before === undefined ? null : String(before.transaction % 2 ** 32)
  const sample = sampleOf(
    await ask((its, sql) => sampleText(its, sql, sampled), [at.getTime() / 1000, since]),
  )
  const scale = sampled === 1 ? 1 : scaleOf(sample.rows, sampled, [live ?? 0, rows ?? 0])
  const scaled = (count: number): number => Math.round(count * scale)
  return {
    at,
    version: version ?? '',
    transaction: Number(transaction),
    standby: standby === 'true',
    exact: sampled === 1,
    sampled,
    scale,
    sessions: scaled(sample.sessions),
    names: sample.names.map(({ name, sessions, accesses, errors, warnings, created, written }) => ({
      name,
      sessions: scaled(sessions),
      accesses: scaled(accesses),
      errors: scaled(errors),
      warnings: scaled(warnings),
      created: created.map(scaled),
      written: before === undefined || written === null ? null : scaled(written),
    })),
    expiring: sample.expiring.map(scaled),
    unswept: scaled(sample.unswept),
    errors: scaled(sample.errors),
    warnings: scaled(sample.warnings),
    notices: scaled(sample.notices),
    inserted: inserted ?? 0,
    deleted: deleted ?? 0,
    updated: updated ?? 0,
    hotUpdated: hotUpdated ?? 0,
    liveRows: live ?? 0,
    deadRows: dead ?? 0,
    tableBytes: tableBytes ?? 0,
    indexBytes: indexBytes ?? 0,
    lastVacuum: vacuum == null ? null : new Date(secondsOf(vacuum) * 1000),
    standbys: standby === 'true' ? [] : (await ask(standbysText)).map(standbyOf),
    integerDates: shape.narrow.has('sess_expire'),
    sweepIndex: shape.sweepIndex,
  }
}

/** Includes partitions, because they hold the pages and statistics of a partitioned table. */
function factsText(_shape: Shape, sql: string): string {
  const table = `${quoteLiteral(sql)}::pg_catalog.regclass`
  const sum = (column: string): string => `pg_catalog.sum(${column})::bigint`
  const vacuum = 'extract(epoch FROM pg_catalog.max(greatest(s.last_vacuum, s.last_autovacuum)))'
  const pageSize = "pg_catalog.current_setting('block_size')::bigint"
  return `
    WITH relations AS (
      SELECT ${table}::pg_catalog.oid AS oid
      UNION SELECT relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(${table})
    )
    SELECT ${microseconds(CLOCK)}, pg_catalog.current_setting('server_version'),
      pg_catalog.pg_is_in_recovery()::pg_catalog.text,
      pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()), ${microseconds(vacuum)},
      ${divide(sum('pg_catalog.pg_relation_size(c.oid)'), pageSize)}, ${sum('greatest(c.reltuples, 0)::bigint')},
      ${sum('pg_catalog.pg_table_size(c.oid)')}, ${sum('pg_catalog.pg_indexes_size(c.oid)')},
      ${['n_tup_ins', 'n_tup_del', 'n_tup_upd', 'n_tup_hot_upd', 'n_live_tup', 'n_dead_tup'].map((column) => sum(`s.${column}`)).join(', ')}
    FROM relations r JOIN pg_catalog.pg_class c ON ${eq('c.oid', 'r.oid')} AND ${ne('c.relkind', "'p'")}
      LEFT JOIN pg_catalog.pg_stat_all_tables s ON ${eq('s.relid', 'c.oid')}`
}

/**
 * Returns the fraction of a table's pages to read. It changes in steps, because every change of it replaces some pages
 * of the sample.
 */
function sampledOf(pages: number): number {
  return pages <= EXACT_PAGES ? 1 : 2 ** (-Math.ceil(Math.log2(pages / SAMPLE_PAGES) * 4) / 4)
}

/**
 * $1 the clock, $2 a transaction. REPEATABLE samples the same pages every time. So the estimates change only if the
 * sessions do, and the pages stay cached.
 *
 * Rows are grouped twice, first into a few groups, so that each row is read once. OFFSET 0 leaves the data out: narrow
 * rows are grouped by hashing, whereas the planner would sort wide rows on disk.
 */
function sampleText(shape: Shape, sql: string, sampled: number): string {
  const { added } = shape
  const expiry = expiryOf('t', shape)
  const now = '$1::double precision'
  const second = `pg_catalog.ceil(${now})`
  // A tombstone has no name, and the creation of the session that it has ended.
  const isSession = added.has('sess_destroyed') ? ' AND t.sess_destroyed IS NULL' : ''
  const hour = `pg_catalog.floor(${divide(minus(expiry, now), '3600')})`
  const sum = (column: string): string => `pg_catalog.sum(${column})`
  const sums = ['rows', 'active', 'accesses', 'errors', 'warnings', 'notices', 'written'].map(sum)
  return `
    WITH sampled AS (
      SELECT t.sess_name AS name, t.sess_counter, t.sess_error, t.sess_warning, t.sess_notice, CASE
        ${added.has('sess_destroyed') ? `WHEN t.sess_destroyed IS NOT NULL THEN ${TOMBSTONE}` : ''}
        WHEN ${expiry} IS NULL THEN ${HOURS}
        WHEN ${lt(expiry, minus(now, String(LATE)))} AND ${ne('t.sess_data', "''")} THEN ${UNSWEPT}
        WHEN ${lt(expiry, now)} THEN ${EXPIRED}
        ELSE least(${HOURS}, ${hour})::int END AS hour,
        CASE WHEN ${gt('t.sess_created', minus(second, String(SECONDS)))} AND ${le('t.sess_created', second)}${isSession}
          THEN ${minus(second, 't.sess_created')}::int END AS age,
        ${le('pg_catalog.age(t.xmin)', 'pg_catalog.age($2::pg_catalog.text::pg_catalog.xid)')} AS written
      FROM ${sql} t ${sampled === 1 ? '' : `TABLESAMPLE pg_catalog.system (${sampled * 100}) REPEATABLE (0)`}
      WHERE ${ne('t.sess_id', `'${MARK}'`)} OFFSET 0
    ),
    grouped AS (
      SELECT name, hour, age, pg_catalog.count(*) AS rows,
        CASE WHEN ${ge('hour', '0')} THEN pg_catalog.count(*) ELSE 0 END AS active,
        ${sum('sess_counter')} AS accesses, ${sum('sess_error')} AS errors, ${sum('sess_warning')} AS warnings,
        ${sum('sess_notice')} AS notices,
        CASE WHEN ${ge('hour', '0')} THEN pg_catalog.count(*) FILTER (WHERE written) ELSE 0 END AS written
      FROM sampled GROUP BY name, hour, age
    )
    SELECT GROUPING(name)::pg_catalog.text, name, hour::pg_catalog.text, ${sums.join(', ')},
      pg_catalog.string_agg(${concat('age::pg_catalog.text', "':'", 'rows::pg_catalog.text')}, ',')
        FILTER (WHERE age IS NOT NULL)
    FROM grouped GROUP BY GROUPING SETS ((name), (hour))
    ORDER BY GROUPING(name) DESC, ${sum('active')} DESC, name
    LIMIT ${HOURS + 4 + MOST_NAMES}`
}

function standbysText(): string {
  const sent = 'CASE WHEN NOT pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_current_wal_lsn() END'
  return `
    SELECT application_name, state, pg_catalog.pg_wal_lsn_diff(${sent}, replay_lsn),
      coalesce(${eq('sync_state', "'sync'")} OR ${eq('sync_state', "'quorum'")}, false)::pg_catalog.text
    FROM pg_catalog.pg_stat_replication ORDER BY application_name, pid LIMIT 100`
}

function standbyOf([name, state, lag, sync]: Row): StandbyStatistics {
  return {
    name: name ?? '',
    state: state ?? null,
    lagBytes: lag == null ? null : Math.max(0, Number(lag)),
    sync: sync === 'true',
  }
}

interface Sample {
  rows: number
  sessions: number
  unswept: number
  errors: number
  warnings: number
  notices: number
  readonly expiring: number[]
  readonly names: NameStatistics[]
}

function sampleOf(rows: readonly Row[]): Sample {
  const expiring = new Array<number>(HOURS).fill(0)
  const sample: Sample = {
    ...{ rows: 0, sessions: 0, unswept: 0, errors: 0, warnings: 0, notices: 0 },
    ...{ expiring, names: [] },
  }
  for (const [byHour, name = null, hour, all, active, ...counts] of rows) {
    const [accesses, errors, warnings, notices, written, ages] = counts
    if (byHour === '0') {
      if (sample.names.length < MOST_NAMES) {
        sample.names.push({
          name,
          sessions: Number(active),
          accesses: Number(accesses),
          errors: Number(errors),
          warnings: Number(warnings),
          created: createdOf(ages ?? ''),
          written: Number(written),
        })
      }
      continue
    }
    sample.rows += Number(all)
    sample.sessions += Number(active)
    sample.errors += Number(errors)
    sample.warnings += Number(warnings)
    sample.notices += Number(notices)
    if (Number(hour) === UNSWEPT) sample.unswept = Number(all)
    if (expiring[Number(hour)] !== undefined) expiring[Number(hour)] = Number(all)
  }
  return sample
}

/** @param ages seconds and counts, for example `0:3,4:1`; a second may occur several times */
function createdOf(ages: string): number[] {
  const created = new Array<number>(SECONDS).fill(0)
  for (const [, age, count] of ages.matchAll(/(\d+):(\d+)/g)) {
    created[Number(age)] = (created[Number(age)] ?? 0) + Number(count)
  }
  return created
}

/**
 * Returns the number of rows that one row of the sample represents. PostgreSQL's own counts follow every insert and
 * delete, but start at zero after a crash. So the first count is used that is plausible by the sample.
 */
function scaleOf(rows: number, sampled: number, counts: readonly number[]): number {
  const share = 1 / sampled
  if (rows === 0) return share
  return counts.map((count) => count / rows).find((scale) => scale > share / 2 && scale < share * 2) ?? share
}
