import { join } from 'node:path'
import express from 'express'
import session from 'express-session'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { type PgsqlStore, pgsqlSession, PgsqlStore as Store } from '../../src/adapters/express.ts'
import { createSessions, type Sessions } from '../../src/adapters/web.ts'
import type { SaveHandler } from '../../src/index.ts'
import { runHere } from '../cli/command-line.ts'
import { listen } from '../express/site.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { blocksOf } from './blocks.ts'

/** Runs the configurations of docs/security-review.md, as they are on the page. */

const blocks = blocksOf(join(import.meta.dirname, '../../../../docs/security-review.md'))
const KEY = Buffer.alloc(32, 7).toString('base64')

const PASSWORDS: Record<string, string> = { ada: 'ada knows', bob: 'bob knows' }
const userByPassword = async (user: string, password: string) =>
  PASSWORDS[user] === password ? { id: user } : undefined

/** One process of a site. */
interface Site {
  readonly handler: SaveHandler
  fetch(path: string, init: RequestInit & { readonly headers: Record<string, string> }): Promise<Response>
  /** Begins a request that changes its session. @returns a function that ends the request */
  begin(cookie: string): Promise<() => Promise<unknown>>
  close(): Promise<void>
}

/** Returns values of the page's block, with its imports and the environment passed in. */
function evaluate(heading: string, db: unknown, imports: object, names: string): unknown {
  const code = blocks.find((one) => one.heading === heading && one.language === 'js')?.code as string
  const body = code.replaceAll(/^import .*\n/gm, '').replaceAll(/^export /gm, '')
  const environment = { DATABASE_URL: db, SESSION_SECRET: 'a secret for the tests', SESSION_KEY: KEY }
  const scope = { ...imports, userByPassword, process: { env: environment } }
  return new Function(...Object.keys(scope), `${body}\nreturn { ${names} }`)(...Object.values(scope))
}

const SITES: Record<string, (db: unknown) => Promise<Site>> = {
  async Express(db) {
    const { app, store } = evaluate(
      'Express',
      db,
      { express, session, PgsqlStore: Store, pgsqlSession },
      'app, store',
    ) as { app: express.Express; store: PgsqlStore }
    let arrive = (_end: () => void): void => {}
    app.get('/late', async (req, res) => {
      await new Promise<void>((resolve) => arrive(resolve))
      Object.assign(req.session, { late: true })
      res.send('late')
    })
    const { url, close } = await listen(app)
    const proxied = { 'x-forwarded-proto': 'https' }
    const request: Site['fetch'] = (path, init) =>
      fetch(url + path, { ...init, headers: { ...proxied, ...init.headers } })
    return {
      handler: store.handler as unknown as SaveHandler,
      fetch: request,
      async begin(cookie) {
        const arrived = new Promise<() => void>((resolve) => {
          arrive = resolve
        })
        const response = request('/late', { headers: { cookie } })
        const end = await arrived
        return () => {
          end()
          return response
        }
      },
      async close() {
        await close()
        await store.close()
      },
    }
  },
  async 'Request and Response'(db) {
    const { handle, sessions } = evaluate(
      'Request and Response',
      db,
      { createSessions },
      'handle, sessions',
    ) as { handle(request: Request): Promise<Response>; sessions: Sessions<Record<string, unknown>> }
    return {
      handler: sessions.handler as unknown as SaveHandler,
      fetch: (path, init) => handle(new Request(`https://example.org${path}`, init)),
      async begin(cookie) {
        const open = await sessions.session(new Request('https://example.org/', { headers: { cookie } }))
        return async () => {
          open.set('late', true)
          await open.commit()
        }
      },
      close: () => sessions.close(),
    }
  },
}

class Browser {
  readonly #site: Site
  cookie: string
  setCookie: string | undefined

  constructor(site: Site, cookie = '') {
    this.#site = site
    this.cookie = cookie
  }

  async send(method: 'GET' | 'POST', path: string, form?: Record<string, string>): Promise<Response> {
    const response = await this.#site.fetch(path, {
      method,
      redirect: 'manual',
      headers: this.cookie === '' ? {} : { cookie: this.cookie },
      ...(form !== undefined && { body: new URLSearchParams(form) }),
    })
    const [header] = response.headers.getSetCookie()
    if (header !== undefined) {
      this.setCookie = header
      this.cookie = header.split(';')[0] as string
    }
    return response
  }

  async login(user: string): Promise<this> {
    const response = await this.send('POST', '/login', { user, password: PASSWORDS[user] as string })
    expect(response.headers.get('location')).toBe('/')
    return this
  }

  /** Returns the user who is logged in. */
  async user(): Promise<string | undefined> {
    const response = await this.send('GET', '/')
    return response.status === 200 ? ((await response.json()) as { user: string }).user : undefined
  }

  get id(): string {
    return /^__Host-sid=(?:s%3A)?([\w-]{32})\./.exec(this.cookie)?.[1] as string
  }
}

describeOnEveryKind(
  'docs/security-review.md',
  (server) => {
    describe.each(Object.entries(SITES))('%s', (_, start) => {
      let database: FreshDatabase
      let site: Site
      let other: Site
      beforeAll(async () => {
        database = await server.freshDatabase()
        site = await start(database.db)
        other = await start(database.db)
      })
      afterEach(async () => {
        vi.useRealTimers()
        await site.handler.destroyAll()
      })
      afterAll(async () => {
        await site?.close()
        await other?.close()
      })

      const login = (user: string, at = site) => new Browser(at).login(user)
      /** Seconds until the only session expires. */
      const left = async () => {
        const [row] = await database.query<{ left: number }>(
          `SELECT (sess_expire - extract(epoch FROM clock_timestamp()))::float8 AS left FROM php_session
            WHERE sess_id <> 'h1:' AND sess_data <> ''`,
        )
        return row?.left as number
      }

      test('sets a cookie that scripts and other hosts cannot use', async () => {
        const { setCookie = '' } = await login('ada')
        expect(setCookie).toMatch(/^__Host-sid=[^;]+;/)
        for (const attribute of [/; Path=\/(;|$)/, /; HttpOnly/, /; Secure/, /; SameSite=Lax/]) {
          expect(setCookie).toMatch(attribute)
        }
        expect(setCookie).not.toMatch(/domain/i)
        expect(setCookie.length).toBeLessThan(4096)
        const anonymous = new Browser(site)
        await anonymous.send('GET', '/')
        expect(anonymous.setCookie).toBeUndefined()
      })

      test('gives a new id at each login and ends the old one', async () => {
        const wrong = await new Browser(site).send('POST', '/login', { user: 'ada', password: 'wrong' })
        expect(wrong.status).toBe(401)
        const browser = await login('ada')
        const old = new Browser(other, browser.cookie)
        expect(await old.user()).toBe('ada')
        const { id } = browser
        await browser.login('ada')
        expect(browser.id).toMatch(/^[\w-]{32}$/)
        expect(browser.id).not.toBe(id)
        expect(await browser.user()).toBe('ada')
        expect(await old.user()).toBeUndefined()
        // An id that a visitor has chosen is not adopted.
        const chosen = new Browser(site, `__Host-sid=${'a'.repeat(32)}.${'b'.repeat(43)}`)
        await chosen.login('ada')
        expect(chosen.id).not.toBe('a'.repeat(32))
      })

      test('ends a session that is not used', async () => {
        const browser = await login('ada')
        expect(await left()).toBeLessThanOrEqual(1801)
        expect(await left()).toBeGreaterThan(1600)
        await database.query(
          `UPDATE php_session SET sess_expire = sess_expire - 1802 WHERE sess_id <> 'h1:' AND sess_data <> ''`,
        )
        expect(await browser.user()).toBeUndefined()
      })

      test('ends a session that is used', async () => {
        const browser = await login('ada')
        const age = (seconds: number) =>
          database.query(`UPDATE php_session SET sess_began = sess_began - ${seconds} WHERE sess_id <> 'h1:'`)
        await age(12 * 3600 - 100)
        expect(await browser.user()).toBe('ada')
        await age(101)
        expect(await browser.user()).toBeUndefined()
      })

      test('a logout counts in every process, also for a request in progress', async () => {
        const browser = await login('ada')
        const copy = new Browser(other, browser.cookie)
        expect(await copy.user()).toBe('ada')
        const cached = await browser.send('GET', '/')
        expect(cached.headers.get('cache-control')).toBe('no-store')
        const end = await other.begin(browser.cookie)
        await browser.send('POST', '/logout')
        expect(browser.setCookie).toMatch(/Max-Age=0|Expires=Thu, 01 Jan 1970/)
        await end()
        for (const at of [site, other]) expect(await new Browser(at, copy.cookie).user()).toBeUndefined()
      })

      test('lists and ends all sessions of a user', async () => {
        const [laptop, phone, tablet] = [await login('ada'), await login('ada', other), await login('ada')]
        const bob = await login('bob')
        const page = await (await laptop.send('GET', '/sessions')).text()
        for (const { id } of [laptop, phone, tablet]) expect(page).not.toContain(id)
        const devices: { handle: string; isCurrent: boolean }[] = JSON.parse(page)
        expect(devices.map(({ isCurrent }) => isCurrent).sort()).toEqual([false, false, true])
        const [device] = devices.filter(({ isCurrent }) => !isCurrent)
        await laptop.send('POST', `/sessions/${device?.handle}/end`)
        const users = [await phone.user(), await tablet.user()]
        expect(users.filter((user) => user === 'ada')).toHaveLength(1)

        // The password is too old.
        vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 301_000 })
        const refused = await laptop.send('POST', '/sessions/end-others')
        expect(refused.headers.get('location')).toBe('/login')
        expect([await phone.user(), await tablet.user()]).toEqual(users)
        await laptop.login('ada')
        await laptop.send('POST', '/sessions/end-others')
        expect([await phone.user(), await tablet.user()]).toEqual([undefined, undefined])
        expect([await laptop.user(), await bob.user()]).toEqual(['ada', 'bob'])

        await other.handler.destroyByField('ada')
        expect([await laptop.user(), await bob.user()]).toEqual([undefined, 'bob'])
      })

      test('a sixth login ends the oldest session of the user', async () => {
        const browsers: Browser[] = []
        for (let count = 0; count < 6; count++) browsers.push(await login('ada'))
        await Promise.all(browsers.map((browser) => browser.user()))
        expect(await site.handler.findByField('ada')).toHaveLength(5)
        expect(await browsers.at(-1)?.user()).toBe('ada')
      })

      test('leaves nothing open but the superuser of the tests', async () => {
        await login('ada')
        const { stdout } = await runHere(
          ['doctor', '--security', '--json', '--db', database.db as string, '--ids', 'hashed'],
          { environment: { SESSION_PGSQL_ENCRYPTION_KEYS: `1:${KEY}`, SESSION_PGSQL_MAX_LIFETIME: '43200' } },
        )
        const { findings } = JSON.parse(stdout).servers[0]
        expect(
          findings
            .filter((one: { level: string }) => one.level !== 'ok')
            .map((one: { check: string }) => one.check),
        ).toEqual(['superuser'])
      })
    })
  },
  ['postgres'],
)
