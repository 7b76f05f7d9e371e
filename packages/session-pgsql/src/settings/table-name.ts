import { refuse } from './checks.ts'

export interface TableName {
  /** Undefined for the first schema of the connection's search_path that has the table, or in which it can be created. */
  readonly schema: string | undefined
  /** As PostgreSQL stores it: neither quoted nor converted to lower case. */
  readonly name: string
}

/** PostgreSQL truncates longer names, so two names could become one table. */
const LONGEST_IDENTIFIER = 63

const EXPECTED =
  'table or schema.table, each name with 1 to 63 bytes; a name that contains a dot in double quotes, with "" for a double quote'

/**
 * Parses the option `table`. Takes names without quotes literally: `Sessions` has a capital letter, although SQL would
 * convert it to lower case, which a JavaScript developer does not expect.
 */
export function tableName(where: string, value: unknown): TableName {
  if (typeof value !== 'string') throw refuse(where, EXPECTED, value)
  const match = /^(?:("(?:[^"]|"")*"|[^".]*)\.)?("(?:[^"]|"")*"|[^".]*)$/s.exec(value)
  if (match === null) throw refuse(where, EXPECTED, value)
  const [, schema, name = ''] = match
  return Object.freeze({
    schema: schema === undefined ? undefined : identifier(where, schema, value),
    name: identifier(where, name, value),
  })
}

/** Returns the table in another schema, whose name is taken literally. */
export function inSchema(where: string, { name }: TableName, schema: string): TableName {
  return Object.freeze({ schema: identifier(where, schema, schema), name })
}

function identifier(where: string, part: string, whole: string): string {
  const name = part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part
  const bytes = Buffer.byteLength(name)
  if (bytes === 0 || bytes > LONGEST_IDENTIFIER || name.includes('\0') || /\p{Cs}/u.test(name)) {
    throw refuse(where, EXPECTED, whole)
  }
  return name
}
