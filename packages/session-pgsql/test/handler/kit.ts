import type { PGlite } from '@electric-sql/pglite'
import { afterEach, beforeAll, describe } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { describeOnEveryServer, type FreshDatabase, type TestServer } from '../support/servers.ts'

/** The data of the tests: anything. */
// biome-ignore lint/suspicious/noExplicitAny: what a session holds is the test's business
export type Data = Record<string, any>

export type Handler = SaveHandler<Data>

/** What a suite is given: handlers on one database, which it shares with the other tests of its file. */
export interface Kit {
  readonly server: TestServer
  readonly batch: boolean
  /** A save handler that is closed after the test. It collects no garbage unless it is told to. */
  open(options?: SaveHandlerOptions<Data>): Handler
  /** Looks into the database, or changes it, behind the handlers' back. */
  query<R extends object = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<R[]>
  /** An id that no other test uses. */
  id(): string
  database(): FreshDatabase
}

/** Runs a suite on every server, with and without batching. `once`: only with. */
export function describeHandler(name: string, suite: (kit: Kit) => void, once: 'once' | 'twice' = 'twice') {
  describeOnEveryServer(name, (server) => {
    let database: FreshDatabase
    beforeAll(async () => {
      database = await server.freshDatabase()
    })
    for (const batch of once === 'once' ? [true] : [true, false]) {
      describe(batch ? 'batched' : 'one statement per call', () =>
        suite(makeKit(server, () => database, batch)),
      )
    }
  })
}

export function makeKit(server: TestServer, database: () => FreshDatabase, batch: boolean): Kit {
  const opened: Handler[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((handler) => handler.close()))
  })
  return {
    server,
    batch,
    database,
    open(options = {}) {
      const handler = new SaveHandler<Data>({
        db: dbOf(database().db),
        gcInterval: 0,
        batch,
        // Slow and noisy machines: a time limit that is no part of the test shall not fail it.
        operationTimeout: 15,
        ...options,
      })
      opened.push(handler)
      return handler
    },
    query: (sql, parameters) => database().query(sql, parameters),
    id,
  }
}

/** What a user would give as `db`. */
export function dbOf(db: string | PGlite): SaveHandlerOptions['db'] {
  return typeof db === 'string' ? { connectionString: db } : db
}

let ids = 0

export function id(): string {
  return `test-${process.pid}-${++ids}-${Math.random().toString(36).slice(2)}`
}

/** Statements sent so far. */
export function calls(handler: Handler): number {
  return handler.status().servers[0]?.calls ?? 0
}

/** What a promise rejects with; a promise that resolves is an error. */
export async function errorOf(
  promise: Promise<unknown>,
): Promise<Error & { code?: string; outcomeUnknown?: boolean }> {
  const settled = await promise.then(
    () => undefined,
    (error) => error,
  )
  if (settled === undefined) throw new Error('Expected a rejection')
  return settled
}

/** Moves a session's expiry, as if so many seconds had passed since. */
export async function expireAgo(
  kit: Pick<Kit, 'query'>,
  id: string,
  seconds: number,
  table = 'php_session',
): Promise<void> {
  await kit.query(
    `UPDATE ${table} SET sess_expire = floor(extract(epoch FROM clock_timestamp()))::bigint - ${seconds} WHERE sess_id = $1`,
    [id],
  )
}
