import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { metrics as registered } from '@opentelemetry/api'
import type { PhpSessionFormat, SaveHandler } from 'session-pgsql'
import type { Metrics } from '../metrics/metrics.ts'
import { Client, type Shared } from './client.ts'
import { Figures } from './figures.ts'
import { Locks } from './locks.ts'
import { Notes } from './notes.ts'
import { LeftReads, type PhpData } from './reads.ts'
import { failure } from './replies.ts'

export interface GatewayOptions {
  readonly sessions: SaveHandler<PhpData>
  /** What PHP writes: its `session.serialize_handler`, and the codec of `sessions`. */
  readonly format: PhpSessionFormat
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
  /**
   * What `GET /metrics` is answered with; it is not closed here. Left out: the gateway's figures go to the
   * OpenTelemetry that the program has registered, if it has.
   */
  readonly metrics?: Metrics | undefined
}

/** Most bytes of what connections had read that have ended. */
const LEFT = 64 * 1024 * 1024

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
    const { sessions, format, password, maxValue, tls, healthPort } = options
    this.#shared = {
      sessions,
      format,
      password,
      maxValue,
      left: new LeftReads(LEFT),
      locks: new Locks(sessions),
      notes: new Notes(),
      ping: () => this.#ping(),
      figures: new Figures(options.metrics?.meter ?? registered.getMeter('session-pgsql-server'), () => ({
        connections: this.#clients.size,
        maxConnections: options.maxConnections,
        locks: this.#shared.locks.count,
      })),
    }
    this.#server =
      tls === undefined
        ? createServer({ noDelay: true }, this.#welcome)
        : createTlsServer({ ...tls, noDelay: true, handshakeTimeout: 10_000 }, this.#welcome)
    this.#health = healthPort === undefined ? undefined : createHttpServer(this.#answerHealth)
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
    clearInterval(this.#watch)
    this.#server.close()
    this.#health?.close()
    this.#health?.closeAllConnections()
    for (const client of this.#clients.keys()) client.leave()
    const farewell = setTimeout(() => {
      for (const client of this.#clients.keys()) client.end()
    }, FAREWELL)
    await Promise.all(this.#clients.values())
    clearTimeout(farewell)
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
      resolve((server.address() as AddressInfo).port)
    })
  })
}
