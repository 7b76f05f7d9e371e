import type { TestProject } from 'vitest/node'
import { type Pgbouncer, pgbouncerMissing, pgbouncerVersion, startPgbouncer } from './pgbouncer.ts'
import { pgliteTemplate } from './pglite.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'
import { type SharedServer, wantedServers } from './shared-servers.ts'

declare module 'vitest' {
  interface ProvidedContext {
    sharedServers: SharedServer[]
  }
}

/**
 * Starts the PostgreSQL servers that all test files share. They are never killed or paused: tests that do
 * that start servers of their own. So these need no fsync.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const servers = new Map<string, PostgresServer>()
  let pgbouncer: Pgbouncer | undefined
  const settings = { fsync: 'off', max_connections: '300' }
  const wanted = wantedServers()
  await Promise.all(
    wanted.map(async (name) => {
      if (name === 'pglite') await pgliteTemplate()
      if (name === '18' || name === '15') servers.set(name, await startPostgres({ version: name, settings }))
      if (name === 'pgbouncer' && pgbouncerMissing === undefined) {
        const behind = await startPostgres({ version: '15', settings })
        servers.set(name, behind)
        pgbouncer = await startPgbouncer(behind)
      }
    }),
  )
  project.provide(
    'sharedServers',
    wanted.map((name): SharedServer => {
      if (name === 'pglite') return { name: 'PGlite', kind: 'pglite' }
      if (name === 'external') {
        return {
          name: 'PostgreSQL, external',
          kind: 'postgres',
          url: process.env.SESSION_PGSQL_TEST_URL ?? '',
        }
      }
      if (name === 'pgbouncer') {
        if (pgbouncerMissing !== undefined)
          return { name: 'PgBouncer', kind: name, missing: pgbouncerMissing }
        const [url, behind] = [pgbouncer?.url('postgres') ?? '', servers.get(name)?.url() ?? '']
        return { name: pgbouncerVersion(), kind: name, url, behind }
      }
      return { name: `PostgreSQL ${name}`, kind: 'postgres', url: servers.get(name)?.url() ?? '' }
    }),
  )
  return async () => {
    await pgbouncer?.stop()
    await Promise.all([...servers.values()].map((server) => server.remove()))
  }
}
