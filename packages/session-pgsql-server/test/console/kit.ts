import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SaveHandler, type SaveHandlerOptions } from 'session-pgsql'
import { afterEach } from 'vitest'
import type { FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import type { Me } from '../../src/console/api.ts'
import { Console, type ConsoleOptions } from '../../src/console/console.ts'
import type { Passwords } from '../../src/console/credentials.ts'
import { type RoleState, SIGN_IN_IDS } from '../../src/console/sign-ins.ts'

export const OPERATOR = 'correct horse battery staple'
export const READER = 'only looking'

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the type
  readonly json: any
}

export interface AskOptions {
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  /** A string is sent unchanged, anything else as JSON. */
  readonly body?: unknown
}

/** Sends one request on its own connection. Unlike fetch, it lets tests forge Host and Origin. */
export function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: AskOptions = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (chunk) => {
        text += chunk
      })
      incoming.on('error', reject)
      incoming.on('end', () =>
        resolve({
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          text,
          get json() {
            return JSON.parse(text)
          },
        }),
      )
    })
    outgoing.on('error', reject)
    outgoing.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body))
  })
}

/**
 * An HTTP client that sends requests as the page does: it keeps the cookies and the CSRF token. With the URL of a console
 * without passwords, it signs in with the token before its first request.
 */
export class Browser {
  readonly port: number
  /** The cookie of the user. */
  cookie: string | undefined
  /** The other cookies. */
  readonly known = new Map<string, string>()
  token: string | undefined
  #startToken: string | undefined

  constructor(port: number, startToken?: string) {
    this.port = port
    this.#startToken = startToken
  }

  async get(path: string, headers: OutgoingHttpHeaders = {}): Promise<Reply> {
    await this.#start()
    return ask(this.port, path, { headers: { ...this.#cookieHeader(), ...headers } })
  }

  async post(path: string, body: unknown, headers: OutgoingHttpHeaders = {}): Promise<Reply> {
    await this.#start()
    const origin = `http://127.0.0.1:${this.port}`
    const reply = await ask(this.port, path, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        origin,
        'sec-fetch-site': 'same-origin',
        ...(this.token === undefined ? {} : { 'x-csrf-token': this.token }),
        ...this.#cookieHeader(),
        ...headers,
      },
    })
    for (const set of reply.headers['set-cookie'] ?? []) {
      const [pair = ''] = set.split(';', 1)
      const [name = ''] = pair.split('=', 1)
      if (name.includes('-known-')) this.known.set(name, pair)
      else this.cookie = pair
    }
    return reply
  }

  async me(): Promise<Me> {
    const { json } = await this.get('/api/me')
    this.token = json.csrfToken
    return json
  }

  async signIn(password: string, headers: OutgoingHttpHeaders = {}): Promise<Reply> {
    const reply = await this.post('/api/sign-in', { password }, headers)
    if (reply.status === 204) await this.me()
    return reply
  }

  async #start(): Promise<void> {
    const token = this.#startToken
    this.#startToken = undefined
    if (token !== undefined) await this.signIn(token)
  }

  #cookieHeader(): OutgoingHttpHeaders {
    const cookies = [...(this.cookie === undefined ? [] : [this.cookie]), ...this.known.values()]
    return cookies.length === 0 ? {} : { cookie: cookies.join('; ') }
  }
}

export interface Started {
  readonly port: number
  /** The URL to open, with the token of a console without passwords. */
  readonly url: string
  // biome-ignore lint/suspicious/noExplicitAny: the tests write any data
  readonly sessions: SaveHandler<any>
  readonly auditFile: string
  readonly folder: string
  /** The messages that the console has logged. */
  readonly log: string[]
  browser(): Browser
  close(): Promise<void>
}

export interface StartOptions extends Partial<Omit<ConsoleOptions, 'sessions' | 'passwordAccess'>> {
  /** Undefined: the console has a token. */
  readonly passwords?: Passwords | undefined
  // biome-ignore lint/suspicious/noExplicitAny: the tests write any data
  readonly handler?: SaveHandlerOptions<any>
  /** The content of the page's files, by name. Default: the built page. */
  readonly page?: Readonly<Record<string, string>>
}

/**
 * Returns a function that starts a console. The consoles are closed after each test.
 *
 * @param defaults the options of all of them
 */
export function consoles(
  defaults: StartOptions = {},
): (database: Pick<FreshDatabase, 'db'>, options?: StartOptions) => Promise<Started> {
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })
  return async ({ db }, given = {}) => {
    const { handler, page, passwords, ...options } = { ...defaults, ...given }
    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-console-'))
    for (const [name, text] of Object.entries(page ?? {})) await writeFile(join(folder, name), text)
    const sessions = new SaveHandler({ db, gcInterval: 0, operationTimeout: 3, ...handler })
    const own = new SaveHandler<RoleState>({
      db,
      gcInterval: 0,
      operationTimeout: 3,
      idPattern: SIGN_IN_IDS,
      table: `${handler?.table ?? 'php_session'}_console`,
    })
    const log: string[] = []
    const auditFile = join(folder, 'audit.jsonl')
    const console = new Console({
      sessions,
      host: '127.0.0.1',
      port: 0,
      passwordAccess: passwords === undefined ? undefined : { passwords, handler: own },
      names: [],
      trustProxy: false,
      tls: undefined,
      auditFile,
      metrics: false,
      log: (message) => log.push(message),
      ...(page === undefined ? {} : { pageFolder: folder }),
      ...options,
    })
    let closed: Promise<void> | undefined
    const close = (): Promise<void> => {
      closed ??= console.close().then(async () => {
        await Promise.all([sessions.close(), own.close()])
      })
      return closed
    }
    closing.push(
      () => rm(folder, { recursive: true, force: true }),
      () => close(),
    )
    const { port, url } = await console.listen()
    const browser = (): Browser => new Browser(port, tokenOf(url))
    return { port, url, sessions, auditFile, folder, log, browser, close }
  }
}

/** Returns the token of the URL that a console without passwords prints. */
export function tokenOf(url: string): string | undefined {
  return /#token=([\w-]{32})$/.exec(url)?.[1]
}
