import { CommandError } from './replies.ts'

/** How phpredis makes the key of a session's lock from the key of the session. */
const LOCK_SUFFIX = '_LOCK'

/** Longest key in bytes: keys stay in memory. */
export const MAX_KEY = 1024

/** The ids that the C extension session_pgsql accepts; the setting `idPattern: 'php'` is the same. */
const SESSION_ID = /^[A-Za-z0-9,_-]{1,256}$/

export const INVALID_ID =
  'ERR INVALID_ID Invalid session id: expected 1 to 256 of the characters A-Z, a-z, 0-9, comma, hyphen and underscore'

/** A key of phpredis: a prefix, which is the session's name, and its id; with a suffix it is the session's lock. */
export interface Key {
  readonly text: string
  readonly id: string
  /** undefined: the key has no prefix, and the name is the one of the settings. */
  readonly name: string | undefined
  readonly isLock: boolean
}

/** @throws CommandError if the key is too long */
export function parseKey(bytes: Buffer | undefined): Key {
  if (bytes !== undefined && bytes.length > MAX_KEY) {
    throw new CommandError(`ERR the key is too long: expected at most ${MAX_KEY} bytes`)
  }
  // An id is ASCII. Bytes that are not UTF-8 become a character that no id contains.
  const text = String(bytes)
  const isLock = text.endsWith(LOCK_SUFFIX)
  const sessionKey = isLock ? text.slice(0, -LOCK_SUFFIX.length) : text
  const colon = sessionKey.lastIndexOf(':')
  const name = sessionKey.slice(0, Math.max(colon, 0))
  return { text, id: sessionKey.slice(colon + 1), name: name === '' ? undefined : name, isLock }
}

/** @throws CommandError if no session can have this key */
export function parseSessionKey(bytes: Buffer | undefined): Key {
  const key = parseKey(bytes)
  if (key.isLock || !isSessionId(key.id)) throw new CommandError(INVALID_ID)
  return key
}

export function isSessionId(id: string): boolean {
  return SESSION_ID.test(id)
}
