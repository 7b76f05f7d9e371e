import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import type { Server } from '../servers/server.ts'
import type { EndedSession } from '../session/ended.ts'
import { announcementsIn, checkPayload, checkText } from '../table/announcements.ts'

/** Milliseconds between two checks that announcements arrive, and between two attempts if they do not. */
const CHECK_INTERVAL = 60_000

/** Milliseconds before the second attempt to connect. Doubled with each further one. */
const FIRST_DELAY = 100

/** The most milliseconds between two attempts to connect. */
const LONGEST_DELAY = 5000

/** Receives what becomes of sessions on one server. */
export interface EndListenerOptions {
  readonly server: Server
  /** Seconds. */
  readonly operationTimeout: number
  readonly onEnded: (session: EndedSession) => void
  /** Announcements may have been lost. */
  readonly onMissed: () => void
  /** Announcements cannot be received. Called once until they can be. */
  readonly onError: (error: Error) => void
}

/**
 * Listens to the announcements of one server, and connects again whenever the connection is lost. PostgreSQL keeps no
 * announcements for processes that are not connected, so after each interruption they count as missed.
 *
 * It checks that announcements arrive: a pooler in transaction mode accepts LISTEN and delivers nothing, and a dead
 * connection delivers nothing either.
 */
export class EndListener {
  readonly #options: EndListenerOptions
  readonly #closing: AbortController = new AbortController()
  /** Resolves when the first attempt to listen has succeeded or failed. */
  #started: Promise<void> | undefined
  #running: Promise<void> | undefined
  #listening: Listening | undefined
  /** What to call when the check with a nonce arrives. A check of a lost connection may overlap that of the next. */
  readonly #awaited = new Map<string, () => void>()
  /** Whether a session has ended here that other processes have not been told of. */
  #owing = false

  constructor(options: EndListenerOptions) {
    this.#options = options
  }

  /** Starts to listen. Resolves when announcements arrive, or the first attempt has failed. Never rejects. */
  start(): Promise<void> {
    this.#started ??= new Promise((resolve) => {
      this.#running = this.#run(resolve)
    })
    return this.#started
  }

  /** Resolves as `start` does, or at once if it was not called. */
  async started(): Promise<void> {
    await this.#started
  }

  /** The next check tells all processes that they have missed a session. */
  owe(): void {
    this.#owing = true
  }

  async close(): Promise<void> {
    this.#closing.abort()
    for (const arrive of this.#awaited.values()) arrive()
    this.#listening?.close()
    await this.#running
  }

  async #run(onFirstAttempt: () => void): Promise<void> {
    const { onMissed, onError } = this.#options
    const { signal } = this.#closing
    let isFirst = true
    for (let failures = 0; !signal.aborted; ) {
      let delay = Math.min(FIRST_DELAY * 2 ** failures, LONGEST_DELAY)
      const listening = new Listening(this.#options.server, (payload) => this.#receive(payload))
      this.#listening = listening
      try {
        await listening.open(this.#deadline())
        if (!(await this.#check())) {
          delay = CHECK_INTERVAL
          throw silence(this.#options.server.name)
        }
        if (!isFirst) onMissed()
        failures = 0
        onFirstAttempt()
        await this.#watch(listening)
      } catch (error) {
        if (!signal.aborted && failures++ === 0) onError(error as Error)
      }
      listening.close()
      isFirst = false
      onFirstAttempt()
      await sleep(delay, undefined, { ref: false, signal }).catch(() => {})
    }
  }

  /** Resolves when the connection is lost. Closes it when announcements no longer arrive. */
  async #watch(listening: Listening): Promise<void> {
    const check = async (): Promise<void> => {
      if (!(await this.#check().catch(() => false))) listening.close()
    }
    const timer = setInterval(() => void check(), CHECK_INTERVAL)
    timer.unref()
    await listening.lost
    clearInterval(timer)
  }

  /** Sends a nonce, and returns whether it arrives. @throws the error of the statement that sends it */
  async #check(): Promise<boolean> {
    const { server, operationTimeout } = this.#options
    const nonce = randomUUID()
    const owed = this.#owing
    const timeout = new AbortController()
    const arrival = new Promise<boolean>((resolve) => {
      this.#awaited.set(nonce, () => resolve(true))
    })
    try {
      await server.table.query(({ name }) => checkText(name), [checkPayload(nonce, owed)], this.#deadline())
      if (owed) this.#owing = false
      const { signal } = timeout
      return await Promise.race([arrival, sleep(operationTimeout * 1000, false, { signal })])
    } finally {
      timeout.abort()
      this.#awaited.delete(nonce)
    }
  }

  #receive(payload: string): void {
    for (const announcement of announcementsIn(payload)) {
      switch (announcement.kind) {
        case 'ended':
          this.#options.onEnded(announcement.session)
          break
        case 'missed':
          this.#options.onMissed()
          break
        case 'check':
          this.#awaited.get(announcement.nonce)?.()
      }
    }
  }

  #deadline(): number {
    return performance.now() + this.#options.operationTimeout * 1000
  }
}

/** One connection that listens. */
class Listening {
  /** Resolves when the connection is lost or closed. */
  readonly lost: Promise<void>
  readonly #server: Server
  readonly #onMessage: (payload: string) => void
  #onEnd = (): void => {}
  #subscription: { end(): void } | undefined
  #isClosed = false

  constructor(server: Server, onMessage: (payload: string) => void) {
    this.#server = server
    this.#onMessage = onMessage
    this.lost = new Promise((resolve) => {
      this.#onEnd = resolve
    })
  }

  async open(deadline: number): Promise<void> {
    await this.#server.starting
    const channel = await this.#server.table.channel(deadline)
    const subscriber = { onMessage: this.#onMessage, onEnd: this.#onEnd }
    this.#subscription = await this.#server.listen(channel, subscriber, deadline)
    if (this.#isClosed) this.#subscription.end()
  }

  close(): void {
    this.#isClosed = true
    this.#subscription?.end()
  }
}

function silence(server: string): SessionPgsqlError {
  return new SessionPgsqlError(
    'DATABASE',
    `The announcements of ended sessions do not arrive from ${server}: this process listens, but received nothing within operationTimeout. A connection pooler in transaction mode, such as PgBouncer, accepts LISTEN and delivers nothing. Connect to PostgreSQL directly, or through a pooler in session mode.`,
  )
}
