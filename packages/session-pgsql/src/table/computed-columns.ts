import type { Column, Columns, ColumnType } from '../session/columns.ts'
import type { ColumnTexts } from '../session/stored.ts'
import {
  createStatements,
  quoteIdentifier,
  quoteLiteral,
  type Shape,
  sqlName,
  type TableColumns,
  type TableName,
} from './definition.ts'
import { concat, eq, gt, ne } from './sql.ts'

/**
 * SQL of the option `columns`. Columns that a user has added otherwise are in own-columns.ts.
 *
 * `sess_filled` names the columns that the last writer of a row's data has computed, sorted and separated by commas. A
 * writer without the functions sets it to NULL, whatever the columns then contain. The column exists only in tables
 * with such columns; the statements for other tables do not mention it.
 */
export const FILLED = 'sess_filled'

/** Types in SQL, and the names by which `inspect` reports them. */
const TYPES: Record<ColumnType, readonly [sql: string, inspected: string]> = {
  text: ['pg_catalog.text', 'text'],
  bigint: ['bigint', 'int8'],
  integer: ['integer', 'int4'],
  boolean: ['boolean', 'bool'],
  uuid: ['pg_catalog.uuid', 'uuid'],
  timestamptz: ['pg_catalog.timestamptz', 'timestamptz'],
  jsonb: ['pg_catalog.jsonb', 'jsonb'],
}

/** Returns true if a column has the type that `inspect` reported. */
export function isOfType({ type }: Column, inspected: string): boolean {
  return TYPES[type][1] === inspected
}

/** The name of a computed column's value in the rows of requests. */
export function inputName(index: number): string {
  return `c${index}`
}

/** Returns SQL of the requests' values, for a list of columns: `, i.c0, i.c1`. */
export function inputColumns({ columns }: Shape): string {
  return columns.wanted.computed.map((_, index) => `, i.${inputName(index)}`).join('')
}

/** Returns what a write of data stores in the computed columns: each column, quoted, and SQL of its value. */
export function columnAssignments({ columns }: Shape, row: string): [column: string, value: string][] {
  const assignments = columns.wanted.computed.flatMap((column, index): [string, string][] =>
    columns.present.has(column.name)
      ? [[quoteIdentifier(column.name), fromText(column, `${row}.${inputName(index)}`)]]
      : [],
  )
  if (!columns.marked) return assignments
  const filled = filledBy(columns)
  return [...assignments, [FILLED, filled === null ? 'NULL' : quoteLiteral(filled)]]
}

/** Returns the values that a write of data stores in the computed columns, by name. */
export function writtenColumns({ columns }: Shape, texts: ColumnTexts): Record<string, string | null> {
  const values = columns.wanted.computed.map(({ name }, index) => [name, texts[index] ?? null] as const)
  return Object.fromEntries(values.filter(([name]) => columns.present.has(name)))
}

/** Returns SQL that sets what `columnAssignments` returns: `, "user_id" = …`. */
export function setColumns(shape: Shape, row: string): string {
  return columnAssignments(shape, row)
    .map(([column, value]) => `, ${column} = ${value}`)
    .join('')
}

/** Returns SQL of a value of this column, from its text. */
export function fromText({ type }: Column, text: string): string {
  return `CAST(${text} AS ${TYPES[type][0]})`
}

/** Returns `sess_filled` of a row that this process has written; null if it computes nothing. */
export function filledBy({ wanted, present }: TableColumns): string | null {
  return filledWith(wanted.computed.map(({ name }) => name).filter((name) => present.has(name)))
}

/** Returns the value of `sess_filled` for these columns. */
export function filledWith(names: readonly string[]): string | null {
  return names.length === 0 ? null : nameList(names)
}

/** Returns the names in a value of `sess_filled`. */
export function namesFilled(filled: string | null): readonly string[] {
  return filled === null || filled === '' ? [] : filled.split(',')
}

/** Returns columns as `--columns` of the command takes them. */
export function columnsSpec(columns: readonly Column[]): string {
  return columns.map(({ name, type, index }) => `${name}:${type}${index ? ':index' : ''}`).join(',')
}

function nameList(names: readonly string[]): string {
  return names.toSorted().join(',')
}

/** Returns SQL of the option's columns that the table has, as text: `, …`. */
export function selectColumns({ columns }: Shape, row: string): string {
  return columnsPresent(columns)
    .map((column) => `, ${toText(column, `${row}.${quoteIdentifier(column.name)}`)}`)
    .join('')
}

/** Returns the option's columns that the table has. */
export function columnsPresent({ wanted, present }: TableColumns): readonly Column[] {
  return wanted.all.filter(({ name }) => present.has(name))
}

/** Returns SQL of a value as text that does not depend on settings of the role. */
function toText({ type }: Column, value: string): string {
  return type === 'timestamptz'
    ? `pg_catalog.to_char(pg_catalog.timezone('UTC', ${value}), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
    : `${value}::pg_catalog.text`
}

/** Returns the condition: a column has this value, or contains it if it is jsonb. @param text undefined: NULL */
export function hasValue(column: Column, row: string, text: string | undefined): string {
  const value = `${row}.${quoteIdentifier(column.name)}`
  if (text === undefined) return `${value} IS NULL`
  const wanted = fromText(column, `${text}::pg_catalog.text`)
  return column.type === 'jsonb' ? `(${value} OPERATOR(pg_catalog.@>) ${wanted})` : eq(value, wanted)
}

/**
 * Returns the condition: the row's data was last written by a process that did not compute these columns. It begins
 * with the condition of the index, which holds for no row in normal operation.
 */
export function isUnfilled({ columns }: Shape, row: string, names: readonly string[]): string {
  const covered = names.map((name) => isFilled(row, name))
  return `(${unfilledCondition(columns.wanted, `${row}.`)} AND NOT (${covered.join(' AND ')}))`
}

/** Returns the condition: the last writer of the row's data has computed this column. */
export function isFilled(row: string, name: string): string {
  const list = concat("','", `coalesce(${row}.${FILLED}, '')`, "','")
  return gt(`pg_catalog.strpos(${list}, ${quoteLiteral(`,${name},`)})`, '0')
}

/**
 * Returns the condition of the index of unfilled rows. From the column's statistics the planner knows that few rows meet
 * it; of a function of the column, such as `coalesce`, it would expect the opposite, and scan the table.
 */
export function unfilledCondition({ all }: Pick<Columns, 'all'>, row = ''): string {
  const filled = quoteLiteral(nameList(all.map(({ name }) => name)))
  const column = `${row}${FILLED}`
  return `(${column} IS NULL OR ${ne(column, filled)}) AND ${row}sess_destroyed IS NULL`
}

/** Returns the statements that create the session table with computed columns, and its journal, in order. */
export function createWithColumns(name: TableName, columns: Columns): string[] {
  const [table = '', ...others] = createStatements(name, columnDefinitions(columns))
  return [table, ...columnIndexes(name, columns, '').map(({ statement }) => statement), ...others]
}

/** Returns the columns to define for the option, quoted, and their types. */
export function columnDefinitions({ all }: Columns): [column: string, type: string][] {
  if (all.length === 0) return []
  const columns = all.map(({ name, type }): [string, string] => [quoteIdentifier(name), TYPES[type][0]])
  return [...columns, [FILLED, 'pg_catalog.text']]
}

/** An index of a computed column, or that of unfilled rows. */
export interface ColumnIndex {
  /** The column; undefined: the index of unfilled rows. */
  readonly column: string | undefined
  readonly statement: string
}

/**
 * Returns the indexes of the option's columns. Of text a hash index, because a b-tree rejects long values; the index of
 * jsonb serves containment. The last one finds unfilled rows, and is usually empty.
 *
 * @param how `CONCURRENTLY`: does not block writers, and must run outside a transaction
 */
export function columnIndexes(table: TableName, columns: Columns, how: '' | ' CONCURRENTLY'): ColumnIndex[] {
  if (columns.all.length === 0) return []
  const create = `CREATE INDEX${how} ON ${sqlName(table)}`
  const indexes = columns.all
    .filter(({ index }) => index)
    .map(({ name, type }): ColumnIndex => {
      const column = quoteIdentifier(name)
      return { column: name, statement: `${create} ${INDEXED[type]?.(column) ?? `(${column})`}` }
    })
  return [
    ...indexes,
    { column: undefined, statement: `${create} (sess_id) WHERE ${unfilledCondition(columns)}` },
  ]
}

const INDEXED: Partial<Record<ColumnType, (column: string) => string>> = {
  text: (column) => `USING hash (${column})`,
  jsonb: (column) => `USING gin (${column} pg_catalog.jsonb_path_ops)`,
}

/** Returns a text that the condition of the index of unfilled rows contains, as PostgreSQL prints it. */
export function unfilledIndexMark({ all }: Columns): string {
  return quoteLiteral(nameList(all.map(({ name }) => name)))
}
