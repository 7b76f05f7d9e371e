import { CommandError } from './replies.ts'

/** How phpredis makes the key of a session's lock from the key of the session. */
const LOCK_SUFFIX = '_LOCK'

/** Longest key in bytes: keys stay in memory. */
export const MAX_KEY = 1024

/** The ids that the C extension session_pgsql accepts; the setting `idPattern: 'php'` is the same. */
const SESSION_ID = /^[A-Za-z0-9,_-]{1,256}$/

/** A key without `--prefix`. With a second colon, visitors could name another session, or the prefix of another site. */
const NAME_AND_ID = /^([^:]+:)([^:]*)$/

export const INVALID_ID =
  'ERR INVALID_ID Invalid session id: expected 1 to 256 of the characters A-Z, a-z, 0-9, comma, hyphen and underscore'

/** A key of phpredis: a prefix, which is the session's name, and its id; with a suffix it is the session's lock. */
export interface Key {
  readonly text: string
  readonly id: string
  /** The prefix without the colon at its end. A session is reached only by a key with the name that it is stored with. */
  readonly name: string
  readonly isLock: boolean
}

/** The keys that a gateway accepts. */
export class Keyspace {
  readonly #prefixes: readonly string[]
  readonly #defaultName: string

  /**
   * @param prefixes what keys begin with; none: any name and a colon
   * @param defaultName of keys with an empty prefix, and of rows that another program stored without a name
   */
  constructor(prefixes: readonly string[], defaultName: string) {
    // An id cannot begin like the end of a longer prefix.
    this.#prefixes = [...prefixes].sort((one, other) => other.length - one.length)
    this.#defaultName = defaultName
  }

  /** @throws CommandError if the key is too long, or has none of the prefixes */
  parse(bytes: Buffer | undefined): Key {
    if (bytes !== undefined && bytes.length > MAX_KEY) {
      throw new CommandError(`ERR the key is too long: expected at most ${MAX_KEY} bytes`)
    }
    // An id is ASCII. Bytes that are not UTF-8 become a character that no id contains.
    const text = String(bytes)
    const isLock = text.endsWith(LOCK_SUFFIX)
    const sessionKey = isLock ? text.slice(0, -LOCK_SUFFIX.length) : text
    const prefix = this.#prefixOf(sessionKey)
    return {
      text,
      id: sessionKey.slice(prefix.length),
      name: prefix.replace(/:$/, '') || this.#defaultName,
      isLock,
    }
  }

  /** @throws CommandError if no session can have this key */
  parseSession(bytes: Buffer | undefined): Key {
    const key = this.parse(bytes)
    if (key.isLock || !isSessionId(key.id)) throw new CommandError(INVALID_ID)
    return key
  }

  /** Returns true if the key reaches this session: it was created under the same name. */
  owns(key: Key, { name }: { readonly name: string | null }): boolean {
    return key.name === (name ?? this.#defaultName)
  }

  #prefixOf(sessionKey: string): string {
    if (this.#prefixes.length > 0) {
      const prefix = this.#prefixes.find((one) => sessionKey.startsWith(one))
      if (prefix !== undefined) return prefix
      throw new CommandError('ERR INVALID_KEY the key has none of the prefixes that --prefix names')
    }
    const [, prefix] = NAME_AND_ID.exec(sessionKey) ?? []
    if (prefix !== undefined) return prefix
    throw new CommandError(
      'ERR INVALID_KEY expected a name, one colon and an id without a colon, as prefix=PHPSESSID: in session.save_path makes it. For other prefixes, start the gateway with --prefix',
    )
  }
}

export function isSessionId(id: string): boolean {
  return SESSION_ID.test(id)
}
