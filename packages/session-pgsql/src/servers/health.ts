import { setTimeout as sleep } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import { InFlight } from './in-flight.ts'

/** Milliseconds between two probes of a server that is down: at first, and at most. */
const PROBE_INTERVAL = { first: 100, most: 5000 }

/** Milliseconds after which a request that has no answer has the server pinged. */
const SLOW_AFTER = 400

/** Milliseconds that the server has to answer the ping. */
const PING_TIMEOUT = 400

/** Milliseconds between two looks at the ping's time. */
const TICK = 20

export interface HealthEvents {
  onDown(error: Error): void
  onUp(): void
  /** A connection was lost, but the server is up: it may have been down for a moment. */
  onInterrupted(): void
}

/**
 * Circuit breaker of one of several servers. The first request that finds the server down marks it down for the
 * whole process; from then on no request is sent to it until a probe succeeds. Probes are shared by all requests,
 * back off, and have a random delay, so that processes do not probe in step. A server that hangs is found by pinging
 * it while a request waits.
 */
export class Health {
  readonly #ping: (deadline: number) => Promise<unknown>
  readonly #events: HealthEvents
  readonly #inFlight = new InFlight()
  #isDown = false
  /** The last ping timed out: the server does not even refuse. */
  #hangs = false
  #checking: Promise<boolean> | undefined
  /** When the last ping ended, in milliseconds of `performance.now()`. */
  #checkedAt = 0
  /** When it was found up again, or interrupted, in milliseconds of `performance.now()`. */
  #upSince: number = performance.now()
  /** Resolves when requests may ping again. */
  #pause: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /**
   * @param ping sends a trivial statement on a connection of its own; rejects if there is no answer by the deadline
   */
  constructor(ping: (deadline: number) => Promise<unknown>, events: HealthEvents) {
    this.#ping = ping
    this.#events = events
  }

  get isDown(): boolean {
    return this.#isDown
  }

  /** Milliseconds for which it has been up without an interruption, as far as this process knows. */
  get upFor(): number {
    return this.#isDown ? 0 : performance.now() - this.#upSince
  }

  /**
   * Runs a request to the server. If the server is found to be down meanwhile, rejects with SERVER_DOWN at once; the
   * request may or may not have been applied.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isDown) throw serverDown()
    let timer: NodeJS.Timeout | undefined
    const checkAgain = (): void => {
      void this.check()
      timer = setTimeout(checkAgain, SLOW_AFTER)
    }
    timer = setTimeout(checkAgain, SLOW_AFTER)
    try {
      return await this.#inFlight.wait(work())
    } catch (error) {
      // A lost connection is not a lost server: the caller sends again. A server that has become read-only
      // (SQLSTATE 25006) is of no more use than one that is down.
      if ((isUnreachable(error) || isReadOnly(error)) && !this.#isDown && (await this.check())) {
        this.#upSince = performance.now()
        this.#events.onInterrupted()
      }
      throw error
    } finally {
      clearTimeout(timer)
    }
  }

  /**
   * Returns true if the server is up, pinging it if it was down: for callers about to trust another server's answer
   * instead. Returns false at once for a server that hung at the last ping, and pings it in the background. All
   * requests together ping no more often than the first probe does.
   */
  async isBack(): Promise<boolean> {
    if (!this.#isDown) return true
    const checked = this.#checkAgain()
    return this.#hangs ? false : checked
  }

  async #checkAgain(): Promise<boolean> {
    this.#pause ??= sleep(Math.max(0, this.#checkedAt + jittered(PROBE_INTERVAL.first) - performance.now()))
      // A ping already in progress may have begun too early to count.
      .then(() => this.#checking)
      .then(() => {
        this.#pause = undefined
      })
    await this.#pause
    return !this.#isDown || this.check()
  }

  /** Pings the server and updates its state. Returns true if it is up. Concurrent calls share one ping. */
  check(): Promise<boolean> {
    this.#checking ??= this.#pingInTime()
      .then(
        () => {
          this.#markUp()
          return true
        },
        (error) => {
          this.#hangs = error.code === 'TIMEOUT'
          const isDown = isUnreachable(error) || this.#hangs
          if (isDown) this.#markDown(error)
          // The server has answered, if only with an error: it is up.
          else this.#markUp()
          return !isDown
        },
      )
      .finally(() => {
        this.#checking = undefined
        this.#checkedAt = performance.now()
      })
    return this.#checking
  }

  /** Time in which this process was blocked or had no CPU does not count: the answer may wait unread. */
  async #pingInTime(): Promise<unknown> {
    const answer = this.#ping(performance.now() + PING_TIMEOUT * 10)
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<never>((_, reject) => {
      let left = PING_TIMEOUT
      let last = performance.now()
      timer = setInterval(() => {
        const now = performance.now()
        left -= Math.min(now - last, TICK * 2)
        last = now
        if (left > 0) return
        reject(
          new SessionPgsqlError('TIMEOUT', `The database server did not answer within ${PING_TIMEOUT} ms.`),
        )
      }, TICK)
    })
    try {
      return await Promise.race([answer, timeout])
    } finally {
      clearInterval(timer)
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #markDown(error: Error): void {
    if (this.#isDown || this.#closed) return
    this.#isDown = true
    this.#inFlight.rejectAll(() => serverDown(error))
    this.#events.onDown(error)
    this.#probeIn(PROBE_INTERVAL.first)
  }

  #markUp(): void {
    if (!this.#isDown) return
    clearTimeout(this.#timer)
    this.#isDown = false
    this.#upSince = performance.now()
    this.#events.onUp()
  }

  #probeIn(delay: number): void {
    if (this.#closed) return
    this.#timer = setTimeout(async () => {
      if (!(await this.check())) this.#probeIn(Math.min(delay * 2, PROBE_INTERVAL.most))
    }, jittered(delay))
    this.#timer.unref()
  }
}

/** Half of the delay is random: processes that saw a server fall together must not return to it together. */
function jittered(delay: number): number {
  return delay * (0.5 + Math.random() / 2)
}

export function isUnreachable(error: unknown): error is SessionPgsqlError {
  return error instanceof SessionPgsqlError && error.code === 'SERVER_DOWN'
}

function isReadOnly(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.sqlState === '25006'
}

function serverDown(cause?: Error): SessionPgsqlError {
  return new SessionPgsqlError('SERVER_DOWN', 'Cannot reach the database server.', {
    cause,
    // The request in progress may have been applied.
    outcomeUnknown: true,
  })
}
