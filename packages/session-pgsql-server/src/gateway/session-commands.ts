import { SessionPgsqlError } from 'session-pgsql'
import { INVALID_ID, isSessionId, type Key, parseKey } from './key.ts'
import { breakLock, getLockOwner, LOCK_NEEDS_NX, takeLock } from './lock-commands.ts'
import { absentSession, type KnownSession, type KnownText, readSession, writtenSession } from './reads.ts'
import { bulk, CommandError, failure, integer, NIL, OK, type Reply, SYNTAX_ERROR } from './replies.ts'
import type { Visitor } from './visitor.ts'

/** Commands for the key of a session; most also take the key of a session's lock. */

/** Units of a lifetime, per second. */
export const SECONDS = 1
export const MILLISECONDS = 1000

/** `GET key` */
export function get(visitor: Visitor, [name]: readonly Buffer[]): Promise<Reply> {
  return read(visitor, parseKey(name))
}

/** `GETEX key [EX seconds | PX milliseconds]` */
export async function getAndExpire(
  visitor: Visitor,
  [name, unitName, amount]: readonly Buffer[],
): Promise<Reply> {
  const key = parseKey(name)
  const unit = { EX: SECONDS, PX: MILLISECONDS }[String(unitName ?? 'EX').toUpperCase()]
  if (unit === undefined || (unitName === undefined) !== (amount === undefined)) return SYNTAX_ERROR
  const reply = await read(visitor, key)
  if (amount !== undefined && reply !== NIL) await touch(visitor, key, amount, unit)
  return reply
}

/** `SET key data [EX seconds | PX milliseconds] [NX | XX]`; for the key of a lock, NX takes it. */
export async function set(visitor: Visitor, [name, data, ...options]: readonly Buffer[]): Promise<Reply> {
  const key = parseKey(name)
  let seconds: number | undefined
  let when: 'NX' | 'XX' | undefined
  for (let index = 0; index < options.length; index++) {
    const option = String(options[index]).toUpperCase()
    if ((option === 'NX' || option === 'XX') && when === undefined) when = option
    else if ((option === 'EX' || option === 'PX') && seconds === undefined) {
      seconds = parseLifetime(options[++index], option === 'EX' ? SECONDS : MILLISECONDS, 'set')
    } else return SYNTAX_ERROR
  }
  if (key.isLock) {
    return when === 'NX' ? takeLock(visitor, key, data as Buffer, seconds) : LOCK_NEEDS_NX
  }
  if (when !== undefined && (await visitor.shared.sessions.validateId(key.id)) !== (when === 'XX')) return NIL
  try {
    return await write(visitor, key, seconds, data as Buffer, when)
  } catch (error) {
    // Another client has created the session since it was looked up.
    if (when === 'NX' && error instanceof SessionPgsqlError && error.code === 'CONFLICT') return NIL
    throw error
  }
}

/** `SETEX key seconds data`, and `PSETEX key milliseconds data` */
export function setWithLifetime(
  visitor: Visitor,
  [name, amount, data]: readonly Buffer[],
  unit: number,
  command: string,
): Promise<Reply> {
  return write(visitor, parseKey(name), parseLifetime(amount, unit, command), data as Buffer)
}

/** `EXPIRE key seconds`, and `PEXPIRE key milliseconds`: 1, or 0 if there is no such session. */
export async function expire(
  visitor: Visitor,
  [name, amount]: readonly Buffer[],
  unit: number,
): Promise<Reply> {
  return integer((await touch(visitor, parseKey(name), amount, unit)) ? 1 : 0)
}

/** `TTL key` in seconds, and `PTTL key` in milliseconds. As in Redis: -2 if there is none, -1 if it does not expire. */
export async function timeToLive(visitor: Visitor, [name]: readonly Buffer[], unit: number): Promise<Reply> {
  const { sessions, locks } = visitor.shared
  const key = parseKey(name)
  if (key.isLock) return integer((await locks.owner(key.id)) === undefined ? -2 : -1)
  const session = await sessions.read(key.id)
  if (session === undefined) return integer(-2)
  if (session.expires === null) return integer(-1)
  const milliseconds = session.expires.getTime() - Date.now() - session.clockAhead
  return integer(Math.max(0, Math.ceil((milliseconds / 1000) * unit)))
}

/** `EXISTS key ...`: how many of the keys exist. */
export function exists({ shared: { sessions, locks } }: Visitor, names: readonly Buffer[]): Promise<Reply> {
  return count(names, async ({ id, isLock }) =>
    isLock ? (await locks.owner(id)) !== undefined : sessions.validateId(id),
  )
}

/** `DEL key ...` and `UNLINK key ...`: how many of the keys were there. */
export function del(visitor: Visitor, names: readonly Buffer[]): Promise<Reply> {
  return count(names, (key) => (key.isLock ? breakLock(visitor, key) : destroy(visitor, key)))
}

async function read(visitor: Visitor, key: Key): Promise<Reply> {
  if (key.isLock) return getLockOwner(visitor, key)
  // As PHP's handler `files` does: an id that can never be written is an error, not an empty session.
  if (!isSessionId(key.id)) return failure(INVALID_ID)
  const record = await visitor.shared.sessions.read(key.id)
  visitor.beginRequest()
  if (record === undefined) {
    visitor.remember(key.text, absentSession())
    return NIL
  }
  const data = visitor.shared.wireFormat.encode(record.data)
  visitor.remember(key.text, readSession(record, data))
  return bulk(data)
}

/**
 * Writes a session on the base of what the client has read.
 *
 * @param when NX: fails with CONFLICT if the session exists; XX: writes only if it exists
 */
async function write(
  visitor: Visitor,
  key: Key,
  lifetime: number | undefined,
  data: Buffer,
  when?: 'NX' | 'XX',
): Promise<Reply> {
  if (key.isLock) return LOCK_NEEDS_NX
  const { sessions, pending, wireFormat } = visitor.shared
  visitor.endRequest()
  const known = when === 'NX' ? undefined : visitor.known(key.text)
  const start = when === 'NX' ? ABSENT : await startOf(visitor, key, known, when)
  if (start === undefined) {
    if (when === 'XX') return NIL
    return known === undefined ? NOT_READ : OK
  }
  const metadata = pending.get(key.text)
  const result = await sessions.write(key.id, wireFormat.decode(data), {
    base: start.base,
    conflict: when === 'NX' ? 'error' : undefined,
    seen: start.seen,
    lifetime,
    name: key.name,
    address: metadata?.address,
    custom: metadata?.custom,
    errors: metadata?.errors,
    access: known?.counted !== true,
  })
  pending.stored(key.text, metadata)
  // A write to a session that is gone is no error of the client. What it knows stays, so that its next write is
  // discarded too.
  if (result.outcome === 'gone') return when === 'XX' ? NIL : OK
  const { session } = result
  const stored = result.outcome === 'merged' && session !== undefined ? wireFormat.encode(session.data) : data
  visitor.remember(key.text, writtenSession(result, data, stored))
  return OK
}

type Start = Pick<KnownText, 'base' | 'seen'>

const ABSENT: Start = { base: null, seen: undefined }

const NOT_READ: Reply = failure(
  'ERR NOT_READ The session does not exist, and this connection has not read it: it may have been logged out, or the gateway was restarted during the request. Read it before writing it (GET), or start the gateway with --create-unread.',
)

/**
 * Returns the state of the session from which a write starts: the one that the client has read, or else the stored one.
 *
 * @returns undefined if there is no session, and the client may not create it
 * @throws CommandError if the session has changed since the client read it, and cannot be merged
 */
async function startOf(
  { shared }: Visitor,
  key: Key,
  known: KnownSession | undefined,
  when: 'XX' | undefined,
): Promise<Start | undefined> {
  if (known?.text !== undefined && (known.text.base !== null || when !== 'XX')) return known.text
  const stored = await shared.sessions.read(key.id)
  if (stored === undefined) {
    return known === undefined && when !== 'XX' && shared.createUnread ? ABSENT : undefined
  }
  if (known?.etag !== undefined && known.etag !== stored.etag) {
    throw new CommandError(
      'ERR CONFLICT Another request has changed the session since this connection read it, and the gateway had no memory to keep what it read. Repeat the request.',
    )
  }
  return { base: stored, seen: undefined }
}

/**
 * Sets the expiry; a lifetime of 0 or less destroys the session.
 *
 * @returns false if there is no such session
 */
async function touch(visitor: Visitor, key: Key, amount: Buffer | undefined, unit: number): Promise<boolean> {
  if (key.isLock) throw new CommandError('ERR the gateway renews locks itself: a lock takes no EXPIRE')
  const lifetime = parseInteger(amount) / unit
  if (lifetime <= 0) return destroy(visitor, key)
  visitor.endRequest()
  const known = visitor.known(key.text)
  const isTouched = await visitor.shared.sessions.touch(key.id, {
    lifetime,
    base: known?.text?.base ?? undefined,
    access: known?.counted !== true,
  })
  if (isTouched && known !== undefined) known.counted = true
  return isTouched
}

function destroy(visitor: Visitor, key: Key): Promise<boolean> {
  visitor.endRequest()
  visitor.shared.pending.delete(key.text)
  return visitor.shared.sessions.destroy(key.id)
}

async function count(names: readonly Buffer[], test: (key: Key) => Promise<boolean>): Promise<Reply> {
  let count = 0
  for (const name of names) if (await test(parseKey(name))) count++
  return integer(count)
}

function parseInteger(bytes: Buffer | undefined): number {
  const text = String(bytes)
  if (!/^-?\d{1,15}$/.test(text)) throw new CommandError('ERR value is not an integer or out of range')
  return Number(text)
}

/** @returns seconds */
function parseLifetime(bytes: Buffer | undefined, unit: number, command: string): number {
  const amount = parseInteger(bytes)
  if (amount <= 0) throw new CommandError(`ERR invalid expire time in '${command}' command`)
  return amount / unit
}
