import { setTimeout } from 'node:timers/promises'
import type { MergingCodec } from '../codec/codec.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Change, StoredSession } from '../session/stored.ts'
import type { ConflictFunction, ConflictRule } from '../settings/settings.ts'
import type { Answer } from '../table/answers.ts'
import type { Sessions } from '../table/sessions.ts'
import type { IdQueue } from './id-queue.ts'

/** How often a statement is sent whose connection was lost: the pool may have as many dead ones as it has connections. */
const RESENDS = 5

/** Milliseconds before that, more each time, in which the pool can hear of the others that are dead. */
const RESEND_DELAY = 5

/** A write, with everything that its caller said made fast at the time of the call. */
export interface Writing<Data> {
  readonly id: string
  /** The data to be written, encoded when the caller gave it: what it changes afterwards is not meant. */
  readonly text: string
  /** What the caller's difference is taken against; encoded. */
  readonly seen: string
  readonly base: StoredSession | null | 'existing' | undefined
  /** The row for this text; the lifetime may hang on the data. */
  readonly change: (text: string) => Change
  readonly codec: MergingCodec<Data>
  readonly conflict: ConflictRule | ConflictFunction<Data>
  readonly deadline: number
  readonly onConflict: () => void
}

/** What one side has changed, and how that is laid over what the other has. */
export type Difference<Data> = Pick<Writing<Data>, 'text' | 'seen' | 'codec' | 'conflict' | 'deadline'>

export interface Written {
  readonly outcome: 'created' | 'updated' | 'merged' | 'gone'
  readonly stored: StoredSession | undefined
}

export const GONE: Written = { outcome: 'gone', stored: undefined }

/** After so many lost rounds the merge is done holding the row lock: ten optimistic rounds lose 83 of 100 writers. */
export const OPTIMISTIC_ROUNDS = 2

/** Writes one session, whatever it takes: rounds of compare-and-swap, then under the lock, until the deadline. */
export async function write<Data>(table: Sessions, line: IdQueue, writing: Writing<Data>): Promise<Written> {
  const written = await attempt(table, line, writing)
  line.latest = written.stored
  return written
}

async function attempt<Data>(table: Sessions, line: IdQueue, writing: Writing<Data>): Promise<Written> {
  const { base } = writing
  const predecessor = line.latest

  if (base === undefined || base === 'existing') return replace(table, writing)
  if (base === null) return create(table, writing, predecessor)
  // What this process has seen of the session since the base was read: it is known to be a conflict.
  const moved =
    predecessor !== undefined && predecessor.readAt >= base.readAt && sameGeneration(predecessor, base)
  return moved && predecessor.digest !== base.digest
    ? swap(table, writing, predecessor, true)
    : swap(table, writing, base, false)
}

/** A write that must find nothing; what it finds all the same it merges into. */
async function create<Data>(
  table: Sessions,
  writing: Writing<Data>,
  predecessor: StoredSession | undefined,
): Promise<Written> {
  // Whoever stood before me in line has made it: no need to ask.
  let theirs = predecessor
  for (;;) {
    if (theirs === undefined) {
      const change = writing.change(writing.text)
      const put = (): Promise<Answer> => table.put({ change, mustBeAbsent: true }, writing.deadline)
      const answer = await certain(writing.text, put, 'created')
      if (answer.outcome !== 'conflict') return done(answer, false)
      theirs = answer.stored as StoredSession
    }
    const written = await swap(table, writing, theirs, true)
    if (written.outcome !== 'gone') return written
    // Destroyed in between: it is absent, as was asked for.
    theirs = undefined
  }
}

/** Compare-and-swap against `theirs`, over and over. `conflicting`: it is known not to be the base. */
async function swap<Data>(
  table: Sessions,
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
      () => table.save({ change: writing.change(next.text), base: current }, deadline),
      'updated',
    )
    if (answer.outcome !== 'conflict') return done(answer, next.merged)
    current = answer.stored as StoredSession
    next = await resolve(writing, current)
  }
  try {
    const answer = await table.saveLocked(
      writing.id,
      async (locked) => {
        if (!sameGeneration(locked, current)) return undefined
        if (locked.digest !== current.digest) next = await resolve(writing, locked)
        return { change: writing.change(next.text), base: locked }
      },
      deadline,
    )
    return done(answer, next.merged)
  } catch (error) {
    return done(await lookUp(table, writing, next.text, error), next.merged)
  }
}

/** A write without a base: replaces whatever is there. */
async function replace<Data>(table: Sessions, writing: Writing<Data>): Promise<Written> {
  const { deadline, text } = writing
  const change = writing.change(text)
  try {
    return done(
      writing.base === 'existing'
        ? await table.save({ change, base: undefined }, deadline)
        : await table.put({ change, mustBeAbsent: false }, deadline),
      false,
    )
  } catch (error) {
    return done(await lookUp(table, writing, text, error), false)
  }
}

/**
 * What became of a write whose answer was lost: done, if what was sent lies there. It is not sent again, for
 * that could bring back what somebody has destroyed in between. It is looked at under the row lock: the commit
 * that gives it back waits for a synchronous standby, which the write itself may not have reached.
 */
async function lookUp<Data>(
  table: Sessions,
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
    await table.saveLocked(writing.id, keep, writing.deadline)
    return found
  }
  const stored = await again(look).catch(() => undefined)
  if (stored?.text !== text) throw ambiguous(error)
  return { outcome: 'updated', stored }
}

/**
 * Sends a compare-and-swap; when the connection is lost in between, once more: what it finds tells what
 * became of the first. Its base: nothing was done. What was sent: done. Anything else, and it cannot be told.
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
    // Whatever it fails with: of the first it still cannot be told.
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
 * Destroys a session, and once more if the answer is lost. That the second time nothing is there does not mean
 * that it was destroyed for good: the first commit may not have reached the synchronous standby.
 */
export async function destroy(table: Sessions, id: string, deadline: number): Promise<Answer> {
  try {
    return await table.destroy(id, deadline)
  } catch (error) {
    if (!isUnknown(error)) throw error
    await setTimeout(RESEND_DELAY)
    const send = async (): Promise<Answer> => {
      const answer = await table.destroy(id, deadline)
      if (answer.outcome === 'destroyed') return answer
      await table.replicated(id, deadline)
      // Another host may have become the primary meanwhile, which has never heard of the first.
      return table.destroy(id, deadline)
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
  if (typeof base === 'object' && base !== null && theirs.digest === base.digest)
    return rebase(writing, theirs)
  writing.onConflict()
  if (conflict === 'overwrite') return { text, merged: false }
  if (conflict === 'error') {
    throw conflictFault('Read it again and repeat the change, or set `conflict` to "merge".')
  }
  return { text: await settle(writing, theirs.text), merged: true }
}

/**
 * What to write where nobody has changed the base. The caller's data may be behind its own base: after a
 * write that merged, the base has the other side's keys and the caller's object has not.
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

/** My difference, laid over theirs. */
async function settle<Data>(writing: Difference<Data>, theirText: string): Promise<string> {
  const { codec, conflict, deadline } = writing
  const mine = codec.decode(writing.text)
  const theirs = codec.decode(theirText)
  const seen = codec.decode(writing.seen)
  return codec.encode(
    typeof conflict === 'function'
      ? await within(deadline, () => conflict(mine, theirs, seen))
      : codec.merge(mine, theirs, seen),
  )
}

/**
 * Settles what two servers have of one session after they could not see each other, as `conflict` says. There is
 * nobody who could be given an error: where one is due the changes are merged, and it is reported.
 */
export async function settleApart<Data>(
  difference: Difference<Data>,
  theirText: string,
  report: (error: Error) => void,
): Promise<string> {
  const { conflict, text } = difference
  if (conflict === 'overwrite') return text
  if (conflict === 'error') report(conflictFault('Both changes were merged when its server was back.'))
  if (typeof conflict !== 'function') return settle(difference, theirText)
  return settle(difference, theirText).catch((error) => {
    report(error)
    return settle({ ...difference, conflict: 'merge' }, theirText)
  })
}

function conflictFault(advice: string): SessionPgsqlError {
  return new SessionPgsqlError(
    'CONFLICT',
    `Somebody else has changed this session since it was read. ${advice}`,
  )
}

/** A conflict function of the user's may hold the row lock while it thinks, but not for ever. */
function within<T>(deadline: number, decide: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = globalThis.setTimeout(
      () =>
        reject(
          new SessionPgsqlError(
            'TIMEOUT',
            'The function in `conflict` gave no result within operationTimeout.',
          ),
        ),
      Math.max(1, deadline - performance.now()),
    )
    new Promise<T>((settle) => settle(decide()))
      .then(resolve, (cause) =>
        reject(new SessionPgsqlError('CONFLICT', 'The function in `conflict` has failed.', { cause })),
      )
      .finally(() => clearTimeout(timer))
  })
}

function done({ outcome, stored }: Answer, merged: boolean): Written {
  if (outcome === 'gone') return GONE
  return { outcome: merged ? 'merged' : (outcome as 'created' | 'updated'), stored }
}

export function sameGeneration(one: StoredSession, other: StoredSession): boolean {
  return (
    one.generation === other.generation && one.created === other.created && one.accesses >= other.accesses
  )
}

/** The connection was lost after sending, with time left to find out. A timeout leaves none. */
export function isUnknown(error: unknown): error is SessionPgsqlError {
  return error instanceof SessionPgsqlError && error.outcomeUnknown && error.code !== 'TIMEOUT'
}

export function ambiguous(cause: SessionPgsqlError): SessionPgsqlError {
  return new SessionPgsqlError(
    'AMBIGUOUS',
    'The answer was lost while this session was being written or destroyed, and it cannot be told whether it was. Read it again before writing; repeat the destroy.',
    { cause, sqlState: cause.sqlState, outcomeUnknown: true },
  )
}

/**
 * Repeats what can safely be done twice when the connection is lost in between: after a restart of the
 * database every connection in the pool is dead, and only the use of it tells.
 */
export function again<T>(send: () => Promise<T>, tries = 1): Promise<T> {
  return send().catch(async (error) => {
    if (tries === RESENDS || !isUnknown(error)) throw error
    await setTimeout(RESEND_DELAY * tries)
    return again(send, tries + 1)
  })
}
