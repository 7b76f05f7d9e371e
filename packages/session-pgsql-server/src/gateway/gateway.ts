import type { Server as HttpServer } from 'node:http'
import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import type { Meter } from '@opentelemetry/api'
import { plainAddress } from '../addresses.ts'
import type { TlsFiles } from '../flags.ts'
import { listen } from '../listen.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { Connection, type ConnectionLimits } from './connection.ts'
import { DeferredTouches } from './deferred-touches.ts'
import { createHealthServer } from './health.ts'
import { Keyspace } from './key.ts'
import { LARAVEL_LOCK } from './laravel.ts'
import { Locks } from './locks.ts'
import { GatewayLog } from './log.ts'
import { GatewayMetrics } from './metrics.ts'
import { PasswordThrottle } from './password-throttle.ts'
import { MAX_PENDING, PendingConnections } from './pending-connections.ts'
import { PendingMetadata } from './pending-metadata.ts'
import { ClosedReads, TextBudget } from './reads.ts'
import { listenOnSocket, type SocketOptions } from './socket.ts'
import type { Shared } from './visitor.ts'
import type { Sessions, WireFormat } from './wire-format.ts'

export interface GatewayOptions {
  /** The gateway does not close it. */
  readonly sessions: Sessions
  /** What the data of `sessions` is. */
  readonly wireFormat: WireFormat
  readonly host: string
  /** 0: any free port; undefined: none. */
  readonly port: number | undefined
  /** A socket of the file system, for clients of this machine, without TLS. */
  readonly socket?: SocketOptions | undefined
  /** undefined: clients need none. */
  readonly password: string | undefined
  /** With a certificate, the gateway accepts TLS only. */
  readonly tls: TlsFiles | undefined
  readonly maxConnections: number
  /** What the keys of sessions begin with. Default: any name and a colon */
  readonly prefixes?: readonly string[] | undefined
  /**
   * True if a client may create a session that it has not read. A request whose read the gateway has forgotten may then
   * restore a logged-out session. Default: false
   */
  readonly createUnread?: boolean | undefined
  /** Set for Laravel: its locks, its ids that are written without a read, its exceptions. Default: false */
  readonly isLaravel?: boolean
  /** Largest session in bytes. */
  readonly maxValue: number
  /** Seconds after which a connection without commands is closed; 0: never. */
  readonly idleTimeout: number
  /** Port for `GET /health` and `GET /metrics` over HTTP; 0: any free port; undefined: none. */
  readonly healthPort: number | undefined
  /** Seconds after which the lock of a gateway that has died is free again. @default 10 */
  readonly lockLease?: number | undefined
  /** Where to listen for them. They need no password. Default: 127.0.0.1 */
  readonly healthHost?: string
  /** Host names by which they may be requested, besides those of this machine and bare addresses. */
  readonly healthNames?: readonly string[] | undefined
  /** Answers `GET /metrics`; the gateway does not close it. */
  readonly metrics?: Metrics | undefined
  /** Where the gateway records its metrics. Default: nowhere */
  readonly meter?: Meter | undefined
  /** Takes lines for the operator: refused sessions, wrong passwords. Default: none */
  readonly log?: (line: string) => void
}

const MIB = 1024 * 1024

/** Most bytes of each kind that all connections hold together; see `reads.ts`, `pending-metadata.ts`, `connection.ts`. */
const MEMORY = { reads: 256 * MIB, pendingMetadata: 16 * MIB, inFlight: 256 * MIB }

/** Milliseconds that a client has for the TLS handshake. */
const HANDSHAKE_TIMEOUT = 10_000

/** Connections beyond all quotas, for those that are being closed. */
const SPARE_CONNECTIONS = 64

/** Seconds without traffic until TCP probes the client: the locks of a vanished client are held until then. */
const KEEP_ALIVE = 30

/** An id that no session has: reading it shows that the database answers. */
const PROBE_ID = 'session-pgsql-server-probe'

/** Milliseconds that `close` gives connections to finish. */
const DRAIN_TIMEOUT = 5000

/** Sessions for PHP: a server for the part of Redis' protocol that phpredis' session handler uses. */
export class Gateway {
  readonly #options: GatewayOptions
  readonly #shared: Shared
  readonly #limits: ConnectionLimits
  readonly #server: Server
  readonly #socketServer: Server
  readonly #health: HttpServer | undefined
  /** Each settles when its connection has closed. */
  readonly #connections = new Map<Connection, Promise<void>>()
  readonly #pending: PendingConnections
  /** Connections of clients: those that are not pending. */
  readonly #clients = new Set<Connection>()
  readonly #timeoutCheck: NodeJS.Timeout
  #probe: Promise<void> | undefined

  constructor(options: GatewayOptions) {
    this.#options = options
    const log = new GatewayLog(options.log ?? (() => {}))
    const { sessions, wireFormat, prefixes = [], createUnread = false, isLaravel = false } = options
    const { password, tls } = options
    const { maxValue, maxConnections, healthPort } = options
    const { name, durableTouches } = sessions.status().settings
    const textBudget = new TextBudget(Math.max(MEMORY.reads, 4 * maxValue))
    this.#shared = {
      sessions,
      wireFormat,
      passwords: password === undefined ? undefined : new PasswordThrottle(password),
      log,
      keys: new Keyspace(prefixes, String(name), isLaravel ? LARAVEL_LOCK : undefined),
      createUnread: createUnread || (isLaravel && 'after another'),
      wantsExceptions: isLaravel,
      lifetimeLeft: (seconds) => lifetimeLeft(sessions, seconds),
      textBudget,
      closedReads: new ClosedReads(textBudget),
      locks: new Locks(sessions, options.lockLease),
      // With this option, a reply says that the new expiry is on disk.
      touches: durableTouches === true ? undefined : new DeferredTouches(sessions, log),
      pending: new PendingMetadata(MEMORY.pendingMetadata),
      ping: () => this.#ping(),
      metrics: new GatewayMetrics(options.meter, () => ({
        connections: this.#clients.size,
        maxConnections,
        locks: this.#shared.locks.count,
      })),
    }
    // A few of the largest sessions always fit.
    this.#limits = { maxValue, memory: { max: Math.max(MEMORY.inFlight, 4 * maxValue), held: 0 } }
    const socket = {
      noDelay: true,
      allowHalfOpen: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE * 1000,
    }
    this.#server =
      tls === undefined
        ? createServer(socket, this.#accept)
        : createTlsServer({ ...tls, ...socket, handshakeTimeout: HANDSHAKE_TIMEOUT }, this.#accept)
    this.#pending = new PendingConnections((address) => {
      this.#shared.metrics.connectionRefused()
      log.warn(
        'pending',
        `closed a connection from ${plainAddress(address) || 'a local socket'} that sent nothing or no password: more than ${MAX_PENDING} of these`,
      )
    })
    this.#socketServer = createServer(socket, this.#accept)
    for (const server of [this.#server, this.#socketServer]) {
      server.on('connection', (socket: Socket) => this.#pending.add(socket))
      server.maxConnections = maxConnections + MAX_PENDING + SPARE_CONNECTIONS
    }
    // Node reports a handshake that fails or times out, and leaves the connection open.
    this.#server.on('tlsClientError', (_error, socket: Socket) => socket.destroy())
    if (healthPort !== undefined) {
      this.#health = createHealthServer({
        sessions,
        metrics: options.metrics,
        names: options.healthNames ?? [],
        ping: () => this.#ping(),
        connections: () => this.#clients.size,
      })
    }
    this.#timeoutCheck = setInterval(() => {
      const now = performance.now()
      const idleTimeout = options.idleTimeout || Number.POSITIVE_INFINITY
      for (const connection of this.#connections.keys()) connection.checkTimeouts(now, idleTimeout)
    }, 1000).unref()
  }

  /**
   * Starts listening. If a port is not available, it closes the gateway and rejects.
   *
   * @returns the ports, also if the options left them to the system; 0 if there is none for clients
   */
  async listen(): Promise<{ port: number; healthPort: number | undefined }> {
    const { host, port, socket, healthPort, healthHost = '127.0.0.1' } = this.#options
    try {
      if (socket !== undefined) await listenOnSocket(this.#socketServer, socket)
      return {
        port: port === undefined ? 0 : await listen(this.#server, port, host),
        healthPort:
          this.#health === undefined
            ? undefined
            : await listen(this.#health, healthPort as number, healthHost),
      }
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /**
   * Accepts no more connections, answers the commands in progress, and releases the locks. PHP requests in progress
   * have 5 seconds to write their session.
   */
  async close(): Promise<void> {
    this.#server.close()
    this.#socketServer.close()
    this.#health?.close()
    this.#health?.closeAllConnections()
    for (const connection of this.#connections.keys()) connection.drain()
    const timeout = setTimeout(() => {
      for (const connection of this.#connections.keys()) connection.destroy()
    }, DRAIN_TIMEOUT)
    await Promise.all(this.#connections.values())
    clearTimeout(timeout)
    clearInterval(this.#timeoutCheck)
    await this.#shared.touches?.close()
    this.#shared.locks.close()
    this.#shared.metrics.close()
  }

  readonly #accept = (socket: Socket): void => {
    socket.on('error', () => {})
    const connection = new Connection(socket, this.#shared, this.#limits, () =>
      this.#admit(connection, socket),
    )
    this.#connections.set(
      connection,
      connection.serve().finally(() => {
        this.#connections.delete(connection)
        this.#clients.delete(connection)
      }),
    )
  }

  /** Returns true if the connection, which has sent the password and a command, may be a client. */
  #admit(connection: Connection, socket: Socket): boolean {
    const { maxConnections } = this.#options
    if (this.#clients.size >= maxConnections) {
      this.#shared.metrics.connectionRefused()
      this.#shared.log.warn('clients', `refused a client: there are ${maxConnections} (--max-connections)`)
      return false
    }
    this.#clients.add(connection)
    this.#pending.admit(socket)
    return true
  }

  /** Queries the database, with one query at a time for all callers. */
  #ping(): Promise<void> {
    this.#probe ??= this.#shared.sessions
      .validateId(PROBE_ID)
      .then(() => {})
      .finally(() => {
        this.#probe = undefined
      })
    return this.#probe
  }
}

/** With `shortCircuit`, sessions are stored with a later expiry than was set. */
function lifetimeLeft(sessions: Sessions, seconds: number): number {
  const { shortCircuit, refreshAfter } = sessions.status().settings
  if (shortCircuit !== true || refreshAfter === 'Infinity') return seconds
  return typeof refreshAfter === 'number' ? seconds - refreshAfter : seconds / 1.1
}
