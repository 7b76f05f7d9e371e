import type { Row } from '../database/database.ts'
import type { NameStatistics, StandbyStatistics, TableStatistics } from '../session/statistics.ts'
import type { Shape } from './definition.ts'
import { CLOCK } from './statements.ts'
import type { SessionTable } from './table.ts'

/** Most pages of a table that are all read; of a larger one, about so many are at most. 16 and 8 MB. */
const EXACT_PAGES = 2048
const SAMPLE_PAGES = 1024

/** Seconds that each statement may take. */
const TIME_LIMIT = 1

/** Seconds after its expiry at which garbage collection should have seen a session, at any sensible interval. */
const LATE = 7200

const HOURS = 24
const MOST_NAMES = 30

/** Seconds of which it is told how many rows were created in each. */
const SECONDS = 10

/** What an hour is called that is none. */
const EXPIRED = -1
const UNSWEPT = -2
const TOMBSTONE = -3

/**
 * The table's and the server's numbers. None of the three statements reads more than some pages of the table.
 *
 * @param before what is told of the time since
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
  const [clock, version, standby, transaction, ...rest] = row
  const [pages, rows, tableBytes, indexBytes, inserted, deleted, updated, hotUpdated, live, dead, vacuum] =
    rest.map((text) => (text === null ? null : Number(text)))
  const at = new Date(Number(clock) * 1000)
  const sampled = sampledOf(pages ?? 0)
  // As PostgreSQL stores it in a row: 32 bits.
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
    lastVacuum: vacuum == null ? null : new Date(vacuum * 1000),
    standbys: standby === 'true' ? [] : (await ask(standbysText)).map(standbyOf),
    integerDates: shape.narrow.has('sess_expire'),
    sweepIndex: shape.sweepIndex,
  }
}

/** A partitioned table has its pages and its statistics in its partitions. */
function factsText(_shape: Shape, sql: string): string {
  return `
    WITH relations AS (
      SELECT '${sql.replaceAll("'", "''")}'::regclass::oid AS oid
      UNION SELECT relid::oid FROM pg_partition_tree('${sql.replaceAll("'", "''")}'::regclass)
    )
    SELECT ${CLOCK}::text, current_setting('server_version'), pg_is_in_recovery()::text,
      txid_snapshot_xmax(txid_current_snapshot())::text,
      (sum(pg_relation_size(c.oid)) / current_setting('block_size')::int)::float8,
      sum(greatest(c.reltuples, 0))::float8, sum(pg_table_size(c.oid))::float8, sum(pg_indexes_size(c.oid))::float8,
      sum(s.n_tup_ins)::float8, sum(s.n_tup_del)::float8, sum(s.n_tup_upd)::float8, sum(s.n_tup_hot_upd)::float8,
      sum(s.n_live_tup)::float8, sum(s.n_dead_tup)::float8,
      extract(epoch FROM max(greatest(s.last_vacuum, s.last_autovacuum)))::float8
    FROM relations r JOIN pg_class c ON c.oid = r.oid AND c.relkind <> 'p'
      LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid`
}

/**
 * Which part of so many pages is read. In steps: with each page that the table grows by, a few others would fall out
 * of the sample.
 */
function sampledOf(pages: number): number {
  return pages <= EXACT_PAGES ? 1 : 2 ** (-Math.ceil(Math.log2(pages / SAMPLE_PAGES) * 4) / 4)
}

/**
 * REPEATABLE: always the same pages, so that what is estimated of them moves because the sessions do, and not
 * because others were drawn; and so that they stay in the cache. $1 the clock, $2 a transaction.
 *
 * Rows are brought together twice: first into a few groups, so that each is looked at but once. OFFSET 0: narrow rows
 * are grouped by hashing; with the data among them the planner would rather sort them, on disk.
 */
function sampleText({ ours }: Shape, sql: string, sampled: number): string {
  const now = '$1::float8'
  return `
    WITH seen AS (
      SELECT t.sess_name AS name, t.sess_counter, t.sess_error, t.sess_warning, t.sess_notice, CASE
        ${ours.has('sess_destroyed') ? `WHEN t.sess_destroyed IS NOT NULL THEN ${TOMBSTONE}` : ''}
        WHEN t.sess_expire IS NULL THEN ${HOURS}
        WHEN t.sess_expire < ${now} - ${LATE} AND t.sess_data <> '' THEN ${UNSWEPT}
        WHEN t.sess_expire < ${now} THEN ${EXPIRED}
        ELSE least(${HOURS}, floor((t.sess_expire - ${now}) / 3600))::int END AS hour,
        CASE WHEN t.sess_created BETWEEN ceil(${now}) - ${SECONDS - 1} AND ceil(${now})
          THEN (ceil(${now}) - t.sess_created)::int END AS age,
        age(t.xmin) <= age($2::text::xid) AS written
      FROM ${sql} t ${sampled === 1 ? '' : `TABLESAMPLE SYSTEM (${sampled * 100}) REPEATABLE (0)`}
      OFFSET 0
    ),
    grouped AS (
      SELECT name, hour, age, count(*) AS rows, CASE WHEN hour >= 0 THEN count(*) ELSE 0 END AS active,
        sum(sess_counter) AS accesses, sum(sess_error) AS errors, sum(sess_warning) AS warnings,
        sum(sess_notice) AS notices,
        CASE WHEN hour >= 0 THEN count(*) FILTER (WHERE written) ELSE 0 END AS written
      FROM seen GROUP BY name, hour, age
    )
    SELECT GROUPING(name)::text, name, hour::text, sum(rows)::text, sum(active)::text, sum(accesses)::text,
      sum(errors)::text, sum(warnings)::text, sum(notices)::text, sum(written)::text,
      string_agg(age || ':' || rows, ',') FILTER (WHERE age IS NOT NULL)
    FROM grouped GROUP BY GROUPING SETS ((name), (hour))
    ORDER BY GROUPING(name) DESC, sum(active) DESC, name
    LIMIT ${HOURS + 4 + MOST_NAMES}`
}

function standbysText(): string {
  return `
    SELECT application_name::text, state::text,
      pg_wal_lsn_diff(CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_lsn() END, replay_lsn)::float8,
      coalesce(sync_state IN ('sync', 'quorum'), false)::text
    FROM pg_stat_replication ORDER BY application_name, pid LIMIT 100`
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

/** @param ages seconds and how many, as in `0:3,4:1`; the same ones may come again */
function createdOf(ages: string): number[] {
  const created = new Array<number>(SECONDS).fill(0)
  for (const [, age, count] of ages.matchAll(/(\d+):(\d+)/g)) {
    created[Number(age)] = (created[Number(age)] ?? 0) + Number(count)
  }
  return created
}

/**
 * How many rows one of the sample stands for. PostgreSQL's own counts move with every insert and delete, but
 * begin at nothing after a crash; taken is the first that the sample makes plausible.
 */
function scaleOf(rows: number, sampled: number, counts: readonly number[]): number {
  const share = 1 / sampled
  if (rows === 0) return share
  return counts.map((count) => count / rows).find((one) => one > share / 2 && one < share * 2) ?? share
}
