import { randomInt } from 'node:crypto'

/**
 * A session as it is stored in the table, with its data not decoded. The layers below the save handler use it. Times
 * are seconds since 1970 by the database's clock, as integers.
 */
export interface StoredSession {
  readonly id: string
  readonly name: string | null
  /** The column `sess_data`; the empty string if it is NULL. */
  readonly text: string
  /** The digest of the data, computed by PostgreSQL. It detects writes of programs that do not count versions. */
  readonly digest: string | null
  /**
   * Counts the writes of data in this generation, from the first version of its branch on (`firstVersion`). 0 in a row of
   * a program that does not count them.
   */
  readonly version: number
  readonly created: number | null
  readonly modified: number | null
  /** null: the session does not expire, because another writer set no expiry. */
  readonly expires: number | null
  readonly addressCreated: string | null
  readonly addressModified: string | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly custom: string | null
  /**
   * Distinguishes two generations of one id: microseconds since 1970 at the creation. null in a table without the
   * column `sess_generation`, where the second of creation and the counter are compared instead.
   */
  readonly generation: number | null
  /**
   * When the session began: with this generation, or under an earlier id. null if another writer set no date. It may
   * differ from `created`, which belongs to the row.
   */
  readonly began: number | null
  /** With several servers, the one from which it was read. */
  readonly server?: string
  /** The database's clock at the read, in seconds with a fraction. */
  readonly clock: number
  /** This process's clock at the read, in milliseconds of `performance.now()`. */
  readonly readAt: number
}

/** Versions of one branch: more than a row gets while its home server is down. */
const BRANCH_SIZE = 2 ** 20

/**
 * Returns the version of a new row on a fallback server. Every such row begins a branch: another process may move the
 * row home while this one does not reach the home server, and the next row is made from an older record. The second
 * row does not have what was written to the first. Without branches, that would look as if it had been deleted.
 */
export function firstVersion(): number {
  return randomInt(1, 2 ** 32) * BRANCH_SIZE
}

/** Returns true if two versions of a session are of one branch: the later one was made from the earlier one. */
export function isSameBranch(
  one: Pick<StoredSession, 'version'>,
  other: Pick<StoredSession, 'version'>,
): boolean {
  return Math.floor(one.version / BRANCH_SIZE) === Math.floor(other.version / BRANCH_SIZE)
}

/** Tells one state of a session's data from another. */
export type State = Pick<StoredSession, 'generation' | 'version' | 'digest'>

/**
 * Returns true if the data has not been written between the two reads. The statements make the same comparison; see
 * `sameData` in table/statements.ts.
 */
export function isSameState(one: State, other: State): boolean {
  return one.generation === other.generation && one.version === other.version && one.digest === other.digest
}

/**
 * Returns true if the row was only encrypted with another key, or for the first time, between the two reads: that changes
 * the stored text and its digest, and neither the data nor the version.
 */
export function isReencrypted(
  one: State & Pick<StoredSession, 'text'>,
  other: State & Pick<StoredSession, 'text'>,
): boolean {
  return (
    isSameState(one, { ...other, digest: one.digest }) &&
    one.digest !== other.digest &&
    one.text === other.text
  )
}

/**
 * Returns true if both sides set the custom field to different values: two users logged in at the same time. Their data
 * must not be mixed.
 */
export function areOfTwoUsers(ours: string | null, theirs: string | null, base: string | null): boolean {
  return ours !== base && theirs !== base && ours !== theirs
}

/** Returns the database's clock now, as known from the read of a session, in seconds since 1970. */
export function clockNow({ clock, readAt }: Pick<StoredSession, 'clock' | 'readAt'>): number {
  return clock + (performance.now() - readAt) / 1000
}

/** Returns the seconds until the session expires, by the database's clock; Infinity if it does not. */
export function remaining(stored: StoredSession): number {
  if (stored.expires === null) return Number.POSITIVE_INFINITY
  return stored.expires - clockNow(stored)
}

/** The metadata that a write or a touch updates. */
export interface MetadataUpdate {
  /** The new custom field. Default: unchanged. */
  readonly custom?: string | null
  /** The numbers to add to the counters. */
  readonly errors?: number
  readonly warnings?: number
  readonly notices?: number
  /** The last error message. Default: unchanged. */
  readonly message?: string
}

/** Values of the computed columns (option `columns`) as text, in the order of `Columns.computed`; null is NULL. */
export type ColumnTexts = readonly (string | null)[]

/** The change that a write requests. */
export interface Change {
  readonly id: string
  readonly text: string
  /** Seconds to live from now. */
  readonly lifetime: number
  /** Whether it counts as an access. */
  readonly access: boolean
  readonly address: string | null
  readonly name: string
  readonly metadata: MetadataUpdate | undefined
  /** The values of the computed columns for this text. undefined: the process computes none. */
  readonly columns?: ColumnTexts | undefined
  /** The session that a new one continues: it began with it. undefined: a new session begins now. */
  readonly since?: StoredSession | undefined
}

/** A request to move the expiry. */
export interface Touch {
  readonly id: string
  /** Seconds to live from now; null: the expiry does not change. */
  readonly lifetime: number | null
  readonly access: boolean
  readonly metadata: MetadataUpdate | undefined
  /** With a base, the expiry may be shortened too, and only this generation of the id is touched. */
  readonly base: StoredSession | undefined
}

/** The greatest `expiryGrace`, in seconds: no request takes longer. Tombstones are kept for at least as long. */
export const MAX_EXPIRY_GRACE = 3600
