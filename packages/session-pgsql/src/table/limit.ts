import { timeoutFault } from '../database/faults.ts'

/** An operation that waits until a deadline. */
export interface Timed {
  /** In milliseconds of `performance.now()`. */
  readonly deadline: number
  readonly reject: (error: unknown) => void
  /** Whether its statement was sent. If so, PostgreSQL may execute it although the caller gets an error. */
  sent: boolean
  settled: boolean
  /** The neighbors in the list of `Deadlines` while it waits. */
  before: Timed | undefined
  after: Timed | undefined
}

/** What a slot is for. The reads of sessions have slots of their own. */
export type Use = 'read' | 'other'

/**
 * Limits the statements in flight on one server, over all batchers, and keeps the deadlines of all that wait.
 *
 * Commits that wait for a dead synchronous standby would take every slot, and sessions could not be read, which needs
 * no standby. So a quarter of the slots, at least one, is for reads of sessions only. A single slot is for both.
 */
export class Limit {
  readonly deadlines: Deadlines = new Deadlines()
  readonly #max: Readonly<Record<Use, number>>
  /** Slots in use: for all uses, and for others than reads. */
  #inFlight = 0
  #others = 0
  #blocked = new Map<() => void, Use>()

  /** @param max the number of connections: a batch that waits for a connection had better accept more requests */
  constructor(max: number) {
    const reserved = Math.max(1, Math.floor(max / 4))
    this.#max = { read: max, other: Math.max(1, max - reserved) }
  }

  /** Returns the number of slots that a use can have at the same time. */
  slotsOf(use: Use): number {
    return this.#max[use]
  }

  /** Acquires a slot and returns true. If none is free, returns false and calls `whenFree` once when one is. */
  acquire(use: Use, whenFree: () => void): boolean {
    if (!this.#isFree(use)) {
      this.#blocked.set(whenFree, use)
      return false
    }
    this.#inFlight++
    if (use === 'other') this.#others++
    return true
  }

  #isFree(use: Use): boolean {
    return this.#inFlight < this.#max.read && (use === 'read' || this.#others < this.#max.other)
  }

  /** Runs `work`, which is not a read of sessions, when a slot is free. @throws TIMEOUT if none is before the deadline */
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
        if (waiting.settled || !this.acquire('other', enter)) return
        this.deadlines.settle(waiting)
        resolve()
      }
      this.deadlines.add(waiting)
      enter()
    })
    try {
      return await work()
    } finally {
      this.release('other')
    }
  }

  /** Releases a slot. */
  release(use: Use): void {
    this.#inFlight--
    if (use === 'other') this.#others--
    // A callback that has nothing left to send does not acquire the slot: then the next one is called.
    for (const [next, use] of this.#blocked) {
      if (this.#inFlight >= this.#max.read) return
      if (!this.#isFree(use)) continue
      this.#blocked.delete(next)
      next()
    }
  }
}

/**
 * Rejects waiting operations at their deadlines, with one timer for all. The timer is set for the earliest deadline,
 * and checks all entries when it fires. The entries are nearly always in the order of their deadlines.
 */
class Deadlines {
  /**
   * A linked list and not a Set. When V8 reallocates a Set, the old backing store refers to the new one. With hundreds
   * of entries added and removed each millisecond, uncollected stores promoted a quarter of all session data to the old
   * generation. Measured: a fifth of the time of a read.
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
    // A request that waited in its id's queue may arrive after others with later deadlines.
    if (entry.deadline < this.#armed) this.#arm(entry.deadline)
  }

  /** Removes an entry. @returns false if it was settled before */
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
    // Not this timer, but the sockets and timers of statements keep the process alive.
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
      // After the timers that are due as well: its statement may still wait for a connection, and its own timer knows.
      else if (entry.sent) setImmediate(() => this.#reject(entry))
      else this.#reject(entry)
    }
    if (next < Number.POSITIVE_INFINITY) this.#arm(next)
  }

  #reject(entry: Timed): void {
    if (!this.settle(entry)) return
    entry.reject(timeoutFault(entry.sent ? 'waiting for the answer' : 'waiting to be sent', entry.sent))
  }
}
