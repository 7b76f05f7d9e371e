import type { Columns } from '../../session/columns.ts'
import type { TableName } from '../../table/definition.ts'
import {
  camelCase,
  header,
  type ModelColumn,
  type ModelIndex,
  type ModelType,
  type TableModel,
  tableModels,
} from './model.ts'

const TYPES: Record<ModelType, [builder: string, options: string]> = {
  text: ['text', ''],
  bigint: ['bigint', "{ mode: 'number' }"],
  integer: ['integer', ''],
  boolean: ['boolean', ''],
  uuid: ['uuid', ''],
  timestamptz: ['timestamp', '{ withTimezone: true }'],
  jsonb: ['jsonb', ''],
  float8: ['doublePrecision', ''],
}

/** Returns the tables as a schema of Drizzle, in TypeScript. */
export function drizzleSchema(name: TableName, columns: Columns): string {
  const tables = tableModels(name, columns)
  const inSchema = name.schema !== 'public'
  const used = tables.flatMap((table) => table.columns.map(({ type }) => TYPES[type][0]))
  const imports = [...new Set([...used, 'index', inSchema ? 'pgSchema' : 'pgTable'])].sort()
  const create = inSchema ? `pgSchema(${quote(name.schema)}).table` : 'pgTable'
  return `${header(tables[0])}
import { sql } from 'drizzle-orm'
import { ${imports.join(', ')} } from 'drizzle-orm/pg-core'

${tables.map((table) => tableText(table, create)).join('\n\n')}`
}

function tableText({ name, columns, indexes }: TableModel, create: string): string {
  const fields = columns.map((column) => `    ${column.name}: ${columnText(column)},`)
  const extras = indexes.map((index) => `    ${indexText(index)},`)
  const tail = extras.length === 0 ? '' : `\n  (table) => [\n${extras.join('\n')}\n  ],`
  return `export const ${camelCase(name.table)} = ${create}(
  ${quote(name.table)},
  {
${fields.join('\n')}
  },${tail}
)`
}

function columnText({ type, isKey, isNullable, default: fallback }: ModelColumn): string {
  const [builder, options] = TYPES[type]
  const key = isKey ? '.primaryKey()' : isNullable ? '' : '.notNull()'
  return `${builder}(${options})${key}${fallback === undefined ? '' : `.default(${fallback})`}`
}

function indexText({ name, method, columns, where }: ModelIndex): string {
  const named = columns.map((column) => `table.${column}${method === 'gin' ? ".op('jsonb_path_ops')" : ''}`)
  const condition = where === undefined ? '' : `.where(sql\`${where}\`)`
  return `index(${quote(name)}).using('${method}', ${named.join(', ')})${condition}`
}

function quote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
}
