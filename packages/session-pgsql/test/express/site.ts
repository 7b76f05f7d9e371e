import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type Express } from 'express'
import session, { type SessionOptions } from 'express-session'
import { PgsqlStore, type PgsqlStoreOptions } from '../../src/adapters/express.ts'
import type { DatabaseOption } from '../../src/index.ts'
import type { FreshDatabase } from '../support/servers.ts'

declare module 'express-session' {
  interface SessionData {
    user: string
    [key: string]: unknown
  }
}

/** Returns a store's options for a test database, with a time limit for busy machines. */
export function optionsFor({ db }: FreshDatabase): {
  db: DatabaseOption
  gcInterval: number
  operationTimeout: number
} {
  return { db, gcInterval: 0, operationTimeout: 60 }
}

/** A site on a store, reached over real HTTP. */
export interface Site {
  readonly store: PgsqlStore
  readonly url: string
  /** Returns the number of statements and transactions sent. */
  calls(): number
  browser(): Browser
  close(): Promise<void>
}

export async function startSite(
  options: PgsqlStoreOptions | PgsqlStore,
  routes: (app: Express, store: PgsqlStore) => void,
  sessionOptions: Partial<SessionOptions> = {},
): Promise<Site> {
  const store = options instanceof PgsqlStore ? options : new PgsqlStore(options)
  const app = express()
  app.set('env', 'test')
  app.use(session({ store, secret: 'secret', resave: false, saveUninitialized: false, ...sessionOptions }))
  routes(app, store)
  const listening = await listen(app)
  return {
    store,
    url: listening.url,
    calls: () => store.handler.status().servers.reduce((sum, { calls }) => sum + calls, 0),
    browser: () => new Browser(listening.url),
    async close() {
      await listening.close()
      await store.close()
    },
  }
}

export async function listen(app: RequestListener): Promise<{ url: string; close(): Promise<void> }> {
  const server: Server = createServer(app)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export interface Answer {
  readonly status: number
  readonly text: string
  readonly setCookie: string | undefined
}

/** Sends requests and keeps cookies as a browser does. */
export class Browser {
  readonly #url: string
  readonly #cookies: Map<string, string>

  constructor(url: string, cookies: ReadonlyMap<string, string> = new Map()) {
    this.#url = url
    this.#cookies = new Map(cookies)
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const response = await fetch(this.#url + path, { headers: { ...headers, cookie }, redirect: 'manual' })
    const text = await response.text()
    const [setCookie] = response.headers.getSetCookie()
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(setCookie ?? '') ?? []
    if (name !== undefined && value !== undefined) this.#cookies.set(name, value)
    return { status: response.status, text, setCookie }
  }

  /** Returns the text of a page. @throws if the status is not 200 */
  async text(path: string): Promise<string> {
    const { status, text } = await this.get(path)
    if (status !== 200) throw new Error(`${path}: ${status} ${text}`)
    return text
  }

  /** Returns the session's id as stored. */
  id(name = 'connect.sid'): string {
    return decodeURIComponent(this.#cookies.get(name) ?? '').replace(/^s:([^.]*).*$/, '$1')
  }

  /** Returns another browser with the same cookies. */
  clone(url: string = this.#url): Browser {
    return new Browser(url, this.#cookies)
  }
}
