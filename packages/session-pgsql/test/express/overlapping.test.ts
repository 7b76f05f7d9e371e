import type { NextFunction, Request, Response } from 'express'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { PgsqlStore } from '../../src/adapters/express.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { type Deferred, deferred } from '../support/wait.ts'
import { type Browser, optionsFor, type Site, startSite } from './site.ts'

/** Holds requests until it is opened. */
class Gate {
  #waiting = 0
  readonly #expected: number
  readonly #all: Deferred<void> = deferred()
  readonly #open: Deferred<void> = deferred()

  constructor(expected = 1) {
    this.#expected = expected
  }

  /** Resolves when the expected number of requests waits. */
  get reached(): Promise<void> {
    return this.#all.promise
  }

  open(): void {
    this.#open.resolve()
  }

  async pass(): Promise<void> {
    this.#waiting++
    if (this.#waiting === this.#expected) this.#all.resolve()
    await this.#open.promise
  }
}

describeOnEveryKind('overlapping requests', (server) => {
  let database: FreshDatabase
  let site: Site
  /** The gate of the running test. */
  let gate: Gate

  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  beforeEach(() => {
    gate = new Gate()
  })
  afterEach(() => site.close())

  async function start(options: Parameters<typeof startSite>[2] = {}): Promise<Site> {
    const site = await startSite(
      optionsFor(database),
      (app) => {
        app.get('/set/:key', (req, res) => {
          req.session[req.params.key] = req.query.to ?? 'set'
          res.send('set')
        })
        app.get('/delete/:key', (req, res) => {
          delete req.session[req.params.key]
          res.send('deleted')
        })
        app.get('/show', (req, res) => {
          const { cookie, ...data } = req.session
          res.json(data)
        })
        app.get('/slow/set/:key', async (req, res) => {
          await gate.pass()
          req.session[req.params.key] = 'slow'
          res.send('set')
        })
        app.get('/slow/show', async (_req, res) => {
          await gate.pass()
          res.send('shown')
        })
        app.get('/out', (req, res, next) => {
          req.session.destroy((error) => (error ? next(error) : res.send('out')))
        })
        app.get('/in/:user', (req, res, next) => {
          req.session.regenerate((error) => {
            if (error) return next(error)
            req.session.user = req.params.user
            res.send('in')
          })
        })
        // A flash message: shown once.
        app.get('/slow/flash', async (req, res, next) => {
          const flash = req.session.flash
          delete req.session.flash
          await gate.pass()
          req.session.save((error) => {
            if (error) return next(error)
            req.session.shown = true
            res.json(flash ?? null)
          })
        })
        app.get('/twice', (req, res) => {
          req.session.first = 1
          req.session.save()
          req.session.second = 2
          delete req.session.flash
          req.session.save()
          req.session.third = 3
          res.send('saved')
        })
        app.get('/reload', async (req, res, next) => {
          req.session.lost = 'by the reload'
          await gate.pass()
          req.session.reload((error) => {
            if (error) return next(error)
            req.session.after = 'reload'
            res.send('reloaded')
          })
        })
        app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
          res.status(500).send(error.message)
        })
      },
      options,
    )
    await site.store.handler.open()
    return site
  }

  const shown = async (browser: Browser): Promise<Record<string, unknown>> =>
    JSON.parse(await browser.text('/show'))

  const rows = (ids: readonly string[]): Promise<{ sess_id: string }[]> =>
    database.query('SELECT sess_id FROM php_session WHERE sess_id = ANY($1)', [ids])

  test('keeps all keys when 100 requests overlap and each sets one', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set/first')
    gate = new Gate(100)
    const requests = Array.from({ length: 100 }, (_, n) => browser.clone().text(`/slow/set/key${n}`))
    await gate.reached
    gate.open()
    await Promise.all(requests)
    expect(Object.keys(await shown(browser))).toHaveLength(101)
  })

  test('restores no session after 100 sign-outs with requests in progress', async () => {
    site = await start()
    const browsers = Array.from({ length: 100 }, () => site.browser())
    await Promise.all(browsers.map((browser) => browser.text('/set/user')))
    const ids = browsers.map((browser) => browser.id())
    gate = new Gate(200)
    const slow = browsers.flatMap((browser) => [
      browser.clone().text('/slow/set/late'),
      browser.clone().text('/slow/show'),
    ])
    await gate.reached
    await Promise.all(browsers.map((browser) => browser.clone().text('/out')))
    gate.open()
    await Promise.all(slow)
    expect(await rows(ids)).toEqual([])
    for (const browser of browsers.slice(0, 5)) expect(await shown(browser)).toEqual({})
  })

  test('keeps only the sessions of signed-in users when 100 sign-ins and sign-outs overlap', async () => {
    site = await start()
    const browsers = Array.from({ length: 100 }, () => site.browser())
    await Promise.all(browsers.map((browser) => browser.text('/set/cart')))
    const before = browsers.map((browser) => browser.id())
    gate = new Gate(100)
    const slow = browsers.map((browser) => browser.clone().text('/slow/set/late'))
    await gate.reached
    const changes = browsers.map((browser, n) =>
      n % 2 === 0 ? browser.text(`/in/user${n}`) : browser.clone().text('/out'),
    )
    gate.open()
    await Promise.all([...changes, ...slow])
    // The sign-in has changed the id: no session remains under an old one.
    expect(await rows(before)).toEqual([])
    for (const [n, browser] of browsers.entries()) {
      expect(await shown(browser)).toEqual(n % 2 === 0 ? { user: `user${n}` } : {})
    }
  })

  test('does not restore a key that another request has deleted', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set/user')
    const slow = browser.clone().text('/slow/set/late')
    await gate.reached
    await browser.clone().text('/delete/user')
    gate.open()
    await slow
    expect(await shown(browser)).toEqual({ late: 'slow' })
  })

  test('shows a flash message once, also if others write before and after the explicit save', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set/flash')
    const slow = browser.clone().text('/slow/flash')
    await gate.reached
    await browser.clone().text('/set/other')
    gate.open()
    expect(await slow).toBe('"set"')
    expect(await shown(browser)).toEqual({ other: 'set', shown: true })
  })

  test('an explicit save and the one at the end keep what other requests write in between', async () => {
    site = await start()
    const { store } = site
    const browser = site.browser()
    await browser.text('/set/flash')
    // Between the two saves another request adds a key, and deletes one.
    const set = store.set.bind(store)
    let other: Promise<unknown> | undefined
    store.set = (id, session, callback) => {
      set(id, session, (error) => {
        if (other !== undefined) return callback?.(error)
        store.set = set
        const between = browser.clone()
        other = between.text('/set/between').then(() => between.text('/delete/flash'))
        other.then(() => callback?.(error), callback)
      })
    }
    gate.open()
    await browser.clone().text('/slow/flash')
    expect(await shown(browser)).toEqual({ between: 'set', shown: true })
  })

  test('writes two saves that are not awaited, and the one at the end, in order', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set/flash')
    await browser.text('/twice')
    expect(await shown(browser)).toEqual({ first: 1, second: 2, third: 3 })
  })

  test('a reload returns what others have written, and is the base of the next save', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set/flash')
    const slow = browser.clone().text('/reload')
    await gate.reached
    await browser.clone().text('/set/other')
    await browser.clone().text('/delete/flash')
    gate.open()
    await slow
    expect(await shown(browser)).toEqual({ other: 'set', after: 'reload' })
  })

  test('a reload of a session that was destroyed fails', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set/user')
    const slow = browser.clone().get('/reload')
    await gate.reached
    await browser.clone().text('/out')
    gate.open()
    expect(await slow).toMatchObject({ status: 500, text: 'failed to load session' })
    expect(await rows([browser.id()])).toEqual([])
  })

  test('with resave and rolling, requests that change nothing undo nothing and cause no conflict', async () => {
    site = await start({ resave: true, rolling: true, cookie: { maxAge: 3_600_000 } })
    const conflicts: string[] = []
    const gone: string[] = []
    site.store.handler.on('conflict', ({ id }) => conflicts.push(id)).on('gone', ({ id }) => gone.push(id))
    const browser = site.browser()
    await browser.text('/set/user')
    gate = new Gate(20)
    const slow = Array.from({ length: 20 }, () => browser.clone().get('/slow/show'))
    await gate.reached
    await browser.clone().text('/set/other')
    gate.open()
    for (const { setCookie } of await Promise.all(slow)) expect(setCookie).toMatch(/Expires=/)
    expect(conflicts).toEqual([])
    expect(await shown(browser)).toEqual({ user: 'set', other: 'set' })

    gate = new Gate(1)
    const late = browser.clone().text('/slow/show')
    await gate.reached
    await browser.clone().text('/out')
    gate.open()
    await late
    expect(await rows([browser.id()])).toEqual([])
  })

  test('1,000 requests of 100 users that change nothing send few statements and write nothing', async () => {
    site = await start()
    const browsers = Array.from({ length: 100 }, () => site.browser())
    await Promise.all(browsers.map((browser) => browser.text('/set/user')))
    const ids = browsers.map((browser) => browser.id())
    const versions = () =>
      database.query('SELECT sess_id, xmin::text FROM php_session WHERE sess_id = ANY($1) ORDER BY 1', [ids])
    const before = await versions()
    // Over HTTP requests come one by one, and the number of statements depends on the event loop.
    await Promise.all(browsers.map((browser) => browser.text('/show')))
    expect(await versions()).toEqual(before)

    const calls = site.calls()
    await Promise.all(ids.map((id) => requests(site.store, id, 10)))
    expect(site.calls() - calls).toBeLessThanOrEqual(100)
    expect(await versions()).toEqual(before)
  })

  /** Calls the store as express-session does for consecutive requests that change nothing. */
  async function requests(store: PgsqlStore, id: string, count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      await new Promise<void>((resolve, reject) => {
        store.load(id, (error, session) => {
          if (error || !session) return reject(error ?? new Error('absent'))
          store.touch(id, session, (failure) => (failure ? reject(failure) : resolve()))
        })
      })
    }
  }
})
