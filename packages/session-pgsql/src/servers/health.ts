import { SessionPgsqlError } from '../errors.ts'

/** Milliseconds between two probes of a server that is down: at first, and at most. */
const PROBE = { first: 100, most: 5000 }

/** Milliseconds that something may take before it is asked whether the server is alive ... */
const DOUBT = 400

/** ... and that it has for the answer. */
const PATIENCE = 400

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
  #down: Promise<never> | undefined
  #sayDown: (error: Error) => void = () => {}
  #isDown = false
  #checking: Promise<boolean> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  /** @param ping asks the server something simple; rejects when it does not answer until the deadline */
  constructor(ping: (deadline: number) => Promise<unknown>, events: HealthEvents) {
    this.#ping = ping
    this.#events = events
    this.#renew()
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
    const working = work()
    let doubt: NodeJS.Timeout | undefined
    const doubted = (): void => {
      void this.confirm()
      doubt = setTimeout(doubted, DOUBT)
    }
    doubt = setTimeout(doubted, DOUBT)
    try {
      return await Promise.race([working, this.#down as Promise<never>])
    } catch (error) {
      // A lost connection is not a lost server: whoever asked will ask again.
      if (isUnreachable(error) && !this.#isDown) await this.confirm()
      throw error
    } finally {
      clearTimeout(doubt)
    }
  }

  /** Asks whether it is alive. However many want to know, it is asked once. */
  confirm(): Promise<boolean> {
    this.#checking ??= this.#ping(performance.now() + PATIENCE)
      .then(
        () => {
          this.#up()
          return true
        },
        (error) => {
          // It has answered, if only to refuse: it is there.
          const away = isUnreachable(error) || error.code === 'TIMEOUT'
          if (away) this.#fall(error)
          else this.#up()
          return !away
        },
      )
      .finally(() => {
        this.#checking = undefined
      })
    return this.#checking
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
  }

  #fall(error: Error): void {
    if (this.#isDown || this.#closed) return
    this.#isDown = true
    this.#sayDown(isAway(error))
    this.#events.onDown(error)
    this.#probeIn(PROBE.first)
  }

  #up(): void {
    if (!this.#isDown) return
    clearTimeout(this.#timer)
    this.#isDown = false
    this.#renew()
    this.#events.onUp()
  }

  #renew(): void {
    this.#down = new Promise<never>((_, reject) => {
      this.#sayDown = reject
    })
    // Nobody may be waiting for it.
    this.#down.catch(() => {})
  }

  #probeIn(delay: number): void {
    if (this.#closed) return
    // Half of it by chance: processes that saw it fall together must not come back together.
    this.#timer = setTimeout(
      async () => {
        if (!(await this.confirm())) this.#probeIn(Math.min(delay * 2, PROBE.most))
      },
      delay * (0.5 + Math.random() / 2),
    )
    this.#timer.unref()
  }
}

export function isUnreachable(error: unknown): error is SessionPgsqlError {
  return error instanceof SessionPgsqlError && error.code === 'SERVER_DOWN'
}

function isAway(cause?: Error): SessionPgsqlError {
  // What was under way may have been done.
  return new SessionPgsqlError('SERVER_DOWN', 'The database server cannot be reached.', {
    cause,
    outcomeUnknown: true,
  })
}
