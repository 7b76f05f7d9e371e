import type { Row } from './database.ts'
import type { ConnectionLike, QueryCallback, SubmittableLike } from './drivers.ts'

/**
 * One statement on its way over PostgreSQL's extended query protocol: what node-postgres calls a Submittable, as its
 * own pg-cursor is one.
 *
 * Its usual query asks for the description of the columns with every statement, prepared or not, and makes an object
 * of each of them; a row passes through a parser for each column. Here all columns are texts that the layers above
 * know, so nothing is asked for but rows, and they are taken as they come: a lone read takes this process a third less.
 */
export class ExtendedQuery implements SubmittableLike {
  readonly text: string
  /** undefined: it is parsed for this once. */
  readonly name: string | undefined
  /** As they travel: a text, a Buffer for what is in PostgreSQL's binary form, or null. */
  readonly values: readonly (string | Buffer | null)[]
  /** Set by the client that is given it. */
  callback: QueryCallback | undefined
  readonly rows: Row[] = []

  constructor(text: string, name: string | undefined, values: readonly (string | Buffer | null)[]) {
    this.text = text
    this.name = name
    this.values = values
  }

  submit(connection: ConnectionLike): void {
    const { text, name, values } = this
    // Together, or each message would be a packet of its own.
    connection.stream.cork()
    try {
      // The client keeps account of what this connection has parsed.
      if (name === undefined || connection.parsedStatements[name] !== text) connection.parse({ text, name })
      connection.bind({ statement: name, values })
      connection.execute({})
      connection.sync()
    } finally {
      connection.stream.uncork()
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

  /** How many rows there were is no news. */
  handleCommandComplete(): void {}
}
