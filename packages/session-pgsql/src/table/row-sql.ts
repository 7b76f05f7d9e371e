import type { Shape } from './definition.ts'
import { expiryOf } from './lifetime.ts'
import { BYTEWISE, divide, ne, plus, times } from './sql.ts'

/** SQL of the columns of a session's row, for requests, lists, sweeps, imports and row copies. */

/**
 * Returns the columns of a session except its data, in the order in which answers.ts reads them. Counters that are
 * nearly always 0 are sent as NULL, which takes no bytes.
 */
export function recordColumns(row: string, shape: Shape): string {
  const generation = shape.added.has('sess_generation') ? `${row}.sess_generation` : 'NULL::bigint'
  const nullIfZero = (column: string) => `CASE WHEN ${ne(`${row}.${column}`, '0')} THEN ${row}.${column} END`
  const columns = [
    ...['sess_id', 'sess_name'].map((column) => `${row}.${column}`),
    digest(`${row}.sess_data`, shape),
    ...['sess_created', 'sess_modified'].map((column) => `${row}.${column}`),
    expiryOf(row, shape),
    ...['sess_addr_created', 'sess_addr_modified', 'sess_counter'].map((column) => `${row}.${column}`),
    ...['sess_error', 'sess_warning', 'sess_notice'].map(nullIfZero),
    ...['sess_err_message', 'sess_custom'].map((column) => `${row}.${column}`),
    generation,
    shape.added.has('sess_version') ? `${row}.sess_version` : 'NULL::bigint',
    // Usually the second of creation, which is not sent twice.
    shape.added.has('sess_began')
      ? `CASE WHEN ${ne(`${row}.sess_began`, `${row}.sess_created`)} THEN ${row}.sess_began END`
      : 'NULL::bigint',
  ]
  return columns.join(', ')
}

/**
 * Returns SQL of the digest by which a compare-and-swap detects the writes of programs that do not count versions, such
 * as the C extension. Measured for 0.5 KB: 0.9 us with these 64 bits, 1.9 us with sha256. With a seed that a client
 * knows, two states of a session with one digest are found in 0.2 s, and a stale write passes for a current one. So
 * without a secret seed, or without versions, the digest is sha256. "C": a nondeterministic collation would make
 * different texts equal.
 */
export function digest(data: string, { added, digestSeed }: Shape): string {
  if (digestSeed !== undefined && added.has('sess_version')) {
    return `pg_catalog.hashtextextended(${data} ${BYTEWISE}, ${digestSeed})::pg_catalog.text`
  }
  const bytes = `pg_catalog.convert_to(${data}, pg_catalog.getdatabaseencoding())`
  return `pg_catalog.encode(pg_catalog.sha256(${bytes}), 'hex')`
}

/** Returns SQL of a value for a column, at most the column's maximum if it has 32 bits. */
export function capped(shape: Shape, column: string, value: string): string {
  return shape.narrow.has(column as never) ? `least(${value}, 2147483647)` : value
}

/** Returns SQL of a row's version after a write of its data. */
export function nextVersion(row: string): string {
  return plus(`coalesce(${row}.sess_version, 0)`, '1')
}

/**
 * Returns SQL of `sess_sweep` for a row with this expiry: rounded up to the hour, so that touches are HOT updates.
 * Capped, because other writers use the greatest bigint for "never".
 */
export function sweepTime(expiry: string): string {
  const hours = divide(`(${expiry})::double precision`, '3600')
  return `least(${times(`pg_catalog.ceil(${hours})`, '3600')}, 9e18)::bigint`
}
