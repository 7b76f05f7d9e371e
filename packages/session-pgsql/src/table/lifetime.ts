import type { Shape } from './definition.ts'
import { divide, ge, plus } from './sql.ts'

/**
 * SQL of `maxLifetime`: when a session began, and that it expires at its end at the latest. Reads apply it too, because
 * programs that do not know it set later expiries. Without it, the SQL is what it was without the feature.
 */

/** Returns SQL of when the session of a row began; as `beganWithout` if the row or the table does not say it. */
export function beganOf(row: string, { added }: Shape): string {
  const generation = divide(`pg_catalog.abs(${row}.sess_generation)::double precision`, '1e6')
  const known = [
    ...(added.has('sess_began') ? [`${row}.sess_began`] : []),
    ...(added.has('sess_generation') ? [`pg_catalog.ceil(${generation})::bigint`] : []),
    `${row}.sess_created`,
  ]
  return `coalesce(${known.join(', ')})`
}

/** Returns SQL of an expiry, or of the end of a session that began at `began` if that is earlier. */
export function limited(expiry: string, began: string, { maxLifetime }: Shape): string {
  if (maxLifetime === Number.POSITIVE_INFINITY) return expiry
  return `least(${expiry}, ${plus(began, `${Math.ceil(maxLifetime)}::bigint`)})`
}

/** Returns SQL of the expiry that applies to a row; NULL: it does not expire. */
export function expiryOf(row: string, shape: Shape): string {
  return limited(`${row}.sess_expire`, beganOf(row, shape), shape)
}

/** Returns the condition: the session of a row has not expired at this time. */
export function isAliveAt(row: string, shape: Shape, time: string): string {
  const expiry = expiryOf(row, shape)
  return `(${expiry} IS NULL OR ${ge(expiry, time)})`
}
