import type { PoolConfigLike, PostgresJsLike } from '../database/drivers.ts'
import { problem } from './checks.ts'

/** Returns true for a `sql` of postgres.js, and for the ones that its `begin` and `reserve` pass on. */
export function isPostgresJs(value: unknown): value is PostgresJsLike {
  return typeof value === 'function' && hasAll(value, ['unsafe', 'typed', 'file'])
}

/** Returns true for the function that `neon()` of @neondatabase/serverless returns. */
export function isNeonHttp(value: unknown): boolean {
  return typeof value === 'function' && hasAll(value, ['query', 'unsafe', 'transaction'])
}

function hasAll(value: object, methods: readonly string[]): boolean {
  return methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function')
}

/**
 * Returns the options of node-postgres for the server of a `sql` of postgres.js.
 *
 * The library connects to it with node-postgres, because a connection of postgres.js 3.4 that breaks inside `begin`
 * ends the process: the ROLLBACK that follows is written to a socket that is null. A test shows it.
 *
 * @throws INVALID_OPTION if node-postgres cannot connect in the same way
 */
export function postgresJsConfig(where: string, sql: PostgresJsLike): PoolConfigLike {
  const { options } = sql
  if (options === undefined) {
    throw problem(
      `${where}: expected a \`sql\` of postgres.js; received one that \`begin\` or \`reserve\` passed on. Pass the one that \`postgres()\` returned`,
    )
  }
  const { host, port, path, database, user, pass, ssl, connection, socket } = options
  if (socket != null) throw unsupported(where, 'the option socket')
  if (host.length > 1) throw unsupported(where, 'several hosts')
  if (ssl === 'allow' || ssl === 'prefer') throw unsupported(where, `ssl: '${ssl}'`)
  const { application_name, options: startup, ...parameters }: Record<string, unknown> = { ...connection }
  const flags = Object.entries(parameters).map(([name, value]) => `-c ${name}=${escaped(String(value))}`)
  if (startup !== undefined) flags.unshift(String(startup))
  return {
    // postgres.js names the socket's file, node-postgres its directory.
    host: path ? path.replace(/\/\.s\.PGSQL\.\d+$/, '') : host[0],
    port: port[0],
    database,
    user,
    ...(pass !== null && pass !== '' && { password: pass }),
    ssl: ssl === 'require' ? { rejectUnauthorized: false } : ssl === 'verify-full' ? true : ssl,
    ...(application_name !== undefined &&
      application_name !== 'postgres.js' && { application_name: String(application_name) }),
    ...(flags.length > 0 && { options: flags.join(' ') }),
  }
}

/** PostgreSQL splits its startup options at spaces. */
function escaped(value: string): string {
  return value.replace(/[\\\s]/g, '\\$&')
}

function unsupported(where: string, what: string) {
  return problem(
    `${where}: a \`sql\` of postgres.js with ${what} is not supported. Pass a conninfo string, a URL, or options for a pg.Pool`,
  )
}
