import { isLocked } from '../database/faults.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Destroy } from '../session/ended.ts'
import { type Change, isReencrypted, type StoredSession, type Touch } from '../session/stored.ts'
import { type Answer, BUSY, GONE, PREVENTED } from './answers.ts'
import { Batcher, type BatcherOptions, type Source } from './batcher.ts'
import type { TableName } from './definition.ts'
import { triggerFault } from './inspect.ts'
import { type RequestOptions, RequestSender, type SendBatch } from './request-sender.ts'
import type { Put, Save } from './requests.ts'
import type { StoredSessions } from './stored-sessions.ts'
import type { SessionTable } from './table.ts'

export interface BatchOptions extends RequestOptions {
  /** Maximum number of requests in one statement; 1 disables batching. */
  readonly maxRows: number
  /** The table's save handler and server, for diagnostics. */
  readonly source: Source
}

/**
 * Minimum numbers of requests for a second batch while the first is in flight: of changes that wait for the disk, and of
 * others. A second batch lets this process work while PostgreSQL does. But a statement costs PostgreSQL the more, compared
 * with its rows, the fewer they are, and those that wait for the disk cost most. Measured on two cores against a minimum
 * of 8 for all: a single process with 64 callers writes 0.95 times as much, with 16 it writes 1.1 times as much and reads
 * 0.97 times. Two processes with 16 callers each make 1.35 to 1.45 times as many calls, four with 64 write 1.3 times as
 * much.
 */
const MIN_SECOND_BATCH = { durable: 64, others: 16 } as const

/**
 * The sessions of one table. Its methods take one request each, and batchers send them: on the fast path first, if a
 * session probably exists and its row is not locked, and on the slow path otherwise.
 *
 * A caller must not start a request for an id while another request for it, of any kind, is pending; the save handler's
 * per-id queues ensure this.
 */
export class BatchedSessions implements StoredSessions {
  readonly #table: SessionTable
  readonly #sender: RequestSender
  readonly #read: Batcher<string, StoredSession | undefined>
  /** The fast path. Requests without an answer from it go on to the slow path, the batcher of their kind. */
  readonly #quickSave: Batcher<Save, Answer | undefined>
  readonly #quickTouch: Batcher<Touch, Answer | undefined>
  readonly #save: Batcher<Save, Answer>
  readonly #put: Batcher<Put, Answer>
  readonly #touch: Batcher<Touch, Answer>
  readonly #destroy: Batcher<Destroy, Answer>
  /** How often a `put` got no answer. */
  readonly #unanswered = new WeakMap<Put, number>()
  /** A locked row disables the fast path until this time, in milliseconds of `performance.now()`. */
  #contendedUntil = 0
  /**
   * Whether the last write without a base replaced a session. The next one then probably does, and takes the fast path
   * first.
   */
  #replacing = false

  constructor(table: SessionTable, { maxRows, source, ...options }: BatchOptions) {
    this.#table = table
    const sender = new RequestSender(table, options)
    this.#sender = sender
    const batcher = <Request, Result>(options: Omit<BatcherOptions<Request, Result>, 'maxRows'>) =>
      new Batcher({ ...options, maxRows }, table.limit, source)
    const fastPath = { isBusy: never, use: 'other' } as const
    const slowPath = {
      isBusy: this.#isBusy,
      faultOf: this.#faultOf,
      use: 'other',
      minSecondBatch: MIN_SECOND_BATCH.durable,
    } as const
    this.#read = batcher({
      kind: 'read',
      send: sender.read,
      sizeOf: withoutData,
      isBusy: never,
      use: 'read',
      minSecondBatch: MIN_SECOND_BATCH.others,
    })
    this.#quickSave = batcher({
      kind: 'quickSave',
      send: this.#unlessLocked(sender.quickSave),
      sizeOf: withData,
      minSecondBatch: MIN_SECOND_BATCH.durable,
      ...fastPath,
    })
    this.#quickTouch = batcher({
      kind: 'quickTouch',
      send: this.#unlessLocked(sender.quickTouch),
      sizeOf: withoutData,
      minSecondBatch: MIN_SECOND_BATCH.others,
      ...fastPath,
    })
    this.#save = batcher({ kind: 'save', send: orGone(sender.save), sizeOf: withData, ...slowPath })
    this.#put = batcher({ kind: 'put', send: this.#sendPut, sizeOf: withData, ...slowPath })
    this.#touch = batcher({ kind: 'touch', send: orGone(sender.touch), sizeOf: withoutData, ...slowPath })
    this.#destroy = batcher({
      kind: 'destroy',
      send: orGone(sender.destroy),
      sizeOf: withoutData,
      ...slowPath,
    })
  }

  read(id: string, deadline: number): Promise<StoredSession | undefined> {
    return this.#read.submit(id, deadline)
  }

  save(request: Save, deadline: number): Promise<Answer> {
    const { base } = request
    const answer =
      request.change.metadata !== undefined
        ? this.#save.submit(request, deadline)
        : this.#fastPathFirst(this.#quickSave, request, this.#save, request, deadline)
    if (base === undefined || !this.#table.cipher.hasKeys) return answer
    return answer.then((answer) => {
      const { outcome, stored } = answer
      if (outcome !== 'conflict' || stored === undefined || !isReencrypted(base, stored)) return answer
      // `session-pgsql encrypt` has rewritten the row, which is no change of the session.
      return this.save({ ...request, base: { ...base, digest: stored.digest } }, deadline)
    })
  }

  put(request: Put, deadline: number): Promise<Answer> {
    const { change, mustBeAbsent } = request
    const answer =
      mustBeAbsent || change.metadata !== undefined || !this.#replacing
        ? this.#put.submit(request, deadline)
        : this.#fastPathFirst(this.#quickSave, { change, base: undefined }, this.#put, request, deadline)
    if (mustBeAbsent) return answer
    return answer.then((answer) => {
      this.#replacing = answer.outcome === 'updated'
      return answer
    })
  }

  touch(request: Touch, deadline: number): Promise<Answer> {
    const { lifetime, metadata } = request
    if (lifetime === null || metadata !== undefined) return this.#touch.submit(request, deadline)
    return this.#fastPathFirst(this.#quickTouch, request, this.#touch, request, deadline)
  }

  destroy(request: Destroy, deadline: number): Promise<Answer> {
    return this.#destroy.submit(request, deadline)
  }

  saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer> {
    return this.#sender.saveLocked(id, decide, deadline)
  }

  async replicated(_id: string, deadline: number): Promise<void> {
    // Only a commit that wrote something waits for the standby. This writes only a message to the write-ahead log.
    await this.#table.query(
      () => "SELECT pg_catalog.pg_logical_emit_message(true, 'session_pgsql', '')",
      [],
      deadline,
    )
  }

  /** Number of requests that are not sent yet. */
  get waiting(): number {
    const { waiting } = this.#read
    const changes = [this.#quickSave, this.#quickTouch, this.#save, this.#put, this.#touch, this.#destroy]
    return changes.reduce((sum, batcher) => sum + batcher.waiting, waiting)
  }

  /** Submits a request to the fast path, unless rows are contended, and to the slow path if it got no answer. */
  #fastPathFirst<FastRequest, Request>(
    fastPath: Batcher<FastRequest, Answer | undefined>,
    fastRequest: FastRequest,
    slowPath: Batcher<Request, Answer>,
    request: Request,
    deadline: number,
  ): Promise<Answer> {
    if (performance.now() < this.#contendedUntil) return slowPath.submit(request, deadline)
    return fastPath
      .submit(fastRequest, deadline)
      .then((answer) => answer ?? slowPath.submit(request, deadline))
  }

  /** Sends on the fast path. If a row is locked, no request gets an answer. */
  #unlessLocked<Request>(send: SendBatch<Request>): SendBatch<Request> {
    return async (requests, deadlines) => {
      // The earliest deadline for all: requests with more time go on to the slow path.
      const earliest = deadlines.reduce((one, other) => Math.min(one, other))
      try {
        return await send(
          requests,
          requests.map(() => earliest),
        )
      } catch (error) {
        if (!(error instanceof SessionPgsqlError) || !isLocked(error.sqlState)) throw error
        this.#contendedUntil = performance.now() + CONTENTION_PERIOD
        return requests.map(() => undefined)
      }
    }
  }

  // A request without an answer found no row, but was not inserted: another transaction has just inserted the row, and
  // the next statement finds it. If it never does, a trigger drops the insert.
  readonly #sendPut = async (requests: readonly Put[], deadlines: readonly number[]): Promise<Answer[]> => {
    const answers = await this.#sender.put(requests, deadlines)
    return answers.map((answer, index) => {
      if (answer !== undefined) return answer
      const request = requests[index] as Put
      const tries = (this.#unanswered.get(request) ?? 0) + 1
      this.#unanswered.set(request, tries)
      return tries < MAX_UNANSWERED ? BUSY : PREVENTED
    })
  }

  readonly #isBusy = ({ outcome }: Answer): boolean => {
    if (outcome === 'busy') this.#contendedUntil = performance.now() + CONTENTION_PERIOD
    return outcome === 'busy' || outcome === 'late'
  }

  readonly #faultOf = ({ outcome }: Answer): SessionPgsqlError | undefined =>
    // An opened table has a schema.
    outcome === 'prevented' ? triggerFault(this.#table.wanted as TableName) : undefined
}

/** Number of statements without an answer to a `put` after which a trigger is the cause. */
const MAX_UNANSWERED = 10

/** Milliseconds for which the fast path is disabled after a row was locked. */
const CONTENTION_PERIOD = 1000

function orGone<Request>(send: SendBatch<Request>) {
  return async (requests: readonly Request[], deadlines: readonly number[]): Promise<Answer[]> =>
    (await send(requests, deadlines)).map((answer) => answer ?? GONE)
}

const never = (): boolean => false

/** The size of a request; see `BatcherOptions.sizeOf`. */
const withoutData = (): number => 100
const withData = ({ change }: { readonly change: Change }): number => 200 + change.text.length
