import { SessionPgsqlError, type WriteResult } from 'session-pgsql'
import type { Key } from './key.ts'
import { extendLock, LOCK_NEEDS_NX } from './lock-commands.ts'
import { checkOwned } from './ownership.ts'
import { type KnownSession, type KnownText, writtenSession } from './reads.ts'
import { CommandError, failure, NIL, OK, type Reply } from './replies.ts'
import type { Visitor } from './visitor.ts'

/** NX: only if there is no such session; XX: only if there is one. */
export type Condition = 'NX' | 'XX' | undefined

type Result = WriteResult<unknown>

/** The state from which a write starts, as `SaveHandler.write` takes it. */
type Start = Pick<KnownText, 'base' | 'seen'>

/** How often a session may be created and destroyed by others while a write that would create it is in progress. */
const MAX_ATTEMPTS = 5

const NOT_READ: Reply = failure(
  'ERR NOT_READ The session does not exist, and this connection has not read it: it may have been logged out, or the gateway was restarted during the request. Read it before writing it (GET), or start the gateway with --create-unread.',
)

/** Writes a session as a change of what the client has read. @param lifetime seconds; undefined: `gcMaxlifetime` */
export async function writeSession(
  visitor: Visitor,
  key: Key,
  lifetime: number | undefined,
  data: Buffer,
  when?: Condition,
): Promise<Reply> {
  if (key.lock !== undefined) {
    return lifetime !== undefined && extendLock(visitor, key, lifetime) ? OK : LOCK_NEEDS_NX
  }
  const { sessions, pending, wireFormat } = visitor.shared
  visitor.endRequest()
  const known = when === 'NX' ? undefined : visitor.known(key.text)
  const metadata = pending.get(key.text)
  const send = ({ base, seen }: Start): Promise<Result> =>
    sessions.write(key.id, wireFormat.decode(data), {
      base,
      seen,
      // A session that another request creates meanwhile may have another name: see `change`.
      conflict: base === null ? 'error' : undefined,
      lifetime,
      name: key.name,
      address: metadata?.address,
      custom: metadata?.custom,
      errors: metadata?.errors,
      access: known?.counted !== true,
    })
  const result = await change(visitor, key, known, when, send)
  if (result === undefined || result.outcome === 'gone') {
    if (when !== undefined) return NIL
    // A write to a session that is gone is no error of a client that has read it. What it knows stays, so that its next
    // write is discarded too.
    return known === undefined ? NOT_READ : OK
  }
  pending.stored(key.text, metadata)
  const { session } = result
  const stored = result.outcome === 'merged' && session !== undefined ? wireFormat.encode(session.data) : data
  visitor.remember(key.text, writtenSession(result, data, stored))
  return OK
}

/**
 * Sends a write with the base that its client has read. If that is not known, the stored session is the base. Without
 * one, nothing is written, because the session may have been logged out since, unless the client may create it. If another
 * request creates it meanwhile, under the same name, the write is merged into it.
 *
 * @returns undefined if nothing was written
 */
async function change(
  { shared, mayCreateUnread }: Visitor,
  key: Key,
  known: KnownSession | undefined,
  when: Condition,
  send: (start: Start) => Promise<Result>,
): Promise<Result | undefined> {
  const { sessions, keys, wireFormat } = shared
  const text = known?.text
  if (text !== undefined && text.base !== null) return send(text)
  const hasReadNone = text !== undefined && when === undefined
  const expectsNone = hasReadNone || when === 'NX'
  const mayCreate = expectsNone || (known === undefined && when === undefined && mayCreateUnread)
  // All data is new to a client that has read that there was none. Another client replaces what it has not read.
  const seen = hasReadNone ? wireFormat.empty : undefined
  for (let attempt = 1; ; attempt++) {
    const stored = expectsNone && attempt === 1 ? undefined : await sessions.read(key.id)
    if (stored === undefined) {
      if (!mayCreate) return undefined
      try {
        return await send({ base: null, seen: undefined })
      } catch (error) {
        const isConflict = error instanceof SessionPgsqlError && error.code === 'CONFLICT'
        if (!isConflict || attempt === MAX_ATTEMPTS) throw error
        continue
      }
    }
    if (when === 'XX' && !keys.owns(key, stored)) return undefined
    checkOwned(keys, key, stored)
    if (when === 'NX') return undefined
    if (known?.etag !== undefined && known.etag !== stored.etag) {
      throw new CommandError(
        'ERR CONFLICT Another request has changed the session since this connection read it, and the gateway had no memory to keep what it read. Repeat the request.',
      )
    }
    const result = await send({ base: stored, seen })
    // Destroyed since it was read.
    if (result.outcome !== 'gone' || !mayCreate || attempt === MAX_ATTEMPTS) return result
  }
}
