import { setTimeout } from 'node:timers/promises'
import {
  type Database,
  type Parameter,
  plain,
  type Query,
  type Row,
  type Statement,
} from '../database/database.ts'
import { isLocked, isTransient, statementFault, timeoutFault } from '../database/faults.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { SessionCipher } from '../session/cipher.ts'
import type { Columns } from '../session/columns.ts'
import type { Destroy } from '../session/ended.ts'
import { type Change, isReencrypted, type StoredSession, type Touch } from '../session/stored.ts'
import { hashedId, type IdsMode } from '../session/stored-id.ts'
import { channelOf, isAboutAnnouncing } from './announcements.ts'
import {
  type Answer,
  answersOf,
  BUSY,
  clockOf,
  GONE,
  outcomeOf,
  PREVENTED,
  secondsOf,
  standbyOf,
  storedOf,
} from './answers.ts'
import { Batcher, type BatcherOptions, busyDelay, type Source } from './batcher.ts'
import {
  type Companion,
  createCompanionStatement,
  type OpenTable,
  readable,
  type Shape,
  sqlName,
  type TableName,
} from './definition.ts'
import {
  answersOfForms,
  deleteDuplicatesText,
  type FormedBatch,
  formsOf,
  hasMark,
  type IdsOptions,
  type Lookup,
  lookupOf,
  MARK,
  ofForms,
  underBothForms,
} from './id-forms.ts'
import {
  createTable,
  creating,
  creationFault,
  type Inspection,
  inspect,
  missingPrivilege,
  rowSecurityFault,
  shapeOf,
  tableFault,
  tableGone,
  triggerFault,
  type WantedTable,
  wantsCreation,
} from './inspect.ts'
import { isAliveAt } from './lifetime.ts'
import { Limit } from './limit.ts'
import {
  ANNOUNCED_DESTROYS,
  type BatchSize,
  batchSize,
  DESTROYS,
  type Put,
  type RequestRows,
  type Save,
  TOUCHES,
  type WriteRows,
  writeRows,
} from './requests.ts'
import { BYTEWISE, CLOCK, isIn, microseconds, minus } from './sql.ts'
import { recordColumns, type Statements, statements } from './statements.ts'
import type { StoredSessions } from './stored-sessions.ts'

/** Options of a session table. */
export interface TableOptions {
  readonly table: WantedTable
  readonly createTable: boolean
  readonly keepExpired: boolean
  /** Seconds after its expiry for which a session may be saved. */
  readonly expiryGrace: number
  /** The option `columns`. */
  readonly columns: Columns
  /** Seconds after its beginning at which a session ends; Infinity: unlimited. */
  readonly maxLifetime: number
  readonly cipher: SessionCipher
  /** Whether a touch waits for the disk. */
  readonly durableTouches: boolean
  /** Maximum number of requests in one statement; 1 disables batching. */
  readonly maxRows: number
  /** Maximum number of statements in flight. */
  readonly concurrency: number
  /** The table's save handler and server, for diagnostics. */
  readonly source: Source
  readonly ids: IdsOptions
  /** Called when the process begins to look for both forms of ids. */
  readonly onBothForms: () => void
  /** Set if ended sessions are announced. Called when a session has ended that PostgreSQL could not announce. */
  readonly onUnannounced: (() => void) | undefined
}

/**
 * The session table on one server. Its methods take one session each, and its statements serve batches of them.
 *
 * A caller must not start a request for an id while another request for it, of any kind, is pending; the save handler's
 * per-id queues ensure this. Deadlines are in milliseconds of `performance.now()`. Each change is sent with its
 * deadline by the database's clock, and the statement checks it. So a write that arrives after its caller got TIMEOUT
 * does not undo changes that were acknowledged later.
 */
export class SessionTable implements StoredSessions {
  readonly #database: Database
  readonly #options: TableOptions
  readonly #limit: Limit
  readonly #rows: WriteRows
  readonly #read: Batcher<string, StoredSession | undefined>
  /** The fast path. Requests without an answer from it go on to the slow path, the batcher of their kind. */
  readonly #quickSave: Batcher<Save, Answer | undefined>
  readonly #quickTouch: Batcher<Touch, Answer | undefined>
  readonly #save: Batcher<Save, Answer>
  readonly #put: Batcher<Put, Answer>
  readonly #touch: Batcher<Touch, Answer>
  readonly #destroy: Batcher<Destroy, Answer>
  /** The table's name, once it was opened. From then on it is not created, and its schema does not change. */
  #name: TableName | undefined
  /** How often a `put` got no answer. */
  readonly #unanswered = new WeakMap<Put, number>()
  #opened: Opened | undefined
  #opening: Promise<Opened> | undefined
  /** Whether the server last reported that it is a standby. */
  #standby: boolean | undefined
  /**
   * Lower bound of the difference between the database's clock and `performance.now()`, in seconds; undefined before
   * the first answer.
   */
  #clockOffset: number | undefined
  /** A locked row disables the fast path until this time, in milliseconds of `performance.now()`. */
  #contendedUntil = 0
  /**
   * Whether the last write without a base replaced a session. The next one then probably does, and takes the fast path
   * first.
   */
  #replacing = false

  constructor(database: Database, options: TableOptions) {
    this.#database = database
    this.#options = options
    this.#limit = new Limit(options.concurrency)
    this.#rows = writeRows(options.columns)
    const isBusy = ({ outcome }: Answer): boolean => {
      if (outcome === 'busy') this.#contendedUntil = performance.now() + CONTENTION_PERIOD
      return outcome === 'busy' || outcome === 'late'
    }
    const { maxRows, source } = options
    const batcher = <Request, Result>(options: BatcherOptions<Request, Result>) =>
      new Batcher(options, this.#limit, source)
    const never = (): boolean => false
    const withoutData = (): number => 100
    const withData = ({ change }: { change: Change }): number => 200 + change.text.length
    const fastPath = { isBusy: never, maxRows, use: 'other' } as const
    const faultOf = ({ outcome }: Answer): SessionPgsqlError | undefined =>
      outcome === 'prevented' ? triggerFault(this.#name as TableName) : undefined
    const slowPath = { isBusy, faultOf, maxRows, use: 'other' } as const
    this.#read = batcher({
      kind: 'read',
      send: this.#sendRead,
      sizeOf: withoutData,
      isBusy: never,
      maxRows,
      use: 'read',
    })
    this.#quickSave = batcher({ kind: 'quickSave', send: this.#sendQuickSave, sizeOf: withData, ...fastPath })
    this.#quickTouch = batcher({
      kind: 'quickTouch',
      send: this.#sendQuickTouch,
      sizeOf: withoutData,
      ...fastPath,
    })
    this.#save = batcher({ kind: 'save', send: this.#sendSave, sizeOf: withData, ...slowPath })
    this.#put = batcher({ kind: 'put', send: this.#sendPut, sizeOf: withData, ...slowPath })
    this.#touch = batcher({ kind: 'touch', send: this.#sendTouch, sizeOf: withoutData, ...slowPath })
    this.#destroy = batcher({ kind: 'destroy', send: this.#sendDestroy, sizeOf: withoutData, ...slowPath })
  }

  /**
   * Inspects the table. Creates it if it is missing and `createTable` is on, unless it was opened before. After a
   * failure, the next call retries.
   */
  async open(deadline: number): Promise<OpenTable> {
    return (await this.#open(deadline)).shape
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
    if (base === undefined || !this.cipher.hasKeys) return answer
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

  /**
   * Runs work that ends sessions. If it fails because PostgreSQL cannot announce them, it is repeated without: a logout
   * does not depend on announcements.
   *
   * @param work is given whether to announce the sessions, by announcements.ts in the statement or transaction that ends them
   */
  async announcing<T>(work: (announce: boolean) => Promise<T>): Promise<T> {
    const { onUnannounced } = this.#options
    if (onUnannounced === undefined) return work(false)
    try {
      return await work(true)
    } catch (error) {
      if (!(error instanceof SessionPgsqlError) || !isAboutAnnouncing(error.sqlState)) throw error
      const result = await work(false)
      onUnannounced()
      return result
    }
  }

  /** Returns the channel on which ended sessions are announced. */
  async channel(deadline: number): Promise<string> {
    return channelOf((await this.#open(deadline)).shape.name)
  }

  async saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer> {
    const { lock, statements, lookup } = await this.#open(deadline)
    const answer = await this.transaction(async (query, shape) => {
      const { cipher } = this
      const locked = await query(plain(lock), [{ type: 'text', values: this.#formsOf(id, lookup) }])
      const current = ofForms(locked.map((row) => storedOf(row, cipher, clockOf(row), performance.now())))
      if (current === undefined) {
        return lookup === 'plain' && (await hasMark(query, sqlName(shape.name))) ? undefined : GONE
      }
      const request = await decide(current)
      if (request === undefined) return GONE
      const { saves } = this.#rows
      const save = saves.under(request, current.id)
      const rows = await query(statements.one.save, saves.parameters([save], [this.#until(deadline)], cipher))
      if (isMarked(rows)) return undefined
      const [answer = GONE] = answersOf(rows, [request.change.text], GONE, cipher)
      if (answer.outcome === 'late') throw timeoutFault('waiting for the row lock', false)
      if (answer.outcome === 'prevented') throw triggerFault(shape.name)
      return answer
    }, deadline)
    if (answer !== undefined) return answer
    this.#opened = undefined
    return this.saveLocked(id, decide, deadline)
  }

  async replicated(_id: string, deadline: number): Promise<void> {
    // Only a commit that wrote something waits for the standby. This writes only a message to the write-ahead log.
    await this.query(
      () => "SELECT pg_catalog.pg_logical_emit_message(true, 'session_pgsql', '')",
      [],
      deadline,
    )
  }

  /**
   * Sends a statement that is not batched, such as a list or a sweep.
   *
   * @param text returns the SQL for the table's shape and its quoted name
   * @param timeLimit seconds after which PostgreSQL cancels the statement, with the error TIMEOUT. Default: none
   */
  async query(
    text: (shape: Shape, table: string) => string,
    parameters: readonly (string | number | boolean | null)[],
    deadline: number,
    timeLimit?: number,
  ): Promise<Row[]> {
    const { shape } = await this.#open(deadline)
    const statement = plain(text(shape, sqlName(shape.name)))
    const send = (): Promise<Row[]> =>
      timeLimit === undefined
        ? this.#database.query(statement, parameters, deadline)
        : this.#database.transaction(async (query) => {
            await query(limitStatements, [String(Math.ceil(timeLimit * 1000))])
            return query(statement, parameters)
          }, deadline)
    return this.#guard(untilDone(() => this.#limit.run(send, deadline), deadline))
  }

  /** Calls `work` inside a transaction. */
  async transaction<T>(work: (query: Query, shape: OpenTable) => Promise<T>, deadline: number): Promise<T> {
    return this.hold((transaction) => transaction(work), deadline)
  }

  /**
   * Holds a slot among the statements in flight, for transactions one after the other. A caller that needs slots on
   * several servers takes all of them before its first transaction, always in the same order; otherwise two callers
   * could wait for each other.
   */
  async hold<T>(work: (transaction: Transact) => Promise<T>, deadline: number): Promise<T> {
    const { shape } = await this.#open(deadline)
    const transaction: Transact = (work) =>
      this.#database.transaction((query) => work(query, shape), deadline)
    return this.#guard(this.#limit.run(() => work(transaction), deadline))
  }

  /** Sends a statement about a companion table. An error of it does not affect the session table. */
  async queryCompanion(
    text: (shape: Shape) => string,
    parameters: readonly (string | number)[],
    deadline: number,
  ): Promise<Row[]> {
    const { shape } = await this.#open(deadline)
    const send = (): Promise<Row[]> => this.#database.query(plain(text(shape)), parameters, deadline)
    return untilDone(() => this.#limit.run(send, deadline), deadline)
  }

  /** Creates a companion table if it does not exist. @throws TABLE_MISSING if `createTable` is off */
  async createCompanion(what: Companion, deadline: number): Promise<void> {
    const { shape } = await this.#open(deadline)
    const statement = createCompanionStatement(shape.name, what)
    if (!this.#options.createTable) {
      throw new SessionPgsqlError(
        'TABLE_MISSING',
        `The table of session ${what}s does not exist, and createTable is off. Create it with: ${readable(statement)}`,
      )
    }
    const create = async (query: Query): Promise<void> => {
      // Fails if the session table is gone: its companions may be about to be restored with it.
      await query(plain(`SELECT FROM ${sqlName(shape.name)} LIMIT 0`), [])
      await query(plain(statement), [])
    }
    await this.#guard(creating(() => this.#database.transaction(create, deadline)))
  }

  /** Encrypts what is written, and decrypts what is read. */
  get cipher(): SessionCipher {
    return this.#options.cipher
  }

  /** The form in which this process stores the ids of new sessions. */
  get idsMode(): IdsMode {
    return this.#options.ids.mode
  }

  /** The table that the settings name; once it was opened, with the schema in which it was found. */
  get wanted(): WantedTable {
    return this.#name ?? this.#options.table
  }

  /** Sends a statement without opening the table, which may be missing or unusable. */
  queryUnopened(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#database.query(statement, parameters, deadline)
  }

  /** Inspects the server and the table again. Changes nothing. */
  inspect(deadline: number): Promise<Inspection> {
    return inspect(
      (statement, parameters) => this.queryUnopened(statement, parameters, deadline),
      this.wanted,
    )
  }

  /** Returns the database's clock, in seconds since 1970. */
  async readClock(deadline: number): Promise<number> {
    const [row] = await this.queryUnopened(plain(`SELECT ${microseconds(CLOCK)}`), [], deadline)
    return secondsOf(row?.[0])
  }

  /**
   * The database's clock as this process knows it without asking: the last answer, and the time since by this machine's
   * monotonic clock. In seconds since 1970; undefined before the first answer.
   */
  get knownClock(): number | undefined {
    return this.#clockOffset === undefined ? undefined : this.#until(performance.now())
  }

  /** The role that the server last reported. */
  get role(): 'primary' | 'standby' | 'unknown' {
    if (this.#standby === undefined) return 'unknown'
    return this.#standby ? 'standby' : 'primary'
  }

  /** Number of requests that are not sent yet. */
  get waiting(): number {
    const { waiting } = this.#read
    const changes = [this.#quickSave, this.#quickTouch, this.#save, this.#put, this.#touch, this.#destroy]
    return changes.reduce((sum, batcher) => sum + batcher.waiting, waiting)
  }

  /** The option `columns`. */
  get columns(): Columns {
    return this.#options.columns
  }

  /** Discards the result of the inspection: the next use inspects the table again. */
  forget(): void {
    this.#opened = undefined
    this.#standby = undefined
  }

  /** Returns the ids under which the row of a session may be stored, the hashed one last. */
  async formsOf(id: string, deadline: number): Promise<readonly string[]> {
    const { lookup } = await this.#open(deadline)
    return this.#formsOf(id, lookup)
  }

  #formsOf(id: string, lookup: Lookup): readonly string[] {
    return lookup === 'both' ? formsOf(id) : [id]
  }

  async #open(deadline: number): Promise<Opened> {
    if (this.#opened !== undefined) return this.#opened
    // A rejection is not kept: the next use retries.
    this.#opening ??= this.#prepare(deadline)
      .catch((error) => {
        // The caller's own statement was not sent.
        throw statementFault(error, false)
      })
      .finally(() => {
        this.#opening = undefined
      })
    return this.#opening
  }

  async #prepare(deadline: number): Promise<Opened> {
    let inspection = await this.inspect(deadline)
    if (inspection.found === undefined && this.#name !== undefined) throw tableGone(this.#name)
    if (this.#options.createTable && wantsCreation(inspection)) {
      inspection = await this.#create(inspection, deadline)
    }
    this.#recordClock(inspection.clock)
    this.#standby = inspection.standby
    const shape = {
      ...shapeOf(inspection, this.#options.maxLifetime, this.#options.columns),
      cipher: this.cipher,
    }
    if (this.#options.keepExpired) checkBeginning(shape)
    this.#name = shape.name
    const { ids, onBothForms } = this.#options
    const lookup = await lookupOf((look) => this.#database.transaction(look, deadline), shape, ids)
    if (lookup === 'both') onBothForms()
    this.#opened = {
      shape,
      user: inspection.user,
      lookup,
      statements: statements(shape, {
        ...this.#options,
        guarded: lookup === 'plain',
        hashing: ids.mode !== 'plain',
      }),
      lock: lockText(shape, this.#options.expiryGrace),
    }
    return this.#opened
  }

  async #create(before: Inspection, deadline: number): Promise<Inspection> {
    try {
      const create = (query: Query): Promise<Inspection> =>
        createTable(query, this.wanted, this.#options.columns)
      return await creating(() => this.#database.transaction(create, deadline))
    } catch (error) {
      if (!(error instanceof SessionPgsqlError) || error.sqlState === undefined) throw error
      // An existing table works without the added columns, for example if it is locked; `doctor` reports them. Another
      // process may have added them meanwhile.
      if (before.found !== undefined && error.code !== 'SERVER_DOWN') return this.inspect(deadline)
      throw creationFault(error, before)
    }
  }

  readonly #sendRead = async (
    ids: readonly string[],
    deadlines: readonly number[],
  ): Promise<(StoredSession | undefined)[]> => {
    const ask = () =>
      this.#send(
        'read',
        ({ lookup }) => {
          const [first] = ids
          if (ids.length === 1 && first !== undefined && lookup !== 'both')
            return { size: 'one', parameters: [first] }
          const forms = lookup === 'plain' ? [...ids, MARK] : lookup === 'both' ? ids.flatMap(formsOf) : ids
          return { size: 'several', parameters: [{ type: 'text', values: forms }] }
        },
        deadlines,
      )
    let { rows, lookup } = await ask()
    // Sent once more on new connections; the rows of a server with the wrong role may be stale.
    if (this.#isWrongRole(rows)) ({ rows, lookup } = await ask())
    if (this.#isWrongRole(rows)) {
      throw new SessionPgsqlError(
        'SERVER_DOWN',
        'The connection leads to a server that does not have the role that target_session_attrs requires. Check the connection pooler in between.',
      )
    }
    const readAt = performance.now()
    const last = rows.at(-1) as Row
    if (outcomeOf(last) === 'hidden') {
      this.#opened = undefined
      throw rowSecurityFault(this.#name as TableName)
    }
    const clock = clockOf(last)
    const found = new Map<string, StoredSession>()
    for (const row of rows) {
      if (outcomeOf(row) !== 'read') continue
      const stored = storedOf(row, this.cipher, clock, readAt)
      found.set(stored.id, stored)
    }
    if (lookup === 'both') return this.#withoutDuplicates(ids, found)
    if (!found.has(MARK)) return ids.map((id) => found.get(id))
    this.#opened = undefined
    return this.#sendRead(ids, deadlines)
  }

  /** Returns the session of each id. If it has two rows, the hashed one counts, and the plain one is deleted. */
  #withoutDuplicates(
    ids: readonly string[],
    found: ReadonlyMap<string, StoredSession>,
  ): (StoredSession | undefined)[] {
    const duplicates: [string, string][] = []
    const sessions = ids.map((id) => {
      const hashed = hashedId(id)
      if (hashed !== id && found.has(hashed) && found.has(id)) duplicates.push([id, hashed])
      return found.get(hashed) ?? found.get(id)
    })
    if (duplicates.length > 0) {
      // In the background; if it fails, the next read repeats it.
      const deadline = performance.now() + DUPLICATE_TIMEOUT
      const parameters = [0, 1].map((form) => ({
        type: 'text' as const,
        values: duplicates.map((one) => one[form] as string),
      }))
      const text = plain(deleteDuplicatesText(sqlName(this.#name as TableName)))
      this.#limit.run(() => this.#database.query(text, parameters, deadline), deadline).catch(() => {})
    }
    return sessions
  }

  /** Returns true if the server that was read from does not have the required role. */
  #isWrongRole(rows: readonly Row[]): boolean {
    this.#standby = standbyOf(rows.at(-1))
    return this.#database.distrusts?.(this.#standby) ?? false
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

  readonly #sendQuickSave = (requests: readonly Save[], deadlines: readonly number[]) =>
    this.#sendFast('quickSave', this.#rows.saves, requests, deadlines, textOf)

  readonly #sendQuickTouch = (requests: readonly Touch[], deadlines: readonly number[]) =>
    this.#sendFast('quickTouch', TOUCHES, requests, deadlines, noText)

  async #sendFast<Request>(
    kind: 'quickSave' | 'quickTouch',
    rows: RequestRows<Request>,
    requests: readonly Request[],
    deadlines: readonly number[],
    textOf: (request: Request) => string,
  ): Promise<(Answer | undefined)[]> {
    // The earliest deadline for all: requests with more time go on to the slow path.
    const earliest = deadlines.reduce((one, other) => Math.min(one, other))
    try {
      return await this.#sendRequests(
        kind,
        rows,
        requests,
        requests.map(() => earliest),
        textOf,
      )
    } catch (error) {
      if (!(error instanceof SessionPgsqlError) || !isLocked(error.sqlState)) throw error
      this.#contendedUntil = performance.now() + CONTENTION_PERIOD
      return requests.map(() => undefined)
    }
  }

  readonly #sendSave = async (requests: readonly Save[], deadlines: readonly number[]): Promise<Answer[]> =>
    orGone(await this.#sendRequests('save', this.#rows.saves, requests, deadlines, textOf))

  // A request without an answer found no row, but was not inserted: another transaction has just inserted the row, and
  // the next statement finds it. If it never does, a trigger drops the insert.
  readonly #sendPut = async (requests: readonly Put[], deadlines: readonly number[]): Promise<Answer[]> => {
    const { lookup } = await this.#open(Math.max(...deadlines))
    const answers =
      lookup === 'both'
        ? await this.#putUnderEitherForm(requests, deadlines)
        : await this.#sendRequests('put', this.#rows.puts, requests, deadlines, textOf)
    return answers.map((answer, index) => {
      if (answer !== undefined) return answer
      const request = requests[index] as Put
      const tries = (this.#unanswered.get(request) ?? 0) + 1
      this.#unanswered.set(request, tries)
      return tries < MAX_UNANSWERED ? BUSY : PREVENTED
    })
  }

  /** Writes the sessions that exist under either form, and inserts the others under the form of new rows. */
  async #putUnderEitherForm(
    requests: readonly Put[],
    deadlines: readonly number[],
  ): Promise<(Answer | undefined)[]> {
    const { mode } = this.#options.ids
    const { saves: saveRows, puts: putRows } = this.#rows
    const stored = await this.#sendRead(requests.map(putRows.id), deadlines)
    const answers = requests.map(({ mustBeAbsent }, index): Answer | undefined => {
      const found = stored[index]
      return found !== undefined && mustBeAbsent ? { outcome: 'conflict', stored: found } : undefined
    })
    const places = [...answers.keys()].filter((index) => answers[index] === undefined)
    const existing = places.filter((index) => stored[index] !== undefined)
    const absent = places.filter((index) => stored[index] === undefined)
    const someOf = <T>(all: readonly T[], which: readonly number[]): T[] => which.map((at) => all[at] as T)
    const saves = someOf(requests, existing).map(({ change }): Save => ({ change, base: undefined }))
    const puts = someOf(requests, absent).map((request) =>
      mode === 'migrate' ? putRows.under(request, hashedId(putRows.id(request))) : request,
    )
    const [saved, put] = await Promise.all([
      saves.length === 0
        ? []
        : this.#sendRequests('save', saveRows, saves, someOf(deadlines, existing), textOf),
      puts.length === 0 ? [] : this.#sendRequests('put', putRows, puts, someOf(deadlines, absent), textOf),
    ])
    // Ended since it was read: without an answer, the request is sent again.
    for (const [at, place] of existing.entries())
      answers[place] = saved[at]?.outcome === 'gone' ? undefined : saved[at]
    for (const [at, place] of absent.entries()) answers[place] = put[at]
    return answers
  }

  readonly #sendTouch = async (requests: readonly Touch[], deadlines: readonly number[]): Promise<Answer[]> =>
    orGone(await this.#sendRequests('touch', TOUCHES, requests, deadlines, noText))

  readonly #sendDestroy = async (
    requests: readonly Destroy[],
    deadlines: readonly number[],
  ): Promise<Answer[]> => {
    const answers = await this.announcing((announce) =>
      announce
        ? this.#sendRequests('announcedDestroy', ANNOUNCED_DESTROYS, requests, deadlines, noText)
        : this.#sendRequests('destroy', DESTROYS, requests, deadlines, noText),
    )
    return orGone(answers)
  }

  /** Returns the answer to each request; undefined for a request without one. */
  async #sendRequests<Request>(
    kind: keyof Statements,
    rowsOf: RequestRows<Request>,
    requests: readonly Request[],
    deadlines: readonly number[],
    textOf: (request: Request) => string,
  ): Promise<(Answer | undefined)[]> {
    const { id, under, parameters } = rowsOf
    let formed = undefined as FormedBatch<Request> | undefined
    const { rows } = await this.#send(
      kind,
      ({ lookup }) => {
        formed = lookup === 'both' && kind !== 'put' ? underBothForms(requests, id, under) : undefined
        const untils = formed?.owners.map((owner) => deadlines[owner] as number) ?? deadlines
        const sent = formed?.requests ?? requests
        return { size: batchSize(sent), parameters: parameters(sent, untils.map(this.#until), this.cipher) }
      },
      deadlines,
    )
    const answers = answersOf(rows, (formed?.requests ?? requests).map(textOf), undefined, this.cipher)
    return formed === undefined ? answers : answersOfForms(answers, formed, requests.length)
  }

  /**
   * Sends a statement, and again if it has found a mark.
   *
   * @param input called when the table is open, because the database's clock and the forms of ids are unknown before
   * @returns the rows; none if a `put` has found a mark, because it has to look for the other form first
   */
  async #send(
    kind: keyof Statements,
    input: (opened: Opened) => { readonly size: BatchSize; readonly parameters: readonly Parameter[] },
    deadlines: readonly number[],
  ): Promise<{ readonly rows: readonly Row[]; readonly lookup: Lookup }> {
    const latest = deadlines.reduce((one, other) => Math.max(one, other))
    const opened = await this.#open(latest)
    const { size, parameters } = input(opened)
    const rows = await this.#guard(this.#database.query(opened.statements[size][kind], parameters, latest))
    const last = rows.at(-1)
    if (last !== undefined) this.#recordClock(clockOf(last))
    // A standby would have rejected the change.
    if (kind !== 'read') this.#standby = false
    const { lookup } = opened
    if (!isMarked(rows)) return { rows, lookup }
    if (this.#opened === opened) this.#opened = undefined
    return kind === 'put' ? { rows: [], lookup } : this.#send(kind, input, deadlines)
  }

  /** Returns a deadline by the database's clock, or a little earlier: the clock is known from the last answer. */
  readonly #until = (deadline: number): number => (this.#clockOffset ?? 0) + deadline / 1000

  #recordClock(clock: number): void {
    this.#clockOffset = clock - performance.now() / 1000
  }

  /** If the table changed, throws an error that says so, and makes the next statement inspect it again. */
  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      const opened = this.#opened
      const sqlState = error instanceof SessionPgsqlError ? error.sqlState : undefined
      if (opened === undefined || sqlState === undefined || !TABLE_CHANGED.has(sqlState)) throw error
      this.#opened = undefined
      if (sqlState === '42501') throw missingPrivilege(opened.shape.name, opened.user, ['a privilege'])
      throw tableFault(error as SessionPgsqlError, opened.shape.name)
    }
  }
}

/** Calls `work` inside a transaction. */
export type Transact = <T>(work: (query: Query, shape: OpenTable) => Promise<T>) => Promise<T>

/** An inspected table and its statements. */
interface Opened {
  readonly shape: OpenTable
  readonly user: string
  readonly lookup: Lookup
  readonly statements: Readonly<Record<BatchSize, Statements>>
  /** SQL that reads one session and locks its row until the transaction ends. */
  readonly lock: string
}

/**
 * Limits the statements of a transaction. $1 milliseconds. A deadline only ends the waiting in this process;
 * statement_timeout ends the work in PostgreSQL. Such statements should use one core only, and are too short for JIT
 * compilation to pay off.
 */
const limitStatements = plain(`
  SELECT pg_catalog.set_config('statement_timeout', $1, true),
    pg_catalog.set_config('max_parallel_workers_per_gather', '0', true), pg_catalog.set_config('jit', 'off', true)`)

/** Number of statements without an answer to a `put` after which a trigger is the cause. */
const MAX_UNANSWERED = 10

/** Milliseconds after which the deletion of a second row of a session is given up. */
const DUPLICATE_TIMEOUT = 5000

/** Milliseconds for which the fast path is disabled after a row was locked. */
const CONTENTION_PERIOD = 1000

/** SQLSTATEs: insufficient privilege; undefined table, column, schema or unique index. The table has changed. */
const TABLE_CHANGED = new Set(['42501', '42P01', '42703', '3F000', '42P10'])

/**
 * Sends a statement until it does not fail because of concurrent transactions. How often it does depends on settings of
 * the role: with `default_transaction_isolation` above READ COMMITTED, or a `lock_timeout` of a few milliseconds, often.
 */
async function untilDone<T>(send: () => Promise<T>, deadline: number): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await send()
    } catch (error) {
      const sqlState = error instanceof SessionPgsqlError ? error.sqlState : undefined
      const delay = busyDelay(tries)
      const mayRepeat = isTransient(sqlState) || isLocked(sqlState)
      if (!mayRepeat || performance.now() + delay >= deadline) throw error
      await setTimeout(delay)
    }
  }
}

/** Returns true if the statement has found a mark, and done nothing. */
function isMarked(rows: readonly Row[]): boolean {
  const last = rows.at(-1)
  return last !== undefined && outcomeOf(last) === 'hashed'
}

function orGone(answers: readonly (Answer | undefined)[]): Answer[] {
  return answers.map((answer) => answer ?? GONE)
}

/**
 * With `keepExpired`, the creation in a row is that of the first session of its id: without another date, a session that
 * uses the id again would be at its end at once.
 *
 * @throws TABLE_UNFIT
 */
function checkBeginning({ added, maxLifetime, name }: Shape): void {
  if (maxLifetime === Number.POSITIVE_INFINITY || added.has('sess_began') || added.has('sess_generation'))
    return
  throw new SessionPgsqlError(
    'TABLE_UNFIT',
    `With keepExpired, maxLifetime needs the column sess_began, which the table ${sqlName(name)} lacks. Add it with: session-pgsql init.`,
  )
}

const textOf = ({ change }: { change: Change }): string => change.text
const noText = (): string => ''

function lockText(shape: Shape, expiryGrace: number): string {
  return `SELECT NULL, 'read', t.sess_data, ${microseconds(CLOCK)}, ${recordColumns('t', shape)}
    FROM ${sqlName(shape.name)} t
    WHERE ${isIn('t.sess_id', '$1::pg_catalog.text[]')} AND ${isAliveAt('t', shape, minus(CLOCK, String(expiryGrace)))}
    ORDER BY t.sess_id ${BYTEWISE} FOR NO KEY UPDATE`
}
