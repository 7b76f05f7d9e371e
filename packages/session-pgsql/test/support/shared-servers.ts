/** A server that all test files of a run share. It starts when a test first asks for its address. */
export interface SharedServer {
  readonly id: ServerName
  /** For people: `PostgreSQL 18`. */
  readonly name: string
  readonly kind: 'postgres' | 'pglite' | 'pgbouncer'
  /** Why it cannot run on this machine; undefined if it can. */
  readonly missing?: string | undefined
}

export interface ServerAddress {
  /** Of a database in which CREATE DATABASE is allowed. */
  readonly url: string
  /** The server behind PgBouncer, to make databases and to look into them. */
  readonly behind?: string
}

export type ServerName = '18' | '15' | 'pglite' | 'pgbouncer' | 'external'

const NAMES: readonly string[] = ['18', '15', 'pglite', 'pgbouncer'] satisfies ServerName[]

/**
 * Returns the servers that the contract suites run on: PostgreSQL 18, unless SESSION_PGSQL_TEST_SERVERS names
 * others ("18,pglite"; "all" for all). SESSION_PGSQL_TEST_URL adds one that runs already.
 */
export function wantedServers(environment: NodeJS.ProcessEnv = process.env): ServerName[] {
  const listed = environment.SESSION_PGSQL_TEST_SERVERS ?? '18'
  const names = listed.trim() === 'all' ? NAMES : listed.split(',').map((name) => name.trim())
  const wanted = names.filter((name) => name !== '')
  for (const name of wanted) {
    if (!NAMES.includes(name)) {
      throw new Error(
        `SESSION_PGSQL_TEST_SERVERS: expected "all" or some of ${NAMES.join(',')}, got "${name}"`,
      )
    }
  }
  if (environment.SESSION_PGSQL_TEST_URL) wanted.push('external')
  return wanted as ServerName[]
}
