import type { StoredSession } from '../session/stored.ts'
import { baseOf, type ReceivedRow, type RecordedBase, type RowCopy } from '../table/row-copies.ts'

/** Settles what both have changed: `mine` of `seen`, which became `theirs`; all three and the result are encoded. */
export type MergeTexts = (mine: string, theirs: string, seen: string) => string | Promise<string>

/** What became of a row that was brought to another server. */
export type FailbackOutcome =
  /** It lies there now, as it was. */
  | 'brought'
  /** There it had moved on as well: both changes are in it. */
  | 'merged'
  /** It was destroyed there, or belonged to a life that is over. */
  | 'dropped'

/** What is to lie at home, given what comes and what is there; without `next` it stays as it is. */
export async function settle(
  row: RowCopy,
  there: RowCopy | undefined,
  clock: number,
  merge: MergeTexts,
  from: string,
  to: string,
): Promise<{ next?: RowCopy; outcome: FailbackOutcome }> {
  const { session } = row
  const before = broughtBefore(row, there, from)
  if (before !== undefined && row.destroyed === null && isAs(session, before)) return { outcome: 'brought' }
  const mark = before ?? (row.base === null ? undefined : baseOf(row.base))
  if (row.destroyed !== null) {
    const beaten = there === undefined || (there.destroyed === null && beats(row, there.session, mark))
    return beaten ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
  }
  const over = session.expires !== null && session.expires < clock
  if (over) return { outcome: 'dropped' }
  if (there === undefined) {
    // There was one when it was read, and it was not to be swept yet: it has been destroyed since.
    const wasHere = mark !== undefined && mark.destroyed === undefined && mark.server === to
    const swept = mark !== undefined && mark.expires !== null && mark.expires < clock
    return wasHere && !swept ? { outcome: 'dropped' } : { next: row, outcome: 'brought' }
  }
  if (there.destroyed !== null) {
    // What was left behind in a wrong place is of an older life, if not of the one that ended here.
    const beaten = beats(there, session, undefined) || (row.home === null && isOlder(session, there.session))
    return beaten ? { outcome: 'dropped' } : { next: row, outcome: 'brought' }
  }
  const other = there.session
  if (other.generation === session.generation && other.text === session.text) {
    return { next: { ...row, session: later(session, other) }, outcome: 'brought' }
  }
  if (mark === undefined) {
    // Of one that merely lies in a wrong place, the one that was used more is the one that was used last.
    if (row.home === null) {
      const newer = other.generation === session.generation && session.accesses > other.accesses
      return newer ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
    }
    if (isOver(other, clock)) return { next: row, outcome: 'brought' }
    return { next: await merged(row, other, undefined, merge), outcome: 'merged' }
  }
  if (mark.replaced !== undefined) {
    if (isOver(other, clock)) return { next: row, outcome: 'brought' }
    // Who has read what it replaces may go on with it, as after any write that had no base.
    return (other.created ?? 0) <= mark.replaced
      ? { next: await merged(row, other, mark, (mine) => mine), outcome: 'brought' }
      : { next: await merged(row, other, mark, merge), outcome: 'merged' }
  }
  if (mark.destroyed !== undefined) {
    const { generation, destroyed } = mark
    const old = generation === null ? (other.created ?? 0) <= destroyed : other.generation === generation
    return old || isOver(other, clock) ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
  }
  if (other.generation !== mark.generation && !isMerged(there, mark)) return { outcome: 'dropped' }
  if (other.digest === mark.digest) {
    const { generation } = other
    return { next: { ...row, session: { ...counted(session, other, mark), generation } }, outcome: 'brought' }
  }
  return { next: await merged(row, other, mark, merge), outcome: 'merged' }
}

/** Whether the life that is meant has become one with the one that is there. */
export function isMerged(
  { received }: RowCopy,
  { generation }: { readonly generation: number | null },
): boolean {
  return received !== null && (JSON.parse(received) as ReceivedRow).generation === generation
}

/** As it was when it came here before, if it did: whoever brought it came no further than that. */
function broughtBefore(row: RowCopy, there: RowCopy | undefined, from: string): RecordedBase | undefined {
  if (there?.received == null) return undefined
  const received: ReceivedRow = JSON.parse(there.received)
  const same =
    received.from === from && received.base === row.base && received.generation === row.session.generation
  if (same) return received.row
  // What has come from another stand-in was made from what this one had.
  const seen = received.base === null ? undefined : baseOf(received.base)
  return seen?.server === from && seen.generation === row.session.generation ? seen : undefined
}

function isAs(session: StoredSession, mark: RecordedBase): boolean {
  const names = ['text', 'accesses', 'errors', 'warnings', 'notices', 'errorMessage', 'custom'] as const
  return names.every((name) => session[name] === mark[name])
}

/** A tombstone beats the life that it ended; where that was not known, every row created before it. */
export function beats(tombstone: RowCopy, session: StoredSession, mark: RecordedBase | undefined): boolean {
  const { generation } = tombstone.session
  if (generation !== null) return session.generation === generation || isMerged(tombstone, session)
  if (mark !== undefined && mark.generation !== null && session.generation === mark.generation) return true
  return (session.created ?? 0) <= (tombstone.destroyed ?? 0)
}

/** A generation is the time at which it began. */
function isOlder({ generation: one }: StoredSession, { generation: other }: StoredSession): boolean {
  return one !== null && other !== null && one < other
}

function isOver({ expires }: StoredSession, clock: number): boolean {
  return expires !== null && expires < clock
}

async function merged(
  row: RowCopy,
  other: StoredSession,
  mark: RecordedBase | undefined,
  merge: MergeTexts,
): Promise<RowCopy> {
  const text = await merge(row.session.text, other.text, mark?.text ?? '')
  const { generation, created, addressCreated } = other
  const session = counted(row.session, other, mark)
  return { ...row, session: { ...session, text, generation, created, addressCreated } }
}

/** What either side has counted, set and prolonged since the base. */
function counted(
  session: StoredSession,
  other: StoredSession,
  mark: RecordedBase | undefined,
): StoredSession {
  const sum = (name: 'accesses' | 'errors' | 'warnings' | 'notices'): number =>
    session[name] + Math.max(0, other[name] - (mark?.[name] ?? 0))
  const latest = (name: 'custom' | 'errorMessage'): string | null =>
    session[name] === (mark?.[name] ?? null) ? other[name] : session[name]
  return {
    ...session,
    accesses: sum('accesses'),
    errors: sum('errors'),
    warnings: sum('warnings'),
    notices: sum('notices'),
    errorMessage: latest('errorMessage'),
    custom: latest('custom'),
    expires: laterOf(session, other),
  }
}

/** The later expiry; null: never. */
function laterOf({ expires: one }: StoredSession, { expires: other }: StoredSession): number | null {
  return one === null || other === null ? null : Math.max(one, other)
}

function later(session: StoredSession, other: StoredSession): StoredSession {
  const most = (name: 'accesses' | 'errors' | 'warnings' | 'notices'): number =>
    Math.max(session[name], other[name])
  return {
    ...session,
    accesses: most('accesses'),
    errors: most('errors'),
    warnings: most('warnings'),
    notices: most('notices'),
    expires: laterOf(session, other),
  }
}
