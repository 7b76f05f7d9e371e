import type { SessionRecord } from '../../session/record.ts'
import { AUTHENTICATED } from '../shared/authentication.ts'

/** The data of a session as it is stored: the application's keys, and the adapter's own. */
export type Stored = Record<string, unknown> & { [RESERVED]?: IdChanges }

/** The key in the data under which the adapter stores the changes of the id. */
export const RESERVED = '$session'

/**
 * How the ids of one session are connected. Each is a key of its own, so that a merge keeps concurrent changes. Ids are
 * in the form in which the table stores them, so a reader of the table finds no other id in them.
 */
export interface IdChanges {
  /** In the row of the old id: the new ids, and the end of the grace period of each (milliseconds since 1970). */
  next?: Record<string, number>
  /**
   * In the row of the old id: the new ids whose rows have received everything that is stored under the old one. From
   * then on a request that changes the old row changes these rows, too. Without it, the request that changes the id
   * applies its changes.
   */
  moved?: Record<string, true>
  /** In the row of the old id: the session is being destroyed. */
  ended?: true
  /** In the row of the new id: the old id. */
  previous?: string
}

/** Returns the data without the reserved key. */
export function applicationData({ [RESERVED]: _, ...data }: Stored): Stored {
  return data
}

/** Returns the data without the keys of the adapters, as the application sees it. */
export function shownData(stored: Stored): Stored {
  const { [AUTHENTICATED]: _, ...data } = applicationData(stored)
  return data
}

export function idChangesOf(record: SessionRecord<Stored> | undefined): IdChanges {
  return record?.data[RESERVED] ?? {}
}

/** Returns the other ids of the session: the new ids of an old one, and the old id of a new one. */
export function otherIds({ next = {}, previous }: IdChanges): string[] {
  return [...Object.keys(next), ...(previous === undefined ? [] : [previous])]
}

/** Returns true if the session has another id now, or is being destroyed. */
export function isLeaving(changes: IdChanges | undefined): boolean {
  return changes?.ended === true || Object.keys(changes?.next ?? {}).length > 0
}

/** Returns the new ids that a request must change itself if it changes the row of the old id. */
export function movedIds(changes: IdChanges | undefined): string[] {
  return Object.keys(changes?.moved ?? {})
}

/** Returns true if no new id receives any longer what is stored under the old one. */
export function isMoved(changes: IdChanges | undefined): boolean {
  const next = Object.keys(changes?.next ?? {})
  return next.length > 0 && next.length === movedIds(changes).length
}

/** Returns true if the grace period is over. The row may still exist, because a touch has extended it. */
export function hasEnded(changes: IdChanges | undefined): boolean {
  const until = Object.values(changes?.next ?? {})
  return changes?.ended === true || (until.length > 0 && Math.max(...until) < Date.now())
}
