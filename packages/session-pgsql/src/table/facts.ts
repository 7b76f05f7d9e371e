import { plain, type Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import { isTrue, secondsOf } from './answers.ts'
import { sqlName, type TableName } from './definition.ts'
import { CLOCK, concat, eq, isIn, lt, microseconds, minus, ne } from './sql.ts'

/** Properties of a server that only `diagnose` needs. They are not queried when a table is opened. */
export interface ServerFacts {
  /** Seconds by which the database's clock is ahead of this machine's. */
  readonly clockAhead: number
  /** Maximum error of `clockAhead`, in seconds. */
  readonly clockDoubt: number
  /** `server_version_num`, for example 180004. */
  readonly version: number
  readonly encoding: string
  readonly readOnly: boolean
  /** Settings that are needed so that commits survive a crash. */
  readonly fsync: boolean
  readonly fullPageWrites: boolean
  readonly synchronousCommit: boolean
  readonly autovacuum: boolean
}

/** Properties of a session table that only `diagnose` needs. */
export interface TableFacts {
  readonly unlogged: boolean
  /** Percent; undefined: PostgreSQL's default, 100. */
  readonly fillfactor: number | undefined
  readonly autovacuum: boolean
  /** Number of updates since the statistics were last reset. */
  readonly updates: number
  readonly hotUpdates: number
  readonly liveRows: number
  readonly deadRows: number
  readonly indexes: readonly IndexFacts[]
}

interface IndexFacts {
  /** Quoted, with the schema. */
  readonly name: string
  readonly valid: boolean
  /** Whether changing one of its columns prevents a HOT update: true except for BRIN. */
  readonly blocksHot: boolean
  /** Every column that it uses, as a key, in an expression, or in its condition. */
  readonly columns: readonly string[]
}

const SETTINGS = plain(
  `SELECT ${[
    'server_version_num',
    'server_encoding',
    'transaction_read_only',
    'fsync',
    'full_page_writes',
    'synchronous_commit',
    'autovacuum',
  ]
    .map((setting) => `pg_catalog.current_setting('${setting}')`)
    .join(', ')}`,
)

const storageOption = (name: string): string => `(
      SELECT option_value FROM pg_catalog.pg_options_to_table(c.reloptions) WHERE ${eq('option_name', `'${name}'`)})`

// An outer join, because the statistics views have no row for a table that was never used.
const TABLE = plain(`
  SELECT c.oid, ${eq('c.relpersistence', "'u'")},
    ${storageOption('fillfactor')}, ${storageOption('autovacuum_enabled')},
    s.n_tup_upd, s.n_tup_hot_upd, s.n_live_tup, s.n_dead_tup
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON ${eq('n.oid', 'c.relnamespace')}
    LEFT JOIN pg_catalog.pg_stat_all_tables s ON ${eq('s.relid', 'c.oid')}
  WHERE ${eq('n.nspname', '$1')} AND ${eq('c.relname', '$2')}`)

const PG_CLASS = "'pg_catalog.pg_class'::pg_catalog.regclass"

const INDEXES = plain(`
  SELECT ${concat('pg_catalog.quote_ident(n.nspname)', "'.'", 'pg_catalog.quote_ident(c.relname)')}, x.indisvalid,
    ${ne('m.amname', "'brin'")},
    (SELECT pg_catalog.string_agg(DISTINCT a.attname::pg_catalog.text, ',') FROM pg_catalog.pg_attribute a
      WHERE ${eq('a.attrelid', 'x.indrelid')} AND (${isIn('a.attnum', 'x.indkey')} OR EXISTS (
        SELECT FROM pg_catalog.pg_depend d
        WHERE ${eq('d.classid', PG_CLASS)} AND ${eq('d.objid', 'x.indexrelid')}
          AND ${eq('d.refclassid', PG_CLASS)} AND ${eq('d.refobjid', 'x.indrelid')}
          AND ${eq('d.refobjsubid', 'a.attnum')})))
  FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class c ON ${eq('c.oid', 'x.indexrelid')}
    JOIN pg_catalog.pg_namespace n ON ${eq('n.oid', 'c.relnamespace')}
    JOIN pg_catalog.pg_am m ON ${eq('m.oid', 'c.relam')}
  WHERE ${eq('x.indrelid', '$1::pg_catalog.oid')} ORDER BY 1`)

export async function serverFacts(query: Query): Promise<ServerFacts> {
  const before = Date.now()
  const [time] = await query(plain(`SELECT ${microseconds(CLOCK)}`), [])
  const after = Date.now()
  const [row = []] = await query(SETTINGS, [])
  const [version, encoding, readOnly, fsync, fullPageWrites, synchronousCommit, autovacuum] = row
  return {
    clockAhead: secondsOf(time?.[0]) - (before + after) / 2000,
    clockDoubt: (after - before) / 2000,
    version: Number(version),
    encoding: encoding ?? '',
    readOnly: readOnly === 'on',
    fsync: fsync !== 'off',
    fullPageWrites: fullPageWrites !== 'off',
    synchronousCommit: synchronousCommit !== 'off',
    autovacuum: autovacuum !== 'off',
  }
}

export async function tableFacts(query: Query, name: TableName): Promise<TableFacts> {
  const [row = []] = await query(TABLE, [name.schema, name.table])
  const [oid = null, unlogged, fillfactor, autovacuum, ...counts] = row
  const indexes = await query(INDEXES, [oid])
  const [updates = 0, hotUpdates = 0, liveRows = 0, deadRows = 0] = counts.map((count) => Number(count ?? 0))
  return {
    unlogged: isTrue(unlogged),
    fillfactor: fillfactor == null ? undefined : Number(fillfactor),
    autovacuum: autovacuum == null || !/^(?:f|off|n|0)/i.test(autovacuum),
    updates,
    hotUpdates,
    liveRows,
    deadRows,
    indexes: indexes.map(([index, valid, blocksHot, columns]) => ({
      name: index as string,
      valid: isTrue(valid),
      blocksHot: isTrue(blocksHot),
      columns: columns?.split(',') ?? [],
    })),
  }
}

/**
 * Returns the number of sessions that expired more than `seconds` ago and still have their data, at most `most`; or
 * undefined if the deadline passed.
 */
export async function countUnswept(
  query: Query,
  name: TableName,
  seconds: number,
  most: number,
): Promise<number | undefined> {
  const text = `
    WITH clock AS MATERIALIZED (SELECT ${CLOCK} AS now)
    SELECT pg_catalog.count(*) FROM (SELECT FROM ${sqlName(name)} t
      WHERE ${lt('t.sess_expire', minus('(SELECT now FROM clock)', String(seconds)))} AND ${ne('t.sess_data', "''")}
      LIMIT ${most}) AS late`
  try {
    const [row] = await query(plain(text), [])
    return Number(row?.[0])
  } catch (error) {
    if (error instanceof SessionPgsqlError && error.code === 'TIMEOUT') return undefined
    throw error
  }
}
