import { applyChange } from '../apply-change.ts'
import type { MergingCodec } from '../codec/codec.ts'
import { type Change, isSameBranch, type StoredSession } from '../session/stored.ts'
import type { StoredSessions } from '../table/stored-sessions.ts'
import type { IdQueue } from './id-queue.ts'
import {
  again,
  ambiguous,
  GONE,
  isUnknown,
  OPTIMISTIC_ROUNDS,
  sameGeneration,
  type Written,
} from './write.ts'

/** An update, with everything captured that its caller passed. */
export interface UpdateRequest<Data, Value> {
  readonly id: string
  /** The caller's function: changes the data or returns new data. Called again after each conflict. */
  readonly apply: (data: Data) => Value
  /** A record: only the generation that it was read from. null: a session that does not exist begins empty. */
  readonly base: StoredSession | null | undefined
  /** The row for this text; the lifetime may depend on the data. */
  readonly change: (text: string) => Change
  readonly codec: MergingCodec<Data>
  readonly deadline: number
  readonly onConflict: () => void
}

export interface Updated<Value> extends Written {
  /** The return value of the call whose result was written; undefined if there was no session. */
  readonly value: Value | undefined
}

/** What the function made of one version of the session. */
interface Applied<Value> {
  readonly value: Value
  readonly text: string
}

/**
 * Reads a session, applies the caller's function and writes by compare-and-swap. After a conflict it applies the
 * function to the newest version, and after two conflicts while it holds the row lock: 100 updates of one counter add
 * 100, which no merge can know.
 */
export async function update<Data, Value>(
  sessions: StoredSessions,
  queue: IdQueue,
  request: UpdateRequest<Data, Value>,
): Promise<Updated<Value>> {
  const updated = await attempt(sessions, queue.latest, request)
  queue.latest = updated.stored
  return updated
}

async function attempt<Data, Value>(
  sessions: StoredSessions,
  latest: StoredSession | undefined,
  request: UpdateRequest<Data, Value>,
): Promise<Updated<Value>> {
  const { base, deadline, id } = request
  const found = latest ?? (await again(() => sessions.read(id, deadline, base ?? undefined)))
  // If another server or another row now has the session, saving the record brings that row up to date with it.
  const isOther = base && found && (found.server !== base.server || !isSameBranch(found, base))
  let current = isOther ? base : found
  for (let round = 0; round < OPTIMISTIC_ROUNDS; round++) {
    if (!isMeant(current, base)) return NOTHING
    const applied = apply(request, current?.text ?? '')
    const change = request.change(applied.text)
    const answer = await certain(() =>
      current === undefined
        ? sessions.put({ change, mustBeAbsent: true }, deadline)
        : sessions.save({ change, base: current }, deadline),
    )
    if (answer.outcome === 'gone') {
      // With null as base, a session that was destroyed meanwhile begins again.
      if (base !== null) return NOTHING
      current = undefined
    } else if (answer.outcome === 'conflict') {
      request.onConflict()
      current = answer.stored
    } else {
      return { outcome: answer.outcome as 'created' | 'updated', stored: answer.stored, value: applied.value }
    }
  }
  const updated = await locked(sessions, request, current)
  return updated.outcome === 'gone' && base === null ? attempt(sessions, undefined, request) : updated
}

/** Applies the function while no other request can write the session. */
async function locked<Data, Value>(
  sessions: StoredSessions,
  request: UpdateRequest<Data, Value>,
  known: StoredSession | undefined,
): Promise<Updated<Value>> {
  let applied: Applied<Value> | undefined
  let thrown: { readonly error: unknown } | undefined
  const answer = await sessions
    .saveLocked(
      request.id,
      async (current) => {
        if (!isMeant(current, request.base)) return undefined
        try {
          applied = apply(request, current.text)
          return { change: request.change(applied.text), base: current }
        } catch (error) {
          // The transaction would take it for an error of the database.
          thrown = { error }
          return undefined
        }
      },
      request.deadline,
      known,
    )
    .catch((error) => {
      throw isUnknown(error) ? ambiguous(error) : error
    })
  if (thrown !== undefined) throw thrown.error
  if (answer.outcome !== 'updated' || applied === undefined) return NOTHING
  return { outcome: 'updated', stored: answer.stored, value: applied.value }
}

const NOTHING = { ...GONE, value: undefined } as const

function isMeant(current: StoredSession | undefined, base: StoredSession | null | undefined): boolean {
  if (base === null) return true
  return current !== undefined && (base === undefined || sameGeneration(current, base))
}

/**
 * Sends a compare-and-swap, and again if the connection is lost. Unlike a write, an update must not take equal text in
 * the table for its own: another request may have counted from the same value to the same result.
 */
async function certain<Answer extends { readonly outcome: string }>(
  send: () => Promise<Answer>,
): Promise<Answer> {
  try {
    return await send()
  } catch (error) {
    if (!isUnknown(error)) throw error
    const answer = await again(send).catch(() => undefined)
    if (answer === undefined || answer.outcome === 'conflict' || answer.outcome === 'gone') {
      throw ambiguous(error)
    }
    return answer
  }
}

function apply<Data, Value>(
  { apply, codec }: Pick<UpdateRequest<Data, Value>, 'apply' | 'codec'>,
  text: string,
): Applied<Value> {
  const { data, value } = applyChange(apply, codec.decode(text), () => codec.decode(text))
  return { value, text: codec.encode(data) }
}
