import { channel } from 'node:diagnostics_channel'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, onTestFinished, test } from 'vitest'
import { type BatchMessage, SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import {
  describeOnEveryKind,
  describeOnEveryServer,
  type FreshDatabase,
  type TestServer,
} from '../support/servers.ts'

/** Any data. */
// biome-ignore lint/suspicious/noExplicitAny: each test has its own type of data
export type Data = Record<string, any>

export type Handler = SaveHandler<Data>

/** A suite's save handlers, on one database that all tests of the file share. */
export interface Kit {
  readonly server: TestServer
  /** Returns a save handler that is closed after the test. Its `gcInterval` is 0. */
  open(options?: SaveHandlerOptions<Data>): Handler
  /** Queries the database directly. */
  query<R extends object = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<R[]>
  /** Returns an id that no other test uses. */
  id(): string
  database(): FreshDatabase
}

/** How the handlers of the suites reach a PostgreSQL server. */
export interface Driver {
  /** Returns the `db` that a file's handlers share. */
  connect(url: string): NonNullable<SaveHandlerOptions['db']>
  /** Closes what `connect` opened. */
  close(): Promise<void>
}

let other: Driver | undefined

/** Has the suites that the file imports afterwards use another driver than node-postgres, on PostgreSQL itself. */
export function useDriver(driver: Driver): void {
  other = driver
}

/**
 * Runs a suite on every server of the run, and through PgBouncer.
 *
 * @param where `postgres only`: not on PGlite, which has one connection and one user
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
  // Another driver sends the same SQL.
  if (other) describeOnEveryKind(name, contract, ['postgres'])
  else describeOnEveryServer(name, contract, ['postgres', 'pglite', 'pgbouncer'])
}

function makeKit(server: TestServer, database: () => FreshDatabase): Kit {
  const opened: Handler[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((handler) => handler.close()))
  })
  // Shared by the handlers: opening connections for each would take most of the suite's time.
  const driver = other ?? nodePostgres()
  let connected: SaveHandlerOptions['db']
  afterAll(() => driver.close())
  const shared = (): SaveHandlerOptions['db'] => {
    const { db } = database()
    if (typeof db !== 'string') return db
    connected ??= driver.connect(db)
    return connected
  }
  return {
    server,
    database,
    open(options = {}) {
      const handler = new SaveHandler<Data>({
        db: shared(),
        gcInterval: 0,
        // On a slow machine, a timeout that is not part of the test must not fail it.
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

function nodePostgres(): Driver {
  let pool: pg.Pool | undefined
  return {
    connect(connectionString) {
      pool = new pg.Pool({ connectionString, max: 20 })
      return pool
    },
    async close() {
      await pool?.end()
    },
  }
}

/** Returns the sizes of the batches that the handler sends until the end of the test, in their order. */
export function batchSizes(handler: Handler): number[] {
  const sizes: number[] = []
  const onStart = (message: unknown): void => {
    const batch = message as BatchMessage
    if (batch.handler === handler) sizes.push(batch.size)
  }
  const started = channel('tracing:session-pgsql:batch:start')
  started.subscribe(onStart)
  onTestFinished(() => void started.unsubscribe(onStart))
  return sizes
}

let ids = 0

export function id(): string {
  return `test-${process.pid}-${++ids}-${Math.random().toString(36).slice(2)}`
}

/** Returns the number of statements that the handler has sent. */
export function calls(handler: Handler): number {
  return handler.status().servers[0]?.calls ?? 0
}

/** Returns the error with which a promise rejects. Throws if it resolves. */
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

/** Sets a session's expiry to `seconds` ago. */
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
