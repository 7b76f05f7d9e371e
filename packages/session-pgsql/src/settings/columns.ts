import { type Column, Columns, type ColumnType } from '../session/columns.ts'
import { problem, refuse, typeName } from './checks.ts'

const TYPES: readonly string[] = [
  'text',
  'bigint',
  'integer',
  'boolean',
  'uuid',
  'timestamptz',
  'jsonb',
] satisfies ColumnType[]

/** Ours begin with `sess_`; the others are PostgreSQL's own. */
const RESERVED = /^(?:sess_.*|ctid|tableoid|xmin|xmax|cmin|cmax)$/i

const EXPECTED = "an object such as { user_id: { type: 'bigint', value: (data) => data.user?.id } }"

/** Checks the option `columns`. */
export function columns(where: string, value: unknown): Columns {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw refuse(where, EXPECTED, value)
  return new Columns(Object.entries(value).map(([name, one]) => column(`${where}: ${name}`, name, one)))
}

function column(where: string, name: string, definition: unknown): Column {
  if (!/^[a-z_][a-z0-9_]{0,62}$/i.test(name)) {
    throw problem(`${where}: expected a column name of 1 to 63 letters, digits and underscores`)
  }
  if (RESERVED.test(name)) {
    throw problem(`${where}: this name is reserved. Use one that does not begin with sess_`)
  }
  if (typeof definition !== 'object' || definition === null) {
    throw refuse(where, "an object such as { type: 'text', value: (data) => data.tenant }", definition)
  }
  const { type, value, index = false, ...others } = definition as Record<string, unknown>
  if (typeof type !== 'string' || !TYPES.includes(type)) {
    throw refuse(`${where}.type`, `one of ${TYPES.join(', ')}`, type)
  }
  if (value !== undefined && typeof value !== 'function') {
    throw problem(`${where}.value: expected a function of the data; received ${typeName(value)}`)
  }
  if (typeof index !== 'boolean') throw refuse(`${where}.index`, 'true or false', index)
  const [unknown] = Object.keys(others)
  if (unknown !== undefined) {
    throw problem(`${where}: unknown property "${unknown}". Known: type, value, index`)
  }
  return Object.freeze({ name, type: type as ColumnType, index, value: value as Column['value'] })
}

/** Returns the definitions in a text: `user_id:bigint:index,tenant:text`. */
export function columnsText(text: string): unknown {
  const parts = text.split(/[\s,]+/).filter((part) => part !== '')
  const definitions = parts.map((part) => part.split(':'))
  const isFit = definitions.every(
    ([, type, index, ...rest]) =>
      type !== undefined && (index === undefined || index === 'index') && rest.length === 0,
  )
  if (!isFit) return text
  return Object.fromEntries(
    definitions.map(([name, type, index]) => [name, { type, index: index === 'index' }]),
  )
}
