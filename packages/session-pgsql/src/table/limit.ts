import { timeoutFault } from '../database/faults.ts'

/** Something that waits until a deadline. */
export interface Timed {
  readonly deadline: number
  readonly reject: (error: unknown) => void
  /** Whether it is in a statement under way, and may be done although its caller is told otherwise. */
  sent: boolean
  settled: boolean
  /** Its neighbours in `Deadlines` while it waits. */
  before: Timed | undefined
  after: Timed | undefined
}

/** How many statements are in flight on one server, over all lanes, and the deadlines of what waits. */
export class Limit {
  readonly deadlines: Deadlines = new Deadlines()
  readonly #most: number
  #inFlight = 0
  #blocked = new Set<() => void>()

  /** @param most as many as there are connections: a statement that waits for one is better left open for more orders */
  constructor(most: number) {
    this.#most = most
  }

  /** Takes a place; or says no, and calls back once when one is free. */
  take(whenFree: () => void): boolean {
    if (this.#inFlight < this.#most) {
      this.#inFlight++
      return true
    }
    this.#blocked.add(whenFree)
    return false
  }

  /** Runs `work` when there is a place; rejects with TIMEOUT if there is none until the deadline. */
  async run<T>(work: () => Promise<T>, deadline: number): Promise<T> {
    await new Promise<void>((resolve, reject) => {
      const waiting: Timed = {
        deadline,
        reject,
        sent: false,
        settled: false,
        before: undefined,
        after: undefined,
      }
      const enter = (): void => {
        if (waiting.settled || !this.take(enter)) return
        this.deadlines.settle(waiting)
        resolve()
      }
      this.deadlines.add(waiting)
      enter()
    })
    try {
      return await work()
    } finally {
      this.give()
    }
  }

  give(): void {
    this.#inFlight--
    // Whoever is called may have nothing to send any more: then it is the next one's turn.
    for (const next of this.#blocked) {
      if (this.#inFlight >= this.#most) return
      this.#blocked.delete(next)
      next()
    }
  }
}

/**
 * One timer for all that waits, not one each: it is set for the oldest and looks at the others when it
 * fires. What waits is nearly always in the order of its deadlines.
 */
class Deadlines {
  /**
   * A list, linked through the entries, not a Set: each Set that V8 outgrows refers to the next one, and with
   * hundreds of entries that come and go in a millisecond the old ones, dead but not collected, kept a quarter
   * of all that was read alive into the old generation. Measured: a fifth of the time of a read.
   */
  #first: Timed | undefined
  #last: Timed | undefined
  #timer: NodeJS.Timeout | undefined
  #armed = Number.POSITIVE_INFINITY

  add(entry: Timed): void {
    entry.before = this.#last
    if (this.#last === undefined) this.#first = entry
    else this.#last.after = entry
    this.#last = entry
    // What has stood in line comes here later than others with a later deadline.
    if (entry.deadline < this.#armed) this.#arm(entry.deadline)
  }

  /** @returns whether it was still waiting */
  settle(entry: Timed): boolean {
    if (entry.settled) return false
    entry.settled = true
    const { before, after } = entry
    if (before === undefined) this.#first = after
    else before.after = after
    if (after === undefined) this.#last = before
    else after.before = before
    entry.before = undefined
    entry.after = undefined
    return true
  }

  #arm(deadline: number): void {
    clearTimeout(this.#timer)
    this.#armed = deadline
    this.#timer = setTimeout(this.#expire, Math.max(1, Math.ceil(deadline - performance.now())))
    // Whoever waits has a socket or a timer of a statement open; this one must not keep a process alive.
    this.#timer.unref()
  }

  readonly #expire = (): void => {
    this.#timer = undefined
    this.#armed = Number.POSITIVE_INFINITY
    const now = performance.now()
    let next = Number.POSITIVE_INFINITY
    for (let entry = this.#first, after: Timed | undefined; entry !== undefined; entry = after) {
      after = entry.after
      if (entry.deadline > now) next = Math.min(next, entry.deadline)
      else if (this.settle(entry)) {
        entry.reject(timeoutFault('waiting for its turn or its answer', entry.sent))
      }
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next)
  }
}
