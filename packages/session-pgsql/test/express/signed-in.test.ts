import { afterEach, beforeAll, expect, test } from 'vitest'
import { pgsqlSession } from '../../src/adapters/express.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { type Browser, optionsFor, type Site, startSite } from './site.ts'

const HOUR = 3_600_000

describeOnEveryKind('A signed-in session of Express', (server) => {
  let database: FreshDatabase
  let site: Site

  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  afterEach(() => site.close())

  async function start(
    options: object = {},
    sessionOptions: Parameters<typeof startSite>[2] = {},
  ): Promise<Site> {
    const site = await startSite(
      { ...optionsFor(database), ...options },
      (app) => {
        app.get('/in/:user', (req, res, next) => {
          req.session.regenerate((error) => {
            if (error) return next(error)
            req.session.user = req.params.user
            pgsqlSession(req).setField(req.params.user)
            pgsqlSession(req).authenticated()
            res.send('in')
          })
        })
        app.get('/remember/:user', (req, res, next) => {
          req.session.regenerate((error) => {
            if (error) return next(error)
            req.session.user = req.params.user
            pgsqlSession(req).setField(req.params.user)
            res.send('in')
          })
        })
        app.get('/confirm', (req, res) => {
          pgsqlSession(req).authenticated()
          res.json(pgsqlSession(req).authenticatedWithin(60))
        })
        app.get('/within/:seconds', (req, res) => {
          res.json(pgsqlSession(req).authenticatedWithin(Number(req.params.seconds)))
        })
        app.get('/set', (req, res) => {
          Object.assign(req.session, JSON.parse(String(req.query.data)))
          res.json(Object.keys(req.session))
        })
        app.get('/limit/:max', async (req, res) => {
          res.json(await pgsqlSession(req).limit(Number(req.params.max)))
        })
        app.get('/in-limited/:user', (req, res, next) => {
          req.session.regenerate((error) => {
            if (error) return next(error)
            req.session.user = req.params.user
            pgsqlSession(req).setField(req.params.user)
            pgsqlSession(req)
              .limit(2)
              .then((ended) => res.json(ended), next)
          })
        })
        app.get('/end-others', async (req, res) => {
          res.json(await pgsqlSession(req).endOthers())
        })
        app.get('/ends', (req, res) => {
          res.json({
            at: pgsqlSession(req).endsAt,
            cookie: req.session.cookie.expires,
            age: req.session.cookie.maxAge,
          })
        })
        app.get('/age/:ms', (req, res) => {
          req.session.cookie.maxAge = Number(req.params.ms)
          req.session.user = 'u'
          res.send('aged')
        })
      },
      sessionOptions,
    )
    await site.store.handler.open()
    return site
  }

  const stored = async (browser: Browser) => {
    const [row] = await database.query<{ sess_data: string; left: number }>(
      `SELECT sess_data, (sess_expire - extract(epoch FROM clock_timestamp()))::float8 AS left FROM php_session WHERE sess_id = $1`,
      [browser.id()],
    )
    return row as { sess_data: string; left: number }
  }
  const within = async (browser: Browser, seconds = 60) =>
    JSON.parse(await browser.text(`/within/${seconds}`))

  const set = (data: object) => `/set?data=${encodeURIComponent(JSON.stringify(data))}`

  /** Makes all sessions older. */
  const age = (seconds: number) =>
    database.query(
      `UPDATE php_session SET sess_began = sess_began - $1, sess_data = regexp_replace(sess_data, '"t\\d+"', '"t' ||
        floor((extract(epoch FROM clock_timestamp()) - $1) * 1000)::bigint || '"', 'g')`,
      [seconds],
    )

  test('its cookie expires at its end at the latest, and its lifetime stays', async () => {
    site = await start({ maxLifetime: 7200 }, { cookie: { maxAge: HOUR }, rolling: true })
    const browser = site.browser()
    await browser.text('/in/ada')
    const before = await stored(browser)
    await age(5400)
    for (let visit = 0; visit < 3; visit++) {
      const { text, setCookie } = await browser.get('/ends')
      const { at, cookie, age } = JSON.parse(text)
      const left = (new Date(at).getTime() - Date.now()) / 1000
      expect(left).toBeGreaterThan(1700)
      expect(left).toBeLessThanOrEqual(1801)
      for (const shown of [cookie, /expires=([^;]*)/i.exec(setCookie ?? '')?.[1] ?? '']) {
        expect(new Date(shown).getTime()).toBeLessThanOrEqual(new Date(at).getTime() + 1000)
        expect(new Date(shown).getTime()).toBeGreaterThan(new Date(at).getTime() - 60_000)
      }
      expect(age).toBeLessThanOrEqual(left * 1000 + 1000)
    }
    expect(JSON.parse((await stored(browser)).sess_data).cookie).toEqual(JSON.parse(before.sess_data).cookie)
    // Unchanged requests near the end write nothing.
    const calls = site.calls()
    await browser.text('/ends')
    expect(site.calls()).toBe(calls + 1)
  })

  test('a new session has a cookie that does not outlive it, whatever the application sets', async () => {
    site = await start({ maxLifetime: 600 }, { cookie: { maxAge: HOUR } })
    const browser = site.browser()
    for (const path of ['/in/ada', `/age/${2 * HOUR}`]) {
      const { setCookie } = await browser.get(path)
      const expires = new Date(/expires=([^;]*)/i.exec(setCookie ?? '')?.[1] ?? '').getTime()
      expect(expires - Date.now()).toBeLessThanOrEqual(601_000)
      expect(expires - Date.now()).toBeGreaterThan(540_000)
      expect((await stored(browser)).left).toBeLessThanOrEqual(601)
    }
  })

  test('has no end without maxLifetime', async () => {
    site = await start({}, { cookie: { maxAge: HOUR } })
    const browser = site.browser()
    await browser.text('/in/ada')
    expect(JSON.parse(await browser.text('/ends')).at).toBeNull()
  })

  test('keeps the time of authentication with merges and with a new id of the same user only', async () => {
    site = await start()
    const browser = site.browser()
    expect(await within(browser)).toBe(false)
    await browser.text('/in/ada')
    expect(await within(browser)).toBe(true)
    await age(120)
    expect(await within(browser)).toBe(false)
    expect(await within(browser, 180)).toBe(true)
    await Promise.all(
      Array.from({ length: 8 }, (_, n) => browser.clone().text(n % 2 ? '/confirm' : set({ [`k${n}`]: 1 }))),
    )
    expect(await within(browser)).toBe(true)
    expect(Object.keys(JSON.parse((await stored(browser)).sess_data))).toEqual(
      expect.arrayContaining(['user', 'k0', 'k2', 'k4', 'k6']),
    )
    // The same user has a new id, then another user.
    await browser.text('/remember/ada')
    expect(await within(browser)).toBe(true)
    await browser.text('/remember/bob')
    expect(await within(browser)).toBe(false)
    for (const seconds of ['0', '-1', 'NaN'])
      expect((await browser.get(`/within/${seconds}`)).status).toBe(500)
  })

  test('a visitor cannot choose the time of authentication', async () => {
    site = await start()
    const browser = site.browser()
    const forged = set({ $authenticated: { [`t${Date.now()}`]: true }, a: 1 })
    await browser.text(forged)
    expect(await within(browser)).toBe(false)
    expect(JSON.parse((await stored(browser)).sess_data)).toEqual({ a: 1, cookie: expect.anything() })
    await browser.text('/in/ada')
    await age(120)
    await browser.text(forged)
    expect(await within(browser)).toBe(false)
    expect(JSON.parse(await browser.text(set({ b: 1 })))).not.toContain('$authenticated')
    await browser.text('/confirm')
    expect(await within(browser)).toBe(true)
  })

  test('limit ends the oldest sessions of the user and leaves this one', async () => {
    site = await start()
    const browsers: Browser[] = []
    for (let at = 0; at < 3; at++) {
      const browser = site.browser()
      await browser.text('/in/grace')
      await age(10)
      browsers.push(browser)
    }
    const [first, second, third] = browsers as [Browser, Browser, Browser]
    expect(await first.text('/limit/2')).toBe('1')
    expect(await site.store.handler.read(second.id())).toBeUndefined()
    const fourth = site.browser()
    expect(await fourth.text('/in-limited/grace')).toBe('1')
    expect((await site.store.handler.findByField('grace')).map(({ id }) => id).toSorted()).toEqual(
      [third.id(), fourth.id()].toSorted(),
    )
    // Logins at the same time: two stay.
    await Promise.all(Array.from({ length: 5 }, () => site.browser().text('/in-limited/grace')))
    expect(await site.store.handler.findByField('grace')).toHaveLength(2)
    expect((await site.browser().get('/limit/2')).status).toBe(500)
  })

  test('endOthers ends all other sessions of the user', async () => {
    site = await start()
    const [one, two, other] = [site.browser(), site.browser(), site.browser()]
    await one.text('/in/lin')
    await two.text('/in/lin')
    await other.text('/in/mia')
    expect(await two.text('/end-others')).toBe('1')
    expect((await site.store.handler.findByField('lin')).map(({ id }) => id)).toEqual([two.id()])
    expect(await site.store.handler.findByField('mia')).toHaveLength(1)
    expect((await site.browser().get('/end-others')).status).toBe(500)
  })
})
