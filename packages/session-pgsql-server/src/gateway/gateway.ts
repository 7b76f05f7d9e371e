import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { metrics as registered } from '@opentelemetry/api'
import type { Metrics } from '../metrics/metrics.ts'
import { Client, type Shared } from './connection.ts'
import { Locks } from './locks.ts'
import { Figures } from './metrics.ts'
import { Notes } from './pending-metadata.ts'
import type { PhpSide, Sessions } from './php-side.ts'
import { AllReads, LeftReads } from './reads.ts'
import { failure } from './replies.ts'

export interface GatewayOptions {
  readonly sessions: Sessions
  readonly php: PhpSide
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  readonly password: string | undefined
  /** PEM texts: with them it speaks TLS only. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined
  readonly maxConnections: number
  /** Most bytes of one session. */
  readonly maxValue: number
  /** Seconds after which a connection that says nothing is ended; 0: never. */
  readonly idleTimeout: number
  /** Where `GET /health` and `GET /metrics` are answered over HTTP; undefined: nowhere. */
  readonly healthPort: number | undefined
  /** Seconds after which the lock of a gateway that has died is free again. @default 10 */
  readonly lockLease?: number | undefined
  /**
   * What `GET /metrics` is answered with; it is not closed here. Left out: the gateway's figures go to the
   * OpenTelemetry that the program has registered, if it has.
   */
  readonly metrics?: Metrics | undefined
}

const MIB = 1024 * 1024

/** Most bytes of what connections have read, of what those had that have ended, of notes, and of what is on its way. */
const MEMORY = { reads: 256 * MIB, left: 64 * MIB, notes: 16 * MIB, onItsWay: 256 * MIB }

/** Milliseconds that a client has to agree on TLS. */
const HANDSHAKE = 10_000

/** Connections that may be there beside those that are served: being refused, or shaking hands. */
const AT_THE_DOOR = 64

/** Seconds of silence after which it is asked whether the other side is still there: a lock is held until it is not. */
const KEEP_ALIVE = 30

/** An id that no session has: asking for it shows that the database answers. */
const PROBE = 'session-pgsql-server-probe'

/** Milliseconds that connections are given to have their last command answered. */
const FAREWELL = 5000

/** Sessions for PHP: a server that speaks the part of Redis' protocol that phpredis' session handler uses. */
export class Gateway {
  readonly #options: GatewayOptions
  readonly #shared: Shared
  readonly #server: Server
  readonly #health: HttpServer | undefined
  readonly #clients = new Map<Client, Promise<void>>()
  readonly #watch: NodeJS.Timeout
  #probe: Promise<void> | undefined

  constructor(options: GatewayOptions) {
    this.#options = options
    const { sessions, php, password, maxValue, tls, healthPort } = options
    this.#shared = {
      sessions,
      php,
      password,
      maxValue,
      reads: new AllReads(MEMORY.reads),
      left: new LeftReads(MEMORY.left),
      // A few of the largest sessions find room in any case.
      memory: { most: Math.max(MEMORY.onItsWay, 4 * maxValue), held: 0 },
      locks: new Locks(sessions, options.lockLease),
      notes: new Notes(MEMORY.notes),
      ping: () => this.#ping(),
      figures: new Figures(options.metrics?.meter ?? registered.getMeter('session-pgsql-server'), () => ({
        connections: this.#clients.size,
        maxConnections: options.maxConnections,
        locks: this.#shared.locks.count,
      })),
    }
    const socket = {
      noDelay: true,
      allowHalfOpen: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE * 1000,
    }
    this.#server =
      tls === undefined
        ? createServer(socket, this.#welcome)
        : createTlsServer({ ...tls, ...socket, handshakeTimeout: HANDSHAKE }, this.#welcome)
    // Node tells of a handshake that takes too long, and leaves the connection as it is.
    this.#server.on('tlsClientError', (_error, socket: Socket) => socket.destroy())
    this.#server.maxConnections = options.maxConnections + AT_THE_DOOR
    this.#health = healthPort === undefined ? undefined : createHttpServer(this.#answerHealth)
    if (this.#health !== undefined) this.#health.maxConnections = AT_THE_DOOR
    this.#watch = setInterval(() => {
      const now = performance.now()
      const idle = options.idleTimeout || Number.POSITIVE_INFINITY
      for (const client of this.#clients.keys()) client.check(now, idle)
    }, 1000).unref()
  }

  /** @returns where it listens, and where its health can be asked */
  async listen(): Promise<{ port: number; healthPort: number | undefined }> {
    const { host, port, healthPort } = this.#options
    try {
      const at = await listening(this.#server, port, host)
      const healthAt =
        this.#health === undefined ? undefined : await listening(this.#health, healthPort as number, host)
      return { port: at, healthPort: healthAt }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Takes no more connections, answers what is under way, gives back the locks. The save handler stays open. */
  async close(): Promise<void> {
    this.#server.close()
    this.#health?.close()
    this.#health?.closeAllConnections()
    for (const client of this.#clients.keys()) client.leave()
    const farewell = setTimeout(() => {
      for (const client of this.#clients.keys()) client.end()
    }, FAREWELL)
    await Promise.all(this.#clients.values())
    clearTimeout(farewell)
    clearInterval(this.#watch)
    this.#shared.locks.close()
    this.#shared.figures.close()
  }

  readonly #welcome = (socket: Socket): void => {
    socket.on('error', () => {})
    if (this.#clients.size >= this.#options.maxConnections) {
      this.#shared.figures.connectionRefused()
      socket.end(failure('ERR max number of clients reached'), () => socket.destroy())
      return
    }
    const client = new Client(socket, this.#shared)
    this.#clients.set(
      client,
      client.serve().finally(() => this.#clients.delete(client)),
    )
  }

  /** However many ask, the database is asked once at a time. */
  #ping(): Promise<void> {
    this.#probe ??= this.#shared.sessions
      .validateId(PROBE)
      .then(() => {})
      .finally(() => {
        this.#probe = undefined
      })
    return this.#probe
  }

  readonly #answerHealth: Parameters<typeof createHttpServer>[1] = async (request, response) => {
    const { metrics } = this.#options
    const asks = request.method === 'GET' || request.method === 'HEAD'
    if (asks && request.url === '/metrics' && metrics !== undefined) return metrics.answer(request, response)
    if (!asks || request.url !== '/health') {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('GET /health, GET /metrics\n')
      return
    }
    let status = 'ok'
    await this.#ping().catch((error) => {
      status = error.code ?? 'ERROR'
    })
    const servers = this.#shared.sessions
      .status()
      .servers.map(({ name, role, health }) => ({ name, role, health }))
    response
      .writeHead(status === 'ok' ? 200 : 503, {
        'content-type': 'application/json',
        'cache-control': 'no-store',
      })
      .end(`${JSON.stringify({ status, connections: this.#clients.size, servers })}\n`)
  }
}

function listening(server: Server | HttpServer, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      // A connection that could not be accepted, for want of file descriptors say, is no end of the others.
      server.on('error', () => {})
      resolve((server.address() as AddressInfo).port)
    })
  })
}
