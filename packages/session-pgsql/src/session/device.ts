import type { Incomplete } from './filter.ts'
import type { SessionInfo, SessionRecord } from './record.ts'
import { HASHED_ID_PREFIX, hashedId } from './stored-id.ts'

/**
 * A session as a "where you're logged in" page shows it. It contains no id, so that it can be sent to the
 * browser: a client that knows the id of a session can use the session.
 */
export interface Device<Data> {
  /**
   * Ends the session (`endDevice`), and cannot be used to sign in: 43 characters, the SHA-256 hash of the session's id in
   * base64url. It stays the same until the id changes.
   */
  readonly handle: string
  /** Whether it is the session of the request that asks. */
  readonly isCurrent: boolean
  /** When the session began under this id, usually at the login, by the database's clock. */
  readonly firstSeen: Date | null
  /** The last write of the session's data. Requests that change nothing do not count. */
  readonly lastSeen: Date | null
  readonly expires: Date | null
  /** The client's address at the first write. */
  readonly firstAddress: string | null
  /** The client's address at the last write. */
  readonly lastAddress: string | null
  /** The session's data, such as the user agent that the application has stored in it. */
  readonly data: Data
}

/** The devices of a user, the last seen first. */
export interface Devices<Data> extends Array<Device<Data>>, Incomplete {}

/** Returns the handle of a session, from its id or from the hashed form of its id. */
export function handleOf(id: string): string {
  return hashedId(id).slice(HASHED_ID_PREFIX.length)
}

/** @param data the part of the record's data to show */
export function deviceOf<Data>(record: SessionRecord<unknown>, data: Data, isCurrent: boolean): Device<Data> {
  const { created, modified, expires, addressCreated, addressModified }: SessionInfo = record
  return {
    handle: handleOf(record.id),
    isCurrent,
    firstSeen: created,
    lastSeen: modified,
    expires,
    firstAddress: addressCreated,
    lastAddress: addressModified,
    data,
  }
}
