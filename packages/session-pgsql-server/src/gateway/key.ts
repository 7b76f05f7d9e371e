import { CommandError } from './replies.ts'

/** What phpredis adds to the key of a session for the key of its lock. */
const PHPREDIS_LOCK = '_LOCK'

/** What CodeIgniter adds. */
const CODEIGNITER_LOCK = ':lock'

/** Characters of an id in the log: enough to tell sessions apart, too few to use one. */
const SHORT_ID = 8

/** Longest key in bytes: keys stay in memory. */
export const MAX_KEY = 1024

/** The ids that the C extension session_pgsql accepts; the setting `idPattern: 'php'` is the same. */
const SESSION_ID = /^[A-Za-z0-9,_-]{1,256}$/

/** A key without `--prefix`. With a second colon, clients could name another session, or the prefix of another site. */
const NAME_AND_ID = /^([^:]+:)([^:]*)$/

export const INVALID_ID =
  'ERR INVALID_ID Invalid session id: expected 1 to 256 of the characters A-Z, a-z, 0-9, comma, hyphen and underscore'

/** A prefix, which is the session's name, and its id; or the key of the session's lock. */
export interface Key {
  readonly text: string
  readonly id: string
  /** The prefix without the colon at its end. A session is reached only by a key with the name that it is stored with. */
  readonly name: string
  /**
   * Set if it is the key of the session's lock: whether the value of the lock identifies its holder, or the connection
   * does, because CodeIgniter's value is the time.
   */
  readonly lock: 'value' | 'connection' | undefined
}

/** The keys that a gateway accepts. */
export class Keyspace {
  readonly #prefixes: readonly string[]
  readonly #defaultName: string
  readonly #lockPrefix: string | undefined

  /**
   * @param prefixes what keys begin with; none: any name and a colon
   * @param defaultName of keys with an empty prefix, and of rows that another program stored without a name
   * @param lockPrefix what is between prefix and id in the key of a lock, besides the locks of phpredis and CodeIgniter
   */
  constructor(prefixes: readonly string[], defaultName: string, lockPrefix?: string) {
    // An id cannot begin like the end of a longer prefix.
    this.#prefixes = [...prefixes].sort((one, other) => other.length - one.length)
    this.#defaultName = defaultName
    this.#lockPrefix = lockPrefix
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
    const isPhpredis = text.endsWith(PHPREDIS_LOCK)
    const isCodeIgniter = text.endsWith(CODEIGNITER_LOCK)
    const suffix = isPhpredis ? PHPREDIS_LOCK : isCodeIgniter ? CODEIGNITER_LOCK : ''
    const sessionKey = text.slice(0, text.length - suffix.length)
    const prefix = this.#prefixOf(sessionKey)
    if (prefix === undefined) return undefined
    const rest = sessionKey.slice(prefix.length)
    const isPrefixed = this.#lockPrefix !== undefined && rest.startsWith(this.#lockPrefix)
    return {
      text,
      id: isPrefixed ? rest.slice((this.#lockPrefix as string).length) : rest,
      name: prefix.replace(/:$/, '') || this.#defaultName,
      lock: isCodeIgniter ? 'connection' : isPhpredis || isPrefixed ? 'value' : undefined,
    }
  }

  /** @throws CommandError if no session can have this key */
  parseSession(bytes: Buffer | undefined): Key {
    const key = this.parse(bytes)
    if (key.lock !== undefined || !isSessionId(key.id)) throw new CommandError(INVALID_ID)
    return key
  }

  /** Returns the id of a key for the log. */
  shortId(bytes: Buffer | undefined): string {
    return shortId(this.find(bytes)?.id ?? '')
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

/** Returns an id for the log, shortened, because an id is a secret. */
export function shortId(id: string): string {
  return isSessionId(id) ? `${id.slice(0, SHORT_ID)}…` : 'with an invalid key'
}

/** Returns the key of the session whose lock of phpredis this is; undefined if it is not the key of one. */
export function sessionKeyOf(text: string): string | undefined {
  return text.endsWith(PHPREDIS_LOCK) ? text.slice(0, -PHPREDIS_LOCK.length) : undefined
}

/** Returns true for the key of a lock of CodeIgniter. */
export function isCodeIgniterLock(text: string): boolean {
  return text.endsWith(CODEIGNITER_LOCK)
}

export function isSessionId(id: string): boolean {
  return SESSION_ID.test(id)
}
