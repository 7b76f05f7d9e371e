import type { Columns } from '../../session/columns.ts'
import type { TableName } from '../../table/definition.ts'
import {
  header,
  type ModelColumn,
  type ModelIndex,
  type ModelType,
  pascalCase,
  type TableModel,
  tableModels,
} from './model.ts'

const TYPES: Record<ModelType, [type: string, attribute: string]> = {
  text: ['String', ''],
  bigint: ['BigInt', ''],
  integer: ['Int', ''],
  boolean: ['Boolean', ''],
  uuid: ['String', '@db.Uuid'],
  timestamptz: ['DateTime', '@db.Timestamptz(6)'],
  jsonb: ['Json', ''],
  float8: ['Float', ''],
}

/** Returns the tables as models of Prisma. */
export function prismaSchema(name: TableName, columns: Columns): string {
  const tables = tableModels(name, columns)
  return `${header(tables[0])}
// Not shown are the collation, the storage parameters and two partial indexes. Prisma leaves them as they are, but does
// not create them: create the tables with \`session-pgsql init\`, or put the SQL of \`init --print\` into a migration.
${tables.map(modelText).join('\n\n')}`
}

function modelText({ name, columns, indexes }: TableModel): string {
  const widthOf = (texts: readonly string[]): number => Math.max(...texts.map((text) => text.length))
  const nameWidth = widthOf(columns.map((column) => column.name))
  const typeWidth = widthOf(columns.map(typeText))
  const fields = columns.map((column) =>
    `  ${column.name.padEnd(nameWidth)} ${typeText(column).padEnd(typeWidth)} ${attributesText(column)}`.trimEnd(),
  )
  const attributes = [
    ...indexes.filter(({ where }) => where === undefined).map((index) => indexText(name, index)),
    `@@map("${name.table}")`,
    ...(name.schema === 'public' ? [] : [`@@schema("${name.schema}")`]),
  ]
  return `model ${pascalCase(name.table)} {
${fields.join('\n')}

${attributes.map((attribute) => `  ${attribute}`).join('\n')}
}`
}

function typeText({ type, isNullable }: ModelColumn): string {
  return `${TYPES[type][0]}${isNullable ? '?' : ''}`
}

function attributesText({ type, isKey, default: fallback }: ModelColumn): string {
  const id = isKey ? ['@id'] : []
  const initial = fallback === undefined ? [] : [`@default(${fallback})`]
  return [...id, ...initial, TYPES[type][1]].join(' ').trimEnd()
}

/** Prisma names an index as PostgreSQL does, unless the name is too long. */
function indexText({ table }: TableName, { name, method, columns }: ModelIndex): string {
  const ops = method === 'gin' ? '(ops: JsonbPathOps)' : ''
  const type = { btree: '', hash: ', type: Hash', gin: ', type: Gin' }[method]
  const map = name === `${table}_${columns.join('_')}_idx` ? '' : `, map: "${name}"`
  return `@@index([${columns.map((column) => `${column}${ops}`).join(', ')}]${type}${map})`
}
