/** A session of a user, as far as it matters which of the user's sessions end first. */
export interface UserSession {
  readonly id: string
  /** Seconds since it began, by its server's clock; null: unknown. */
  readonly age: number | null
  /** Tells sessions apart that began in the same second. */
  readonly generation: number | null
  /** False: it has expired, but a request in progress may still save it. */
  readonly isActive: boolean
}

/**
 * Returns the sessions to end so that `max` are left: those that have expired, then the oldest.
 *
 * @param keep ids that do not end. They are one session, which may have several ids while its id changes. Without a row,
 * the session has ended, and takes no place
 */
export function sessionsBeyond(
  sessions: readonly UserSession[],
  max: number,
  keep: ReadonlySet<string>,
): UserSession[] {
  const others = sessions.filter(({ id }) => !keep.has(id))
  const places = others.length < sessions.length ? Math.max(0, max - 1) : max
  return others.toSorted(byUse).slice(places)
}

/** The first one is the last to end. */
function byUse(one: UserSession, other: UserSession): number {
  if (one.isActive !== other.isActive) return one.isActive ? -1 : 1
  const ages = (one.age ?? Number.MAX_VALUE) - (other.age ?? Number.MAX_VALUE)
  const generations = Math.abs(other.generation ?? 0) - Math.abs(one.generation ?? 0)
  return ages || generations || (one.id < other.id ? -1 : 1)
}
