import { earlier } from '../session/lifetime.ts'
import {
  areOfTwoUsers,
  isReencrypted,
  isSameBranch,
  isSameState,
  type StoredSession,
} from '../session/stored.ts'
import type { OwnColumns } from '../table/own-columns.ts'
import {
  type LostChange,
  type RecordedBase,
  type RowCopy,
  receivedOf,
  recordBase,
  recordedBaseOf,
} from '../table/row-copies.ts'
import { lastUse } from '../table/tombstones.ts'

/**
 * Merges two versions of a session's data that were both made from `base`. Arguments and result are encoded.
 * `ofTwoUsers`: both set the custom field to different values, so the data must not be mixed.
 */
export type MergeTexts = (
  ours: string,
  theirs: string,
  base: string,
  ofTwoUsers: boolean,
) => string | Promise<string>

/** What became of a row that was moved to another server. */
export type FailbackOutcome =
  /** It was written there unchanged. */
  | 'brought'
  /** The row there had changed too: both changes are kept. */
  | 'merged'
  /** It was discarded: the session was destroyed there, or the row belongs to an earlier generation of the id. */
  | 'dropped'

/** Where a row is moved, and what the process knows. */
export interface Move {
  readonly from: string
  readonly to: string
  /** Of the home server, in seconds since 1970. */
  readonly clock: number
  /** Whether a third server may have a row of this id. */
  readonly mayBeElsewhere: boolean
  readonly merge: MergeTexts
}

/**
 * Decides what the home server stores, given the row that arrives and the row that is there. The times of both rows are
 * by the home server's clock.
 *
 * @param row arrives from the server `from`
 * @param current the row on the home server `to`, if there is one
 * @returns without `next`, the row on the home server stays as it is
 */
export async function settle(
  row: RowCopy,
  current: RowCopy | undefined,
  { from, to, clock, mayBeElsewhere, merge }: Move,
): Promise<{ next?: RowCopy; outcome: FailbackOutcome }> {
  const { session } = row
  const receivedBefore = receivedVersion(row, current, from)
  if (receivedBefore !== undefined && row.destroyed === null && isUnchanged(session, receivedBefore)) {
    return { outcome: 'brought' }
  }
  const base = receivedBefore ?? recordedBaseOf(row)
  if (row.destroyed !== null) {
    const applies =
      current === undefined
        ? mayBeElsewhere || isOfSession(row)
        : current.destroyed === null && supersedes(row, current.session, base)
    if (!applies) return { outcome: 'dropped' }
    // The session that it ends may live longer than those on the server from which it comes.
    const keptUntil = Math.max(row.keptUntil ?? 0, lastUse(current?.session.expires ?? 0, clock))
    return { next: { ...row, keptUntil }, outcome: 'brought' }
  }
  if (isExpired(session, clock)) return { outcome: 'dropped' }
  if (current === undefined) {
    // A row existed here when the base was read, and GC cannot have removed it yet: it was destroyed since.
    const wasHere = base !== undefined && base.destroyed === undefined && base.server === to
    const swept = base !== undefined && isExpired(base, clock)
    return wasHere && !swept ? { outcome: 'dropped' } : { next: row, outcome: 'brought' }
  }
  if (current.destroyed !== null) {
    // A misplaced row (without `home`) is from before the list of servers was changed.
    const isEnded = row.home === null || supersedes(current, session, undefined)
    return isEnded ? { outcome: 'dropped' } : { next: row, outcome: 'brought' }
  }
  const other = current.session
  if (other.generation === session.generation && other.text === session.text) {
    return { next: { ...row, session: withMaxima(session, other) }, outcome: 'brought' }
  }
  if (base === undefined) {
    // Of two versions of which one is merely misplaced, the one with more accesses is the later one.
    if (row.home === null) {
      const isNewer = other.generation === session.generation && session.accesses > other.accesses
      return isNewer ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
    }
    if (isExpired(other, clock)) return { next: row, outcome: 'brought' }
    return { next: await merged(row, other, undefined, merge), outcome: 'merged' }
  }
  if (base.replaced !== undefined) {
    if (isExpired(other, clock)) return { next: row, outcome: 'brought' }
    // A request that has read the replaced session may continue with it, as after any write without a base.
    return isCreatedUntil(base.replaced, other)
      ? { next: await merged(row, other, base, (ours) => ours), outcome: 'brought' }
      : { next: await merged(row, other, base, merge), outcome: 'merged' }
  }
  if (base.destroyed !== undefined) {
    const { generation, destroyed } = base
    const isOld = generation === null ? isCreatedUntil(destroyed, other) : other.generation === generation
    return isOld || isExpired(other, clock) ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
  }
  if (other.generation !== base.generation && !isMerged(current, base)) return { outcome: 'dropped' }
  const state = { ...base, generation: other.generation, version: base.version ?? other.version }
  if (isSameState(other, state) || isReencrypted(other, state)) {
    const { generation } = other
    return {
      next: { ...row, session: { ...withCounts(session, other, base), generation } },
      outcome: 'brought',
    }
  }
  return { next: await merged(row, other, base, merge), outcome: 'merged' }
}

/**
 * Returns what a fallback server's row has of the version that a request has read elsewhere, or before another process
 * moved the row home.
 *
 * - `all`: it was made from this version or a later one. Also if that is unknown, but the version is of the home server:
 *   it was probably read before the outage
 * - `part`: it was made from an earlier one
 * - `unknown`: neither is made from the other
 */
export function containsOf(row: RowCopy, read: StoredSession, home: string): 'all' | 'part' | 'unknown' {
  if (isSameBranch(row.session, read) && row.session.version >= read.version) return 'all'
  const base = recordedBaseOf(row)
  if (base?.version === undefined || base.destroyed !== undefined || base.replaced !== undefined) return 'all'
  if (base.generation !== read.generation) return 'all'
  // The home server's row continues each branch that is moved there.
  const isOneLine =
    isSameBranch({ version: base.version }, read) || (base.server === home && read.server === home)
  if (isOneLine) return base.version < read.version ? 'part' : 'all'
  return read.server === home ? 'all' : 'unknown'
}

/**
 * Brings a fallback server's row up to date with a later version than it was made from, which a request has read before
 * the home server went down, or before the row's predecessor was moved home. Otherwise what that version added would
 * look as if the row had deleted it.
 */
export async function caughtUp(row: RowCopy, later: StoredSession, merge: MergeTexts): Promise<RowCopy> {
  const base = recordedBaseOf(row)
  const { session } = await merged(row, later, base, merge)
  // The times in the row are by the fallback server's clock.
  const { began, expires, version } = row.session
  return {
    ...row,
    session: { ...session, began, expires, version: version + 1 },
    base: recordBase(later, base?.own === undefined ? {} : { own: base.own }),
    // The computed columns are those of the earlier data.
    filled: null,
  }
}

/**
 * Returns the user's own columns of a settled row. A value that was changed on the fallback server wins; one that has
 * been there since the row was written is not known to be of this session.
 */
export function settledOwn(next: RowCopy, row: RowCopy, current: RowCopy | undefined): OwnColumns {
  const { own = {} } = row
  if (current?.own === undefined || next.session.generation !== current.session.generation) return own
  const before = recordedBaseOf(row)?.own ?? {}
  const changed = Object.entries(own).filter(([column, value]) => value !== (before[column] ?? null))
  return { ...current.own, ...Object.fromEntries(changed) }
}

/** Returns true if this generation was merged into the row when a fallback's row was received. */
export function isMerged(
  { received }: RowCopy,
  { generation }: { readonly generation: number | null },
): boolean {
  return received !== null && receivedOf(received).generation === generation
}

/**
 * Returns the version of the row that the home server has already received, if it has: a process may have failed
 * between the commit at home and the removal of the row from the fallback.
 */
function receivedVersion(row: RowCopy, current: RowCopy | undefined, from: string): RecordedBase | undefined {
  if (current?.received == null) return undefined
  const received = receivedOf(current.received)
  const isSame =
    received.from === from && received.base === row.base && received.generation === row.session.generation
  if (isSame) return received.row
  // A row received from another fallback was made from the row of this one.
  const base = recordedBaseOf(received)
  return base?.server === from && base.generation === row.session.generation ? base : undefined
}

function isUnchanged(session: StoredSession, version: RecordedBase): boolean {
  const names = ['text', 'accesses', 'errors', 'warnings', 'notices', 'errorMessage', 'custom'] as const
  return names.every((name) => session[name] === version[name])
}

/**
 * Returns true if a tombstone ends this session: it ends its own generation, or, if that was unknown, every row that
 * was created before the destroy by the home server's clock.
 */
export function supersedes(
  tombstone: RowCopy,
  session: StoredSession,
  base: RecordedBase | undefined,
): boolean {
  const { generation } = tombstone.session
  if (generation !== null) return session.generation === generation || isMerged(tombstone, session)
  if (base !== undefined && base.generation !== null && session.generation === base.generation) return true
  return isCreatedUntil(tombstone.destroyed ?? 0, session)
}

/** Returns false for a tombstone of an id that its server did not have. */
function isOfSession({ session, base }: RowCopy): boolean {
  return session.created !== null || session.generation !== null || base !== null
}

/**
 * Returns true if a session was created at this time or before. A negative generation was created by a process that did
 * not know the home server's clock: it cannot be compared, and counts as earlier.
 */
function isCreatedUntil(time: number, { generation, created }: StoredSession): boolean {
  return (generation ?? 0) < 0 || (created ?? 0) <= time
}

function isExpired({ expires }: { readonly expires: number | null }, clock: number): boolean {
  return expires !== null && expires < clock
}

async function merged(
  row: RowCopy,
  other: StoredSession,
  base: RecordedBase | undefined,
  merge: MergeTexts,
): Promise<RowCopy> {
  const ofTwoUsers = areOfTwoUsers(row.session.custom, other.custom, base?.custom ?? null)
  // A write that was repeated after its answer was lost is in both: merged, a list would hold what it added twice.
  const isRepeated =
    row.session.text === other.text || (base?.lost !== undefined && isApplied(base.lost, other))
  const text = isRepeated
    ? row.session.text
    : await merge(row.session.text, other.text, base?.text ?? '', ofTwoUsers)
  const { generation, created, addressCreated } = other
  const session = withCounts(row.session, other, base)
  return { ...row, session: { ...session, text, generation, created, addressCreated } }
}

const COUNTERS = ['accesses', 'errors', 'warnings', 'notices'] as const
type Counter = (typeof COUNTERS)[number]

/**
 * Returns true if the home server has applied a change whose answer was lost. It was repeated on the fallback server, and
 * must not count twice. If the home server's data was changed again since, it cannot be recognized.
 */
function isApplied(lost: LostChange, other: StoredSession): boolean {
  return other.text === lost.text && COUNTERS.every((name) => other[name] >= lost[name])
}

/** Returns the session with the metadata of both sides merged: counters add up what either counted since the base. */
function withCounts(
  session: StoredSession,
  other: StoredSession,
  base: RecordedBase | undefined,
): StoredSession {
  const counted = base?.lost !== undefined && isApplied(base.lost, other) ? base.lost : base
  const latest = (name: 'custom' | 'errorMessage'): string | null =>
    session[name] === (base?.[name] ?? null) ? other[name] : session[name]
  return {
    ...session,
    ...counters((name) => session[name] + Math.max(0, other[name] - (counted?.[name] ?? 0))),
    errorMessage: latest('errorMessage'),
    custom: latest('custom'),
    // Of two sessions that were created under one id, neither may outlive its own end.
    began: base === undefined ? earlier(session.began, other.began) : other.began,
    expires: laterExpiry(session, other),
  }
}

/** Returns the session with the larger counters and the later expiry of two copies of one version. */
function withMaxima(session: StoredSession, other: StoredSession): StoredSession {
  return {
    ...session,
    ...counters((name) => Math.max(session[name], other[name])),
    began: other.began,
    expires: laterExpiry(session, other),
  }
}

function counters(countOf: (name: Counter) => number): Record<Counter, number> {
  return Object.fromEntries(COUNTERS.map((name) => [name, countOf(name)])) as Record<Counter, number>
}

/** Returns the later expiry; null means never. */
function laterExpiry({ expires: one }: StoredSession, { expires: other }: StoredSession): number | null {
  return one === null || other === null ? null : Math.max(one, other)
}
