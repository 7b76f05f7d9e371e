import { createHash } from 'node:crypto'
import { type Key, MAX_KEY, sessionKeyOf } from './key.ts'
import { MAX_LOCKS } from './locks.ts'
import { bulk, failure, integer, NIL, OK, type Reply, SYNTAX_ERROR } from './replies.ts'
import type { Visitor } from './visitor.ts'

/** Commands for the lock of a session, as phpredis sends them. */

/** SHA-1 of phpredis' script that releases a lock: it deletes the key if the value is the owner's secret. */
const UNLOCK_SCRIPT = 'b70c2384248f88e6b75b9f89241a180f856ad852'

export const LOCK_NEEDS_NX: Reply = failure('ERR the key of a lock can only be set by SET with NX')

/** Returns the key of the session if the command asks for its lock: `SET key_LOCK secret NX`. */
export function lockRequestOf(name: string, [key, , ...options]: readonly Buffer[]): string | undefined {
  const isRequest = name === 'SET' && options.some((option) => String(option).toUpperCase() === 'NX')
  return isRequest ? sessionKeyOf(String(key)) : undefined
}

/** `SET key_LOCK secret NX`: takes a lock. @param seconds undefined: until it is released */
export async function takeLock(
  visitor: Visitor,
  { id, text }: Key,
  secret: Buffer,
  seconds: number | undefined,
): Promise<Reply> {
  const { locks, metrics } = visitor.shared
  if (secret.length > MAX_KEY) {
    return failure(`ERR the secret of the lock is too long: expected at most ${MAX_KEY} bytes`)
  }
  if (locks.isFull(visitor)) return failure(`ERR this connection holds ${MAX_LOCKS} locks, which is the most`)
  const isTaken = await locks.take(id, String(secret), seconds ?? Number.POSITIVE_INFINITY, visitor)
  metrics.lockRequest(isTaken)
  visitor.endRefusal(sessionKeyOf(text))
  return isTaken ? OK : NIL
}

/** `GET key_LOCK`: the owner's secret. */
export async function getLockOwner({ shared: { locks } }: Visitor, { id }: Key): Promise<Reply> {
  const owner = await locks.owner(id)
  return owner === undefined ? NIL : bulk(owner)
}

/** `DEL key_LOCK`: releases a lock, whichever client has it. @returns false if the lock was free */
export async function breakLock({ shared: { locks } }: Visitor, { id }: Key): Promise<boolean> {
  const owner = await locks.owner(id)
  return owner !== undefined && (await locks.release(id, owner))
}

/** `EVALSHA sha 1 key_LOCK secret` */
export function evalSha(visitor: Visitor, [sha, , key, secret]: readonly Buffer[]): Promise<Reply> | Reply {
  return String(sha).toLowerCase() === UNLOCK_SCRIPT
    ? unlock(visitor, key, secret)
    : failure('NOSCRIPT No matching script. Please use EVAL.')
}

/** `EVAL script 1 key_LOCK secret` */
export function evalScript(
  visitor: Visitor,
  [script, , key, secret]: readonly Buffer[],
): Promise<Reply> | Reply {
  const sha = createHash('sha1')
    .update(script as Buffer)
    .digest('hex')
  return sha === UNLOCK_SCRIPT
    ? unlock(visitor, key, secret)
    : failure("ERR unknown script: the gateway runs phpredis' script that releases a lock, and no other")
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
  if (!key.isLock) return failure('ERR expected the key of a lock, which ends with _LOCK')
  return integer((await locks.release(key.id, String(secret))) ? 1 : 0)
}
