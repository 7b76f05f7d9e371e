import { demandOwned, ownedInfo } from './ownership.ts'
import { bulk, failure, integer, jsonOrNil, NIL, OK, type Reply } from './replies.ts'
import type { Visitor } from './visitor.ts'

/**
 * Commands of the gateway's own, for the functions of the C extension session_pgsql. PHP stores a new session at the
 * end of the request that creates it; metadata that comes before is kept for that write.
 */

/** Longest address in characters. */
const MAX_ADDRESS = 256

/** `SESSION.STATUS` */
export function status({ shared: { sessions } }: Visitor): Reply {
  return bulk(JSON.stringify(sessions.status()))
}

/** `SESSION.INFO key` */
export async function info({ shared }: Visitor, [key]: readonly Buffer[]): Promise<Reply> {
  return jsonOrNil(await ownedInfo(shared, shared.keys.parse(key)))
}

/** `SESSION.FIELD key [value]` */
export async function field({ shared }: Visitor, [name, value]: readonly Buffer[]): Promise<Reply> {
  const { sessions, pending } = shared
  const key = shared.keys.parseSession(name)
  if (value === undefined) {
    const custom = pending.get(key.text)?.custom ?? (await ownedInfo(shared, key))?.custom
    return custom == null ? NIL : bulk(custom)
  }
  const custom = value.length === 0 ? null : String(value)
  if ((await demandOwned(shared, key)) && (await sessions.setField(key.id, custom))) return integer(1)
  pending.set(key.text, { custom })
  return integer(0)
}

/** `SESSION.ERROR key [level [message]]` */
export async function errors({ shared }: Visitor, [name, level, text]: readonly Buffer[]): Promise<Reply> {
  const { sessions, pending } = shared
  const key = shared.keys.parseSession(name)
  if (level === undefined) {
    const stored = (await ownedInfo(shared, key)) && (await sessions.getErrors(key.id))
    const added = pending.get(key.text)?.errors
    return jsonOrNil(stored ?? (added && { errors: 0, warnings: 0, notices: 0, message: null, ...added }))
  }
  const [kind, message] = [String(level), text && String(text)]
  if (kind !== 'error' && kind !== 'warning' && kind !== 'notice') {
    return failure('ERR unknown error level: expected error, warning or notice')
  }
  if ((await demandOwned(shared, key)) && (await sessions.addError(key.id, kind, message))) return integer(1)
  pending.addError(key.text, kind, message)
  return integer(0)
}

/** `SESSION.ADDRESS key address` */
export function setAddress({ shared: { keys, pending } }: Visitor, [name, text]: readonly Buffer[]): Reply {
  const { text: key } = keys.parseSession(name)
  const address = String(text)
  // An address that PostgreSQL cannot store would make every write of this session fail.
  if (address.length > MAX_ADDRESS || address.includes('\0')) {
    return failure(`ERR invalid address: expected at most ${MAX_ADDRESS} characters without NUL`)
  }
  pending.set(key, { address })
  return OK
}

/** `SESSION.RESET` */
export async function reset({ shared: { sessions } }: Visitor): Promise<Reply> {
  await sessions.reset()
  return OK
}
