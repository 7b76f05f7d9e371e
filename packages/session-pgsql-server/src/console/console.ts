import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { SaveHandler } from 'session-pgsql'
import type { TlsFiles } from '../flags.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { Access, type Passwords } from './access.ts'
import { answerFailure, guardAnswer, Refusal } from './answers.ts'
import { AuditLog } from './audit.ts'
import type { Figures } from './metrics.ts'
import { addressOf, checkHost, type OriginOptions } from './origin.ts'
import { Page } from './page.ts'
import { Api } from './routes.ts'
import { Watch } from './watch.ts'

export interface ConsoleOptions {
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  readonly sessions: SaveHandler<any>
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** undefined: whoever reaches it is an operator. */
  readonly passwords: Passwords | undefined
  /** Host names by which it is reached, besides those of this machine and bare addresses. */
  readonly names: readonly string[]
  /** Whether a proxy in front sets X-Forwarded-For and X-Forwarded-Proto. */
  readonly trustProxy: boolean
  readonly tls: TlsFiles | undefined
  /** Whether GET /metrics is answered, for Prometheus. */
  readonly metrics: boolean
  /** Where acts and looks are noted; undefined: in memory. */
  readonly auditFile: string | undefined
  /** Where the page lies. @default where the build puts it */
  readonly pageFolder?: string | undefined
  /** Milliseconds between two looks at the servers. @default 2000 */
  readonly interval?: number | undefined
  /** Milliseconds that a client has for the headers of a request. @default 10,000 */
  readonly headersTimeout?: number | undefined
  /** What an administrator should read. */
  readonly log: (message: string) => void
}

/** Bytes of a request's headers, and milliseconds for all of a request. */
const MOST_HEADERS = 16 * 1024
const REQUEST_TIME = 30_000
const MOST_CONNECTIONS = 500

/** Milliseconds that requests under way are given at the end. */
const FAREWELL = 3000

/** The web page for operators and the API behind it. */
export class Console {
  readonly #options: ConsoleOptions
  readonly #origin: OriginOptions
  readonly #server: Server
  readonly #page: Page
  readonly #watch: Watch
  readonly #audit: AuditLog
  readonly #access: Access
  readonly #api: Api
  /** While it listens, if they are wanted. */
  #metrics: { readonly metrics: Metrics; readonly figures: Figures } | undefined

  constructor(options: ConsoleOptions) {
    const {
      sessions,
      passwords,
      trustProxy,
      names,
      tls,
      auditFile,
      log,
      pageFolder,
      headersTimeout = 10_000,
    } = options
    this.#options = options
    this.#origin = { names, trustProxy, guarded: passwords !== undefined }
    this.#page = new Page(pageFolder)
    this.#watch = new Watch(sessions, options.interval)
    this.#audit = new AuditLog(auditFile, log)
    this.#access = new Access(sessions, passwords, trustProxy)
    this.#api = new Api({
      sessions,
      access: this.#access,
      audit: this.#audit,
      watch: this.#watch,
      origin: this.#origin,
    })
    const limits = {
      maxHeaderSize: MOST_HEADERS,
      headersTimeout,
      requestTimeout: REQUEST_TIME,
      connectionsCheckingInterval: Math.min(headersTimeout, 2000),
    }
    this.#server =
      tls === undefined
        ? createServer(limits, this.#answer)
        : createTlsServer({ ...limits, ...tls }, this.#answer)
    this.#server.maxConnections = MOST_CONNECTIONS
  }

  get hasPage(): boolean {
    return this.#page.isBuilt
  }

  /** @returns the port */
  async listen(): Promise<number> {
    const { host, port, metrics } = this.#options
    if (metrics) this.#metrics = await record(this.#options, this.#watch)
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
    this.#watch.start()
    return (this.#server.address() as AddressInfo).port
  }

  /** Takes no more requests and answers those that are under way. The save handler stays open. */
  async close(): Promise<void> {
    this.#watch.stop()
    this.#api.close()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#server.closeIdleConnections()
    const farewell = setTimeout(() => this.#server.closeAllConnections(), FAREWELL)
    await closed
    clearTimeout(farewell)
    this.#metrics?.figures.close()
    await this.#metrics?.metrics.close()
    await this.#audit.close()
  }

  readonly #answer = (request: IncomingMessage, response: ServerResponse): void => {
    guardAnswer(response)
    // A client that goes away in the middle is nothing to speak of.
    response.on('error', () => {})
    this.#serve(request, response).catch((error) =>
      answerFailure(response, error, this.#logFailure, () => {
        const { servers } = this.#options.sessions.status()
        return servers.length > 1 && servers.some(({ health }) => health === 'up')
      }),
    )
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    checkHost(request, this.#origin)
    const target = request.url ?? ''
    if (!target.startsWith('/') || !URL.canParse(target, 'http://console')) {
      throw new Refusal(400, 'This is no address of a page.')
    }
    const url = new URL(target, 'http://console')
    if (url.pathname === '/metrics' && this.#metrics !== undefined) {
      this.#access.demandToken(request, addressOf(request, this.#origin))
      await this.#metrics.metrics.answer(request, response)
    } else if (url.pathname.startsWith('/api/')) await this.#api.serve(url, request, response)
    // As it was sent: what a URL parser takes for "the folder above" is the name of no file.
    else this.#page.send(target.split('?', 1)[0] as string, request, response)
  }

  readonly #logFailure = (error: unknown): void => {
    this.#options.log(`a request has failed: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Loaded here, for OpenTelemetry's SDK is large and not everybody's. */
async function record({ sessions }: ConsoleOptions, watch: Watch) {
  const [{ Metrics }, { Figures }] = await Promise.all([
    import('../metrics/metrics.ts'),
    import('./metrics.ts'),
  ])
  const metrics = new Metrics(sessions)
  return { metrics, figures: new Figures(metrics.meter, watch) }
}
