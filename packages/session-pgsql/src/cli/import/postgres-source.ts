import type { Row } from '../../database/database.ts'
import { SessionPgsqlError } from '../../errors.ts'
import type { TableName } from '../../settings/settings.ts'
import { quoteIdentifier } from '../../table/definition.ts'
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
  const zoneText = zone === undefined ? "current_setting('TimeZone')" : `'${zone.replaceAll("'", "''")}'`
  const moment = zoneless ? `(${date} AT TIME ZONE ${zoneText})` : date
  const remaining = `extract(epoch FROM ${moment} - clock_timestamp())::float8`

  const read = async (after: string | undefined): Promise<SourceSession[]> => {
    const asked = performance.now()
    const rows = await ask(
      `SELECT p.id, p.data, p.remaining FROM (
         SELECT q.*, sum(length(q.data)) OVER (ORDER BY q.n) - length(q.data) AS before FROM (
           SELECT ${id}::text AS id, coalesce(${data}::text, '') AS data, coalesce(${remaining}, 0) AS remaining,
             row_number() OVER (ORDER BY ${id}) AS n
           FROM ${name} ${after === undefined ? '' : `WHERE ${id} > $1`} ORDER BY ${id} LIMIT ${PART}
         ) q
       ) p WHERE p.before < ${PART_LENGTH} ORDER BY p.n`,
      after === undefined ? [] : [after],
    )
    return rows.map(([id, text, seconds]) => ({
      id: id as string,
      text: text as string,
      expires: asked + Number(seconds) * 1000,
      zoneless,
    }))
  }

  return {
    name: `${database} ${name}`,
    close,
    async count() {
      const [row] = await ask(`SELECT count(*) FROM ${name}`, []).catch(() => [])
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
        `SELECT ${id}::text FROM ${name}
         WHERE ${id} = ANY(ARRAY(SELECT jsonb_array_elements_text($1::jsonb))::${idType}[]) AND ${remaining} > 0`,
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
    `SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, NULL)
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE c.relname = $1 AND a.attnum > 0 AND NOT a.attisdropped
       AND CASE WHEN $2::text IS NULL THEN pg_table_is_visible(c.oid) ELSE n.nspname = $2 END`,
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
    await ask('SELECT now() AT TIME ZONE $1', [zone])
  } catch (error) {
    if (!(error instanceof SessionPgsqlError) || error.sqlState !== '22023') throw error
    throw new UsageError('--zone: expected a time zone as PostgreSQL knows it, such as Europe/Berlin')
  }
}
