import { randomUUID } from 'node:crypto'
import type { DeferredTouches } from './deferred-touches.ts'
import type { Keyspace } from './key.ts'
import { type Locks, MAX_LOCKS } from './locks.ts'
import type { GatewayLog } from './log.ts'
import type { GatewayMetrics } from './metrics.ts'
import type { PasswordThrottle } from './password-throttle.ts'
import type { PendingMetadata } from './pending-metadata.ts'
import { type ClosedReads, ConnectionReads, type KnownSession, type TextBudget } from './reads.ts'
import { CommandError, type Reply } from './replies.ts'
import type { Command } from './request-parser.ts'
import type { Sessions, WireFormat } from './wire-format.ts'

/** What all clients of a gateway share. */
export interface Shared {
  readonly sessions: Sessions
  readonly wireFormat: WireFormat
  readonly keys: Keyspace
  /**
   * True if a client may create a session that it has not read. 'after another': if its connection has read another one,
   * because Laravel does not read the session of an id that it has regenerated.
   */
  readonly createUnread: boolean | 'after another'
  /** True if errors should make phpredis throw an exception, whatever the client. */
  readonly wantsExceptions: boolean
  /** undefined: clients need none. */
  readonly passwords: PasswordThrottle | undefined
  readonly log: GatewayLog
  /** Returns the seconds of the lifetime that was set, of those that are left until the stored expiry. */
  lifetimeLeft(seconds: number): number
  readonly textBudget: TextBudget
  readonly closedReads: ClosedReads
  readonly locks: Locks
  readonly pending: PendingMetadata
  /** Undefined if clients wait for the answer to every touch. */
  readonly touches: DeferredTouches | undefined
  readonly metrics: GatewayMetrics
  /** Queries the database; rejects if it does not answer. */
  ping(): Promise<void>
}

/** Passwords that one connection may try. */
const MAX_ATTEMPTS = 5

/** Seconds after a read for which a client that has not written is taken for a PHP request in progress. */
const REQUEST = 5

const SEPARATOR = '|'

/** Returns the value in an owner that `Visitor.ownerOf` made. */
export function lockValueOf(owner: string): string {
  return owner.slice(owner.indexOf(SEPARATOR) + 1)
}

/** One client, as its commands see it: who it is, and what it has read. The connection reads and answers for it. */
export class Visitor {
  readonly shared: Shared
  readonly #reads: ConnectionReads
  #isAuthenticated: boolean
  #failedAttempts = 0
  #isDone = false
  /** The database that the client has selected, if there is no such database. */
  refusedDatabase: string | undefined
  /** True if the client takes locks as CodeIgniter does. */
  usesConnectionLocks = false
  /** Errors by the key of a session: the client was told that it has the lock, and does not. */
  readonly #refusals = new Map<string, Reply>()
  readonly #token = randomUUID()
  #hasRead = false
  /** When it read a session that it has not written since, by `performance.now()`. */
  #readAt: number | undefined

  readonly #address: string

  /** @param address of the client; empty: it connects through a socket of the file system */
  constructor(shared: Shared, address: string) {
    this.shared = shared
    this.#address = address
    this.#reads = new ConnectionReads(shared.textBudget)
    this.#isAuthenticated = shared.passwords === undefined
  }

  /** True if the client has given the password, or needs none. */
  get isAuthenticated(): boolean {
    return this.#isAuthenticated
  }

  /** True if the reply to the current command is the last one. */
  get isDone(): boolean {
    return this.#isDone
  }

  /** True if a PHP request is in progress: the client has just read a session, or holds a lock. */
  get isInRequest(): boolean {
    const hasRead = this.#readAt !== undefined && performance.now() - this.#readAt < REQUEST * 1000
    return hasRead || this.shared.locks.has(this)
  }

  /**
   * Checks a password. The last wrong one that is allowed ends the connection.
   *
   * @throws CommandError if it is wrong or was not checked, or the gateway has no password
   */
  authenticate(password: Buffer): void {
    const { passwords, log } = this.shared
    if (passwords === undefined) {
      throw new CommandError(
        'ERR AUTH was sent, but this gateway has no password. Remove auth from the save path.',
      )
    }
    const result = passwords.check(password, this.#address)
    if (result === 'right') {
      this.#isAuthenticated = true
      return
    }
    if (++this.#failedAttempts >= MAX_ATTEMPTS) this.#isDone = true
    if (result === 'wrong') {
      log.warn('password', `wrong password from ${this.#address || 'a local socket'}`)
      throw new CommandError('WRONGPASS invalid username-password pair or user is disabled.')
    }
    log.warn(
      'throttle',
      `too many different wrong passwords from ${this.#address || 'a local socket'}: passwords are not checked`,
    )
    throw new CommandError('ERR too many wrong passwords from this address. Try again in some seconds.')
  }

  /** Ends the connection after the reply to the current command. */
  quit(): void {
    this.#isDone = true
  }

  /** Returns an owner of a lock that is this connection's alone, whatever the value. */
  ownerOf(value: Buffer): string {
    this.usesConnectionLocks = true
    return `${this.#token}${SEPARATOR}${value}`
  }

  /** Logs that a command with a key failed. @param reason begins with the code of the error; holds no data */
  logFailure(command: string, key: Buffer | undefined, reason: string): void {
    const { log, keys } = this.shared
    const [code = ''] = reason.split(' ', 1)
    log.warn(code, `${command} of session ${keys.shortId(key)} failed: ${reason}`)
  }

  /** Logs that the connection ends, because a command is too large or none. @param received of that command */
  logProtocolError(message: string, [command, key]: Command): void {
    if (!this.isAuthenticated) return
    const { log, keys } = this.shared
    const what = key === undefined ? 'a command' : `${command} of session ${keys.shortId(key)}`
    log.warn('protocol', `refused ${what} from ${this.#address || 'a local socket'}: ${message}`)
  }

  /** Makes every command for a session fail with this reply, until `endRefusal`. */
  refuse(sessionKey: string, error: Reply): void {
    this.#refusals.set(sessionKey, error)
    // Forgetting one would serve that session without its lock.
    if (this.#refusals.size > MAX_LOCKS) this.quit()
  }

  refusalOf(sessionKey: Buffer | undefined): Reply | undefined {
    return this.#refusals.size === 0 ? undefined : this.#refusals.get(String(sessionKey))
  }

  /** @returns true if there was a refusal */
  endRefusal(sessionKey: string | undefined): boolean {
    return sessionKey !== undefined && this.#refusals.delete(sessionKey)
  }

  /** Returns true if the client may create a session that it has not read. */
  get mayCreateUnread(): boolean {
    const { createUnread } = this.shared
    return createUnread === 'after another' ? this.#hasRead : createUnread
  }

  /** A PHP request has read its session: its write follows. */
  beginRequest(): void {
    this.#hasRead = true
    this.#readAt = performance.now()
  }

  /** The PHP request writes its session, extends its expiry or destroys it: nothing else follows. */
  endRequest(): void {
    this.#readAt = undefined
  }

  /**
   * Returns what the client's next write under this key is a change of; undefined if that is not known. A client that
   * reconnected continues from what it had read on its closed connection.
   */
  known(key: string): KnownSession | undefined {
    const own = this.#reads.get(key)
    if (own !== undefined) return own
    const left = this.shared.closedReads.take(key)
    if (left !== undefined) this.#reads.set(key, left)
    return left
  }

  /** Keeps what the client knows now about the session under this key. */
  remember(key: string, session: KnownSession): void {
    this.#reads.set(key, session)
  }

  /** Hands over the reads and releases the locks, after the connection has closed. Never rejects. */
  async leave(): Promise<void> {
    this.shared.closedReads.add(this.#reads)
    await this.shared.locks.releaseAll(this)
  }
}
