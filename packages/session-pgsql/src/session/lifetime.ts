import { clockNow, type StoredSession } from './stored.ts'

/** When a session began and when it ends at the latest (`maxLifetime`). The SQL for the same is in table/lifetime.ts. */

/**
 * Returns when a session began, in seconds since 1970: for a row without `sess_began`, which a process without that
 * column has created.
 */
export function beganWithout({
  generation,
  created,
}: Pick<StoredSession, 'generation' | 'created'>): number | null {
  return generation === null ? created : Math.ceil(Math.abs(generation) / 1e6)
}

/**
 * Returns when a session ends at the latest, in seconds since 1970 by its server's clock; null: it may be extended for
 * ever.
 *
 * @param maxLifetime seconds; Infinity: unlimited
 */
export function endOf({ began }: Pick<StoredSession, 'began'>, maxLifetime: number): number | null {
  return began === null || maxLifetime === Number.POSITIVE_INFINITY ? null : began + Math.ceil(maxLifetime)
}

/** Returns the earlier one of two times; null means never. */
export function earlier(one: number | null, other: number | null): number | null {
  if (one === null || other === null) return one ?? other
  return Math.min(one, other)
}

/**
 * Returns when a session began by the clock of another server.
 *
 * @param clock of the other server
 */
export function beganByClock(
  session: Pick<StoredSession, 'began' | 'clock' | 'readAt'>,
  clock: number,
): number | null {
  return session.began === null ? null : Math.round(session.began + clock - clockNow(session))
}
