import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SaveHandler, type SaveHandlerOptions } from 'session-pgsql'
import { afterEach } from 'vitest'
import type { FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import type { Me } from '../../src/console/api.ts'
import { Console, type ConsoleOptions } from '../../src/console/console.ts'

export const OPERATOR = 'correct horse battery staple'
export const READER = 'only looking'

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: what it is, the test says
  readonly json: any
}

export interface Ask {
  readonly method?: string
  readonly headers?: OutgoingHttpHeaders
  /** Sent as JSON, unless it is a text. */
  readonly body?: unknown
}

/** One request, on a connection of its own; fetch would not let a test lie about Host and Origin. */
export function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: Ask = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, (incoming) => {
      let text = ''
      incoming.setEncoding('utf8')
      incoming.on('data', (piece) => {
        text += piece
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

/** Somebody with a browser: keeps the cookie and the token. */
export class Browser {
  readonly port: number
  cookie: string | undefined
  token: string | undefined

  constructor(port: number) {
    this.port = port
  }

  async get(path: string, headers: OutgoingHttpHeaders = {}): Promise<Reply> {
    return ask(this.port, path, { headers: { ...this.#own(), ...headers } })
  }

  async post(path: string, body: unknown, headers: OutgoingHttpHeaders = {}): Promise<Reply> {
    const origin = `http://127.0.0.1:${this.port}`
    const reply = await ask(this.port, path, {
      method: 'POST',
      body,
      headers: {
        'content-type': 'application/json',
        origin,
        'sec-fetch-site': 'same-origin',
        ...(this.token === undefined ? {} : { 'x-csrf-token': this.token }),
        ...this.#own(),
        ...headers,
      },
    })
    const [set] = reply.headers['set-cookie'] ?? []
    if (set !== undefined) this.cookie = set.split(';', 1)[0]
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

  #own(): OutgoingHttpHeaders {
    return this.cookie === undefined ? {} : { cookie: this.cookie }
  }
}

export interface Started {
  readonly port: number
  // biome-ignore lint/suspicious/noExplicitAny: what a session holds is the test's business
  readonly sessions: SaveHandler<any>
  readonly auditFile: string
  readonly folder: string
  /** What the console has said to its administrator. */
  readonly log: string[]
  browser(): Browser
  close(): Promise<void>
}

export interface StartOptions extends Partial<Omit<ConsoleOptions, 'sessions'>> {
  // biome-ignore lint/suspicious/noExplicitAny: what a session holds is the test's business
  readonly handler?: SaveHandlerOptions<any>
  /** Files of the page, by their names. */
  readonly page?: Readonly<Record<string, string>>
}

/**
 * Starts consoles, which are closed after the test.
 *
 * @param defaults options for all of them
 */
export function consoles(
  defaults: StartOptions = {},
): (database: Pick<FreshDatabase, 'db'>, options?: StartOptions) => Promise<Started> {
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })
  return async ({ db }, given = {}) => {
    const { handler, page, ...options } = { ...defaults, ...given }
    const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-console-'))
    for (const [name, text] of Object.entries(page ?? {})) await writeFile(join(folder, name), text)
    const sessions = new SaveHandler({ db, gcInterval: 0, operationTimeout: 3, ...handler })
    const log: string[] = []
    const auditFile = join(folder, 'audit.jsonl')
    const console = new Console({
      sessions,
      host: '127.0.0.1',
      port: 0,
      passwords: undefined,
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
      closed ??= console.close().then(() => sessions.close())
      return closed
    }
    closing.push(
      () => rm(folder, { recursive: true, force: true }),
      () => close(),
    )
    const port = await console.listen()
    return { port, sessions, auditFile, folder, log, browser: () => new Browser(port), close }
  }
}
