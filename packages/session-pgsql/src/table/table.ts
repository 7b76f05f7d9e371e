import { setTimeout } from 'node:timers/promises'
import {
  type Database,
  type Parameter,
  plain,
  type Query,
  type Row,
  type Statement,
} from '../database/database.ts'
import { isLocked, isTransient, statementFault } from '../database/faults.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { SessionCipher } from '../session/cipher.ts'
import type { Columns } from '../session/columns.ts'
import type { IdsMode } from '../session/stored-id.ts'
import { channelOf, isAboutAnnouncing } from './announcements.ts'
import { clockOf, secondsOf, standbyOf } from './answers.ts'
import { busyDelay } from './batcher.ts'
import {
  type Companion,
  createCompanionStatement,
  readable,
  type Shape,
  sqlName,
  type TableName,
} from './definition.ts'
import { type IdsOptions, type Lookup, lookupOf } from './id-forms.ts'
import {
  createTable,
  creating,
  creationFault,
  type Inspection,
  inspect,
  missingPrivilege,
  shapeOf,
  tableFault,
  tableGone,
  type WantedTable,
  wantsCreation,
} from './inspect.ts'
import { Limit } from './limit.ts'
import { CLOCK, microseconds } from './sql.ts'

/** Options of a session table. */
export interface TableOptions {
  readonly table: WantedTable
  readonly createTable: boolean
  readonly keepExpired: boolean
  /** The option `columns`. */
  readonly columns: Columns
  /** Seconds after its beginning at which a session ends; Infinity: unlimited. */
  readonly maxLifetime: number
  readonly cipher: SessionCipher
  /** Maximum number of statements in flight. */
  readonly concurrency: number
  readonly ids: IdsOptions
  /** Called when the process begins to look for both forms of ids. */
  readonly onBothForms: () => void
  /** Set if ended sessions are announced. Called when a session has ended that PostgreSQL could not announce. */
  readonly onUnannounced: (() => void) | undefined
}

/** An opened session table, as this process uses it. */
export interface OpenTable extends Shape {
  /** The role of this process's connections. */
  readonly user: string
  /** Encrypts what is written, and decrypts what is read. */
  readonly cipher: SessionCipher
  /** Under which forms of its id a session is looked for. */
  readonly lookup: Lookup
}

/** Calls `work` inside a transaction. */
export type Transact = <T>(work: (query: Query, shape: OpenTable) => Promise<T>) => Promise<T>

/**
 * The session table on one server: opens it, and sends statements and transactions to it. If the table has changed, an
 * error says so, and the next use inspects the table again. Deadlines are in milliseconds of `performance.now()`.
 */
export class SessionTable {
  /** Limits the statements in flight on the server. */
  readonly limit: Limit
  readonly #database: Database
  readonly #options: TableOptions
  /** The table's name, once it was opened. From then on it is not created, and its schema does not change. */
  #name: TableName | undefined
  #opened: OpenTable | undefined
  #opening: Promise<OpenTable> | undefined
  /** Whether the server last reported that it is a standby. */
  #standby: boolean | undefined
  /**
   * Lower bound of the difference between the database's clock and `performance.now()`, in seconds; undefined before
   * the first answer.
   */
  #clockOffset: number | undefined

  constructor(database: Database, options: TableOptions) {
    this.#database = database
    this.#options = options
    this.limit = new Limit(options.concurrency)
  }

  /**
   * Inspects the table. Creates it if it is missing and `createTable` is on, unless it was opened before. After a
   * failure, the next call retries.
   */
  async open(deadline: number): Promise<OpenTable> {
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

  /** Makes the next use inspect the table again, if `outdated` is still the result of the last inspection. */
  discard(outdated: OpenTable): void {
    if (this.#opened === outdated) this.#opened = undefined
  }

  /** Discards the result of the inspection: the next use inspects the table again. */
  forget(): void {
    this.#opened = undefined
    this.#standby = undefined
  }

  /** Inspects the server and the table again. Changes nothing. */
  inspect(deadline: number): Promise<Inspection> {
    return inspect(
      (statement, parameters) => this.queryUnopened(statement, parameters, deadline),
      this.wanted,
    )
  }

  /** The table that the settings name; once it was opened, with the schema in which it was found. */
  get wanted(): WantedTable {
    return this.#name ?? this.#options.table
  }

  /** The option `columns`. */
  get columns(): Columns {
    return this.#options.columns
  }

  /** Encrypts what is written, and decrypts what is read. */
  get cipher(): SessionCipher {
    return this.#options.cipher
  }

  /** The form in which this process stores the ids of new sessions. */
  get idsMode(): IdsMode {
    return this.#options.ids.mode
  }

  /**
   * Sends a read of sessions (`Statements.read`), for a batch that has a slot.
   *
   * @throws SERVER_DOWN if the server does not have the role that target_session_attrs requires
   */
  async sendRead(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    for (let tries = 0; tries < 2; tries++) {
      const rows = await this.#guard(this.#database.query(statement, parameters, deadline))
      const last = rows.at(-1) as Row
      this.#recordClock(clockOf(last))
      this.#standby = standbyOf(last)
      // Sent once more on new connections; the rows of a server with the wrong role may be stale.
      if (this.#database.distrusts?.(this.#standby) !== true) return rows
    }
    throw new SessionPgsqlError(
      'SERVER_DOWN',
      'The connection leads to a server that does not have the role that target_session_attrs requires. Check the connection pooler in between.',
    )
  }

  /** Sends changes of sessions (the other `Statements`), for a batch that has a slot. */
  async sendChanges(
    statement: Statement,
    parameters: readonly Parameter[],
    deadline: number,
  ): Promise<Row[]> {
    const rows = await this.#guard(this.#database.query(statement, parameters, deadline))
    const last = rows.at(-1)
    if (last !== undefined) this.#recordClock(clockOf(last))
    // A standby would have rejected the changes.
    this.#standby = false
    return rows
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
    const shape = await this.open(deadline)
    const statement = plain(text(shape, sqlName(shape.name)))
    const send = (): Promise<Row[]> =>
      timeLimit === undefined
        ? this.#database.query(statement, parameters, deadline)
        : this.#database.transaction(async (query) => {
            await query(limitStatements, [String(Math.ceil(timeLimit * 1000))])
            return query(statement, parameters)
          }, deadline)
    return this.#guard(untilDone(() => this.limit.run(send, deadline), deadline))
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
    const shape = await this.open(deadline)
    const transaction: Transact = (work) =>
      this.#database.transaction((query) => work(query, shape), deadline)
    return this.#guard(this.limit.run(() => work(transaction), deadline))
  }

  /** Sends a statement about a companion table. An error of it does not affect the session table. */
  async queryCompanion(
    text: (shape: Shape) => string,
    parameters: readonly (string | number)[],
    deadline: number,
  ): Promise<Row[]> {
    const shape = await this.open(deadline)
    const send = (): Promise<Row[]> => this.#database.query(plain(text(shape)), parameters, deadline)
    return untilDone(() => this.limit.run(send, deadline), deadline)
  }

  /** Creates a companion table if it does not exist. @throws TABLE_MISSING if `createTable` is off */
  async createCompanion(what: Companion, deadline: number): Promise<void> {
    const shape = await this.open(deadline)
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

  /** Sends a statement without opening the table, which may be missing or unusable. */
  queryUnopened(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#database.query(statement, parameters, deadline)
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
    return channelOf((await this.open(deadline)).name)
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
    return this.#clockOffset === undefined ? undefined : this.clockAt(performance.now())
  }

  /** Returns a deadline by the database's clock, or a little earlier: the clock is known from the last answer. */
  clockAt(deadline: number): number {
    return (this.#clockOffset ?? 0) + deadline / 1000
  }

  /** The role that the server last reported. */
  get role(): 'primary' | 'standby' | 'unknown' {
    if (this.#standby === undefined) return 'unknown'
    return this.#standby ? 'standby' : 'primary'
  }

  async #prepare(deadline: number): Promise<OpenTable> {
    let inspection = await this.inspect(deadline)
    if (inspection.found === undefined && this.#name !== undefined) throw tableGone(this.#name)
    if (this.#options.createTable && wantsCreation(inspection)) {
      inspection = await this.#create(inspection, deadline)
    }
    this.#recordClock(inspection.clock)
    this.#standby = inspection.standby
    const shape = shapeOf(inspection, this.#options.maxLifetime, this.#options.columns)
    if (this.#options.keepExpired) checkBeginning(shape)
    this.#name = shape.name
    const { ids, onBothForms } = this.#options
    const lookup = await lookupOf((look) => this.#database.transaction(look, deadline), shape, ids)
    if (lookup === 'both') onBothForms()
    this.#opened = { ...shape, user: inspection.user, cipher: this.cipher, lookup }
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
      if (sqlState === '42501') throw missingPrivilege(opened.name, opened.user, ['a privilege'])
      throw tableFault(error as SessionPgsqlError, opened.name)
    }
  }
}

/**
 * Limits the statements of a transaction. $1 milliseconds. A deadline only ends the waiting in this process;
 * statement_timeout ends the work in PostgreSQL. Such statements should use one core only, and are too short for JIT
 * compilation to pay off.
 */
const limitStatements = plain(`
  SELECT pg_catalog.set_config('statement_timeout', $1, true),
    pg_catalog.set_config('max_parallel_workers_per_gather', '0', true), pg_catalog.set_config('jit', 'off', true)`)

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
