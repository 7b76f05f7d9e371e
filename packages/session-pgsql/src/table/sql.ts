/**
 * Parts of SQL that mean the same whatever the search_path is. Another role may own a schema on the path, and a
 * function or an operator that it defines there runs with our privileges: PostgreSQL prefers it if its types fit
 * better, or if the path names the schema before pg_catalog. So every statement names the schema of each function
 * (`pg_catalog.ceil`), operator, collation, system table, and type, except types that are keywords (`bigint`,
 * `boolean`, `double precision`).
 *
 * `IN`, `BETWEEN`, `LIKE`, `nullif`, `IS DISTINCT FROM`, `CASE x WHEN`, and `USING` look up operators by the path; the
 * functions below replace them. `coalesce`, `greatest`, `least`, `extract`, `IS NULL`, `ORDER BY`, and `GROUP BY` do not.
 *
 * The results are parenthesized, because a qualified operator has another precedence than the operator itself.
 */

type BinaryOperator = (left: string, right: string) => string

export const eq: BinaryOperator = operator('=')
export const ne: BinaryOperator = operator('<>')
export const lt: BinaryOperator = operator('<')
export const le: BinaryOperator = operator('<=')
export const gt: BinaryOperator = operator('>')
export const ge: BinaryOperator = operator('>=')
export const plus: BinaryOperator = operator('+')
export const minus: BinaryOperator = operator('-')
export const times: BinaryOperator = operator('*')
export const divide: BinaryOperator = operator('/')

function operator(symbol: string): BinaryOperator {
  return (left, right) => `(${left} OPERATOR(pg_catalog.${symbol}) ${right})`
}

/** `a || b || …` */
export function concat(first: string, ...others: readonly string[]): string {
  return others.reduce(operator('||'), first)
}

/** `value = ANY (set)`. @param set an array, or a SELECT */
export function isIn(value: string, set: string): string {
  return `(${value} OPERATOR(pg_catalog.=) ANY (${set}))`
}

/** `value <> ALL (set)`. @param set an array */
export function isNotIn(value: string, set: string): string {
  return `(${value} OPERATOR(pg_catalog.<>) ALL (${set}))`
}

/** `a IS NOT DISTINCT FROM b`. Evaluates both twice if one is NULL. */
export function same(left: string, right: string): string {
  return `coalesce(${eq(left, right)}, ${left} IS NULL AND ${right} IS NULL)`
}

/** `json->>'key'` of a text with a JSON object. */
export function jsonText(json: string, key: string): string {
  return operator('->>')(`${json}::pg_catalog.jsonb`, `'${key}'`)
}

/** `json ? key` of a text with a JSON object or array. @param key SQL of a text */
export function jsonHas(json: string, key: string): string {
  return operator('?')(`${json}::pg_catalog.jsonb`, key)
}

/** The text's characters are compared by their bytes. */
export const BYTEWISE = 'COLLATE pg_catalog."C"'

/** The database's clock, in seconds since 1970. Not `now()`, which does not advance while a statement waits. */
export const CLOCK = 'extract(epoch FROM pg_catalog.clock_timestamp())::double precision'

/**
 * A time in microseconds, as statements return it: how many digits of a float8 PostgreSQL prints depends on a setting.
 *
 * @param seconds SQL of the time in seconds
 */
export function microseconds(seconds: string): string {
  return `${times(seconds, '1000000')}::bigint`
}

/** SQL of an expression that limits how long the rest of the transaction waits for locks. */
export function setLockTimeout(milliseconds: number): string {
  return `pg_catalog.set_config('lock_timeout', '${milliseconds}', true)`
}
