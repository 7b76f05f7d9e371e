import type { Database, Parameter, Query, Row, Statement, Subscriber, Subscription } from './database.ts'
import type { PgliteLike, PgliteTransaction } from './drivers.ts'
import { statementFault, timeoutFault } from './faults.ts'

/** PGlite: PostgreSQL inside this process. It has one connection and queues its callers itself. */
export class Pglite implements Database {
  readonly #instance: PgliteLike
  readonly #owned: boolean
  readonly #subscriptions = new Set<Subscription>()

  /** @param owned whether `close` closes the instance; the caller's instance stays open */
  constructor(instance: PgliteLike, owned: boolean) {
    this.#instance = instance
    this.#owned = owned
  }

  query(statement: Statement, parameters: readonly Parameter[], deadline: number): Promise<Row[]> {
    return within(deadline, run(this.#instance, statement, parameters))
  }

  transaction<T>(work: (query: Query) => Promise<T>, deadline: number): Promise<T> {
    return within(
      deadline,
      this.#instance.transaction((transaction) =>
        work((statement, parameters) => run(transaction, statement, parameters)),
      ),
    )
  }

  async listen(channel: string, { onMessage, onEnd }: Subscriber, deadline: number): Promise<Subscription> {
    const unlisten = await within(deadline, this.#instance.listen(channel, onMessage)).catch((error) => {
      throw statementFault(error, false)
    })
    const end = (): void => {
      if (!this.#subscriptions.delete(subscription)) return
      unlisten().catch(() => {})
      onEnd()
    }
    const subscription = { end }
    this.#subscriptions.add(subscription)
    return subscription
  }

  async close(): Promise<void> {
    for (const { end } of this.#subscriptions) end()
    if (this.#owned) await this.#instance.close()
  }
}

async function run(
  on: PgliteLike | PgliteTransaction,
  statement: Statement,
  parameters: readonly Parameter[],
): Promise<Row[]> {
  try {
    const values = parameters.map((parameter) =>
      typeof parameter === 'object' && parameter !== null ? [...parameter.values] : parameter,
    )
    const { rows } = await on.query(statement.text, values, { rowMode: 'array', parsers: AS_TEXT })
    return rows as Row[]
  } catch (error) {
    throw statementFault(error, true)
  }
}

const asText = (text: string): string => text

/**
 * The types that PGlite would convert, by OID: bool, bytea, int8, int2, int4, text, oid, json, float4, float8, date,
 * timestamp, timestamptz, numeric, jsonb. It returns the others as text, except arrays, which no statement returns.
 */
const CONVERTED = [16, 17, 20, 21, 23, 25, 26, 114, 700, 701, 1082, 1114, 1184, 1700, 3802]
const AS_TEXT = Object.fromEntries(CONVERTED.map((oid) => [oid, asText]))

function within<T>(deadline: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(
      () => reject(timeoutFault('waiting for the embedded database', true)),
      Math.max(1, deadline - performance.now()),
    )
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
