import { createServer, type Server } from 'node:http'
import { isKnownHost } from '../addresses.ts'
import { INSTALL_METRICS } from '../metrics/load.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Sessions } from './wire-format.ts'

export interface HealthOptions {
  readonly sessions: Sessions
  /** Answers `GET /metrics`; undefined if its packages are not installed. */
  readonly metrics: Metrics | undefined
  /** Host names by which it may be requested, besides those of this machine and bare addresses. */
  readonly names: readonly string[]
  /** Rejects if the database does not answer. */
  readonly ping: () => Promise<void>
  /** The number of connections of clients. */
  readonly connections: () => number
}

/** Most connections. */
const MAX_CONNECTIONS = 64

/** Returns a server for `GET /health` and `GET /metrics` over HTTP, without a password. */
export function createHealthServer({ sessions, metrics, names, ping, connections }: HealthOptions): Server {
  const server = createServer(async (request, response) => {
    const isGet = request.method === 'GET' || request.method === 'HEAD'
    const plain = { 'content-type': 'text/plain' }
    if (!isKnownHost(request.headers.host, names)) {
      response
        .writeHead(421, plain)
        .end('Unknown host name. Start the gateway with --health-name and this name.\n')
    } else if (isGet && request.url === '/metrics') {
      if (metrics === undefined) response.writeHead(503, plain).end(`${INSTALL_METRICS}\n`)
      else await metrics.answer(request, response)
    } else if (!isGet || request.url !== '/health') {
      response.writeHead(404, plain).end('GET /health, GET /metrics\n')
    } else {
      let status = 'ok'
      await ping().catch((error) => {
        status = error.code ?? 'ERROR'
      })
      const servers = sessions.status().servers.map(({ name, role, health }) => ({ name, role, health }))
      response
        .writeHead(status === 'ok' ? 200 : 503, {
          'content-type': 'application/json',
          'cache-control': 'no-store',
        })
        .end(`${JSON.stringify({ status, connections: connections(), servers })}\n`)
    }
  })
  server.maxConnections = MAX_CONNECTIONS
  return server
}
