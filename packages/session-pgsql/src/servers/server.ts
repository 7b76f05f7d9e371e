import {
  type Database,
  type Parameter,
  type PoolUse,
  plain,
  type Query,
  type Row,
  type Statement,
} from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { DatabaseEntry, TableName } from '../settings/settings.ts'
import { SessionTable } from '../table/table.ts'
import { connect } from './connect.ts'
import type { Promotion } from './group.ts'

/** Most sessions in one statement. */
const MAX_ROWS = 512

/** Of the settings, what concerns a server. */
export interface ServerSettings {
  readonly table: TableName
  readonly createTable: boolean
  readonly keepExpired: boolean
  readonly batch: boolean
  readonly poolSize: number
  readonly operationTimeout: number
}

export interface ServerStatus {
  /** Host, port and database; never a password. Sessions are placed by it. */
  readonly name: string
  /** The host in use, of an entry with several; undefined before the first use, and where there is only one. */
  readonly address: string | undefined
  /** `unknown` until it was first used. */
  readonly role: 'primary' | 'standby' | 'unknown'
  readonly health: 'up' | 'down' | 'unknown'
  /** Since when it is in this health. */
  readonly since: Date
  /** Statements and transactions sent. */
  readonly calls: number
  /** Those that failed. */
  readonly errors: number
  readonly lastError: string | undefined
  /** What operations want of it that is in no statement yet. */
  readonly waiting: number
  /** Its connections; undefined before the first use, and for PGlite, which has one. */
  readonly pool: PoolUse | undefined
  /** The part of the ids whose home it is, from 0 to 1. */
  readonly share: number
  /** With several servers: what it keeps for others, and what this process has brought from here to where it belongs. */
  readonly homecoming?: {
    /** Rows that belong elsewhere, at the last look; no more than are brought at a time are counted. */
    readonly waiting: number
    readonly brought: number
    /** Both sides had moved on: the changes of both were brought together. */
    readonly merged: number
    /** Destroyed at home in the meantime, or of a life that is over. */
    readonly dropped: number
  }
}

/** One entry of `db`: a server, or a replicated group of them, and the session table on it. */
export class Server {
  readonly name: string
  readonly table: SessionTable
  readonly #connection: Connection
  readonly #inMemory: boolean
  readonly #embedded: boolean

  /**
   * @param handler whose server it is, for diagnostics
   * @param onPromotion told when another host of a group has become its primary
   */
  constructor(
    entry: DatabaseEntry,
    settings: ServerSettings,
    handler: object,
    onPromotion: (promotion: Promotion) => void = () => {},
  ) {
    const { table, createTable, keepExpired, batch, poolSize } = settings
    this.name = entry.name
    this.#embedded = entry.kind === 'pgliteFolder'
    this.#inMemory = entry.kind === 'pgliteFolder' && entry.folder === undefined
    this.#connection = new Connection(() => connect(entry, settings, onPromotion))
    this.table = new SessionTable(this.#connection, {
      table: { schema: table.schema, table: table.name },
      createTable,
      keepExpired,
      maxRows: batch ? MAX_ROWS : 1,
      concurrency: poolSize,
      source: { handler, server: entry.name },
    })
  }

  /**
   * Resolves when an embedded database has started, which takes seconds and counts against nobody's
   * `operationTimeout`; undefined for any other, and once it has.
   */
  get starting(): Promise<unknown> | undefined {
    return this.#embedded && !this.#connection.connected ? this.#connection.connect() : undefined
  }

  /** Sends a statement that is not about the session table. */
  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#connection.query(statement, parameters, deadline)
  }

  status(): Omit<ServerStatus, 'share' | 'homecoming'> {
    const { address, health, since, calls, errors, lastError, pool } = this.#connection
    const { role, waiting } = this.table
    return { name: this.name, address, role, health, since, calls, errors, lastError, waiting, pool }
  }

  /** @throws SERVER_DOWN if it does not answer, or takes no writes; it may be so busy that nothing else is answered */
  async ping(deadline: number): Promise<void> {
    if (await this.#connection.ping(deadline)) return
    throw new SessionPgsqlError('SERVER_DOWN', 'The server is read-only.')
  }

  /** Drops every connection; the next use makes new ones and looks at the table anew. */
  async reset(): Promise<void> {
    this.table.forget()
    // What lives in the memory of a database of our own would be lost with it.
    if (!this.#inMemory) await this.#connection.close()
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }
}

/** A database that is connected to when it is first used, and that keeps book of how that goes. A failure is not kept. */
class Connection implements Database {
  health: ServerStatus['health'] = 'unknown'
  since: Date = new Date()
  calls = 0
  errors = 0
  lastError: string | undefined
  readonly #connect: () => Promise<Database>
  #database: Promise<Database> | undefined
  #open: Database | undefined

  constructor(connect: () => Promise<Database>) {
    this.#connect = connect
  }

  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#observe((database) => database.query(statement, parameters, deadline))
  }

  transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T> {
    return this.#observe((database) => database.transaction(work, deadline))
  }

  ping(deadline: number): Promise<boolean> {
    return this.#observe(async (database) => {
      if (database.ping !== undefined) return database.ping(deadline)
      const [row] = await database.query(plain('SHOW transaction_read_only'), [], deadline)
      return row?.[0] === 'off'
    })
  }

  distrusts(standby: boolean): boolean {
    return this.#open?.distrusts?.(standby) ?? false
  }

  get address(): string | undefined {
    return this.#open?.address
  }

  get pool(): PoolUse | undefined {
    return this.#open?.pool
  }

  async close(): Promise<void> {
    const database = this.#database
    this.#database = undefined
    this.#open = undefined
    await database?.then(
      (opened) => opened.close(),
      () => {},
    )
  }

  async #observe<T>(call: (database: Database) => Promise<T>): Promise<T> {
    this.calls++
    try {
      this.#open = await this.connect()
      const result = await call(this.#open)
      this.#is('up')
      return result
    } catch (error) {
      this.errors++
      this.lastError = error instanceof Error ? error.message : String(error)
      const { code, sqlState } = error as SessionPgsqlError
      // With a SQLSTATE it was PostgreSQL that gave up: it is there.
      this.#is(code === 'SERVER_DOWN' || (code === 'TIMEOUT' && sqlState === undefined) ? 'down' : 'up')
      throw error
    }
  }

  #is(health: ServerStatus['health']): void {
    if (this.health === health) return
    this.health = health
    this.since = new Date()
  }

  get connected(): boolean {
    return this.#open !== undefined
  }

  connect(): Promise<Database> {
    this.#database ??= this.#connect().catch((error) => {
      this.#database = undefined
      throw error
    })
    return this.#database
  }
}
