import {
  type Database,
  type Parameter,
  type PoolUse,
  plain,
  type Query,
  type Row,
  type Statement,
  type Subscriber,
  type Subscription,
} from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import { cipherOf, type Encryption } from '../session/cipher.ts'
import type { Columns } from '../session/columns.ts'
import type { IdsMode } from '../session/stored-id.ts'
import type { DatabaseEntry, TableName } from '../settings/settings.ts'
import { BatchedSessions } from '../table/batched-sessions.ts'
import { SessionTable } from '../table/table.ts'
import { connect } from './connect.ts'
import type { Promotion } from './group.ts'

/** The most sessions in one statement. */
const MAX_ROWS = 512

/** The settings that concern one server. */
export interface ServerSettings {
  readonly table: TableName
  readonly createTable: boolean
  readonly keepExpired: boolean
  readonly expiryGrace: number
  readonly columns: Columns
  readonly maxLifetime: number
  readonly encryption: Encryption | undefined
  readonly durableTouches: boolean
  readonly announce: boolean
  readonly batch: boolean
  readonly poolSize: number
  readonly operationTimeout: number
  readonly ids: IdsMode
  /** All entries. */
  readonly db: readonly DatabaseEntry[]
}

export interface ServerStatus {
  /** The entry's `name`, or its hosts, ports and database; never a password. Determines which sessions it gets. */
  readonly name: string
  /** The host in use, for an entry with several hosts; undefined with one host and before the first use. */
  readonly address: string | undefined
  /** `unknown` before the first use. */
  readonly role: 'primary' | 'standby' | 'unknown'
  readonly health: 'up' | 'down' | 'unknown'
  /** When `health` last changed. */
  readonly since: Date
  /** Statements and transactions sent since the save handler was created. */
  readonly calls: number
  /** How many of `calls` failed. */
  readonly errors: number
  /** The message of the last of them. */
  readonly lastError: string | undefined
  /** Requests that are not yet in a statement. */
  readonly waiting: number
  /** Its connection pool; undefined before the first use, and for PGlite, which has one connection. */
  readonly pool: PoolUse | undefined
  /** The share of the session ids of which it is the home server, from 0 to 1. */
  readonly share: number
  /** With several servers: failback from this server, where it was a fallback, to home servers. */
  readonly homecoming?: {
    /** Rows that belong on another server, at the last scan; counted up to 200. */
    readonly waiting: number
    /** Rows that this process has moved back unchanged. */
    readonly brought: number
    /** Rows moved back whose home server had changed the session too: both changes were kept. */
    readonly merged: number
    /** Rows discarded: the session was destroyed at home, or its id was in use for a new session. */
    readonly dropped: number
  }
}

/** One entry of `db`: a server, or a replicated group of them, with the session table on it. */
export class Server {
  readonly name: string
  /** For statements about many sessions, and for transactions. */
  readonly table: SessionTable
  /** The sessions in the table, for requests of one session each. */
  readonly sessions: BatchedSessions
  readonly #connection: Connection
  readonly #inMemory: boolean
  readonly #embedded: boolean

  /**
   * @param handler the save handler, for diagnostics
   * @param onPromotion called when another host of a replicated group has become its primary
   * @param onBothForms called when the process begins to look for plain and hashed ids in the table
   * @param onUnannounced called when a session has ended that could not be announced
   */
  constructor(
    entry: DatabaseEntry,
    settings: ServerSettings,
    handler: object,
    onPromotion: (promotion: Promotion) => void = () => {},
    onBothForms: () => void = () => {},
    onUnannounced: () => void = () => {},
  ) {
    const { table, createTable, keepExpired, expiryGrace, maxLifetime, durableTouches, encryption } = settings
    const { batch, poolSize, ids, db, columns } = settings
    this.name = entry.name
    this.#embedded = entry.kind === 'pgliteFolder'
    this.#inMemory = entry.kind === 'pgliteFolder' && entry.folder === undefined
    this.#connection = new Connection(() => connect(entry, settings, onPromotion))
    this.table = new SessionTable(this.#connection, {
      table: { schema: table.schema, table: table.name },
      createTable,
      keepExpired,
      columns,
      maxLifetime,
      cipher: cipherOf(encryption),
      concurrency: connectionsOf(entry, poolSize),
      ids: { mode: ids, severalServers: db.length > 1 },
      onBothForms,
      onUnannounced: settings.announce ? onUnannounced : undefined,
    })
    this.sessions = new BatchedSessions(this.table, {
      keepExpired,
      expiryGrace,
      durableTouches,
      maxRows: batch ? MAX_ROWS : 1,
      source: { handler, server: entry.name },
    })
  }

  /**
   * Resolves when an embedded database has started, which takes seconds and does not count towards
   * `operationTimeout`; undefined for other databases, and once it has started.
   */
  get starting(): Promise<unknown> | undefined {
    return this.#embedded && !this.#connection.connected ? this.#connection.connect() : undefined
  }

  /** Sends a statement that does not concern the session table. */
  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return this.#connection.query(statement, parameters, deadline)
  }

  /** Listens to a channel of the database, on a connection of its own. */
  listen(channel: string, subscriber: Subscriber, deadline: number): Promise<Subscription> {
    return this.#connection.listen(channel, subscriber, deadline)
  }

  status(): Omit<ServerStatus, 'share' | 'homecoming'> {
    const { address, health, since, calls, errors, lastError, pool } = this.#connection
    const { role } = this.table
    const { waiting } = this.sessions
    return { name: this.name, address, role, health, since, calls, errors, lastError, waiting, pool }
  }

  /** Checks that the server accepts writes, on a connection of its own. @throws SERVER_DOWN if it does not, or does not answer */
  async ping(deadline: number): Promise<void> {
    if (await this.#connection.ping(deadline)) return
    throw new SessionPgsqlError('SERVER_DOWN', 'The database server is read-only.')
  }

  /** Closes every connection. The next use opens new ones and inspects the table again. */
  async reset(): Promise<void> {
    this.table.forget()
    // Closing an in-memory database would lose its data.
    if (!this.#inMemory) await this.#connection.close()
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }
}

/** Returns the number of connections that the statements in flight have: a pool of the caller may have fewer. */
function connectionsOf(entry: DatabaseEntry, poolSize: number): number {
  if (entry.kind === 'pool') return Math.min(entry.pool.options.max, poolSize)
  return entry.kind === 'poolConfig' ? Math.min(entry.config.max ?? poolSize, poolSize) : poolSize
}

/** Connects at the first use, and records health and counters. A failure to connect is not cached: the next use tries again. */
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

  listen(channel: string, subscriber: Subscriber, deadline: number): Promise<Subscription> {
    return this.#observe((database) => database.listen(channel, subscriber, deadline))
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
      this.#setHealth('up')
      return result
    } catch (error) {
      this.errors++
      this.lastError = error instanceof Error ? error.message : String(error)
      const { code, sqlState } = error as SessionPgsqlError
      // An error with a SQLSTATE comes from PostgreSQL: the server is up.
      this.#setHealth(
        code === 'SERVER_DOWN' || (code === 'TIMEOUT' && sqlState === undefined) ? 'down' : 'up',
      )
      throw error
    }
  }

  #setHealth(health: ServerStatus['health']): void {
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
