import { SessionPgsqlError, type TouchOptions } from 'session-pgsql'
import { shortId } from './key.ts'
import type { GatewayLog } from './log.ts'
import type { Sessions } from './wire-format.ts'

/** Milliseconds for which a touch waits for others, to be sent in one batch with them. */
const DELAY = 10

/** Touches that wait or are in flight. Beyond this number, clients wait for the answer to theirs. */
const MAX_UNANSWERED = 10_000

/**
 * Touches whose clients have their reply already. A PHP request that changes nothing ends with one: it has read the
 * session, so the session exists, and PHP ignores whether it was destroyed since.
 *
 * A touch is sent after 10 ms, or when a command for its session arrives: the library executes requests for one id in
 * order, so that command sees the new expiry, or removes the session for good. A touch never creates a session.
 */
export class DeferredTouches {
  readonly #sessions: Sessions
  readonly #log: GatewayLog
  /** By the session's id. */
  readonly #waiting = new Map<string, TouchOptions<unknown>>()
  readonly #inFlight = new Set<Promise<void>>()
  #timer: NodeJS.Timeout | undefined

  /** @param log takes the errors, because no client gets them */
  constructor(sessions: Sessions, log: GatewayLog) {
    this.#sessions = sessions
    this.#log = log
  }

  /** Number of touches that wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Takes a touch of a session for which none waits. @returns false if it was not taken: too many are unanswered */
  add(id: string, options: TouchOptions<unknown>): boolean {
    if (this.#waiting.size + this.#inFlight.size >= MAX_UNANSWERED) return false
    this.#waiting.set(id, options)
    this.#timer ??= setTimeout(() => this.#sendAll(), DELAY)
    return true
  }

  /** Sends the touch of a session, if one waits. */
  send(id: string): void {
    const options = this.#waiting.get(id)
    if (options === undefined) return
    this.#waiting.delete(id)
    const touching = this.#touch(id, options).finally(() => this.#inFlight.delete(touching))
    this.#inFlight.add(touching)
  }

  /** Sends the touches that wait. Resolves when all are answered; never rejects. */
  async close(): Promise<void> {
    this.#sendAll()
    await Promise.all(this.#inFlight)
  }

  async #touch(id: string, options: TouchOptions<unknown>): Promise<void> {
    try {
      await this.#sessions.touch(id, options)
    } catch (error) {
      const { code, message } =
        error instanceof SessionPgsqlError ? error : { code: '_OTHER', message: 'internal error' }
      this.#log.warn(code, `EXPIRE of session ${shortId(id)} failed after its reply: ${code} ${message}`)
    }
  }

  #sendAll(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const id of this.#waiting.keys()) this.send(id)
  }
}
