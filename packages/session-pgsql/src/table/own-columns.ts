import { FILLED } from './computed-columns.ts'
import { ADDED_COLUMN_NAMES, EXTENSION_COLUMN_NAMES, quoteLiteral } from './definition.ts'
import { eq, gt, isNotIn, ne } from './sql.ts'

/**
 * The columns of a session table that are not this library's: a user has added them, or they are the computed columns
 * of the option `columns`, of which this process may not know. They are copied with a row, as text.
 */

/** The user's own columns of a row, by name: each value as PostgreSQL prints it. */
export type OwnColumns = Readonly<Record<string, string | null>>

/** Types of the user's own columns in SQL, by name. */
export type OwnTypes = ReadonlyMap<string, string>

/** Returns the result of `ownTypesText`. */
export function ownTypesOf(text: string | null | undefined): OwnTypes {
  return new Map(Object.entries(JSON.parse(text ?? '{}')))
}

const OUR_COLUMNS = [...EXTENSION_COLUMN_NAMES, ...ADDED_COLUMN_NAMES, FILLED].join(',')

/**
 * Returns SQL of the user's own columns that a program can write, with their types, as a JSON object; NULL if there are
 * none. Queried for each row, because a user may add a column while processes run.
 */
export function ownTypesText(table: string): string {
  return `(SELECT pg_catalog.json_object_agg(a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod))::pg_catalog.text
    FROM pg_catalog.pg_attribute a
    WHERE ${eq('a.attrelid', `${quoteLiteral(table)}::pg_catalog.regclass::pg_catalog.oid`)}
      AND ${gt('a.attnum', '0')} AND NOT a.attisdropped
      AND ${eq('a.attgenerated::pg_catalog.text', "''")} AND ${ne('a.attidentity::pg_catalog.text', "'a'")}
      AND ${isNotIn('a.attname::pg_catalog.text', `'{${OUR_COLUMNS}}'::pg_catalog.text[]`)})`
}

/**
 * Sets what the text of a value depends on until the transaction ends, so that another server reads the same value from
 * it, whatever the settings of its roles are.
 */
export const PORTABLE: string = [
  ['DateStyle', 'ISO, YMD'],
  ['IntervalStyle', 'postgres'],
  ['extra_float_digits', '3'],
  ['bytea_output', 'hex'],
]
  .map(([name, value]) => `, pg_catalog.set_config('${name}', '${value}', true)`)
  .join('')
