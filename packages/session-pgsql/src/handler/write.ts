import { setTimeout } from 'node:timers/promises'
import type { MergingCodec } from '../codec/codec.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Destroy } from '../session/ended.ts'
import {
  areOfTwoUsers,
  type Change,
  isSameBranch,
  isSameState,
  type StoredSession,
} from '../session/stored.ts'
import type { ConflictFunction, ConflictRule } from '../settings/settings.ts'
import type { Answer } from '../table/answers.ts'
import type { StoredSessions } from '../table/stored-sessions.ts'
import type { IdQueue } from './id-queue.ts'

/** How often a statement is sent if connections are lost: every connection of a pool may be dead. */
const ATTEMPTS = 5

/** Milliseconds before each further attempt, growing, in which the pool notices its other dead connections. */
const RESEND_DELAY = 5

/** A write, with every argument captured at the time of the call. */
export interface Writing<Data> {
  readonly id: string
  /** The data to write, encoded at the time of the call: later changes by the caller are not written. */
  readonly text: string
  /** The data from which the caller started, encoded; the caller's change is the difference to it. */
  readonly seen: string
  readonly base: StoredSession | null | 'existing' | undefined
  /** The new custom field; undefined: unchanged. */
  readonly custom: string | null | undefined
  /** Returns the row for this text; the lifetime may depend on the data. */
  readonly change: (text: string) => Change
  readonly codec: MergingCodec<Data>
  readonly conflict: ConflictRule | ConflictFunction<Data>
  readonly deadline: number
  readonly onConflict: () => void
}

/** What one side has changed, and how to merge it with the other side. */
export type Difference<Data> = Pick<Writing<Data>, 'text' | 'seen' | 'codec' | 'conflict' | 'deadline'>

export interface Written {
  readonly outcome: 'created' | 'updated' | 'merged' | 'gone'
  readonly stored: StoredSession | undefined
}

export const GONE: Written = { outcome: 'gone', stored: undefined }

/**
 * After this many lost rounds the merge runs while holding the row lock. Measured: with ten optimistic rounds, 83 of
 * 100 concurrent writers fail.
 */
export const OPTIMISTIC_ROUNDS = 2

/** Writes one session: optimistic rounds of compare-and-swap, then once holding the row lock, until the deadline. */
export async function write<Data>(
  sessions: StoredSessions,
  queue: IdQueue,
  writing: Writing<Data>,
): Promise<Written> {
  const written = await attempt(sessions, queue, writing)
  queue.latest = written.stored
  return written
}

async function attempt<Data>(
  sessions: StoredSessions,
  queue: IdQueue,
  writing: Writing<Data>,
): Promise<Written> {
  const { base } = writing
  const predecessor = queue.latest

  if (base === undefined || base === 'existing') return replace(sessions, writing)
  if (base === null) return create(sessions, writing, predecessor)
  // This process has written the session since the base was read: the conflict is known in advance.
  const isNewer =
    predecessor !== undefined &&
    predecessor.readAt >= base.readAt &&
    sameGeneration(predecessor, base) &&
    isSameBranch(predecessor, base)
  return isNewer && !isSameState(predecessor, base)
    ? swap(sessions, writing, predecessor, true)
    : swap(sessions, writing, base, false)
}

/** A write whose base is that the session is absent. If it exists, the data is merged into it. */
async function create<Data>(
  sessions: StoredSessions,
  writing: Writing<Data>,
  predecessor: StoredSession | undefined,
): Promise<Written> {
  // The predecessor in the queue has created it: no statement is needed to find that out.
  let theirs = predecessor
  for (;;) {
    if (theirs === undefined) {
      const change = writing.change(writing.text)
      const put = (): Promise<Answer> => sessions.put({ change, mustBeAbsent: true }, writing.deadline)
      const answer = await certain(writing.text, put, 'created')
      if (answer.outcome !== 'conflict') return done(answer, false)
      theirs = answer.stored as StoredSession
    }
    const written = await swap(sessions, writing, theirs, true)
    if (written.outcome !== 'gone') return written
    // Destroyed meanwhile: it is absent, as required.
    theirs = undefined
  }
}

/** Repeats compare-and-swap against `theirs`. @param conflicting `theirs` is known not to be the base */
async function swap<Data>(
  sessions: StoredSessions,
  writing: Writing<Data>,
  theirs: StoredSession,
  conflicting: boolean,
): Promise<Written> {
  const { deadline } = writing
  let current = theirs
  let next = conflicting ? await resolve(writing, current) : await rebase(writing, current)
  for (let round = 0; round < OPTIMISTIC_ROUNDS; round++) {
    const answer = await certain(
      next.text,
      () => sessions.save({ change: writing.change(next.text), base: current }, deadline),
      'updated',
    )
    if (answer.outcome !== 'conflict') return done(answer, next.merged)
    current = answer.stored as StoredSession
    next = await resolve(writing, current)
  }
  try {
    const answer = await sessions.saveLocked(
      writing.id,
      async (locked) => {
        if (!sameGeneration(locked, current)) return undefined
        if (!isSameState(locked, current)) next = await resolve(writing, locked)
        return { change: writing.change(next.text), base: locked }
      },
      deadline,
      current,
    )
    return done(answer, next.merged)
  } catch (error) {
    return done(await lookUp(sessions, writing, next.text, error), next.merged)
  }
}

/** A write without a base: replaces the stored session. */
async function replace<Data>(sessions: StoredSessions, writing: Writing<Data>): Promise<Written> {
  const { deadline, text } = writing
  const change = writing.change(text)
  try {
    return done(
      writing.base === 'existing'
        ? await sessions.save({ change, base: undefined }, deadline)
        : await sessions.put({ change, mustBeAbsent: false }, deadline),
      false,
    )
  } catch (error) {
    return done(await lookUp(sessions, writing, text, error), false)
  }
}

/**
 * Finds out whether a write whose answer was lost was applied: it was if the stored data is what was sent. Does not
 * send it again, because that could bring back a session that was destroyed meanwhile. Reads under the row lock: the
 * commit that releases it waits for the synchronous standby, which the write itself may not have reached.
 */
async function lookUp<Data>(
  sessions: StoredSessions,
  writing: Writing<Data>,
  text: string,
  error: unknown,
): Promise<Answer> {
  if (!isUnknown(error)) throw error
  const look = async (): Promise<StoredSession | undefined> => {
    let found: StoredSession | undefined
    const keep = async (current: StoredSession): Promise<undefined> => {
      found = current
    }
    await sessions.saveLocked(writing.id, keep, writing.deadline)
    return found
  }
  const stored = await again(look).catch(() => undefined)
  if (stored?.text !== text) throw ambiguous(error)
  return { outcome: 'updated', stored }
}

/**
 * Sends a compare-and-swap, and once more if the connection is lost. What the second finds tells what became of the
 * first: with the base stored, it was not applied; with the sent data stored, it was. Otherwise the outcome is
 * AMBIGUOUS.
 */
async function certain(
  text: string,
  send: () => Promise<Answer>,
  success: 'created' | 'updated',
): Promise<Answer> {
  try {
    return await send()
  } catch (error) {
    if (!isUnknown(error)) throw error
    // Whatever the second attempt fails with, the outcome of the first remains unknown.
    await setTimeout(RESEND_DELAY)
    const answer = await again(send).catch(() => {
      throw ambiguous(error)
    })
    if (answer.outcome !== 'conflict') return answer
    if (answer.stored?.text === text) return { outcome: success, stored: answer.stored }
    throw ambiguous(error)
  }
}

/**
 * Destroys a session, and once more if the answer is lost. If the second finds no session, the first is not yet
 * certain: its commit may not have reached the synchronous standby.
 */
export async function destroy(sessions: StoredSessions, request: Destroy, deadline: number): Promise<Answer> {
  try {
    return await sessions.destroy(request, deadline)
  } catch (error) {
    if (!isUnknown(error)) throw error
    await setTimeout(RESEND_DELAY)
    const send = async (): Promise<Answer> => {
      const answer = await sessions.destroy(request, deadline)
      if (answer.outcome === 'destroyed') return answer
      await sessions.replicated(request.id, deadline)
      // Another host, which the first never reached, may have become the primary meanwhile.
      return sessions.destroy(request, deadline)
    }
    return again(send).catch(() => {
      throw ambiguous(error)
    })
  }
}

async function resolve<Data>(
  writing: Writing<Data>,
  theirs: StoredSession,
): Promise<{ text: string; merged: boolean }> {
  const { base, conflict, text } = writing
  // Written again, but as it was: that is no conflict.
  if (typeof base === 'object' && base !== null && theirs.text === base.text) return rebase(writing, theirs)
  writing.onConflict()
  if (conflict === 'overwrite') return { text, merged: false }
  if (conflict === 'error') {
    throw conflictFault('Read it again and repeat the change, or set `conflict` to "merge".')
  }
  if (conflict === 'merge' && isOfAnotherUser(writing, theirs)) return { text, merged: false }
  // From the original data in every round, never from a merged text: merging is not associative.
  return { text: await settle(writing, theirs.text), merged: true }
}

/** Returns true if two requests logged in as different users: ours then replaces the whole session. */
function isOfAnotherUser<Data>({ base, custom }: Writing<Data>, theirs: StoredSession): boolean {
  const before = typeof base === 'object' ? (base?.custom ?? null) : null
  return custom !== undefined && areOfTwoUsers(custom, theirs.custom, before)
}

/**
 * Returns what to write if the base is unchanged. The caller's data may be older than its base: after a write that
 * merged, the base has the other side's keys and the caller's object does not.
 */
async function rebase<Data>(
  writing: Writing<Data>,
  base: StoredSession,
): Promise<{ text: string; merged: boolean }> {
  const { conflict, seen, text } = writing
  if (seen === base.text || conflict === 'overwrite') return { text, merged: false }
  const rebased = await settle(writing, base.text)
  return { text: rebased, merged: rebased !== text }
}

/** Merges our change into their data. */
async function settle<Data>(writing: Difference<Data>, theirText: string): Promise<string> {
  const { codec, conflict, deadline } = writing
  const ours = codec.decode(writing.text)
  const theirs = codec.decode(theirText)
  const base = codec.decode(writing.seen)
  return codec.encode(
    typeof conflict === 'function'
      ? await within(deadline, () => conflict(ours, theirs, base))
      : codec.merge(ours, theirs, base),
  )
}

/**
 * Merges two versions of a session that two servers hold after a failover, by the option `conflict`. No caller waits
 * for the result: where a write would reject with an error, the changes are merged and the error is reported.
 *
 * @param ofTwoUsers both sides set the custom field to different values: the data is not merged, ours is taken
 */
export async function settleApart<Data>(
  difference: Difference<Data>,
  theirText: string,
  ofTwoUsers: boolean,
  report: (error: Error) => void,
): Promise<string> {
  const { conflict, text } = difference
  if (conflict === 'overwrite') return text
  if (conflict === 'error') {
    const result = ofTwoUsers ? 'the login on the fallback server was kept' : 'both changes were merged'
    report(conflictFault(`Its home server was down; ${result} when it was back.`))
  }
  if (typeof conflict !== 'function') return ofTwoUsers ? text : settle(difference, theirText)
  return settle(difference, theirText).catch((error) => {
    report(error)
    return settle({ ...difference, conflict: 'merge' }, theirText)
  })
}

function conflictFault(advice: string): SessionPgsqlError {
  return new SessionPgsqlError(
    'CONFLICT',
    `Another request has changed this session since it was read. ${advice}`,
  )
}

/** The user's conflict function may run while the row lock is held, so it is limited by the deadline. */
function within<T>(deadline: number, decide: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = globalThis.setTimeout(
      () =>
        reject(
          new SessionPgsqlError(
            'TIMEOUT',
            'The function in `conflict` returned no result within operationTimeout.',
          ),
        ),
      Math.max(1, deadline - performance.now()),
    )
    new Promise<T>((settle) => settle(decide()))
      .then(resolve, (cause) =>
        reject(new SessionPgsqlError('CONFLICT', 'The function in `conflict` threw an error.', { cause })),
      )
      .finally(() => clearTimeout(timer))
  })
}

function done({ outcome, stored }: Answer, merged: boolean): Written {
  if (outcome === 'gone') return GONE
  return { outcome: merged ? 'merged' : (outcome as 'created' | 'updated'), stored }
}

/**
 * Returns true if `one` is a later state of the same generation as `other`. Counters are compared only in a table without
 * generations: those of two servers are not comparable.
 */
export function sameGeneration(one: StoredSession, other: StoredSession): boolean {
  if (one.generation !== other.generation || one.created !== other.created) return false
  return one.generation !== null || one.accesses >= other.accesses
}

/** Returns true if the connection was lost after sending and time is left to find out; a timeout leaves none. */
export function isUnknown(error: unknown): error is SessionPgsqlError {
  return error instanceof SessionPgsqlError && error.outcomeUnknown && error.code !== 'TIMEOUT'
}

export function ambiguous(cause: SessionPgsqlError): SessionPgsqlError {
  return new SessionPgsqlError(
    'AMBIGUOUS',
    'The connection was lost while this session was written or destroyed, and the change may or may not have been applied. Read the session again before writing it, or repeat the destroy.',
    { cause, sqlState: cause.sqlState, outcomeUnknown: true },
  )
}

/**
 * Repeats an idempotent operation if the connection is lost: after a restart of the database every connection of the
 * pool is dead, which only its use reveals.
 */
export function again<T>(send: () => Promise<T>, tries = 1): Promise<T> {
  return send().catch(async (error) => {
    if (tries === ATTEMPTS || !isUnknown(error)) throw error
    await setTimeout(RESEND_DELAY * tries)
    return again(send, tries + 1)
  })
}
