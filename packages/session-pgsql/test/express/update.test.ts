import type { NextFunction, Request, Response } from 'express'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { pgsqlSession } from '../../src/adapters/express.ts'
import type { SaveHandlerOptions } from '../../src/index.ts'
import { errorOf } from '../handler/kit.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { type Browser, optionsFor, type Site, startSite } from './site.ts'

// biome-ignore lint/suspicious/noExplicitAny: each route has its own data
type Data = Record<string, any>

type Route = (request: Omit<Request, 'session'> & { session: Data }, response: Response) => unknown

describeOnEveryKind('an update of the current session', (server) => {
  let database: FreshDatabase
  let site: Site
  /** Runs a route in a request of a browser, and returns what the route returned. */
  let visit: (browser: Browser, route: Route) => Promise<unknown>

  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  beforeEach(() => start())
  afterEach(() => site.close())

  async function start(
    options: Parameters<typeof startSite>[2] = {},
    storeOptions: SaveHandlerOptions = {},
  ): Promise<void> {
    const routes: Route[] = []
    site = await startSite(
      { ...optionsFor(database), ...(storeOptions as object) },
      (app) => {
        app.get('/:route', async (req, res) => {
          const result = await routes[Number(req.params.route)]?.(req as never, res)
          if (!res.writableEnded) res.json(result ?? null)
        })
        app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
          res.status(500).send(error.message)
        })
      },
      options,
    )
    visit = async (browser, route) => JSON.parse(await browser.text(`/${routes.push(route) - 1}`))
  }

  /** Returns a browser whose session has this data. */
  async function signedIn(data: Data): Promise<Browser> {
    const browser = site.browser()
    await visit(browser, ({ session }) => void Object.assign(session, data))
    return browser
  }

  async function stored(browser: Browser): Promise<Data | undefined> {
    return (await site.store.handler.read(browser.id()))?.data
  }

  const count = (data: Data): number => {
    data.n = (data.n ?? 0) + 1
    return data.n
  }

  test('is stored at once and shown by the session, and the later save keeps it', async () => {
    const browser = await signedIn({ n: 1 })
    const shown = await visit(browser, async (req) => {
      req.session.before = true
      const updated = await pgsqlSession(req).update(count)
      const atOnce = await stored(browser)
      req.session.after = req.session.n
      return { updated, atOnce }
    })
    expect(shown).toMatchObject({ updated: { outcome: 'updated', value: 2 }, atOnce: { n: 2 } })
    expect(shown).not.toHaveProperty('atOnce.before')
    expect(await stored(browser)).toMatchObject({ n: 2, before: true, after: 2 })
    expect(await site.store.handler.info(browser.id())).toMatchObject({ accesses: 2 })
  })

  test('sends no further statement at the end of a request that changes nothing else', async () => {
    const browser = await signedIn({ n: 1, cart: [{ id: 1 }] })
    const calls = site.calls()
    await visit(browser, (req) => pgsqlSession(req).update(count))
    // Read the session, read it again for the update, and write it.
    expect(site.calls() - calls).toBe(3)
  })

  test('keeps what other requests store before it, between it and the save, and what they delete', async () => {
    const browser = await signedIn({ n: 0, flash: 'once', cart: ['x'] })
    const other = (change: (session: Data) => void): Promise<unknown> =>
      visit(browser.clone(), ({ session }) => change(session))
    await visit(browser, async (req) => {
      req.session.cart.push('ours')
      await other((session) => {
        session.theirs = 1
        session.cart.push('theirs')
        delete session.flash
      })
      await pgsqlSession(req).update(count)
      expect(req.session).toMatchObject({ n: 1, theirs: 1 })
      expect(req.session.flash).toBeUndefined()
      await other((session) => {
        session.later = 1
        session.cart.push('later')
        delete session.theirs
      })
    })
    const { cookie: _, ...data } = (await stored(browser)) as Data
    expect(data).toEqual({ n: 1, later: 1, cart: expect.any(Array) })
    expect(data.cart.toSorted()).toEqual(['later', 'ours', 'theirs', 'x'])
  })

  test('leaves to the save what the request has pushed, set and deleted', async () => {
    const browser = await signedIn({ n: 1, old: 1, cart: [{ id: 1, n: 1 }], user: { id: 7, seen: 1 } })
    await visit(browser, async (req) => {
      req.session.cart.push({ id: 2, n: 1 })
      req.session.user.seen = 2
      delete req.session.old
      await pgsqlSession(req).update((data: Data) => {
        expect(data).toEqual({ n: 1, old: 1, cart: [{ id: 1, n: 1 }], user: { id: 7, seen: 1 } })
        data.cart.push({ id: 3, n: 1 })
        data.cart[0].n = 5
        data.user.name = 'ada'
      })
      const { cookie: _, ...shown } = req.session
      return shown
    }).then((shown) => {
      expect(shown).toMatchObject({ n: 1, user: { id: 7, seen: 2, name: 'ada' } })
      expect(shown).not.toHaveProperty('old')
    })
    const data = (await stored(browser)) as Data
    expect(data).toMatchObject({ n: 1, user: { id: 7, seen: 2, name: 'ada' } })
    expect(data.cart.toSorted((a: Data, b: Data) => a.id - b.id)).toEqual([
      { id: 1, n: 5 },
      { id: 2, n: 1 },
      { id: 3, n: 1 },
    ])
    expect(data).not.toHaveProperty('old')
  })

  test('stands against an earlier assignment of the same scalar by its own request', async () => {
    const browser = await signedIn({ n: 1, m: 1 })
    await visit(browser, async (req) => {
      req.session.n = 5
      await pgsqlSession(req).update((data: Data) => {
        data.n++
        data.m++
      })
      req.session.m = 9
    })
    expect(await stored(browser)).toMatchObject({ n: 2, m: 9 })
  })

  test('does not undo an earlier deletion of the same key by its own request', async () => {
    const browser = await signedIn({ n: 1, user: { id: 7 } })
    await visit(browser, async (req) => {
      delete req.session.user
      await pgsqlSession(req).update((data: Data) => {
        data.user.seen = 1
        data.n++
      })
      expect('user' in req.session).toBe(false)
    })
    const data = (await stored(browser)) as Data
    expect(data.n).toBe(2)
    expect(data).not.toHaveProperty('user')
  })

  test('with conflict: error, what others stored before it is no conflict for the later save, and what they store after it is', async () => {
    await site.close()
    await start({}, { conflict: 'error' })
    const browser = await signedIn({ n: 1 })
    const other = (key: string): Promise<unknown> =>
      visit(browser.clone(), ({ session }) => void Object.assign(session, { [key]: 1 }))
    const save = (req: Parameters<Route>[0]): Promise<unknown> =>
      new Promise((done) => req.session.save((error: unknown) => done(error)))
    await visit(browser, async (req) => {
      req.session.mine = 1
      await other('before')
      await pgsqlSession(req).update(count)
      expect(await save(req)).toBeNull()
      req.session.mine = 2
      await other('after')
      expect(await save(req)).toMatchObject({ code: 'CONFLICT' })
      req.session.mine = 1
    })
    expect(await stored(browser)).toMatchObject({ n: 2, mine: 1, before: 1, after: 1 })
  })

  test('keeps objects and lists that the request has taken from the session part of it', async () => {
    const browser = await signedIn({ n: 1, user: { settings: {} }, cart: [{ a: 1 }], same: { x: 1 } })
    await visit(browser, async (req) => {
      const { user, cart, same } = req.session
      const [item] = cart
      await pgsqlSession(req).update((data: Data) => {
        data.user.visits = 1
        data.cart.push({ b: 1 })
        return data.n
      })
      user.settings.theme = 'dark'
      item.a = 2
      cart.push({ c: 1 })
      same.y = 1
    })
    expect(await stored(browser)).toMatchObject({
      user: { settings: { theme: 'dark' }, visits: 1 },
      cart: [{ a: 2 }, { b: 1 }, { c: 1 }],
      same: { x: 1, y: 1 },
    })
  })

  test('keeps values that JSON shows differently as the request has set them', async () => {
    const browser = await signedIn({ n: 1 })
    await visit(browser, async (req) => {
      const since = new Date(0)
      req.session.since = since
      await pgsqlSession(req).update(count)
      expect(req.session.since).toBe(since)
    })
    expect(await stored(browser)).toMatchObject({ n: 2, since: '1970-01-01T00:00:00.000Z' })
  })

  test('takes a returned object for new data, and keeps the cookie and the keys that a Session hides', async () => {
    const browser = await signedIn({ n: 1, old: true })
    await database.query(
      `UPDATE php_session SET sess_data = jsonb_set(sess_data::jsonb, '{save}', '7')::text WHERE sess_id = $1`,
      [browser.id()],
    )
    const { cookie } = (await stored(browser)) as Data
    await visit(browser, async (req) => {
      await pgsqlSession(req).update((data: Data) => {
        expect(data).toEqual({ n: 1, old: true })
        return { ...req.session, n: 2, save: 8, regenerate: 9, old: undefined }
      })
      expect(req.session.save).toBeTypeOf('function')
      expect('old' in req.session).toBe(false)
    })
    expect(await stored(browser)).toEqual({ n: 2, save: 7, cookie })
  })

  test('does not undo what another request has changed in the cookie and in hidden keys', async () => {
    const browser = await signedIn({ n: 1 })
    await visit(browser, async (req) => {
      await visit(browser.clone(), (other) => {
        other.session.cookie.maxAge = 7_200_000
      })
      await database.query(
        `UPDATE php_session SET sess_data = jsonb_set(sess_data::jsonb, '{save}', '7')::text WHERE sess_id = $1`,
        [browser.id()],
      )
      await pgsqlSession(req).update(count)
      req.session.color = 'blue'
    })
    expect(await stored(browser)).toMatchObject({
      ...{ n: 2, color: 'blue', save: 7 },
      // express-session reads the clock twice.
      cookie: { originalMaxAge: expect.closeTo(7_200_000, -3) },
    })
  })

  test('stores a new session at once, with its cookie', async () => {
    const browser = site.browser()
    const shown = await visit(browser, async (req) => {
      req.session.color = 'blue'
      const updated = await pgsqlSession(req).update(count)
      return { updated, atOnce: await site.store.handler.read(req.sessionID) }
    })
    expect(shown).toMatchObject({
      updated: { outcome: 'created', value: 1 },
      atOnce: { data: { n: 1, cookie: { path: '/' } }, accesses: 1 },
    })
    expect(await stored(browser)).toMatchObject({ n: 1, color: 'blue', cookie: { path: '/' } })
    expect(await site.store.handler.info(browser.id())).toMatchObject({ accesses: 1, name: 'connect.sid' })
  })

  test('stores no new session if the function sets nothing', async () => {
    const before = await site.store.handler.count()
    const browser = site.browser()
    expect(await visit(browser, (req) => pgsqlSession(req).update((data: Data) => data.n ?? 'none'))).toEqual(
      {
        outcome: 'skipped',
        value: 'none',
      },
    )
    expect(browser.id()).toBe('')
    expect(await site.store.handler.count()).toBe(before)
  })

  test('is gone after a destroy by this or another request, without calling the function', async () => {
    const browser = await signedIn({ n: 1 })
    const id = browser.id()
    let calls = 0
    const outcomes = await visit(browser, async (req) => {
      req.session.pending = true
      await visit(browser.clone(), ({ session }) => new Promise((done) => session.destroy(done)))
      const other = await pgsqlSession(req).update(() => calls++)
      await new Promise((done) => req.session.destroy(done))
      return [other, await pgsqlSession(req).update(() => calls++)]
    })
    expect(outcomes).toEqual([{ outcome: 'gone' }, { outcome: 'gone' }])
    expect(calls).toBe(0)
    expect(await site.store.handler.read(id)).toBeUndefined()
  })

  test('after regenerate concerns the new session', async () => {
    const browser = await signedIn({ n: 7 })
    const old = browser.id()
    expect(
      await visit(browser, async (req) => {
        await new Promise((done) => req.session.regenerate(done))
        req.session.user = 'ada'
        return pgsqlSession(req).update(count)
      }),
    ).toEqual({ outcome: 'created', value: 1 })
    expect(browser.id()).not.toBe(old)
    expect(await stored(browser)).toMatchObject({ n: 1, user: 'ada' })
    expect(await site.store.handler.read(old)).toBeUndefined()
  })

  test('two at once, explicit saves between them, and one that is not awaited all count', async () => {
    const browser = await signedIn({ n: 0 })
    await visit(browser, async (req) => {
      const current = pgsqlSession(req)
      req.session.a = 1
      const first = current.update(count)
      req.session.b = 1
      req.session.save()
      const second = current.update(count)
      await Promise.all([first, second])
      req.session.c = 1
      current.update(count).catch(() => {})
    })
    expect(await stored(browser)).toMatchObject({ n: 3, a: 1, b: 1, c: 1 })
    expect(await site.store.handler.info(browser.id())).toMatchObject({ accesses: 2 })
  })

  test('leaves field and errors of the request to its next save', async () => {
    const browser = await signedIn({ n: 1 })
    const { handler } = site.store
    await visit(browser, async (req) => {
      pgsqlSession(req).setField('ada')
      pgsqlSession(req).addError('notice', 'late')
      await pgsqlSession(req).update(count)
      expect(await handler.info(browser.id())).toMatchObject({ custom: null, notices: 0 })
    })
    expect(await handler.info(browser.id())).toMatchObject({ custom: 'ada', notices: 1, accesses: 2 })
  })

  test('does not show the data of another user who has logged in meanwhile', async () => {
    const browser = await signedIn({ n: 1 })
    await visit(browser, async (req) => {
      req.session.user = { name: 'ada' }
      pgsqlSession(req).setField('ada')
      await visit(browser.clone(), (other) => {
        other.session.user = { name: 'bob', su: true }
        pgsqlSession(other).setField('bob')
      })
      await pgsqlSession(req).update(count)
      expect(req.session.user).toEqual({ name: 'ada' })
    })
    expect(((await stored(browser)) as Data).user).toEqual({ name: 'ada' })
  })

  test('rejects with the error of the function, and stores nothing of it', async () => {
    const browser = await signedIn({ n: 1 })
    await visit(browser, async (req) => {
      const own = new Error('sold out')
      const failing = pgsqlSession(req).update((data: Data) => {
        data.n = 5
        throw own
      })
      expect(await errorOf(failing)).toBe(own)
      expect(req.session.n).toBe(1)
      expect(await errorOf(pgsqlSession(req).update(7 as never))).toMatchObject({ code: 'INVALID_ARGUMENT' })
      req.session.kept = true
    })
    expect(await stored(browser)).toMatchObject({ n: 1, kept: true })
  })

  test('rejects before anything is stored if the session holds what cannot be stored', async () => {
    const browser = await signedIn({ n: 1 })
    await visit(browser, async (req) => {
      req.session.big = 1n
      expect(await errorOf(pgsqlSession(req).update(count))).toMatchObject({ code: 'INVALID_DATA' })
      delete req.session.big
    })
    expect(await stored(browser)).toMatchObject({ n: 1 })
  })

  test('leaves a row of PHP without a cookie', async () => {
    const browser = await signedIn({ n: 1 })
    await database.query(`UPDATE php_session SET sess_data = '{"n":1}' WHERE sess_id = $1`, [browser.id()])
    await visit(browser, (req) => pgsqlSession(req).update(count))
    expect(await stored(browser)).toEqual({ n: 2 })
  })

  test('rejects without the middleware', async () => {
    const error = await errorOf(pgsqlSession({}).update(() => {}))
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('PgsqlStore') })
  })

  test('works with resave, rolling and a maxAge of some seconds', async () => {
    await site.close()
    await start({ resave: true, rolling: true, cookie: { maxAge: 60_000 } })
    const browser = await signedIn({ n: 1 })
    const { cookie } = (await stored(browser)) as Data
    await visit(browser, (req) => pgsqlSession(req).update(count))
    const data = (await stored(browser)) as Data
    expect(data.n).toBe(2)
    expect(Date.parse(data.cookie.expires)).toBeGreaterThan(Date.parse(cookie.expires))
  })
})
