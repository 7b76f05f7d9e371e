/**
 * The fields of a row as PostgreSQL prints it whole, `(a,,"b, ""c""")`; an empty field is NULL.
 *
 * A session's record travels as one such text: node-postgres takes as long for each column of an answer as this
 * does for a whole record.
 */
export function fieldsOf(row: string): (string | null)[] {
  const fields: (string | null)[] = row.slice(1, -1).split(',')
  // A blank, a comma, a bracket: then PostgreSQL quotes. Ids, names, addresses and numbers have none, as a rule.
  if (row.includes('"')) return quotedFieldsOf(row)
  for (let index = 0; index < fields.length; index++) if (fields[index] === '') fields[index] = null
  return fields
}

function quotedFieldsOf(row: string): (string | null)[] {
  const fields: (string | null)[] = []
  for (const [, quoted, bare] of `,${row.slice(1, -1)}`.matchAll(FIELD)) {
    fields.push(quoted === undefined ? bare || null : quoted.replace(ESCAPED, '$1'))
  }
  return fields
}

/** A field with the comma before it. */
const FIELD = /,(?:"((?:[^"\\]|\\.|"")*)"|([^",]*))/gs

/** Inside quotes a quote and a backslash stand twice. */
const ESCAPED = /["\\](["\\])/g
