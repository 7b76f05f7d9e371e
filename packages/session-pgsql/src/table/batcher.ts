import { isAboutData, isLocked, isTransient } from '../database/faults.ts'
import { isTraced, type QueuedMessage, queued, traced, tracing } from '../diagnostics.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Limit, Timed, Use } from './limit.ts'

/** What one batcher sends. */
export interface BatcherOptions<Request, Answer> {
  /** The kind of its requests, for diagnostics. */
  readonly kind: string
  /**
   * Sends one statement for all requests, each with its deadline. Resolves to an answer for each, in the order of the
   * requests. The caller of `submit` ensures that no two of them have the same id.
   */
  readonly send: (requests: readonly Request[], deadlines: readonly number[]) => Promise<Answer[]>
  /** Returns the size of a request, in characters. */
  readonly sizeOf: (request: Request) => number
  /** Returns true if the row was locked. The request is sent again after a delay, in a later batch. */
  readonly isBusy: (answer: Answer) => boolean
  /** Returns the error with which a request is rejected that got this answer. */
  readonly faultOf?: (answer: Answer) => SessionPgsqlError | undefined
  /** Maximum number of requests in one statement; 1 disables batching. */
  readonly maxRows: number
  /** Minimum number of requests for a second batch while the first is in flight. */
  readonly minSecondBatch: number
  /** What its batches take slots for. */
  readonly use: Use
}

/** Maximum size of a batch of several requests, in characters: far below the limit of a protocol message. */
const MAX_SIZE = 1_000_000

/**
 * Maximum number of batches in flight for one batcher. With two, PostgreSQL executes one or waits for the disk while
 * this process encodes and decodes the other. Measured on two idle cores: 1.4 times as many reads as with one; three
 * gained nothing more.
 */
const MAX_IN_FLIGHT = 2

/** Size of a batch, in characters, that is worth a statement of its own, however few its requests are. */
const MIN_SECOND_SIZE = 50_000

/** Milliseconds after which a batch in flight no longer delays the next one. */
const STALE_AFTER = 50

/** Milliseconds before a request for a locked row is sent again, by the number of tries. */
const BUSY_DELAYS = [0, 1, 2, 4, 8, 16, 25] as const

/**
 * Sends requests of one kind in batches, each as one statement. Requests that arrive while batches are in flight form
 * the next batch. A request that arrives while none is in flight is sent at the end of the tick.
 *
 * The bottleneck of a session store is one statement for each request, not PostgreSQL: batches read six times as many
 * sessions a second and write four times as many.
 */
export class Batcher<Request, Answer> {
  readonly #options: BatcherOptions<Request, Answer>
  #waiting: Entry<Request, Answer>[] = []
  /** The size of `#waiting`, in characters. */
  #waitingSize = 0
  /** The batches in flight that delay the next one: those that are not stale. */
  readonly #inFlight = new Set<InFlightBatch>()
  #watching = false
  #scheduled = false
  readonly #limit: Limit
  readonly #source: Source
  /** With one slot, two batches would be sent one after the other, each with half of the requests. */
  readonly #maxInFlight: number

  /**
   * @param limit limits the statements in flight of all batchers of a table
   * @param source the batcher's save handler and server, for diagnostics
   */
  constructor(options: BatcherOptions<Request, Answer>, limit: Limit, source: Source) {
    this.#options = options
    this.#limit = limit
    this.#source = source
    this.#maxInFlight = Math.min(MAX_IN_FLIGHT, limit.slotsOf(options.use))
  }

  /** Number of requests that are not sent yet. */
  get waiting(): number {
    return this.#waiting.length
  }

  /** @param deadline in milliseconds of `performance.now()`; when it has passed, the promise rejects with TIMEOUT */
  submit(request: Request, deadline: number): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const entry: Entry<Request, Answer> = {
        request,
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
    this.#waitingSize += this.#options.sizeOf(entry.request)
    if (this.#maySend()) this.#schedule()
    else this.#watch()
  }

  #maySend(): boolean {
    const { size } = this.#inFlight
    const isBatching = this.#options.maxRows > 1
    return size === 0 || !isBatching || (size < this.#maxInFlight && this.#fills(1))
  }

  /** Returns true if the waiting requests are enough for so many batches in flight at the same time. */
  #fills(batches: number): boolean {
    return (
      this.#waiting.length >= batches * this.#options.minSecondBatch ||
      this.#waitingSize >= batches * MIN_SECOND_SIZE
    )
  }

  /** Sends at the end of the tick, after all callbacks and promise reactions that are due. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    queueMicrotask(() => process.nextTick(this.#dispatch))
  }

  readonly #dispatch = (): void => {
    this.#scheduled = false
    while (this.#waiting.length > 0 && this.#maySend()) {
      if (!this.#limit.acquire(this.#options.use, this.#dispatch)) return
      const batch = this.#takeBatch()
      if (batch.length === 0) this.#limit.release(this.#options.use)
      else this.#start(batch)
    }
  }

  #takeBatch(): Entry<Request, Answer>[] {
    const { maxRows } = this.#options
    const several = this.#maxInFlight
    const many = this.#inFlight.size === 0 && this.#fills(several)
    const most = many ? Math.min(maxRows, Math.ceil(this.#waiting.length / several)) : maxRows
    const batch: Entry<Request, Answer>[] = []
    let size = 0
    let taken = 0
    for (const entry of this.#waiting) {
      if (batch.length >= most) break
      const entrySize = this.#options.sizeOf(entry.request)
      if (!entry.settled) {
        size += entrySize
        if (batch.length > 0 && size > MAX_SIZE) break
        entry.sent = true
        batch.push(entry)
      }
      this.#waitingSize -= entrySize
      taken++
    }
    this.#waiting = taken === this.#waiting.length ? [] : this.#waiting.slice(taken)
    return batch
  }

  #start(entries: Entry<Request, Answer>[]): void {
    const batch = { since: performance.now() }
    this.#inFlight.add(batch)
    void this.#send(entries).finally(() => {
      this.#limit.release(this.#options.use)
      this.#sendNextAfter(batch)
    })
  }

  #sendNextAfter(batch: InFlightBatch): void {
    if (!this.#inFlight.delete(batch) || this.#waiting.length === 0) return
    if (this.#maySend()) this.#schedule()
    else this.#watch()
  }

  /** Sets a timer for batches that become stale, only while requests wait for them. */
  #watch(): void {
    const [oldest] = this.#inFlight
    if (this.#watching || oldest === undefined) return
    this.#watching = true
    setTimeout(
      () => {
        this.#watching = false
        const stale = performance.now() - STALE_AFTER
        for (const batch of this.#inFlight) if (batch.since <= stale) this.#sendNextAfter(batch)
        if (this.#waiting.length > 0) this.#watch()
      },
      // From version 22 Node warns of a negative delay.
      Math.max(1, Math.ceil(oldest.since + STALE_AFTER - performance.now())),
    )
  }

  /** Never rejects: settles each entry instead. */
  async #send(batch: Entry<Request, Answer>[]): Promise<void> {
    try {
      const answers = await (isTraced(tracing.batch) ? this.#askTraced(batch) : this.#ask(batch))
      for (const [index, entry] of batch.entries()) this.#settle(entry, answers[index] as Answer)
    } catch (error) {
      const sqlState = error instanceof SessionPgsqlError ? error.sqlState : undefined
      if (isTransient(sqlState)) {
        for (const entry of batch) this.#retry(entry)
      } else if (batch.length === 1 && isLocked(sqlState)) {
        this.#retryAlone(batch[0] as Entry<Request, Answer>)
      } else if (batch.length > 1 && (isAboutData(sqlState) || isLocked(sqlState))) {
        // One row fails the whole statement. Halving isolates it, so that it fails (or waits) alone.
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
      batch.map((entry) => entry.request),
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
    const fault = this.#options.faultOf?.(answer)
    if (this.#options.isBusy(answer)) this.#retry(entry)
    else if (fault !== undefined) this.#reject(entry, fault)
    else if (this.#limit.deadlines.settle(entry)) entry.resolve(answer)
  }

  #reject(entry: Entry<Request, Answer>, error: unknown): void {
    if (!this.#limit.deadlines.settle(entry)) return
    // A copy for each caller, because a caller may add to its error.
    entry.reject(error instanceof SessionPgsqlError ? error.copy() : error)
  }

  #retry(entry: Entry<Request, Answer>): void {
    if (entry.settled) return
    entry.sent = false
    const delay = busyDelay(entry.tries++)
    if (delay === 0) this.#enqueue(entry)
    else setTimeout(() => this.#enqueue(entry), delay)
  }

  /** Sends the request in a statement of its own: one that waits inside PostgreSQL would delay its whole batch. */
  #retryAlone(entry: Entry<Request, Answer>): void {
    if (entry.settled) return
    entry.sent = false
    setTimeout(
      () => {
        const send = async (): Promise<void> => {
          if (entry.settled) return
          entry.sent = true
          await this.#send([entry])
        }
        // At its deadline the entry itself is rejected.
        this.#limit.run(send, entry.deadline).catch(() => {})
      },
      busyDelay(entry.tries++),
    )
  }
}

/** Returns the milliseconds to wait before a statement that lost to others is sent again, after so many tries. */
export function busyDelay(tries: number): number {
  return BUSY_DELAYS[Math.min(tries, BUSY_DELAYS.length - 1)] as number
}

/** The save handler and the server that a diagnostics message is about. */
export interface Source {
  readonly handler: object
  readonly server: string
}

interface InFlightBatch {
  /** In milliseconds of `performance.now()`. */
  readonly since: number
}

interface Entry<Request, Answer> extends Timed {
  readonly request: Request
  readonly resolve: (answer: Answer) => void
  /** The diagnostics message about its waiting, if there were subscribers. */
  readonly queued: QueuedMessage | undefined
  tries: number
}
