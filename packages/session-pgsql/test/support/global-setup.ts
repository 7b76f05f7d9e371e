import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestProject } from 'vitest/node'
import { pgbouncerMissing, pgbouncerVersion, startPgbouncer } from './pgbouncer.ts'
import { startPostgres } from './postgres.ts'
import type { PostgresVersion } from './postgres-files.ts'
import { type ServerAddress, type ServerName, type SharedServer, wantedServers } from './shared-servers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    sharedServers: SharedServer[]
    /**
     * The port at which `GET /<id>` starts a shared server, if it does not run yet, and answers its address. Undefined in
     * `*.unit.test.ts` files.
     */
    sharedServersPort: number | undefined
  }
}

/**
 * Starts the servers that all test files share, each when a test first asks for it. This process owns them, so they
 * outlive the test files and end with the run, however it ends (watchdog.ts).
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const started = new Map<ServerName, Promise<Started>>()
  const wanted = wantedServers()
  const desk = createServer(async (request, response) => {
    const id = request.url?.slice(1) as ServerName
    // A busy client would send its next request on a connection that has just been closed for being idle.
    response.setHeader('connection', 'close')
    try {
      if (!wanted.includes(id)) throw new Error(`The run has no server "${id}"`)
      if (!started.has(id)) started.set(id, start(id))
      response.end(JSON.stringify((await started.get(id))?.address))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  })
  await new Promise<void>((resolve) => desk.listen(0, '127.0.0.1', resolve))
  project.provide('sharedServersPort', (desk.address() as AddressInfo).port)
  project.provide('sharedServers', wanted.map(describeServer))
  return async () => {
    desk.close()
    desk.closeAllConnections()
    for (const server of await Promise.allSettled(started.values())) {
      if (server.status === 'fulfilled') await server.value.stop()
    }
  }
}

interface Started {
  readonly address: ServerAddress
  stop(): Promise<void>
}

function describeServer(id: ServerName): SharedServer {
  switch (id) {
    case 'pglite':
      return { id, name: 'PGlite', kind: 'pglite' }
    case 'external':
      return { id, name: 'PostgreSQL, external', kind: 'postgres' }
    case 'pgbouncer':
      return pgbouncerMissing === undefined
        ? { id, name: pgbouncerVersion(), kind: id }
        : { id, name: 'PgBouncer', kind: id, missing: pgbouncerMissing }
    default:
      return { id, name: `PostgreSQL ${id}`, kind: 'postgres' }
  }
}

async function start(id: ServerName): Promise<Started> {
  switch (id) {
    case 'pglite':
      throw new Error('PGlite runs in the process of the test and has no address')
    case 'external':
      return { address: { url: process.env.SESSION_PGSQL_TEST_URL as string }, stop: async () => {} }
    case 'pgbouncer':
      return startPooled()
    default:
      return startPlain(id)
  }
}

/** Tests never kill or pause a shared server: those that do start their own. So this one needs no fsync. */
async function startPlain(version: PostgresVersion): Promise<Started> {
  const server = await startPostgres({ version, settings: { fsync: 'off', max_connections: '300' } })
  if (process.env.SESSION_PGSQL_TEST_KEEP) server.keep()
  return { address: { url: server.url() }, stop: () => server.remove() }
}

async function startPooled(): Promise<Started> {
  const behind = await startPlain('15')
  const { hostname: host, port } = new URL(behind.address.url)
  const pgbouncer = await startPgbouncer({ host, port })
  return {
    address: { url: pgbouncer.url('postgres'), behind: behind.address.url },
    async stop() {
      await pgbouncer.stop()
      await behind.stop()
    },
  }
}
