import { isIP, type LookupFunction, Socket } from 'node:net'
import type { PoolClientLike } from './drivers.ts'

/** What became of a cancel request. `unknown`: it was sent, and may still arrive. */
export type CancelOutcome = 'delivered' | 'not sent' | 'unknown'

/**
 * Asks the server to cancel the statement of a connection, over a new connection to the same address, with TLS if the
 * first has it. `Client.cancel` of node-postgres supports no TLS and does not report whether the request arrived.
 *
 * @param stream the option `stream` of the pool, such as a tunnel; undefined: a socket
 * @param timeout milliseconds until the attempt ends as `not sent` or `unknown`
 * @returns `delivered` if the server closed the connection, which it does after it has signaled the backend
 */
export function requestCancel(
  client: PoolClientLike,
  stream: unknown,
  timeout: number,
): Promise<CancelOutcome> {
  const { connection, host, port, ssl, sslNegotiation, processID, secretKey } = client as unknown as Target
  if (typeof processID !== 'number' || typeof secretKey !== 'number') return Promise.resolve('not sent')
  const request = new connection.constructor({
    stream: stream ?? sameKindOf(connection.stream),
    ssl,
    sslNegotiation,
  })
  return new Promise((resolve) => {
    let outcome: CancelOutcome = 'not sent'
    const end = (): void => {
      clearTimeout(timer)
      request.stream.destroy()
      resolve(outcome)
    }
    const timer = setTimeout(end, timeout)
    const send = (): void => {
      outcome = 'unknown'
      request.cancel(processID, secretKey)
    }
    request.on('error', end)
    request.on('end', () => {
      if (outcome === 'unknown') outcome = 'delivered'
      end()
    })
    request.on('sslconnect', send)
    request.on('connect', () => {
      if (!ssl) send()
      else if (sslNegotiation !== 'direct') request.requestSsl()
    })
    if (host.startsWith('/')) request.connect(`${host}/.s.PGSQL.${port}`)
    else request.connect(port, host)
  })
}

/** Returns a socket to the same address; undefined for a WebSocket, of which the driver then makes another. */
function sameKindOf(stream: Target['connection']['stream']): Socket | undefined {
  return stream instanceof Socket ? socketTo(stream.remoteAddress) : undefined
}

/** Returns a socket that connects to this address of a host: its name's other addresses may be other servers. */
function socketTo(address: string | undefined): Socket {
  const socket = new Socket()
  if (address === undefined) return socket
  const lookup: LookupFunction = (_, { all }, done) => {
    const family = isIP(address)
    if (all) done(null, [{ address, family }])
    else done(null, address, family)
  }
  const connect = socket.connect.bind(socket)
  // node-postgres passes the port and the host. The host's name is still the one that TLS verifies.
  return Object.assign(socket, {
    connect: (port: number | string, host?: string) =>
      typeof port === 'string' ? connect(port) : connect({ port, host, lookup }),
  })
}

/** The parts of `pg.Client` that its types leave out. */
interface Target {
  readonly connection: {
    readonly constructor: new (options: object) => CancelConnection
    readonly stream: { readonly remoteAddress?: string }
  }
  /** The directory of a Unix socket, or a host. */
  readonly host: string
  readonly port: number
  /** False without TLS. */
  readonly ssl: unknown
  readonly sslNegotiation: string | undefined
  /** The process id and the key that the server, or a pooler, gave the connection; null if it gave none. */
  readonly processID: number | null
  readonly secretKey: number | null
}

/** `pg.Connection`, as far as a cancel request uses it. */
interface CancelConnection {
  readonly stream: { destroy(): void }
  connect(port: number | string, host?: string): void
  requestSsl(): void
  cancel(processID: number, secretKey: number): void
  on(event: 'connect' | 'sslconnect' | 'end' | 'error', listener: () => void): void
}
