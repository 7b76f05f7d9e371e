import { SessionPgsqlError } from '../errors.ts'

/** The most operations that may run or wait at a time. One more rejects with OVERLOADED. */
const MAX_PENDING = 16_384

/** The most characters of session data in them. */
const MAX_PENDING_WEIGHT = 256 * 1024 * 1024

/** Decides which operations may begin, and knows when all have ended. */
export class Admission {
  #pending = 0
  #weight = 0
  #closed = false
  #whenIdle: (() => void) | undefined

  /** Operations that run or wait. */
  get pending(): number {
    return this.#pending
  }

  /**
   * Admits one operation; the caller must call `end` with the same weight.
   *
   * @param weight characters of session data that the operation holds in memory
   * @throws CLOSED; OVERLOADED if so many operations wait that another would only use up memory
   */
  begin(weight: number): void {
    this.checkOpen()
    const isTooHeavy = this.#weight > 0 && this.#weight + weight > MAX_PENDING_WEIGHT
    if (this.#pending >= MAX_PENDING || isTooHeavy) {
      throw new SessionPgsqlError(
        'OVERLOADED',
        `${this.#pending} operations already wait for the database, which is slower than the load. Try again later.`,
      )
    }
    this.#pending++
    this.#weight += weight
  }

  end(weight: number): void {
    this.#weight -= weight
    if (--this.#pending === 0) this.#whenIdle?.()
  }

  /** Runs administrative work: never refused for its weight, but `close` waits for it. @throws CLOSED */
  async run<T>(work: () => Promise<T>): Promise<T> {
    this.checkOpen()
    this.#pending++
    try {
      return await work()
    } finally {
      this.end(0)
    }
  }

  /** @throws CLOSED */
  checkOpen(): void {
    if (this.#closed) {
      throw new SessionPgsqlError('CLOSED', 'This save handler is closed. Create a new one to continue.')
    }
  }

  /** Admits nothing from now on. */
  close(): void {
    this.#closed = true
  }

  /** Resolves when every admitted operation has ended. */
  async idle(): Promise<void> {
    if (this.#pending === 0) return
    await new Promise<void>((resolve) => {
      this.#whenIdle = resolve
    })
  }
}
