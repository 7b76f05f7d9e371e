import { invalid, received, SessionPgsqlError } from '../errors.ts'
import type { ColumnTexts } from './stored.ts'

/**
 * The option `columns`: columns of the session table whose values this library computes from the data. The table may
 * have further columns that it knows nothing of; see table/own-columns.ts.
 */

/** What a function of each type may return, and a filter may contain. */
export interface ColumnInputs {
  text: string
  /** A string of digits too, because node-postgres reads a bigint as one. */
  bigint: number | bigint | string
  integer: number
  boolean: boolean
  uuid: string
  /** A string is ISO 8601 with a time zone, for example the JSON of a Date. */
  timestamptz: Date | string
  jsonb: unknown
}

/** What a session's `columns` have for each type. */
export interface ColumnOutputs {
  text: string
  /** A bigint only if a number cannot hold the value. */
  bigint: number | bigint
  integer: number
  boolean: boolean
  uuid: string
  timestamptz: Date
  jsonb: unknown
}

export type ColumnType = keyof ColumnInputs

interface ColumnOfType<Type extends ColumnType, Data> {
  type: Type
  /**
   * Computes the column's value from the session's data as it is stored; null and undefined are NULL. It must be
   * synchronous and depend on nothing else. Default: none; this process filters by the column but does not fill it.
   */
  value?: ((data: Data) => ColumnInputs[Type] | null | undefined) | undefined
  /** Create an index, for filters by this column. @default false */
  index?: boolean | undefined
}

/** A column: its type, and how its value is computed. */
export type ColumnDefinition<Data> = { [Type in ColumnType]: ColumnOfType<Type, Data> }[ColumnType]

/** Columns by name. */
// biome-ignore lint/suspicious/noExplicitAny: columns of a save handler of any data
export type ColumnDefinitions<Data = any> = Record<string, ColumnDefinition<Data>>

/** The values of columns, by name. null: NULL. */
export type ColumnValues<Columns> = {
  readonly [Name in keyof Columns]: Columns[Name] extends { type: infer Type extends ColumnType }
    ? ColumnOutputs[Type] | null
    : unknown
}

/**
 * Selects sessions by columns. All of them must match. null matches NULL; a jsonb column matches if it contains the
 * value.
 */
export type ColumnFilter<Columns> = {
  readonly [Name in keyof Columns]?: Columns[Name] extends { type: infer Type extends ColumnType }
    ? ColumnInputs[Type] | null
    : unknown
}

/** One column of the option `columns`. */
export interface Column {
  readonly name: string
  readonly type: ColumnType
  readonly index: boolean
  // biome-ignore lint/suspicious/noExplicitAny: data of any type
  readonly value: ((data: any) => unknown) | undefined
}

/** The checked option `columns`. */
export class Columns {
  readonly all: readonly Column[]
  /** Those that this process computes. */
  readonly computed: readonly Column[]

  constructor(all: readonly Column[] = []) {
    this.all = all
    this.computed = all.filter(({ value }) => value !== undefined)
  }

  /**
   * Returns the values for this data; undefined if there is nothing to compute.
   *
   * @param data returns the decoded data, not shared with other code
   * @throws INVALID_DATA
   */
  textsOf(data: () => unknown): ColumnTexts | undefined {
    if (this.computed.length === 0) return undefined
    const decoded = data()
    return this.computed.map((column) => computedText(column, decoded))
  }

  /** Returns the values for this data, by name. @throws INVALID_DATA */
  valuesOf(data: () => unknown): Record<string, unknown> {
    const texts = this.textsOf(data) ?? []
    return valuesByName(this.computed, texts)
  }

  /** Returns the conditions of a filter: each column with its value as text. @throws INVALID_ARGUMENT */
  conditionsOf(filter: object): [Column, string | null][] {
    if (typeof filter !== 'object' || filter === null) {
      throw invalid(`Expected the filter to be an object of columns; received ${received(filter)}.`)
    }
    return Object.entries(filter).map(([name, value]) => {
      const column = this.all.find((one) => one.name === name)
      if (column === undefined) {
        const known = this.all.map((one) => one.name).join(', ') || 'none'
        throw invalid(`Unknown column in a filter. The columns of the option \`columns\` are: ${known}.`)
      }
      if (value === null) return [column, null]
      const text = textOf(column.type, value) ?? textOf(column.type, fromString(column.type, value))
      if (text !== undefined) return [column, text]
      throw invalid(
        `Expected a filter by the column ${name} to be ${EXPECTED[column.type]}, or null; received ${received(value)}.`,
      )
    })
  }
}

/** Returns values as text, by name: each of its column's type. */
export function valuesByName(columns: readonly Column[], texts: ColumnTexts): Record<string, unknown> {
  return Object.fromEntries(columns.map(({ name, type }, index) => [name, parse(type, texts[index] ?? null)]))
}

function computedText({ name, type, value }: Column, data: unknown): string | null {
  let result: unknown
  try {
    result = value?.(data)
  } catch (error) {
    // Not its message, which may contain data.
    const what = error instanceof Error ? error.name : typeof error
    throw fault(name, `its function threw an error (${what})`)
  }
  if (result === null || result === undefined) return null
  const text = textOf(type, result)
  if (text !== undefined) return text
  const what = result instanceof Promise ? 'a promise; the function must be synchronous' : typeof result
  throw fault(name, `expected ${EXPECTED[type]}, null or undefined from its function; received ${what}`)
}

function fault(name: string, reason: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_DATA', `Cannot compute the column ${name}: ${reason}.`)
}

/** What a value of each type looks like, for messages. */
const EXPECTED: Record<ColumnType, string> = {
  text: 'a string without NUL characters and lone surrogates',
  bigint: 'a whole number, a bigint or a string of digits, of at most 64 bits',
  integer: 'a whole number of at most 32 bits',
  boolean: 'true or false',
  uuid: 'a string with a UUID',
  timestamptz: 'a Date, or a string in ISO 8601 with a time zone, of the years 1 to 9999',
  jsonb: 'a JSON value without NUL characters and lone surrogates',
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i
const ISO_TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)$/
/** In JSON: an escaped NUL character or lone surrogate. */
const UNSTORABLE = /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f])/i
const MAX_BIGINT = 2n ** 63n

/** Returns a value as PostgreSQL reads it in any session; undefined if it is not of this type. */
function textOf(type: ColumnType, value: unknown): string | undefined {
  switch (type) {
    case 'text':
      return typeof value === 'string' && !value.includes('\0') && value.isWellFormed() ? value : undefined
    case 'bigint': {
      if (typeof value === 'number' && !Number.isSafeInteger(value)) return undefined
      if (typeof value === 'string' && !/^-?\d{1,19}$/.test(value)) return undefined
      if (typeof value !== 'number' && typeof value !== 'string' && typeof value !== 'bigint')
        return undefined
      const number = BigInt(value)
      return number >= -MAX_BIGINT && number < MAX_BIGINT ? String(number) : undefined
    }
    case 'integer':
      return Number.isInteger(value) && value === ((value as number) | 0) ? String(value) : undefined
    case 'boolean':
      return typeof value === 'boolean' ? String(value) : undefined
    case 'uuid':
      return typeof value === 'string' && UUID.test(value) ? value.toLowerCase() : undefined
    case 'timestamptz': {
      if (!(value instanceof Date) && !(typeof value === 'string' && ISO_TIME.test(value))) return undefined
      const date = new Date(value)
      const year = date.getUTCFullYear()
      return year >= 1 && year <= 9999 ? date.toISOString() : undefined
    }
    case 'jsonb':
      return jsonText(value)
  }
}

/** Returns the value of a text that a user has entered, for types whose values are not strings; undefined for others. */
function fromString(type: ColumnType, value: unknown): unknown {
  if (typeof value !== 'string') return undefined
  if (type === 'integer' && /^-?\d{1,10}$/.test(value)) return Number(value)
  if (type === 'boolean' && /^(?:true|false)$/.test(value)) return value === 'true'
  return undefined
}

function jsonText(value: unknown): string | undefined {
  if (value instanceof Promise) return undefined
  try {
    const text: string | undefined = JSON.stringify(value)
    return text === undefined || UNSTORABLE.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

/** Returns the value of a text that `textOf` or the SQL of a list returned. */
function parse(type: ColumnType, text: string | null): unknown {
  if (text === null) return null
  switch (type) {
    case 'bigint': {
      const number = Number(text)
      return Number.isSafeInteger(number) ? number : BigInt(text)
    }
    case 'integer':
      return Number(text)
    case 'boolean':
      return text === 'true' || text === 't'
    case 'timestamptz':
      return text === '' ? null : new Date(text)
    case 'jsonb':
      return JSON.parse(text)
    default:
      return text
  }
}
