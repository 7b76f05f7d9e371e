import {
  type Database,
  type Parameter,
  plain,
  type Query,
  type Row,
  type Statement,
} from '../database/database.ts'
import { isLocked, statementFault, timeoutFault } from '../database/faults.ts'
import { SessionPgsqlError } from '../errors.ts'
import { type Change, GRACE, type StoredSession, type Touch } from '../session/stored.ts'
import { type Answer, answersOf, BUSY, clockOf, GONE, outcomeOf, storedOf } from './answers.ts'
import { Batcher, type BatcherOptions, type Source } from './batcher.ts'
import { type Companion, createCompanionStatement, type Shape, sqlName } from './definition.ts'
import {
  createTable,
  creationFault,
  type Inspection,
  inspect,
  lockOutCreators,
  missingPrivilege,
  shapeOf,
  tableFault,
  type WantedTable,
  wantsCreation,
} from './inspect.ts'
import { Limit } from './limit.ts'
import { DESTROYS, PUTS, type Put, type RequestRows, SAVES, type Save, TOUCHES } from './requests.ts'
import type { Sessions } from './sessions.ts'
import { CLOCK, recordColumns, type Statements, statements } from './statements.ts'

export interface TableOptions {
  readonly table: WantedTable
  readonly createTable: boolean
  readonly keepExpired: boolean
  /** Most rows in one statement; 1: no batching. */
  readonly maxRows: number
  /** Most statements in flight. */
  readonly concurrency: number
  /** Whose table it is, for diagnostics. */
  readonly source: Source
}

/**
 * The session table on one server: one session at a time at its face, batches behind it.
 *
 * No two orders for one id may be under way at once, of whatever kind; the save handler keeps them in line.
 * Deadlines are in milliseconds of `performance.now()`. They travel with every change as a time by the
 * database's clock and are tested there, so that the late bytes of a write that was given up do not undo
 * what was acknowledged after it.
 */
export class SessionTable implements Sessions {
  readonly #database: Database
  readonly #options: TableOptions
  readonly #limit: Limit
  readonly #read: Batcher<string, StoredSession | undefined>
  /** Where changes go first; what has no answer from there goes on to the batcher of its kind. */
  readonly #quickSave: Batcher<Save, Answer | undefined>
  readonly #quickTouch: Batcher<Touch, Answer | undefined>
  readonly #save: Batcher<Save, Answer>
  readonly #put: Batcher<Put, Answer>
  readonly #touch: Batcher<Touch, Answer>
  readonly #destroy: Batcher<string, Answer>
  #opened: Opened | undefined
  #opening: Promise<Opened> | undefined
  /** Whether the server was one when it was asked the last time. */
  #standby: boolean | undefined
  /** The database's clock is at least this much ahead of `performance.now()`, in seconds. */
  #clockOffset = 0
  /** Until then, in milliseconds of `performance.now()`, rows are held by others and nothing is tried the quick way. */
  #contendedUntil = 0

  /** Whether the last write without a base met a session: then the next will, as a rule, and goes the quick way first. */
  #replacing = false

  constructor(database: Database, options: TableOptions) {
    this.#database = database
    this.#options = options
    this.#limit = new Limit(options.concurrency)
    const isBusy = ({ outcome }: Answer): boolean => {
      if (outcome === 'busy') this.#contendedUntil = performance.now() + CONTENDED
      return outcome === 'busy' || outcome === 'late'
    }
    const { maxRows, source } = options
    const batcher = <Request, Result>(options: BatcherOptions<Request, Result>) =>
      new Batcher(options, this.#limit, source)
    const never = (): boolean => false
    const light = (): number => 100
    const heavy = ({ change }: { change: Change }): number => 200 + change.text.length
    const quick = { isBusy: never, maxRows } as const
    const thorough = { isBusy, maxRows } as const
    this.#read = batcher({
      kind: 'read',
      send: this.#sendRead,
      weigh: light,
      isBusy: never,
      maxRows,
    })
    this.#quickSave = batcher({ kind: 'quickSave', send: this.#sendQuickSave, weigh: heavy, ...quick })
    this.#quickTouch = batcher({ kind: 'quickTouch', send: this.#sendQuickTouch, weigh: light, ...quick })
    this.#save = batcher({ kind: 'save', send: this.#sendSave, weigh: heavy, ...thorough })
    this.#put = batcher({ kind: 'put', send: this.#sendPut, weigh: heavy, ...thorough })
    this.#touch = batcher({ kind: 'touch', send: this.#sendTouch, weigh: light, ...thorough })
    this.#destroy = batcher({ kind: 'destroy', send: this.#sendDestroy, weigh: light, ...thorough })
  }

  /** Looks at the table, and creates it where it may. Called again after a failure, it tries again. */
  async open(deadline: number): Promise<Shape> {
    return (await this.#open(deadline)).shape
  }

  /** What is stored and has not expired. */
  read(id: string, deadline: number): Promise<StoredSession | undefined> {
    return this.#read.submit(id, deadline)
  }

  /** @returns `updated`, `conflict` or `gone` */
  save(order: Save, deadline: number): Promise<Answer> {
    if (order.change.metadata !== undefined) return this.#save.submit(order, deadline)
    return this.#fastPathFirst(this.#quickSave, order, this.#save, order, deadline)
  }

  /** @returns `created`, `updated`, or `conflict` if it had to be absent */
  put(order: Put, deadline: number): Promise<Answer> {
    const { change, mustBeAbsent } = order
    const answer =
      mustBeAbsent || change.metadata !== undefined || !this.#replacing
        ? this.#put.submit(order, deadline)
        : this.#fastPathFirst(this.#quickSave, { change, base: undefined }, this.#put, order, deadline)
    if (mustBeAbsent) return answer
    return answer.then((answer) => {
      this.#replacing = answer.outcome === 'updated'
      return answer
    })
  }

  /** @returns `touched` with the expiry as it is now, or `gone` */
  touch(order: Touch, deadline: number): Promise<Answer> {
    const { lifetime, metadata } = order
    if (lifetime === null || metadata !== undefined) return this.#touch.submit(order, deadline)
    return this.#fastPathFirst(this.#quickTouch, order, this.#touch, order, deadline)
  }

  /** @returns `destroyed`, or `gone` if there was none that had not expired */
  destroy(id: string, deadline: number): Promise<Answer> {
    return this.#destroy.submit(id, deadline)
  }

  /**
   * Reads a session under its row lock and writes what `decide` makes of it, while nobody else can.
   * For when compare-and-swap has lost too often. `decide` is not called for a session that is not there;
   * undefined from it means that this is not the session that was meant.
   *
   * @returns `updated` or `gone`
   */
  async saveLocked(
    id: string,
    decide: (current: StoredSession) => Promise<Save | undefined>,
    deadline: number,
  ): Promise<Answer> {
    const { lock, statements } = await this.#open(deadline)
    const transaction = (): Promise<Answer> =>
      this.#database.transaction(async (query) => {
        const patience = Math.max(1, Math.floor(deadline - performance.now()))
        await query(plain("SELECT set_config('lock_timeout', $1, true)"), [String(patience)])
        const [row] = await query(plain(lock), [id])
        if (row === undefined) return GONE
        const order = await decide(storedOf(row, clockOf(row), performance.now()))
        if (order === undefined) return GONE
        const rows = await query(statements.save, SAVES.parameters([order], [this.#until(deadline)]))
        const [answer = GONE] = answersOf(rows, [order.change.text], GONE)
        if (answer.outcome === 'late') throw timeoutFault('waiting for the row lock', false)
        return answer
      }, deadline)
    return this.#guard(this.#limit.run(transaction, deadline))
  }

  async replicated(_id: string, deadline: number): Promise<void> {
    // Only a commit that has written something waits, and this writes nothing but a line of the log.
    await this.query(() => "SELECT pg_logical_emit_message(true, 'session_pgsql', '')", [], deadline)
  }

  /**
   * Sends something else than a session's life: lists, sweeps, looks. `text` is given the shape and the table's SQL
   * name.
   *
   * @param timeLimit seconds after which PostgreSQL itself gives up on the statement: TIMEOUT
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
    return this.#guard(this.#limit.run(send, deadline))
  }

  /** Runs `work` in a transaction of its own; for rows as a whole, see whole-rows.ts. */
  async transaction<T>(work: (query: Query, shape: Shape) => Promise<T>, deadline: number): Promise<T> {
    return this.hold((transaction) => transaction(work), deadline)
  }

  /**
   * Holds a place among the statements in flight, for transactions of which each begins when the one before has
   * ended. Who needs places on several servers at a time takes all of them before the first transaction, and
   * always in the same order.
   */
  async hold<T>(work: (transaction: Transact) => Promise<T>, deadline: number): Promise<T> {
    const { shape } = await this.#open(deadline)
    const transaction: Transact = (work) =>
      this.#database.transaction(async (query) => {
        const patience = Math.max(1, Math.floor(deadline - performance.now()))
        await query(plain("SELECT set_config('lock_timeout', $1, true)"), [String(patience)])
        return work(query, shape)
      }, deadline)
    return this.#guard(this.#limit.run(() => work(transaction), deadline))
  }

  /** Sends a statement about a table beside this one: what is wrong with that says nothing of this. */
  async queryCompanion(
    text: (shape: Shape) => string,
    parameters: readonly (string | number)[],
    deadline: number,
  ): Promise<Row[]> {
    const { shape } = await this.#open(deadline)
    return this.#limit.run(() => this.#database.query(plain(text(shape)), parameters, deadline), deadline)
  }

  /** Creates a table beside this one, where it is missing. @throws TABLE_MISSING if that is not wanted */
  async createCompanion(what: Companion, deadline: number): Promise<void> {
    const { shape } = await this.#open(deadline)
    const statement = createCompanionStatement(shape.name, what)
    if (!this.#options.createTable) {
      throw new SessionPgsqlError(
        'TABLE_MISSING',
        `The table of session ${what}s is not there, and createTable is off. Create it with: ${statement}`,
      )
    }
    await this.#database.transaction(async (query) => {
      await query(lockOutCreators, [shape.name.table])
      await query(plain(statement), [])
    }, deadline)
  }

  /** The table that the settings name. */
  get wanted(): WantedTable {
    return this.#options.table
  }

  /** Sends a statement without opening the table first, for a table that may not be usable. */
  queryUnopened(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#database.query(statement, parameters, deadline)
  }

  /** Looks at the server and the table again. Creates nothing. */
  inspect(deadline: number): Promise<Inspection> {
    return inspect(
      (statement, parameters) => this.queryUnopened(statement, parameters, deadline),
      this.wanted,
    )
  }

  /** The database's clock, asked for; in seconds since 1970. */
  async readClock(deadline: number): Promise<number> {
    const [row] = await this.queryUnopened(plain(`SELECT ${CLOCK}`), [], deadline)
    return Number(row?.[0])
  }

  /** What the server was when it was asked the last time. */
  get role(): 'primary' | 'standby' | 'unknown' {
    if (this.#standby === undefined) return 'unknown'
    return this.#standby ? 'standby' : 'primary'
  }

  /** RequestRows that are not in a statement yet. */
  get waiting(): number {
    const { waiting } = this.#read
    const changes = [this.#quickSave, this.#quickTouch, this.#save, this.#put, this.#touch, this.#destroy]
    return changes.reduce((sum, batcher) => sum + batcher.waiting, waiting)
  }

  /** Forgets what was found at the opening. */
  forget(): void {
    this.#opened = undefined
    this.#standby = undefined
  }

  async #open(deadline: number): Promise<Opened> {
    if (this.#opened !== undefined) return this.#opened
    // A rejection is not kept: the next use tries again.
    this.#opening ??= this.#prepare(deadline)
      .catch((error) => {
        // Whatever was lost here, nothing of what the caller wants was sent.
        throw statementFault(error, false)
      })
      .finally(() => {
        this.#opening = undefined
      })
    return this.#opening
  }

  async #prepare(deadline: number): Promise<Opened> {
    let inspection = await this.inspect(deadline)
    if (this.#options.createTable && wantsCreation(inspection)) {
      inspection = await this.#create(inspection, deadline)
    }
    this.#sawClock(inspection.clock)
    this.#standby = inspection.standby
    const shape = shapeOf(inspection)
    this.#opened = {
      shape,
      user: inspection.user,
      statements: statements(shape, this.#options.keepExpired),
      lock: lockText(shape),
    }
    return this.#opened
  }

  async #create(before: Inspection, deadline: number): Promise<Inspection> {
    try {
      return await this.#database.transaction((query) => createTable(query, this.#options.table), deadline)
    } catch (error) {
      if (!(error instanceof SessionPgsqlError) || error.sqlState === undefined) throw error
      // What is there serves, also if somebody has it locked; `doctor` says what it lacks.
      if (before.found !== undefined && error.code !== 'SERVER_DOWN') return before
      throw creationFault(error, before)
    }
  }

  readonly #sendRead = async (
    ids: readonly string[],
    deadlines: readonly number[],
  ): Promise<(StoredSession | undefined)[]> => {
    const ask = (): Promise<Row[]> => this.#send('read', () => [{ type: 'text', values: ids }], deadlines)
    let rows = await ask()
    // Once more, over connections whose servers are known; what these say is not to be believed.
    if (this.#isMisled(rows)) rows = await ask()
    if (this.#isMisled(rows)) {
      throw new SessionPgsqlError(
        'SERVER_DOWN',
        'The connection leads to a server of another role than was asked for.',
      )
    }
    const readAt = performance.now()
    const clock = clockOf(rows.at(-1) as Row)
    const found = new Map<string, StoredSession>()
    for (const row of rows) {
      if (outcomeOf(row) !== 'read') continue
      const stored = storedOf(row, clock, readAt)
      found.set(stored.id, stored)
    }
    return ids.map((id) => found.get(id))
  }

  /** Whether what was read comes from a server of a role that is not wanted. */
  #isMisled(rows: readonly Row[]): boolean {
    this.#standby = rows.at(-1)?.[2] === 'true'
    return this.#database.distrusts?.(this.#standby) ?? false
  }

  /** The quick way first, where rows are not contended; the thorough one for what has no answer from there. */
  #fastPathFirst<Quick, Request>(
    quick: Batcher<Quick, Answer | undefined>,
    fastRequest: Quick,
    thorough: Batcher<Request, Answer>,
    order: Request,
    deadline: number,
  ): Promise<Answer> {
    if (performance.now() < this.#contendedUntil) return thorough.submit(order, deadline)
    return quick.submit(fastRequest, deadline).then((answer) => answer ?? thorough.submit(order, deadline))
  }

  readonly #sendQuickSave = (orders: readonly Save[], deadlines: readonly number[]) =>
    this.#sendFast('quickSave', SAVES, orders, deadlines, orders.map(textOf))

  readonly #sendQuickTouch = (orders: readonly Touch[], deadlines: readonly number[]) =>
    this.#sendFast('quickTouch', TOUCHES, orders, deadlines, orders.map(noText))

  async #sendFast<Request>(
    kind: 'quickSave' | 'quickTouch',
    { parameters }: RequestRows<Request>,
    orders: readonly Request[],
    deadlines: readonly number[],
    texts: readonly string[],
  ): Promise<(Answer | undefined)[]> {
    // One for all: who would have had longer is seen to thoroughly.
    const first = deadlines.reduce((one, other) => Math.min(one, other))
    const untils = (): number[] => new Array<number>(orders.length).fill(this.#until(first))
    try {
      return answersOf(
        await this.#send(kind, () => parameters(orders, untils()), deadlines),
        texts,
        undefined,
      )
    } catch (error) {
      if (!(error instanceof SessionPgsqlError) || !isLocked(error.sqlState)) throw error
      this.#contendedUntil = performance.now() + CONTENDED
      return texts.map(() => undefined)
    }
  }

  readonly #sendSave = async (orders: readonly Save[], deadlines: readonly number[]): Promise<Answer[]> =>
    answersOf(await this.#sendRequests('save', SAVES, orders, deadlines), orders.map(textOf), GONE)

  // No answer: neither updated nor inserted, so somebody holds the row or is inserting it.
  readonly #sendPut = async (orders: readonly Put[], deadlines: readonly number[]): Promise<Answer[]> =>
    answersOf(await this.#sendRequests('put', PUTS, orders, deadlines), orders.map(textOf), BUSY)

  readonly #sendTouch = async (orders: readonly Touch[], deadlines: readonly number[]): Promise<Answer[]> =>
    answersOf(await this.#sendRequests('touch', TOUCHES, orders, deadlines), orders.map(noText), GONE)

  readonly #sendDestroy = async (ids: readonly string[], deadlines: readonly number[]): Promise<Answer[]> =>
    answersOf(await this.#sendRequests('destroy', DESTROYS, ids, deadlines), ids.map(noText), GONE)

  #sendRequests<Request>(
    kind: keyof Statements,
    { parameters }: RequestRows<Request>,
    orders: readonly Request[],
    deadlines: readonly number[],
  ): Promise<Row[]> {
    return this.#send(kind, () => parameters(orders, deadlines.map(this.#until)), deadlines)
  }

  /** @param parameters asked for when the table is open: before that the database's clock is not known */
  async #send(
    kind: keyof Statements,
    parameters: () => Parameter[],
    deadlines: readonly number[],
  ): Promise<Row[]> {
    const latest = deadlines.reduce((one, other) => Math.max(one, other))
    const { statements } = await this.#open(latest)
    const rows = await this.#guard(this.#database.query(statements[kind], parameters(), latest))
    const last = rows.at(-1)
    if (last !== undefined) this.#sawClock(clockOf(last))
    // A standby takes no changes.
    if (kind !== 'read') this.#standby = false
    return rows
  }

  /** A deadline by the database's clock, or a little before: its clock is known as of its last answer. */
  readonly #until = (deadline: number): number => this.#clockOffset + deadline / 1000

  #sawClock(clock: number): void {
    this.#clockOffset = clock - performance.now() / 1000
  }

  /** Names what the table lacks, and looks at it anew before the next statement. */
  async #guard<T>(work: Promise<T>): Promise<T> {
    try {
      return await work
    } catch (error) {
      const opened = this.#opened
      const sqlState = error instanceof SessionPgsqlError ? error.sqlState : undefined
      if (opened === undefined || sqlState === undefined || !LOOK_AGAIN.has(sqlState)) throw error
      this.#opened = undefined
      if (sqlState === '42501') throw missingPrivilege(opened.shape.name, opened.user, ['a privilege'])
      throw tableFault(error as SessionPgsqlError, opened.shape)
    }
  }
}

/** Runs something in a transaction. */
export type Transact = <T>(work: (query: Query, shape: Shape) => Promise<T>) => Promise<T>

/** What the statements were made for. */
interface Opened {
  readonly shape: Shape
  readonly user: string
  readonly statements: Statements
  /** Reads one session and keeps its row locked until the transaction ends. */
  readonly lock: string
}

/**
 * For the transaction. $1 milliseconds. A deadline of ours ends the waiting; this ends the work. What is to be no
 * burden takes no other cores either, and is over too soon for a compiler to pay.
 */
const limitStatements = plain(`
  SELECT set_config('statement_timeout', $1, true), set_config('max_parallel_workers_per_gather', '0', true),
    set_config('jit', 'off', true)`)

/** Milliseconds for which the quick way is left alone after a row was found locked. */
const CONTENDED = 1000

/** Not privileged, and: no such table, column, schema or unique index. The table is not what it was. */
const LOOK_AGAIN = new Set(['42501', '42P01', '42703', '3F000', '42P10'])

const textOf = ({ change }: { change: Change }): string => change.text
const noText = (): string => ''

function lockText(shape: Shape): string {
  return `SELECT NULL, 'read', t.sess_data, ${CLOCK}, ${recordColumns('t', shape)} FROM ${sqlName(shape.name)} t
    WHERE t.sess_id = $1 AND (t.sess_expire IS NULL OR t.sess_expire >= ${CLOCK} - ${GRACE}) FOR NO KEY UPDATE`
}
