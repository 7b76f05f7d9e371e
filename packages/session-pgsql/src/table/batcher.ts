import { isAboutData, isLocked, isTransient } from '../database/faults.ts'
import { type QueuedMessage, queued, traced, tracing } from '../diagnostics.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Limit, Timed } from './limit.ts'

/** What one batcher sends, and how much of it at once. */
export interface BatcherOptions<Request, Answer> {
  /** What its orders are, for diagnostics. */
  readonly kind: string
  /**
   * Sends one statement for all the orders, each with its deadline; resolves to an answer for each, in their
   * order. No two of them are for the same id: whoever submits sees to that.
   */
  readonly send: (orders: readonly Request[], deadlines: readonly number[]) => Promise<Answer[]>
  /** How much an order weighs, in characters. */
  readonly weigh: (order: Request) => number
  /** Whether the row was locked by somebody: such an order is sent again a little later, with the next batch. */
  readonly isBusy: (answer: Answer) => boolean
  /** Most orders in one statement; 1 turns batching off. */
  readonly maxRows: number
}

/** A heavier batch is not filled up further, so that one statement stays well below what a message may hold. */
const MAX_WEIGHT = 1_000_000

/**
 * Batches of a batcher under way at a time: with two, PostgreSQL works on one, or waits for the disk, while this process
 * decodes and encodes the other. Measured on two cores that had nothing else to do: 1.4 times as many reads as with
 * one; three gained nothing more.
 */
const FLIGHTS = 2

/** Fewer orders than this are not worth a statement of their own while another is under way. */
const WORTHWHILE = 8

/** Milliseconds after which a batch no longer holds back the next one. */
const STALE = 50

/** Milliseconds before a busy row is tried again: at once, then twice as long each time, up to the last. */
const BUSY_DELAYS = [0, 1, 2, 4, 8, 16, 25] as const

/**
 * Gathers orders of one kind and sends them as one statement, or as two: what arrives
 * while these are in flight goes out as the next. An order that finds nothing in flight goes out at the end of
 * the tick.
 *
 * A statement for each order is the bottleneck of a session store, not PostgreSQL: batches read six times
 * as many sessions a second and write four times as many.
 */
export class Batcher<Request, Answer> {
  readonly #options: BatcherOptions<Request, Answer>
  #waiting: Entry<Request, Answer>[] = []
  /** Batches in flight that hold back the next: those that are not stale. */
  readonly #flights = new Set<Flight>()
  #watching = false
  #scheduled = false
  readonly #limit: Limit
  readonly #source: Source

  /**
   * @param limit how many statements may be in flight, shared by the lanes of a table
   * @param source whose batcher it is, for diagnostics
   */
  constructor(options: BatcherOptions<Request, Answer>, limit: Limit, source: Source) {
    this.#options = options
    this.#limit = limit
    this.#source = source
  }

  /** RequestRows that are not in a statement yet. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** @param deadline in milliseconds of `performance.now()`; past it the promise rejects with TIMEOUT */
  submit(order: Request, deadline: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const entry: Entry<Request, Answer> = {
        order,
        deadline,
        resolve,
        reject,
        tries: 0,
        sent: false,
        settled: false,
        before: undefined,
        after: undefined,
        queued: queued(this.#source.handler, this.#source.server, this.#options.kind),
      }
      this.#limit.deadlines.add(entry)
      this.#enqueue(entry)
    })
  }

  #enqueue(entry: Entry<Request, Answer>): void {
    this.#waiting.push(entry)
    if (this.#mayFly()) this.#schedule()
    else this.#watch()
  }

  #mayFly(): boolean {
    const { size } = this.#flights
    return size === 0 || (size < FLIGHTS && this.#waiting.length >= WORTHWHILE)
  }

  /** At the end of the tick: after every callback and promise that is due now has had its say. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => process.nextTick(this.#dispatch))
  }

  readonly #dispatch = (): void => {
    this.#scheduled = false
    const single = this.#options.maxRows === 1
    while (this.#waiting.length > 0 && (single || this.#mayFly())) {
      if (!this.#limit.take(this.#dispatch)) return
      const batch = this.#take()
      if (batch.length === 0) this.#limit.give()
      else this.#fly(batch)
    }
  }

  #take(): Entry<Request, Answer>[] {
    const { maxRows } = this.#options
    const many = this.#flights.size === 0 && this.#waiting.length >= FLIGHTS * WORTHWHILE
    const most = many ? Math.min(maxRows, Math.ceil(this.#waiting.length / FLIGHTS)) : maxRows
    const batch: Entry<Request, Answer>[] = []
    let weight = 0
    let taken = 0
    for (const entry of this.#waiting) {
      if (batch.length >= most) break
      if (!entry.settled) {
        weight += this.#options.weigh(entry.order)
        if (batch.length > 0 && weight > MAX_WEIGHT) break
        entry.sent = true
        batch.push(entry)
      }
      taken++
    }
    this.#waiting = taken === this.#waiting.length ? [] : this.#waiting.slice(taken)
    return batch
  }

  #fly(batch: Entry<Request, Answer>[]): void {
    const flight = { since: performance.now() }
    this.#flights.add(flight)
    void this.#send(batch).finally(() => {
      this.#limit.give()
      this.#release(flight)
    })
  }

  #release(flight: Flight): void {
    if (!this.#flights.delete(flight) || this.#waiting.length === 0) return
    if (this.#mayFly()) this.#schedule()
    else this.#watch()
  }

  /** One timer for the flights that others wait for, and none where nobody waits. */
  #watch(): void {
    const [oldest] = this.#flights
    if (this.#watching || oldest === undefined) return
    this.#watching = true
    setTimeout(
      () => {
        this.#watching = false
        const stale = performance.now() - STALE
        for (const flight of this.#flights) if (flight.since <= stale) this.#release(flight)
        if (this.#waiting.length > 0) this.#watch()
      },
      Math.ceil(oldest.since + STALE - performance.now()),
    )
  }

  /** Never rejects: each entry is told for itself. */
  async #send(batch: Entry<Request, Answer>[]): Promise<void> {
    try {
      const answers = await (tracing.batch.hasSubscribers ? this.#askTraced(batch) : this.#ask(batch))
      for (const [index, entry] of batch.entries()) this.#settle(entry, answers[index] as Answer)
    } catch (error) {
      const sqlState = error instanceof SessionPgsqlError ? error.sqlState : undefined
      if (isTransient(sqlState)) {
        for (const entry of batch) this.#again(entry)
      } else if (batch.length === 1 && isLocked(sqlState)) {
        this.#againAlone(batch[0] as Entry<Request, Answer>)
      } else if (batch.length > 1 && (isAboutData(sqlState) || isLocked(sqlState))) {
        // One bad row fails all: found by halves, it fails (or waits) alone.
        const middle = batch.length >> 1
        await this.#send(batch.slice(0, middle))
        await this.#send(batch.slice(middle))
      } else {
        for (const entry of batch) this.#reject(entry, error)
      }
    }
  }

  #ask(batch: readonly Entry<Request, Answer>[]): Promise<Answer[]> {
    return this.#options.send(
      batch.map((entry) => entry.order),
      batch.map((entry) => entry.deadline),
    )
  }

  #askTraced(batch: readonly Entry<Request, Answer>[]): Promise<Answer[]> {
    const message = {
      ...this.#source,
      kind: this.#options.kind,
      size: batch.length,
      orders: batch.map((entry) => entry.queued),
    }
    return traced(
      tracing.batch,
      message,
      () => this.#ask(batch),
      () => ({}),
    )
  }

  #settle(entry: Entry<Request, Answer>, answer: Answer): void {
    if (this.#options.isBusy(answer)) this.#again(entry)
    else if (this.#limit.deadlines.settle(entry)) entry.resolve(answer)
  }

  #reject(entry: Entry<Request, Answer>, error: unknown): void {
    if (!this.#limit.deadlines.settle(entry)) return
    // One error for each caller: they may each add to it.
    entry.reject(error instanceof SessionPgsqlError ? error.copy() : error)
  }

  #again(entry: Entry<Request, Answer>): void {
    if (entry.settled) return
    entry.sent = false
    const delay = delayOf(entry)
    if (delay === 0) this.#enqueue(entry)
    else setTimeout(() => this.#enqueue(entry), delay)
  }

  /** What waits inside the database would make a whole batch wait each time. */
  #againAlone(entry: Entry<Request, Answer>): void {
    if (entry.settled) return
    entry.sent = false
    setTimeout(() => {
      const send = async (): Promise<void> => {
        if (entry.settled) return
        entry.sent = true
        await this.#send([entry])
      }
      // Past its deadline it has been told so.
      this.#limit.run(send, entry.deadline).catch(() => {})
    }, delayOf(entry))
  }
}

function delayOf(entry: { tries: number }): number {
  return BUSY_DELAYS[Math.min(entry.tries++, BUSY_DELAYS.length - 1)] as number
}

/** Whose doing something is, for diagnostics. */
export interface Source {
  readonly handler: object
  readonly server: string
}

interface Flight {
  /** In milliseconds of `performance.now()`. */
  readonly since: number
}

interface Entry<Request, Answer> extends Timed {
  readonly order: Request
  readonly resolve: (answer: Answer) => void
  /** What was told of its waiting, if anybody listened. */
  readonly queued: QueuedMessage | undefined
  tries: number
}
