import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { SaveHandler } from 'session-pgsql'
import { hostInUrl, type TlsFiles } from '../flags.ts'
import { listen } from '../listen.ts'
import { INSTALL_METRICS, loadMetrics } from '../metrics/load.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { AccessControl, FailedAttempt, type PasswordAccess } from './access.ts'
import { AuditLog, type AuditSink } from './audit.ts'
import { Monitor } from './monitor.ts'
import { addressOf, checkHost, type OriginOptions } from './origin.ts'
import { Page } from './page.ts'
import { HttpError, sendError, setSecurityHeaders } from './responses.ts'
import { Api } from './routes.ts'
import { TableMetrics } from './table-metrics.ts'

export interface ConsoleOptions {
  // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
  readonly sessions: SaveHandler<any>
  /** The address to listen on. */
  readonly host: string
  /** 0 selects a free port. */
  readonly port: number
  /** Undefined: operators sign in with a random token. */
  readonly passwordAccess: PasswordAccess | undefined
  /** Host names that browsers may use, besides loopback names and IP addresses. */
  readonly names: readonly string[]
  /** Whether a proxy sets X-Forwarded-For and X-Forwarded-Proto. */
  readonly trustProxy: boolean
  readonly tls: TlsFiles | undefined
  /** Whether to serve GET /metrics for Prometheus. */
  readonly metrics: boolean
  /** The path of the audit file. Undefined: the audit log is in memory only. */
  readonly auditFile: string | undefined
  /** Receive the lines of the audit file as they are written. */
  readonly auditSinks?: readonly AuditSink[] | undefined
  /** The folder of the page's files. @default the build's output */
  readonly pageFolder?: string | undefined
  /** Milliseconds between two samples of the servers. @default 2000 */
  readonly interval?: number | undefined
  /** Milliseconds that a client has for the headers of a request. @default 10,000 */
  readonly headersTimeout?: number | undefined
  /** Receives messages for the administrator. */
  readonly log: (message: string) => void
}

/** The limits of a request: bytes of its headers, milliseconds for all of it. */
const MAX_HEADER_SIZE = 16 * 1024
const REQUEST_TIMEOUT = 30_000
const MAX_CONNECTIONS = 500

/** Milliseconds that `close` waits for requests in progress. */
const CLOSE_TIMEOUT = 3000

/** The HTTP server of the console: the web page for operators and its API. */
export class Console {
  readonly #options: ConsoleOptions
  readonly #origin: OriginOptions
  readonly #server: Server
  readonly #page: Page
  readonly #monitor: Monitor
  readonly #audit: AuditLog
  readonly #access: AccessControl
  readonly #api: Api
  /** Responses in progress. */
  readonly #responses = new Set<ServerResponse>()
  /** Called when no response is in progress, while the console closes. */
  #onIdle: (() => void) | undefined
  /** Set while the server listens, if the option `metrics` is true. */
  #metrics: { readonly metrics: Metrics; readonly tableMetrics: TableMetrics } | undefined

  constructor(options: ConsoleOptions) {
    const {
      sessions,
      trustProxy,
      names,
      tls,
      passwordAccess,
      auditFile,
      auditSinks = [],
      log,
      pageFolder,
      headersTimeout = 10_000,
    } = options
    this.#options = options
    this.#origin = { names, trustProxy, hasPasswords: passwordAccess !== undefined }
    this.#page = new Page(pageFolder)
    this.#monitor = new Monitor(sessions, options.interval)
    this.#audit = new AuditLog(auditFile, auditSinks, log)
    this.#access = new AccessControl(passwordAccess, this.#origin)
    this.#api = new Api({
      sessions,
      access: this.#access,
      audit: this.#audit,
      monitor: this.#monitor,
      origin: this.#origin,
    })
    const limits = {
      maxHeaderSize: MAX_HEADER_SIZE,
      headersTimeout,
      requestTimeout: REQUEST_TIMEOUT,
      connectionsCheckingInterval: Math.min(headersTimeout, 2000),
    }
    this.#server =
      tls === undefined
        ? createServer(limits, this.#onRequest)
        : createTlsServer({ ...limits, ...tls }, this.#onRequest)
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /** False if the page has not been built. */
  get hasPage(): boolean {
    return this.#page.isBuilt
  }

  /**
   * Creates what sign-ins need in the console's own table, if it has passwords.
   *
   * @throws SessionPgsqlError PRIVILEGE_MISSING and others if the table cannot be used; SERVER_DOWN
   */
  prepareSignIns(): Promise<void> {
    return this.#access.prepare()
  }

  /**
   * Starts to listen and to monitor the servers.
   *
   * @returns the port, and the URL to open; without passwords the URL holds the token, and a client that has it is an
   *   operator
   * @throws if the port is in use, or if the option `metrics` is true and the packages of OpenTelemetry are not installed
   */
  async listen(): Promise<{ readonly port: number; readonly url: string }> {
    const { host, port, metrics, tls } = this.#options
    if (metrics) this.#metrics = await recordMetrics(this.#options, this.#monitor)
    const bound = await listen(this.#server, port, host)
    this.#monitor.start()
    const { token } = this.#access
    const base = `${tls === undefined ? 'http' : 'https'}://${hostInUrl(host)}:${bound}/`
    // In the fragment, which browsers do not send: it gets into no log of a proxy.
    return { port: bound, url: token === undefined ? base : `${base}#token=${token}` }
  }

  /** Stops listening and waits up to three seconds for requests in progress. Does not close the save handler. */
  async close(): Promise<void> {
    this.#monitor.stop()
    this.#api.close()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    // Node's closeIdleConnections spares connections that have not sent a request yet, as browsers open them in advance,
    // and a stream that has just ended leaves its connection open for the next request.
    let timeout: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve
      timeout = setTimeout(resolve, CLOSE_TIMEOUT)
      if (this.#responses.size === 0) resolve()
    })
    clearTimeout(timeout)
    this.#server.closeAllConnections()
    await closed
    this.#metrics?.tableMetrics.close()
    await this.#metrics?.metrics.close()
    await this.#audit.close()
  }

  readonly #onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    setSecurityHeaders(response)
    // A client that disconnects in the middle is not an error of the console.
    response.on('error', () => {})
    this.#responses.add(response)
    response.once('close', () => {
      this.#responses.delete(response)
      if (this.#responses.size === 0) this.#onIdle?.()
    })
    this.#serve(request, response).catch((error) =>
      sendError(response, error, this.#logError, () => {
        const { servers } = this.#options.sessions.status()
        return servers.length > 1 && servers.some(({ health }) => health === 'up')
      }),
    )
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    checkHost(request, this.#origin)
    const target = request.url ?? ''
    if (!target.startsWith('/') || !URL.canParse(target, 'http://console')) {
      throw new HttpError(400, 'Expected the request target to be a path.')
    }
    const url = new URL(target, 'http://console')
    if (url.pathname === '/metrics' && this.#metrics !== undefined) {
      await this.#requireBearerToken(request)
      await this.#metrics.metrics.answer(request, response)
    } else if (url.pathname.startsWith('/api/')) await this.#api.serve(url, request, response)
    // The raw path: the URL parser would resolve "..", but no file has such a name.
    else this.#page.send(target.split('?', 1)[0] as string, request, response)
  }

  async #requireBearerToken(request: IncomingMessage): Promise<void> {
    try {
      await this.#access.requireBearerToken(request)
    } catch (error) {
      if (error instanceof FailedAttempt) {
        const address = addressOf(request, this.#origin)
        await this.#audit.add({ address, act: 'sign-in-failed', what: '/metrics' })
      }
      throw error
    }
  }

  readonly #logError = (error: unknown): void => {
    this.#options.log(`a request failed: ${error instanceof Error ? error.message : String(error)}`)
  }
}

async function recordMetrics({ sessions }: ConsoleOptions, monitor: Monitor) {
  const metrics = await loadMetrics(sessions)
  if (metrics === undefined) throw new Error(INSTALL_METRICS)
  return { metrics, tableMetrics: new TableMetrics(metrics.meter, monitor) }
}
