/**
 * Why a session has ended: a caller destroyed it, or gave the data to a new id (`destroyed`); `limitByField` ended it
 * (`limited`); garbage collection found it expired (`expired`).
 */
export type EndReason = 'destroyed' | 'limited' | 'expired'

/** An ended session, as the event `ended` describes it. */
export interface EndedSession {
  /** The stored form of the id: the id itself, or its hashed form if `ids` is not `'plain'`. See `SaveHandler.storedId`. */
  readonly id: string
  /** The first 200 characters of the custom field; null if there was none. */
  readonly custom: string | null
  readonly reason: EndReason
}

/** The most characters of the custom field in an announcement. */
export const MOST_CUSTOM = 200

/** A request to end a session. */
export interface Destroy {
  /** The stored form of the id. */
  readonly id: string
  /** Announced with the session, if announcements are on. */
  readonly reason: EndReason
}
