import type { Row } from '../../database/database.ts'
import { SessionPgsqlError } from '../../errors.ts'
import type { TableName } from '../../settings/settings.ts'
import { quoteIdentifier, quoteLiteral } from '../../table/definition.ts'
import { IS_WANTED } from '../../table/inspect.ts'
import { eq, gt, isIn, lt, microseconds, minus } from '../../table/sql.ts'
import { UsageError } from '../flags.ts'
import { PART, PART_LENGTH, type Source, type SourceSession } from './source.ts'

/** Sends a statement to the database in which the old table lies. */
export type Ask = (text: string, parameters: readonly (string | number | null)[]) => Promise<Row[]>

export interface PostgresSourceOptions {
  readonly ask: Ask
  readonly close: () => Promise<void>
  /** The database, for the source's name. */
  readonly database: string
  readonly table: TableName
  /** The columns' names: the id, the data, the date of expiry. */
  readonly columns: readonly [string, string, string]
  /** In which a date without a time zone is to be read; left out: the server's. */
  readonly zone: string | undefined
}

/**
 * A table with a row for each session: connect-pg-simple's and connect-session-knex'. It is read in the order of
 * its ids, each part from where the one before it has ended: no long snapshot, no lock.
 */
export async function postgresSource(options: PostgresSourceOptions): Promise<Source> {
  const { ask, close, database, table, columns, zone } = options
  const { name, types } = await describe(ask, table, columns)
  const [id, data, date] = columns.map(quoteIdentifier) as [string, string, string]
  const [idType = 'text', , dateType] = types
  const zoneless = dateType === 'timestamp without time zone'
  if (zone !== undefined && !zoneless) {
    throw new UsageError(`--zone: the dates in ${name} have their time zone`)
  }
  if (zone !== undefined) await checkZone(ask, zone)
  const zoneText = zone === undefined ? "pg_catalog.current_setting('TimeZone')" : quoteLiteral(zone)
  const moment = zoneless ? `(${date} AT TIME ZONE ${zoneText})` : date
  const remaining = `extract(epoch FROM ${minus(moment, 'pg_catalog.clock_timestamp()')})::double precision`

  const read = async (after: string | undefined): Promise<SourceSession[]> => {
    const asked = performance.now()
    const rows = await ask(
      `SELECT p.id, p.data, p.remaining FROM (
         SELECT q.*, ${minus('pg_catalog.sum(pg_catalog.length(q.data)) OVER (ORDER BY q.n)', 'pg_catalog.length(q.data)')} AS before
         FROM (
           SELECT ${id}::pg_catalog.text AS id, coalesce(${data}::pg_catalog.text, '') AS data,
             ${microseconds(`coalesce(${remaining}, 0)`)} AS remaining, pg_catalog.row_number() OVER (ORDER BY ${id}) AS n
           FROM ${name} ${after === undefined ? '' : `WHERE ${gt(id, '$1')}`} ORDER BY ${id} LIMIT ${PART}
         ) q
       ) p WHERE ${lt('p.before', String(PART_LENGTH))} ORDER BY p.n`,
      after === undefined ? [] : [after],
    )
    return rows.map(([id, text, left]) => ({
      id: id as string,
      text: text as string,
      expires: asked + Number(left) / 1000,
      zoneless,
    }))
  }

  return {
    name: `${database} ${name}`,
    close,
    async count() {
      const [row] = await ask(`SELECT pg_catalog.count(*) FROM ${name}`, []).catch(() => [])
      return row && Number(row[0])
    },
    async *parts() {
      let after: string | undefined
      for (;;) {
        const part = await read(after)
        if (part.length === 0) return
        yield part
        after = part.at(-1)?.id
      }
    },
    async alive(ids) {
      const rows = await ask(
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

/** The table's SQL name and the types of its columns. @throws SessionPgsqlError if it is not such a table */
async function describe(
  ask: Ask,
  { schema, name }: TableName,
  columns: readonly string[],
): Promise<{ name: string; types: (string | undefined)[] }> {
  const rows = await ask(
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
      `There is no table ${shown} to import from. Name it with --source-table, its database with --source.`,
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
      `The table ${sqlName} cannot be imported from: expected columns ${columns.join(', ')}; it lacks ${missing.join(', ')}.`,
    )
  }
  return { name: sqlName, types }
}

async function checkZone(ask: Ask, zone: string): Promise<void> {
  try {
    await ask('SELECT pg_catalog.now() AT TIME ZONE $1', [zone])
  } catch (error) {
    if (!(error instanceof SessionPgsqlError) || error.sqlState !== '22023') throw error
    throw new UsageError('--zone: expected a time zone as PostgreSQL knows it, such as Europe/Berlin')
  }
}
