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
    const key = this.find(bytes)
    if (key !== undefined) return key
    throw new CommandError(
      `ERR INVALID_KEY expected at most ${MAX_KEY} bytes: ${
        this.#prefixes.length > 0
          ? 'a prefix that --prefix names, and an id'
          : 'a name, one colon and an id without a colon, as prefix=PHPSESSID: in session.save_path makes it. For other prefixes, start the gateway with --prefix'
      }`,
    )
  }

  /** Returns undefined if the key is too long, or has none of the prefixes. */
  find(bytes: Buffer | undefined): Key | undefined {
    if (bytes === undefined || bytes.length > MAX_KEY) return undefined
    // An id is ASCII. Bytes that are not UTF-8 become a character that no id contains.
    const text = String(bytes)
    const locked = sessionKeyOf(text)
    const sessionKey = locked ?? text
    const prefix = this.#prefixOf(sessionKey)
    if (prefix === undefined) return undefined
    return {
      text,
      id: sessionKey.slice(prefix.length),
      name: prefix.replace(/:$/, '') || this.#defaultName,
      isLock: locked !== undefined,
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

  #prefixOf(sessionKey: string): string | undefined {
    return this.#prefixes.length > 0
      ? this.#prefixes.find((prefix) => sessionKey.startsWith(prefix))
      : NAME_AND_ID.exec(sessionKey)?.[1]
  }
}

/** Returns the key of the session whose lock this is; undefined if it is not the key of a lock. */
export function sessionKeyOf(text: string): string | undefined {
  return text.endsWith(LOCK_SUFFIX) ? text.slice(0, -LOCK_SUFFIX.length) : undefined
}

export function isSessionId(id: string): boolean {
  return SESSION_ID.test(id)
}
