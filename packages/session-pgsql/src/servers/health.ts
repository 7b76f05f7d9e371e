import { setTimeout as sleep } from 'node:timers/promises'
import { SessionPgsqlError } from '../errors.ts'
import { Waiting } from './waiting.ts'

/** Milliseconds between two probes of a server that is down: at first, and at most. */
const PROBE = { first: 100, most: 5000 }

/** Milliseconds that something may take before it is asked whether the server is alive ... */
const DOUBT = 400

/** ... and that it has for the answer. */
const PATIENCE = 400

/** How often is looked whether that is over, in milliseconds. */
const TICK = 20

export interface HealthEvents {
  onDown(error: Error): void
  onUp(): void
}

/**
 * Whether one of several servers is to be asked. Whoever finds it down says so, and from then on nobody asks it
 * until a probe finds it alive: one probe for all, less often each time, and never at the same moment as those of
 * other processes. What hangs is found out by asking for something simple beside it.
 */
export class Health {
  readonly #ping: (deadline: number) => Promise<unknown>
  readonly #events: HealthEvents
  readonly #waiting = new Waiting()
  #isDown = false
  /** It does not even refuse. */
  #hangs = false
  #checking: Promise<boolean> | undefined
  /** When that was answered the last time, in milliseconds of `performance.now()`. */
  #asked = 0
  /** Until requests may ask again. */
  #pause: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /**
   * @param ping asks the server something simple, on a connection that nobody else keeps busy; rejects when it does
   *   not answer until the deadline
   */
  constructor(ping: (deadline: number) => Promise<unknown>, events: HealthEvents) {
    this.#ping = ping
    this.#events = events
  }

  get isDown(): boolean {
    return this.#isDown
  }

  /**
   * Runs what is asked of the server. When the server turns out to be down in the meantime it rejects with
   * SERVER_DOWN at once, whatever became of it.
   */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isDown) throw isAway()
    let doubt: NodeJS.Timeout | undefined
    const doubted = (): void => {
      void this.confirm()
      doubt = setTimeout(doubted, DOUBT)
    }
    doubt = setTimeout(doubted, DOUBT)
    try {
      return await this.#waiting.for(work())
    } catch (error) {
      // A lost connection is not a lost server: whoever asked will ask again. And one that has become read-only
      // (SQLSTATE 25006) is of no more use than one that is away.
      if ((isUnreachable(error) || isReadOnly(error)) && !this.#isDown) await this.confirm()
      throw error
    } finally {
      clearTimeout(doubt)
    }
  }

  /**
   * Whether it is up again, asked anew: before something is believed that another server says in its place. Nobody
   * waits for one that does not even refuse; it is asked all the same. However many requests want to know, they ask
   * no more often than the first probe does, and wait for their turn.
   */
  async isBack(): Promise<boolean> {
    if (!this.#isDown) return true
    const asked = this.#askAnew()
    return this.#hangs ? false : asked
  }

  async #askAnew(): Promise<boolean> {
    this.#pause ??= sleep(Math.max(0, this.#asked + someOf(PROBE.first) - performance.now()))
      // The question that is under way may be too old.
      .then(() => this.#checking)
      .then(() => {
        this.#pause = undefined
      })
    await this.#pause
    return !this.#isDown || this.confirm()
  }

  /** Asks whether it is alive. However many want to know, it is asked once. */
  confirm(): Promise<boolean> {
    this.#checking ??= this.#answers()
      .then(
        () => {
          this.#up()
          return true
        },
        (error) => {
          // It has answered, if only to refuse: it is there.
          this.#hangs = error.code === 'TIMEOUT'
          const away = isUnreachable(error) || this.#hangs
          if (away) this.#fall(error)
          else this.#up()
          return !away
        },
      )
      .finally(() => {
        this.#checking = undefined
        this.#asked = performance.now()
      })
    return this.#checking
  }

  /** A process that was busy or had no processor meanwhile has not listened: that time does not count. */
  async #answers(): Promise<unknown> {
    const asked = this.#ping(performance.now() + PATIENCE * 10)
    let patience: NodeJS.Timeout | undefined
    const silence = new Promise<never>((_, reject) => {
      let left = PATIENCE
      let last = performance.now()
      patience = setInterval(() => {
        const now = performance.now()
        left -= Math.min(now - last, TICK * 2)
        last = now
        if (left <= 0) reject(new SessionPgsqlError('TIMEOUT', `It has not answered for ${PATIENCE} ms.`))
      }, TICK)
    })
    try {
      return await Promise.race([asked, silence])
    } finally {
      clearInterval(patience)
    }
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #fall(error: Error): void {
    if (this.#isDown || this.#closed) return
    this.#isDown = true
    this.#waiting.letGo(() => isAway(error))
    this.#events.onDown(error)
    this.#probeIn(PROBE.first)
  }

  #up(): void {
    if (!this.#isDown) return
    clearTimeout(this.#timer)
    this.#isDown = false
    this.#events.onUp()
  }

  #probeIn(delay: number): void {
    if (this.#closed) return
    this.#timer = setTimeout(async () => {
      if (!(await this.confirm())) this.#probeIn(Math.min(delay * 2, PROBE.most))
    }, someOf(delay))
    this.#timer.unref()
  }
}

/** Half of it by chance: processes that saw a server fall together must not come back together. */
function someOf(delay: number): number {
  return delay * (0.5 + Math.random() / 2)
}

export function isUnreachable(error: unknown): error is SessionPgsqlError {
  return error instanceof SessionPgsqlError && error.code === 'SERVER_DOWN'
}

function isReadOnly(error: unknown): boolean {
  return error instanceof SessionPgsqlError && error.sqlState === '25006'
}

function isAway(cause?: Error): SessionPgsqlError {
  // What was under way may have been done.
  return new SessionPgsqlError('SERVER_DOWN', 'The database server cannot be reached.', {
    cause,
    outcomeUnknown: true,
  })
}
