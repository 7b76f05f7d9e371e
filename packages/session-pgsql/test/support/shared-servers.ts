/** What the global setup tells the test files about a server. */
export type SharedServer =
  | { name: string; kind: 'pglite' }
  | {
      name: string
      kind: 'postgres'
      /** Of a database in which CREATE DATABASE is allowed. */
      url: string
    }
  | {
      name: string
      kind: 'pgbouncer'
      /** Through PgBouncer. */
      url: string
      /** The server behind it, to make databases and to look into them. */
      behind: string
    }
  | {
      name: string
      kind: 'pgbouncer'
      /** Why it cannot be had on this machine. */
      missing: string
    }

export type ServerName = '18' | '15' | 'pglite' | 'pgbouncer' | 'external'

const NAMES: readonly string[] = ['18', '15', 'pglite', 'pgbouncer'] satisfies ServerName[]

/**
 * Which servers the contract suites run on: all, unless SESSION_PGSQL_TEST_SERVERS names some ("18,pglite").
 * SESSION_PGSQL_TEST_URL adds one that runs already.
 */
export function wantedServers(environment: NodeJS.ProcessEnv = process.env): ServerName[] {
  const listed = environment.SESSION_PGSQL_TEST_SERVERS
  const names = listed === undefined ? [...NAMES] : listed.split(',').map((name) => name.trim())
  const wanted = names.filter((name) => name !== '')
  for (const name of wanted) {
    if (!NAMES.includes(name)) {
      throw new Error(`SESSION_PGSQL_TEST_SERVERS: expected some of ${NAMES.join(',')}, got "${name}"`)
    }
  }
  if (environment.SESSION_PGSQL_TEST_URL) wanted.push('external')
  return wanted as ServerName[]
}
