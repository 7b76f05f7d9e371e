import { INVALID_ID, isSessionId, type Key } from './key.ts'
import {
  extendLock,
  getLockValue,
  LOCK_NEEDS_NX,
  lockTimeToLive,
  releaseLock,
  takeLock,
} from './lock-commands.ts'
import { ownedInfo, readOwned } from './ownership.ts'
import { absentSession, readSession } from './reads.ts'
import { bulk, CommandError, failure, integer, NIL, type Reply, SYNTAX_ERROR } from './replies.ts'
import { type Condition, writeSession } from './session-write.ts'
import type { Visitor } from './visitor.ts'

/** Commands for the key of a session; most also take the key of a session's lock. */

/** Units of a lifetime, per second. */
export const SECONDS = 1
export const MILLISECONDS = 1000

/** `GET key` */
export async function get(visitor: Visitor, [name]: readonly Buffer[]): Promise<Reply> {
  return read(visitor, visitor.shared.keys.parse(name))
}

/** `GETEX key [EX seconds | PX milliseconds]` */
export async function getAndExpire(
  visitor: Visitor,
  [name, unitName, amount]: readonly Buffer[],
): Promise<Reply> {
  const key = visitor.shared.keys.parse(name)
  const unit = { EX: SECONDS, PX: MILLISECONDS }[String(unitName ?? 'EX').toUpperCase()]
  if (unit === undefined || (unitName === undefined) !== (amount === undefined)) return SYNTAX_ERROR
  const reply = await read(visitor, key)
  if (amount !== undefined && reply !== NIL) await touch(visitor, key, parseLifetime(amount, unit, 'getex'))
  return reply
}

/** `SET key data [EX seconds | PX milliseconds] [NX | XX]`; for the key of a lock, NX takes it. */
export async function set(visitor: Visitor, [name, data, ...options]: readonly Buffer[]): Promise<Reply> {
  const key = visitor.shared.keys.parse(name)
  let seconds: number | undefined
  let when: Condition
  for (let index = 0; index < options.length; index++) {
    const option = String(options[index]).toUpperCase()
    if ((option === 'NX' || option === 'XX') && when === undefined) when = option
    else if ((option === 'EX' || option === 'PX') && seconds === undefined) {
      seconds = parseLifetime(options[++index], option === 'EX' ? SECONDS : MILLISECONDS, 'set')
    } else return SYNTAX_ERROR
  }
  if (key.lock !== undefined) {
    return when === 'NX' ? takeLock(visitor, key, data as Buffer, seconds) : LOCK_NEEDS_NX
  }
  return writeSession(visitor, key, seconds, data as Buffer, when)
}

/** `SETEX key seconds data`, and `PSETEX key milliseconds data` */
export async function setWithLifetime(
  visitor: Visitor,
  [name, amount, data]: readonly Buffer[],
  unit: number,
  command: string,
): Promise<Reply> {
  return writeSession(
    visitor,
    visitor.shared.keys.parse(name),
    parseLifetime(amount, unit, command),
    data as Buffer,
  )
}

/** `EXPIRE key seconds`, and `PEXPIRE key milliseconds`: 1, or 0 if there is no such session. */
export async function expire(
  visitor: Visitor,
  [name, amount]: readonly Buffer[],
  unit: number,
): Promise<Reply> {
  const key = visitor.shared.keys.parse(name)
  const lifetime = parseInteger(amount) / unit
  if (key.lock !== undefined) {
    const isOurs = lifetime > 0 ? extendLock(visitor, key, lifetime) : await releaseLock(visitor, key)
    return integer(isOurs ? 1 : 0)
  }
  if (lifetime <= 0) return integer((await destroy(visitor, key)) ? 1 : 0)
  // PHP does so at the end of a request that has changed nothing.
  visitor.endRequest()
  const isTouched = await touch(visitor, key, lifetime)
  const known = visitor.known(key.text)
  if (known !== undefined) known.ended = isTouched
  return integer(isTouched ? 1 : 0)
}

/** `TTL key` in seconds, and `PTTL key` in milliseconds. As in Redis: -2 if there is none, -1 if it does not expire. */
export async function timeToLive(visitor: Visitor, [name]: readonly Buffer[], unit: number): Promise<Reply> {
  const { shared } = visitor
  const key = shared.keys.parse(name)
  if (key.lock !== undefined) {
    const seconds = await lockTimeToLive(visitor, key)
    return integer(seconds < 0 ? seconds : seconds * unit)
  }
  const session = await readOwned(shared, key)
  if (session === undefined) return integer(-2)
  if (session.expires === null) return integer(-1)
  // The expiry is rounded up to a second: more than was set would be left.
  const milliseconds = session.expires.getTime() - Date.now() - session.clockAhead - 1000
  return integer(Math.max(0, Math.ceil(shared.lifetimeLeft(milliseconds / 1000) * unit)))
}

/** `EXISTS key ...`: how many of the keys exist. A key that is refused elsewhere does not: PHP then makes a new id. */
export function exists({ shared }: Visitor, names: readonly Buffer[]): Promise<Reply> {
  return count(names, async (name) => {
    const key = shared.keys.find(name)
    if (key === undefined) return false
    const found = key.lock !== undefined ? shared.locks.owner(key.id) : ownedInfo(shared, key)
    return (await found) !== undefined
  })
}

/** `DEL key ...` and `UNLINK key ...`: how many of the keys were there. */
export function del(visitor: Visitor, names: readonly Buffer[]): Promise<Reply> {
  return count(names, async (name) => {
    const key = visitor.shared.keys.parse(name)
    return key.lock !== undefined ? releaseLock(visitor, key) : destroy(visitor, key)
  })
}

async function read(visitor: Visitor, key: Key): Promise<Reply> {
  if (key.lock !== undefined) return getLockValue(visitor, key)
  // As PHP's handler `files` does: an id that can never be written is an error, not an empty session.
  if (!isSessionId(key.id)) return failure(INVALID_ID)
  const record = await readOwned(visitor.shared, key)
  visitor.beginRequest()
  if (record === undefined) {
    visitor.remember(key.text, absentSession())
    return NIL
  }
  const data = visitor.shared.wireFormat.encode(record.data)
  visitor.remember(key.text, readSession(record, data))
  return bulk(data)
}

/** Sets the expiry. @returns false if there is no such session */
async function touch(visitor: Visitor, key: Key, lifetime: number): Promise<boolean> {
  const known = visitor.known(key.text)
  const base = known?.text?.base ?? undefined
  if (base === undefined && (await ownedInfo(visitor.shared, key)) === undefined) return false
  const options = { lifetime, base, access: known?.counted !== true }
  const { sessions, touches } = visitor.shared
  // The client has just read the session, and nothing that it sends depends on the answer.
  const isDeferred = base !== undefined && known?.ended === false && touches?.add(key.id, options) === true
  const isTouched = isDeferred || (await sessions.touch(key.id, options))
  if (isTouched && known !== undefined) known.counted = true
  return isTouched
}

async function destroy(visitor: Visitor, key: Key): Promise<boolean> {
  visitor.endRequest()
  const { shared } = visitor
  shared.pending.delete(key.text)
  const known = visitor.known(key.text)
  if (known !== undefined) known.ended = true
  const hasRead = known?.etag !== undefined
  return (hasRead || (await ownedInfo(shared, key)) !== undefined) && shared.sessions.destroy(key.id)
}

async function count(names: readonly Buffer[], test: (name: Buffer) => Promise<boolean>): Promise<Reply> {
  let count = 0
  for (const name of names) if (await test(name)) count++
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
