import type { Database, Parameter, Query, Row, Statement } from '../database/database.ts'
import { SessionTable, type TableOptions } from '../table/table.ts'

/** Makes the connection to one server; called when it is first needed, and again after `reset`. */
export type Connect = () => Promise<Database>

/** One entry of `db`: a server, or a replicated group of them, and the session table on it. */
export class Server {
  /** Stable, and without a password: sessions are placed by it. */
  readonly name: string
  readonly table: SessionTable
  readonly #connection: Connection

  constructor(name: string, connect: Connect, options: TableOptions) {
    this.name = name
    this.#connection = new Connection(connect)
    this.table = new SessionTable(this.#connection, options)
  }

  /** Drops every connection; the next use makes new ones and looks at the table anew. */
  async reset(): Promise<void> {
    this.table.forget()
    await this.#connection.reset()
  }

  async close(): Promise<void> {
    await this.#connection.close()
  }
}

/** A database that is connected to when it is first used. A failure is not kept: the next use tries again. */
class Connection implements Database {
  readonly #connect: Connect
  #database: Promise<Database> | undefined

  constructor(connect: Connect) {
    this.#connect = connect
  }

  async query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return (await this.#get()).query(statement, parameters, deadline)
  }

  async transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T> {
    return (await this.#get()).transaction(work, deadline)
  }

  async reset(): Promise<void> {
    const old = this.#database
    this.#database = undefined
    await old?.then(
      (database) => database.close(),
      () => {},
    )
  }

  close(): Promise<void> {
    return this.reset()
  }

  #get(): Promise<Database> {
    this.#database ??= this.#connect().catch((error) => {
      this.#database = undefined
      throw error
    })
    return this.#database
  }
}
