import type { Row } from './database.ts'
import type { ConnectionLike, QueryCallback, SubmittableLike } from './drivers.ts'

/**
 * Sends one statement by PostgreSQL's extended query protocol. It is a Submittable of node-postgres, as pg-cursor is.
 *
 * node-postgres' own query requests the column descriptions with every statement, prepared or not, creates an object
 * for each column, and runs a parser for each value. This query requests rows only and takes every value as text.
 * Measured: a single read takes a third less CPU time in this process.
 */
export class ExtendedQuery implements SubmittableLike {
  readonly text: string
  /** undefined: the statement is not prepared. */
  readonly name: string | undefined
  /** Encoded parameters: text, a Buffer in PostgreSQL's binary format, or null. */
  readonly values: readonly (string | Buffer | null)[]
  /** Set by the client. */
  callback: QueryCallback | undefined
  readonly rows: Row[] = []

  constructor(text: string, name: string | undefined, values: readonly (string | Buffer | null)[]) {
    this.text = text
    this.name = name
    this.values = values
  }

  submit(connection: ConnectionLike): void {
    const { text, name, values } = this
    // Corked: otherwise each message would be a separate packet.
    connection.stream.cork?.()
    try {
      // The client records the prepared statements of this connection.
      if (name === undefined || connection.parsedStatements[name] !== text) connection.parse({ text, name })
      connection.bind({ statement: name, values })
      connection.execute({})
      connection.sync()
    } finally {
      connection.stream.uncork?.()
    }
  }

  handleDataRow({ fields }: { readonly fields: Row }): void {
    this.rows.push(fields)
  }

  handleReadyForQuery(): void {
    this.callback?.(null, this)
  }

  handleError(error: Error): void {
    this.callback?.(error)
  }

  /** The row count is not needed. */
  handleCommandComplete(): void {}
}

/** Asks whether the connection is alive: a Sync message, which the server answers without any work. */
export class Probe implements SubmittableLike {
  readonly text = ''
  readonly name: undefined
  /** Set by the client. */
  callback: QueryCallback | undefined

  submit(connection: ConnectionLike): void {
    connection.sync()
  }

  handleReadyForQuery(): void {
    this.callback?.(null)
  }

  handleError(error: Error): void {
    this.callback?.(error)
  }

  handleDataRow(): void {}

  handleCommandComplete(): void {}
}
