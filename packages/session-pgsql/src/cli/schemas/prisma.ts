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
  uuid: ['String', ' @db.Uuid'],
  timestamptz: ['DateTime', ' @db.Timestamptz(6)'],
  jsonb: ['Json', ''],
  float8: ['Float', ''],
}

/** Returns the tables as models of Prisma. */
export function prismaSchema(name: TableName, columns: Columns): string {
  const tables = tableModels(name, columns)
  return `${header(tables[0])}
// Prisma does not know partial indexes, and leaves them as they are.
${tables.map(modelText).join('\n\n')}`
}

function modelText({ name, columns, indexes }: TableModel): string {
  const width = Math.max(...columns.map((column) => column.name.length))
  const fields = columns.map((column) => `  ${column.name.padEnd(width)} ${fieldText(column)}`)
  const attributes = [
    ...indexes.filter(({ where }) => where === undefined).map(indexText),
    `@@map("${name.table}")`,
    ...(name.schema === 'public' ? [] : [`@@schema("${name.schema}")`]),
  ]
  return `model ${pascalCase(name.table)} {
${fields.join('\n')}

${attributes.map((attribute) => `  ${attribute}`).join('\n')}
}`
}

function fieldText({ type, isKey, isNullable, default: fallback }: ModelColumn): string {
  const [base, attribute] = TYPES[type]
  const id = isKey ? ' @id' : ''
  return `${base}${isNullable ? '?' : ''}${id}${fallback === undefined ? '' : ` @default(${fallback})`}${attribute}`
}

function indexText({ name, method, columns }: ModelIndex): string {
  const ops = method === 'gin' ? '(ops: JsonbPathOps)' : ''
  const type = { btree: '', hash: ', type: Hash', gin: ', type: Gin' }[method]
  return `@@index([${columns.map((column) => `${column}${ops}`).join(', ')}]${type}, map: "${name}")`
}
