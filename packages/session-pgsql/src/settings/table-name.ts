import { refuse } from './checks.ts'

export interface TableName {
  /** Undefined: the first schema of the connection's search_path that has such a table, or may get one. */
  readonly schema: string | undefined
  /** As PostgreSQL stores it: not quoted, not folded to lower case. */
  readonly name: string
}

/** PostgreSQL would cut off what is longer, silently: two tables could become one. */
const LONGEST_IDENTIFIER = 63

const EXPECTED =
  'the name of a table, or schema.table, each with 1 to 63 bytes; a name that holds a dot stands in double quotes, with "" for a quote in it'

/**
 * Reads `table`. A part without quotes is taken literally: `Sessions` is a table whose name begins with a
 * capital, for nobody can see in JavaScript that SQL would fold it.
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

function identifier(where: string, part: string, whole: string): string {
  const name = part.startsWith('"') ? part.slice(1, -1).replaceAll('""', '"') : part
  const bytes = Buffer.byteLength(name)
  if (bytes === 0 || bytes > LONGEST_IDENTIFIER || name.includes('\0') || /\p{Cs}/u.test(name)) {
    throw refuse(where, EXPECTED, whole)
  }
  return name
}
