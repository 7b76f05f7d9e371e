import { type Key, MAX_KEY, sessionKeyOf } from './key.ts'
import { MAX_LOCKS } from './locks.ts'
import { bulk, failure, integer, NIL, OK, type Reply, SYNTAX_ERROR } from './replies.ts'
import { lockValueOf, type Visitor } from './visitor.ts'

/** Commands for the lock of a session, as phpredis, CodeIgniter and Laravel send them. */

/** The script that releases a lock, without blanks: it deletes the key if the value is the owner's secret. */
const UNLOCK_SCRIPT = 'ifredis.call("get",KEYS[1])==ARGV[1]thenreturnredis.call("del",KEYS[1])elsereturn0end'

/** Its SHA-1 as phpredis writes it. */
const UNLOCK_SHA = 'b70c2384248f88e6b75b9f89241a180f856ad852'

export const LOCK_NEEDS_NX: Reply = failure('ERR the key of a lock can only be set by SET with NX')

/** Returns the key of the session if the command asks for its lock: `SET key_LOCK secret NX`. */
export function lockRequestOf(name: string, [key, , ...options]: readonly Buffer[]): string | undefined {
  const isRequest = name === 'SET' && options.some((option) => String(option).toUpperCase() === 'NX')
  return isRequest ? sessionKeyOf(String(key)) : undefined
}

/** `SET key_LOCK secret NX`: takes a lock. @param seconds undefined: until it is released */
export async function takeLock(
  visitor: Visitor,
  key: Key,
  value: Buffer,
  seconds: number | undefined,
): Promise<Reply> {
  const { locks, metrics } = visitor.shared
  if (value.length > MAX_KEY) {
    return failure(`ERR the value of the lock is too long: expected at most ${MAX_KEY} bytes`)
  }
  if (locks.isFull(visitor)) return failure(`ERR this connection holds ${MAX_LOCKS} locks, which is the most`)
  const owner = key.lock === 'connection' ? visitor.ownerOf(value) : String(value)
  const isTaken = await locks.take(key.id, owner, seconds ?? Number.POSITIVE_INFINITY, visitor)
  metrics.lockRequest(isTaken)
  visitor.endRefusal(sessionKeyOf(key.text))
  return isTaken ? OK : NIL
}

/** `GET key_LOCK`: the value of the lock. */
export async function getLockValue({ shared: { locks } }: Visitor, key: Key): Promise<Reply> {
  const owner = await locks.owner(key.id)
  if (owner === undefined) return NIL
  return bulk(key.lock === 'connection' ? lockValueOf(owner) : owner)
}

/** `EXPIRE key_LOCK seconds`, and `SETEX key_LOCK seconds value`. @returns false if this client does not have the lock */
export function extendLock(visitor: Visitor, { id }: Key, seconds: number): boolean {
  return visitor.shared.locks.extend(id, seconds, visitor)
}

/** `DEL key_LOCK`: releases a lock of this client. A visitor's cookie could name the lock of another session. */
export async function releaseLock(visitor: Visitor, { id }: Key): Promise<boolean> {
  const { locks } = visitor.shared
  const owner = locks.ownerOf(id, visitor)
  return owner !== undefined && (await locks.release(id, owner))
}

/** `TTL key_LOCK`: seconds, at least 1; -2 if the lock is free. */
export async function lockTimeToLive({ shared: { locks } }: Visitor, { id }: Key): Promise<number> {
  if ((await locks.owner(id)) === undefined) return -2
  return Math.max(1, Math.ceil(locks.secondsLeft(id)))
}

/** `EVALSHA sha 1 key_LOCK secret` */
export function evalSha(visitor: Visitor, [sha, , key, secret]: readonly Buffer[]): Promise<Reply> | Reply {
  return String(sha).toLowerCase() === UNLOCK_SHA
    ? unlock(visitor, key, secret)
    : failure('NOSCRIPT No matching script. Please use EVAL.')
}

/** `EVAL script 1 key_LOCK secret` */
export function evalScript(
  visitor: Visitor,
  [script, , key, secret]: readonly Buffer[],
): Promise<Reply> | Reply {
  const text = String(script).replaceAll(/\s/g, '').replaceAll("'", '"')
  return text === UNLOCK_SCRIPT
    ? unlock(visitor, key, secret)
    : failure('ERR unknown script: the gateway runs the one that releases a lock, and no other')
}

/** `DELIFEQ key_LOCK secret` */
export function deleteIfEqual(visitor: Visitor, [key, secret]: readonly Buffer[]): Promise<Reply> {
  return unlock(visitor, key, secret)
}

/** `DELEX key_LOCK IFEQ secret` */
export function deleteConditionally(
  visitor: Visitor,
  [key, condition, secret]: readonly Buffer[],
): Promise<Reply> | Reply {
  return String(condition).toUpperCase() === 'IFEQ' ? unlock(visitor, key, secret) : SYNTAX_ERROR
}

async function unlock(
  visitor: Visitor,
  name: Buffer | undefined,
  secret: Buffer | undefined,
): Promise<Reply> {
  if (visitor.endRefusal(sessionKeyOf(String(name)))) return integer(0)
  const { keys, locks } = visitor.shared
  const key = keys.parse(name)
  if (key.lock === undefined) return failure('ERR expected the key of a lock, which ends with _LOCK')
  return integer((await locks.release(key.id, String(secret))) ? 1 : 0)
}
