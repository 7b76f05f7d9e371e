import type { Row } from '../../database/database.ts'
import { SessionPgsqlError } from '../../errors.ts'
import type { TableName } from '../../settings/settings.ts'
import { quoteIdentifier, quoteLiteral } from '../../table/definition.ts'
import { IS_WANTED } from '../../table/inspect.ts'
import { eq, gt, isIn, lt, microseconds, minus } from '../../table/sql.ts'
import { UsageError } from '../arguments.ts'
import { BATCH_LENGTH, BATCH_SIZE, type Source, type SourceSession } from './source.ts'

/** Sends a statement to the database of the old table. */
export type Query = (text: string, parameters: readonly (string | number | null)[]) => Promise<Row[]>

export interface PostgresSourceOptions {
  readonly query: Query
  readonly close: () => Promise<void>
  /** Name of the database, without a password. Part of the source's name. */
  readonly database: string
  readonly table: TableName
  /** Names of the columns with the id, the data and the expiry. */
  readonly columns: readonly [string, string, string]
  /** Time zone of dates without a time zone. Default: the server's. */
  readonly zone: string | undefined
}

/**
 * Opens the table of connect-pg-simple or connect-session-knex, which has a row for each session. Reads it in the
 * order of its ids, each batch after the last id of the previous one: no long snapshot, no lock.
 *
 * @throws SessionPgsqlError TABLE_MISSING, TABLE_UNFIT
 * @throws UsageError if the time zone is invalid, or the dates have a time zone
 */
export async function postgresSource(options: PostgresSourceOptions): Promise<Source> {
  const { query, close, database, table, columns, zone } = options
  const { name, types } = await describe(query, table, columns)
  const [id, data, date] = columns.map(quoteIdentifier) as [string, string, string]
  const [idType = 'text', , dateType] = types
  const zoneless = dateType === 'timestamp without time zone'
  if (zone !== undefined && !zoneless) {
    throw new UsageError(`--zone: the dates in ${name} have a time zone`)
  }
  if (zone !== undefined) await checkZone(query, zone)
  const zoneText = zone === undefined ? "pg_catalog.current_setting('TimeZone')" : quoteLiteral(zone)
  const moment = zoneless ? `(${date} AT TIME ZONE ${zoneText})` : date
  const remaining = `extract(epoch FROM ${minus(moment, 'pg_catalog.clock_timestamp()')})::double precision`

  const readBatch = async (after: string | undefined): Promise<SourceSession[]> => {
    const queriedAt = performance.now()
    const rows = await query(
      `SELECT p.id, p.data, p.remaining FROM (
         SELECT q.*, ${minus('pg_catalog.sum(pg_catalog.length(q.data)) OVER (ORDER BY q.n)', 'pg_catalog.length(q.data)')} AS before
         FROM (
           SELECT ${id}::pg_catalog.text AS id, coalesce(${data}::pg_catalog.text, '') AS data,
             ${microseconds(`coalesce(${remaining}, 0)`)} AS remaining, pg_catalog.row_number() OVER (ORDER BY ${id}) AS n
           FROM ${name} ${after === undefined ? '' : `WHERE ${gt(id, '$1')}`} ORDER BY ${id} LIMIT ${BATCH_SIZE}
         ) q
       ) p WHERE ${lt('p.before', String(BATCH_LENGTH))} ORDER BY p.n`,
      after === undefined ? [] : [after],
    )
    return rows.map(([id, text, left]) => ({
      id: id as string,
      text: text as string,
      expires: queriedAt + Number(left) / 1000,
      zoneless,
    }))
  }

  return {
    name: `${database} ${name}`,
    close,
    async count() {
      const [row] = await query(`SELECT pg_catalog.count(*) FROM ${name}`, []).catch(() => [])
      return row && Number(row[0])
    },
    async *batches() {
      let after: string | undefined
      for (;;) {
        const batch = await readBatch(after)
        if (batch.length === 0) return
        yield batch
        after = batch.at(-1)?.id
      }
    },
    async findLive(ids) {
      const rows = await query(
        `SELECT ${id}::pg_catalog.text FROM ${name} WHERE ${gt(remaining, '0')} AND ${isIn(
          id,
          `ARRAY(SELECT pg_catalog.jsonb_array_elements_text($1::pg_catalog.jsonb))::${idType}[]`,
        )}`,
        [JSON.stringify(ids)],
      )
      return new Set(rows.map(([one]) => one as string))
    },
  }
}

/** Returns the table's SQL name and the types of its columns. @throws SessionPgsqlError TABLE_MISSING, TABLE_UNFIT */
async function describe(
  query: Query,
  { schema, name }: TableName,
  columns: readonly string[],
): Promise<{ name: string; types: (string | undefined)[] }> {
  const rows = await query(
    `SELECT n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, NULL)
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON ${eq('n.oid', 'c.relnamespace')}
       JOIN pg_catalog.pg_attribute a ON ${eq('a.attrelid', 'c.oid')}
     WHERE ${IS_WANTED} AND ${gt('a.attnum', '0')} AND NOT a.attisdropped`,
    [name, schema ?? null],
  )
  const [first] = rows
  if (first === undefined) {
    const shown = schema === undefined ? name : `${schema}.${name}`
    throw new SessionPgsqlError(
      'TABLE_MISSING',
      `Cannot import: the table ${shown} does not exist. Set the table with --source-table and its database with --source.`,
    )
  }
  const sqlName = `${quoteIdentifier(first[0] as string)}.${quoteIdentifier(first[1] as string)}`
  const types = columns.map(
    (column) => rows.find(([, , attribute]) => attribute === column)?.[3] ?? undefined,
  )
  const missing = columns.filter((_, index) => types[index] === undefined)
  if (missing.length > 0) {
    throw new SessionPgsqlError(
      'TABLE_UNFIT',
      `Cannot import from the table ${sqlName}: expected the columns ${columns.join(', ')}; it lacks ${missing.join(', ')}.`,
    )
  }
  return { name: sqlName, types }
}

async function checkZone(query: Query, zone: string): Promise<void> {
  try {
    await query('SELECT pg_catalog.now() AT TIME ZONE $1', [zone])
  } catch (error) {
    if (!(error instanceof SessionPgsqlError) || error.sqlState !== '22023') throw error
    throw new UsageError('--zone: expected a time zone of PostgreSQL, such as Europe/Berlin')
  }
}
