import pg from 'pg'
import { afterAll, afterEach, beforeAll, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { describeOnEveryServer, type FreshDatabase, type TestServer } from '../support/servers.ts'

/** The data of the tests: anything. */
// biome-ignore lint/suspicious/noExplicitAny: what a session holds is the test's business
export type Data = Record<string, any>

export type Handler = SaveHandler<Data>

/** What a suite is given: handlers on one database, which it shares with the other tests of its file. */
export interface Kit {
  readonly server: TestServer
  /** A save handler that is closed after the test. It collects no garbage unless it is told to. */
  open(options?: SaveHandlerOptions<Data>): Handler
  /** Looks into the database, or changes it, behind the handlers' back. */
  query<R extends object = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<R[]>
  /** An id that no other test uses. */
  id(): string
  database(): FreshDatabase
}

/**
 * Runs a suite on every server, and through PgBouncer.
 *
 * @param where `postgres only`: for what PGlite, which has one connection and one user, has not
 */
export function describeHandler(
  name: string,
  suite: (kit: Kit) => void,
  where: 'everywhere' | 'postgres only' = 'everywhere',
): void {
  const contract = (server: TestServer): void => {
    if (where === 'postgres only' && server.kind === 'pglite') {
      test.skip('not on PGlite: it has one connection and one user', () => {})
      return
    }
    let database: FreshDatabase
    beforeAll(async () => {
      database = await server.freshDatabase()
    })
    suite(makeKit(server, () => database))
  }
  describeOnEveryServer(name, contract, ['postgres', 'pglite', 'pgbouncer'])
}

function makeKit(server: TestServer, database: () => FreshDatabase): Kit {
  const opened: Handler[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((handler) => handler.close()))
  })
  // Shared by the handlers: connections of its own for each would be most of what the suite does.
  let pool: pg.Pool | undefined
  afterAll(async () => {
    await pool?.end()
  })
  const shared = (): SaveHandlerOptions['db'] => {
    const { db } = database()
    if (typeof db !== 'string') return db
    pool ??= new pg.Pool({ connectionString: db, max: 20 })
    return pool
  }
  return {
    server,
    database,
    open(options = {}) {
      const handler = new SaveHandler<Data>({
        db: shared(),
        gcInterval: 0,
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
