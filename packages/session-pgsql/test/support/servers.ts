import { randomBytes } from 'node:crypto'
import type { PGlite } from '@electric-sql/pglite'
import { afterAll, beforeAll, describe, inject, test } from 'vitest'
import { queryOnce } from './connect.ts'
import { startPglite } from './pglite.ts'
import { type PostgresOptions, type PostgresServer, startPostgres } from './postgres.ts'
import type { ServerAddress, SharedServer } from './shared-servers.ts'

/** A server for a contract suite. */
export interface TestServer {
  /** For people: `PostgreSQL 18`, `PGlite`. */
  readonly name: string
  readonly kind: SharedServer['kind']
  /** A new, empty database. Whatever is not dropped by the test is dropped at the end of its file. */
  freshDatabase(options?: { encoding?: string; locale?: string }): Promise<FreshDatabase>
}

export interface FreshDatabase {
  /** What a user gives as `db`: a URL, or a PGlite instance. */
  readonly db: string | PGlite
  /** Looks behind the library's back; values come as node-postgres or PGlite give them. */
  query<R extends object = Record<string, unknown>>(sql: string, parameters?: unknown[]): Promise<R[]>
  /** Ends connections that are still open, too. */
  drop(): Promise<void>
}

interface DroppableDatabase extends FreshDatabase {
  /**
   * For the end of a test file. Connections that a test has left open are not cut off there: they would end
   * the process with an error of their own, which hides the first.
   */
  dropIfUnused(): Promise<void>
}

/**
 * Runs the same suite on every server of the run (`wantedServers`), through PgBouncer only if the suite asks for it.
 *
 * @param kinds for suites that some kinds of server cannot take part in
 */
export function describeOnEveryServer(
  name: string,
  suite: (server: TestServer) => void,
  kinds: readonly TestServer['kind'][] = ['postgres', 'pglite'],
): void {
  describeOn(
    inject('sharedServers').filter(({ kind }) => kinds.includes(kind)),
    name,
    suite,
  )
}

/**
 * Runs the same suite on one server of each kind, PostgreSQL 18 and PGlite: for what uses the save handler, such as
 * adapters, the gateway and the console. The save handler's own tests run on all versions.
 *
 * @param kinds for suites that some kinds of server cannot take part in
 */
export function describeOnEveryKind(
  name: string,
  suite: (server: TestServer) => void,
  kinds: readonly TestServer['kind'][] = ['postgres', 'pglite'],
): void {
  const servers = inject('sharedServers')
  const firsts = kinds.flatMap((kind) => servers.find((server) => server.kind === kind) ?? [])
  describeOn(firsts, name, suite)
}

function describeOn(
  wanted: readonly SharedServer[],
  name: string,
  suite: (server: TestServer) => void,
): void {
  // A file without any test is an error.
  if (wanted.length === 0) test.skip(`${name}: on none of the servers that SESSION_PGSQL_TEST_SERVERS names`)
  for (const shared of wanted) {
    describe(`${name} (${shared.name})`, () => {
      if (shared.missing !== undefined) {
        test(`needs ${shared.name}`, (context) => context.skip(shared.missing))
        return
      }
      const databases = new Set<DroppableDatabase>()
      // Registered first, so it runs last: vitest runs these hooks in reverse order, and the suite's own close
      // what uses the databases.
      afterAll(async () => {
        if (process.env.SESSION_PGSQL_TEST_KEEP) return
        for (const database of databases) await database.dropIfUnused()
      })
      suite({
        name: shared.name,
        kind: shared.kind,
        async freshDatabase(options = {}) {
          const database =
            shared.kind === 'pglite' ? await freshPglite() : await freshPostgres(shared, options)
          databases.add(database)
          return {
            db: database.db,
            query: database.query,
            async drop() {
              if (databases.delete(database)) await database.drop()
            },
          }
        },
      })
    })
  }
}

/** Returns how to reach a shared server, and starts it if it does not run yet. */
export async function addressOf({ id }: SharedServer): Promise<ServerAddress> {
  const port = inject('sharedServersPort')
  if (port === undefined) {
    throw new Error('A *.unit.test.ts file uses no database server. Rename it to *.test.ts')
  }
  const response = await fetch(`http://127.0.0.1:${port}/${id}`)
  if (!response.ok) throw new Error(await response.text())
  return (await response.json()) as ServerAddress
}

const OBJECT_IN_USE = '55006'

async function freshPostgres(
  shared: SharedServer,
  options: { encoding?: string; locale?: string },
): Promise<DroppableDatabase> {
  const { url, behind } = await addressOf(shared)
  const server = behind ?? url
  const name = `test_${randomBytes(6).toString('hex')}`
  const { encoding = 'UTF8', locale } = options
  await queryOnce(
    server,
    `CREATE DATABASE ${name} TEMPLATE template0 ENCODING '${encoding}'${locale === undefined ? '' : ` LOCALE '${locale}'`}`,
  )
  const urlOn = (base: string): string => Object.assign(new URL(base), { pathname: `/${name}` }).href
  const drop = async () => {
    await queryOnce(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
  }
  return {
    db: urlOn(url),
    query: (sql, parameters) => queryOnce(urlOn(server), sql, parameters) as Promise<never>,
    drop,
    dropIfUnused: async () => {
      // The connections are PgBouncer's own, whoever has left.
      if (behind !== undefined) return drop()
      await queryOnce(server, `DROP DATABASE IF EXISTS ${name}`).catch((error) => {
        if (error.code !== OBJECT_IN_USE) throw error
        console.error(`${name} stays: a test has left a connection open`)
      })
    },
  }
}

async function freshPglite(): Promise<DroppableDatabase> {
  const db = await startPglite()
  const drop = async () => {
    if (!db.closed) await db.close()
  }
  return {
    db,
    query: async (sql, parameters) => (await db.query(sql, parameters)).rows as never,
    drop,
    dropIfUnused: drop,
  }
}

/**
 * A server for the tests of one `describe` alone, to be killed and paused at will. Started before them; removed
 * after them, but kept for a look if one has failed.
 */
export function usePostgres(options: PostgresOptions): () => PostgresServer {
  let server: PostgresServer | undefined
  beforeAll(async () => {
    server = await startPostgres(options)
  }, 60_000)
  // biome-ignore lint/correctness/noEmptyPattern: vitest reads the names of fixtures from this pattern
  afterAll(async ({}, suite) => {
    if (hasFailed(suite)) server?.keep()
    await server?.remove()
  }, 60_000)
  return () => {
    if (server === undefined) throw new Error('usePostgres: the server runs in tests and hooks only')
    return server
  }
}

interface Task {
  result?: { state?: string } | undefined
  tasks?: readonly Task[]
}

function hasFailed(task: Task): boolean {
  return task.result?.state === 'fail' || (task.tasks ?? []).some(hasFailed)
}
