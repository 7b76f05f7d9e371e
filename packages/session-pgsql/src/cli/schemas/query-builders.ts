import type { Columns } from '../../session/columns.ts'
import { createWithColumns } from '../../table/computed-columns.ts'
import { readable, sqlName, type TableName } from '../../table/definition.ts'
import { header, type ModelType, pascalCase, type TableModel, tableModels } from './model.ts'

/** Knex and Kysely: a migration that creates the tables if they do not exist, and the types of their rows. */

/** Types of values as node-postgres returns them: it reads a bigint as a string. */
const TYPES: Record<ModelType, string> = {
  text: 'string',
  bigint: 'string',
  integer: 'number',
  boolean: 'boolean',
  uuid: 'string',
  timestamptz: 'Date',
  jsonb: 'unknown',
  float8: 'number',
}

/** Returns a migration of Knex, and the types of the tables. */
export function knexSchema(name: TableName, columns: Columns): string {
  const tables = tableModels(name, columns)
  const declarations = tables.map((table) => `    '${nameIn(table)}': ${pascalCase(table.name.table)}`)
  return `${header(tables[0])}
import type { Knex } from 'knex'

${tables.map(interfaceText).join('\n\n')}

declare module 'knex/types/tables.js' {
  interface Tables {
${declarations.join('\n')}
  }
}

export async function up(knex: Knex): Promise<void> {
  const { rows } = await knex.raw(\`SELECT to_regclass('${regclass(name)}') AS found\`)
  if (rows[0].found !== null) return
${statementsText(name, columns, 'knex.raw(', ')')}
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(\`DROP TABLE ${tables.map((table) => literal(sqlName(table.name))).join(', ')}\`)
}`
}

/** Returns a migration of Kysely, and the types of the tables for its `Database`. */
export function kyselySchema(name: TableName, columns: Columns): string {
  const tables = tableModels(name, columns)
  const declarations = tables.map((table) => `  '${nameIn(table)}': ${pascalCase(table.name.table)}`)
  return `${header(tables[0])}
import { type Kysely, sql } from 'kysely'

${tables.map(interfaceText).join('\n\n')}

/** Extend the interface of your database by it. */
export interface SessionTables {
${declarations.join('\n')}
}

export async function up(db: Kysely<never>): Promise<void> {
  const { rows } = await sql<{ found: string | null }>\`SELECT to_regclass('${regclass(name)}') AS found\`.execute(db)
  if (rows[0]?.found != null) return
${statementsText(name, columns, 'sql', '.execute(db)')}
}

export async function down(db: Kysely<never>): Promise<void> {
  await sql\`DROP TABLE ${tables.map((table) => literal(sqlName(table.name))).join(', ')}\`.execute(db)
}`
}

function interfaceText({ name, columns }: TableModel): string {
  const fields = columns.map(({ name: column, type, isNullable }) => {
    const isNull = isNullable && type !== 'jsonb' ? ' | null' : ''
    return `  ${column}: ${TYPES[type]}${isNull}`
  })
  return `export interface ${pascalCase(name.table)} {\n${fields.join('\n')}\n}`
}

function statementsText(name: TableName, columns: Columns, before: string, after: string): string {
  return createWithColumns(name, columns)
    .map((statement) => `  await ${before}\`${literal(readable(statement))}\`${after}`)
    .join('\n')
}

/** The table as a program names it: with its schema, unless that is the default. */
function nameIn({ name: { schema, table } }: TableModel): string {
  return schema === 'public' ? table : `${schema}.${table}`
}

function regclass(name: TableName): string {
  return literal(sqlName(name).replaceAll("'", "''"))
}

/** Returns a text as it is written in a template literal. */
function literal(text: string): string {
  return text.replaceAll(/[\\`$]/g, '\\$&')
}
