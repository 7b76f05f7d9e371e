import type { Parameter } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Column } from '../session/columns.ts'
import type { ColumnTexts } from '../session/stored.ts'
import {
  columnAssignments,
  columnsSpec,
  hasValue,
  inputName,
  isFilled,
  isUnfilled,
} from './computed-columns.ts'
import { type Shape, sqlName } from './definition.ts'
import { isAliveAt } from './lifetime.ts'
import { BYTEWISE, CLOCK, eq, gt, minus } from './sql.ts'
import type { SessionTable } from './table.ts'

/** Rows whose computed columns are out of date, because processes without the functions have written them. */

/** A condition of a filter: a column and its value as text. */
export type ColumnCondition = readonly [column: Column, text: string | null]

/** The most unfilled rows that are counted. */
const MOST_COUNTED = 1000

/** The number of rows that one statement reads, and fills. */
const BATCH = 500

/** Opens the table. @throws TABLE_UNFIT if it lacks any of these columns, or the means to fill them */
export async function openWithColumns(
  table: SessionTable,
  columns: readonly Column[],
  deadline: number,
): Promise<Shape> {
  const lacks = ({ added, columns: { marked, present } }: Shape): boolean =>
    !marked || !added.has('sess_destroyed') || columns.some(({ name }) => !present.has(name))
  let shape = await table.open(deadline)
  if (columns.length === 0 || !lacks(shape)) return shape
  // `session-pgsql init` may have added them meanwhile.
  table.forget()
  shape = await table.open(deadline)
  if (!lacks(shape)) return shape
  throw new SessionPgsqlError(
    'TABLE_UNFIT',
    `The session table ${sqlName(shape.name)} lacks columns of the option columns. Add them: session-pgsql init --columns ${columnsSpec(columns)}`,
  )
}

/**
 * Counts the sessions that may match these conditions although their columns do not say so, up to 1,000.
 *
 * @param grace seconds after its expiry for which a session counts
 */
export async function countUnfilled(
  table: SessionTable,
  conditions: readonly ColumnCondition[],
  grace: number,
  deadline: number,
): Promise<number> {
  const parameters: string[] = []
  const mayMatch = conditions.map(([column, text]) => {
    const parameter = text === null ? undefined : `$${parameters.push(text)}`
    return ` AND (NOT ${isFilled('t', column.name)} OR ${hasValue(column, 't', parameter)})`
  })
  const columns = conditions.map(([column]) => column)
  const names = columns.map(({ name }) => name)
  await openWithColumns(table, columns, deadline)
  const [row] = await table.query(
    (shape, sql) => `SELECT pg_catalog.count(*) FROM (
      SELECT FROM ${sql} t WHERE ${isUnfilled(shape, 't', names)}${mayMatch.join('')}
        AND ${isAliveAt('t', shape, minus(CLOCK, String(grace)))}
      LIMIT ${MOST_COUNTED}) unfilled`,
    parameters,
    deadline,
  )
  return Number(row?.[0])
}

/** A row to fill. */
interface UnfilledRow {
  readonly id: string
  /** The stored data. */
  readonly text: string
  /** Identifies this version of the row. */
  readonly version: string
}

export interface FillOptions {
  /** Returns the values of the computed columns for stored data. */
  readonly columnsOf: (text: string) => ColumnTexts | undefined
  /** Whether rows that seem to be filled are computed again. */
  readonly all: boolean
  /** Returns the deadline of a statement that starts now. */
  readonly deadline: () => number
}

export interface FillResult {
  /** Number of rows that were filled. */
  readonly filled: number
  /** Number of rows whose values cannot be computed. */
  readonly failed: number
  /** The error of the first of them. */
  readonly error: unknown
}

/**
 * Fills the computed columns of rows, in batches in the order of ids. Leaves out rows that are locked or change
 * meanwhile: they are left to their writer, or to another pass.
 */
export async function fillColumns(
  table: SessionTable,
  { columnsOf, all, deadline }: FillOptions,
): Promise<FillResult> {
  let after = ''
  let filled = 0
  let failed = 0
  let error: unknown
  for (;;) {
    const rows = await readUnfilled(table, after, all, deadline())
    const values: [UnfilledRow, ColumnTexts][] = []
    for (const row of rows) {
      try {
        values.push([row, columnsOf(row.text) ?? []])
      } catch (caught) {
        if (++failed === 1) error = caught
      }
    }
    if (values.length > 0) filled += await writeColumns(table, values, deadline())
    const last = rows.at(-1)
    if (rows.length < BATCH || last === undefined) {
      return { filled, failed, error }
    }
    after = last.id
  }
}

async function readUnfilled(
  table: SessionTable,
  after: string,
  all: boolean,
  deadline: number,
): Promise<UnfilledRow[]> {
  const rows = await table.query(
    (shape, sql) => {
      const names = shape.columns.wanted.computed.map(({ name }) => name)
      return `SELECT t.sess_id, t.sess_data, t.xmin::pg_catalog.text FROM ${sql} t
        WHERE ${all ? 't.sess_destroyed IS NULL' : isUnfilled(shape, 't', names)} AND ${gt('t.sess_id', '$1')}
        ORDER BY t.sess_id LIMIT ${BATCH}`
    },
    [after],
    deadline,
  )
  return rows.map(([id, text, version]) => ({
    id: id as string,
    text: table.cipher.open(text ?? '', 'sess_data', id as string),
    version: version as string,
  }))
}

/** Returns the number of rows that were written. */
async function writeColumns(
  table: SessionTable,
  values: readonly (readonly [UnfilledRow, ColumnTexts])[],
  deadline: number,
): Promise<number> {
  return table.transaction(async (query, shape) => {
    const sql = sqlName(shape.name)
    const names = ['id', 'version', ...shape.columns.wanted.computed.map((_, index) => inputName(index))]
    const arrays = names.map((_, index) => `pg_catalog.unnest($${index + 1}::pg_catalog.text[])`)
    const set = columnAssignments(shape, 'i').map(([column, value]) => `${column} = ${value}`)
    const texts = (of: (row: UnfilledRow, texts: ColumnTexts) => string | null): Parameter => ({
      type: 'text',
      values: values.map(([row, columns]) => of(row, columns)),
    })
    const rows = await query(
      {
        text: `
        WITH input AS MATERIALIZED (SELECT * FROM ROWS FROM (${arrays.join(', ')}) AS i(${names.join(', ')})),
        found AS MATERIALIZED (
          SELECT i.* FROM (SELECT * FROM input ORDER BY id ${BYTEWISE}) i
            JOIN ${sql} t ON ${eq('t.sess_id', 'i.id')} AND ${eq('t.xmin::pg_catalog.text', 'i.version')}
          FOR NO KEY UPDATE OF t SKIP LOCKED
        )
        UPDATE ${sql} t SET ${set.join(', ')} FROM found i
        WHERE ${eq('t.sess_id', 'i.id')} RETURNING 1`,
        name: undefined,
      },
      [
        texts(({ id }) => id),
        texts(({ version }) => version),
        ...shape.columns.wanted.computed.map((_, index) => texts((_row, columns) => columns[index] ?? null)),
      ],
    )
    return rows.length
  }, deadline)
}
