import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import pg from 'pg'

/** The tests' own way to a server, beside the library. */

/** Connects, runs one statement, disconnects. `conninfo` is as `PostgresServer.conninfo` writes it, or a URL. */
export async function queryOnce<R extends pg.QueryResultRow = Record<string, unknown>>(
  conninfo: string,
  sql: string,
  parameters: unknown[] = [],
): Promise<R[]> {
  const client = new pg.Client(clientConfig(conninfo))
  // A server that is killed while the connection closes is not this function's business.
  client.on('error', () => {})
  await client.connect()
  try {
    return (await client.query<R>(sql, parameters)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

/** A pool of node-postgres, for what wants one. That a server dies is no news to a test. */
export function connectPool(conninfo: string): pg.Pool {
  const pool = new pg.Pool(clientConfig(conninfo))
  pool.on('error', () => {})
  return pool
}

function clientConfig(conninfo: string): pg.ClientConfig {
  if (/^postgres(ql)?:/.test(conninfo)) return { connectionString: conninfo }
  const words = new Map(conninfo.split(' ').map((word) => word.split('=', 2) as [string, string]))
  return {
    host: words.get('host') ?? '127.0.0.1',
    port: Number(words.get('port') ?? 5432),
    database: words.get('dbname') ?? 'postgres',
    user: words.get('user') ?? 'postgres',
  }
}

/**
 * A free port below the range from which systems draw the ports of outgoing connections. Inside it, a client
 * that tries again while the server is down may be given the server's port, and then it connects to itself.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const port = randomInt(20_000, 32_000)
    const server = createServer()
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false))
      server.listen(port, '127.0.0.1', () => resolve(true))
    })
    if (!free) continue
    await new Promise((resolve) => server.close(resolve))
    return port
  }
  throw new Error('No free port between 20000 and 32000')
}
