import { afterEach, beforeAll, expect, test, vi } from 'vitest'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { type Browser, optionsFor, type Site, startSite } from './site.ts'

const HOUR = 3_600_000
const DAY = 86_400_000

describeOnEveryKind('cookies', (server) => {
  let database: FreshDatabase
  let site: Site

  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  afterEach(() => site.close())

  async function start(options: Parameters<typeof startSite>[2] = {}, storeOptions = {}): Promise<Site> {
    const site = await startSite(
      { ...optionsFor(database), ...storeOptions },
      (app) => {
        app.get('/set', (req, res) => {
          req.session.user = 'u'
          res.send('set')
        })
        app.get('/show', (req, res) => {
          const { cookie, user } = req.session
          res.json({ ...JSON.parse(JSON.stringify(cookie)), maxAge: cookie.maxAge, user })
        })
        app.get('/age/:ms', (req, res) => {
          req.session.cookie.maxAge = Number(req.params.ms)
          res.send('aged')
        })
        app.get('/age-saved-twice/:ms', (req, res, next) => {
          req.session.cookie.maxAge = Number(req.params.ms)
          req.session.save((error) => {
            if (error) return next(error)
            req.session.save((failure) => (failure ? next(failure) : res.send('aged')))
          })
        })
        app.get('/until-closed', (req, res) => {
          req.session.cookie.expires = null
          res.send('aged')
        })
      },
      options,
    )
    await site.store.handler.open()
    return site
  }

  /** Returns the row: its data, and the milliseconds until it expires. */
  async function row(id: string): Promise<{ data: Record<string, unknown>; left: number; modified: string }> {
    const [found] = await database.query<{ sess_data: string; left: number; sess_modified: string }>(
      `SELECT sess_data, sess_modified::text,
         (sess_expire - extract(epoch FROM clock_timestamp()))::float8 * 1000 AS left
       FROM php_session WHERE sess_id = $1`,
      [id],
    )
    if (found === undefined) throw new Error('no such row')
    return { data: JSON.parse(found.sess_data), left: found.left, modified: found.sess_modified }
  }

  /** Allows for the clock's whole seconds and a slow machine. */
  function expectAbout(ms: number, expected: number): void {
    expect(ms).toBeGreaterThan(expected - 30_000)
    expect(ms).toBeLessThan(expected + 30_000)
  }

  test('stores the attributes without the date of expiry, which comes from the row', async () => {
    site = await start({ cookie: { maxAge: HOUR, sameSite: 'lax' } })
    const browser = site.browser()
    await browser.text('/set')
    const { data, left } = await row(browser.id())
    expect(data).toEqual({
      cookie: { originalMaxAge: expect.any(Number), httpOnly: true, path: '/', sameSite: 'lax' },
      user: 'u',
    })
    // Later by a tenth: for that time an unchanged session needs no write.
    expectAbout(left, HOUR * 1.1)
    const shown = JSON.parse(await browser.text('/show'))
    expectAbout(shown.maxAge, HOUR)
    expectAbout(Date.parse(shown.expires) - Date.now(), HOUR)
  })

  test('a session whose cookie has no maxAge lives for a day, or for gcMaxlifetime', async () => {
    site = await start()
    const browser = site.browser()
    await browser.text('/set')
    expectAbout((await row(browser.id())).left, DAY * 1.1)
    expect(JSON.parse(await browser.text('/show'))).toMatchObject({ originalMaxAge: null, expires: null })
    await site.close()

    site = await start({}, { gcMaxlifetime: 7200, refreshAfter: 0 })
    const other = site.browser()
    await other.text('/set')
    expectAbout((await row(other.id())).left, 7_200_000)
  })

  test('a shorter maxAge shortens the session at once, without a change of the data', async () => {
    site = await start({ cookie: { maxAge: 10 * HOUR } })
    const browser = site.browser()
    await browser.text('/set')
    await browser.text(`/age/${HOUR}`)
    const { data, left } = await row(browser.id())
    expectAbout(left, HOUR * 1.1)
    expect(data.cookie).toMatchObject({ originalMaxAge: expect.closeTo(HOUR, -3) })
    await browser.text('/until-closed')
    const closed = await row(browser.id())
    expectAbout(closed.left, DAY * 1.1)
    expect(closed.data.cookie).toMatchObject({ originalMaxAge: null })
  })

  test('keeps both changes when one request changes the cookie and another the data', async () => {
    site = await start({ cookie: { maxAge: 10 * HOUR } })
    const browser = site.browser()
    await browser.text('/set')
    const id = browser.id()
    const { store } = site
    const load = () =>
      new Promise<Parameters<typeof store.set>[1]>((resolve, reject) =>
        store.load(id, (error, session) => (session ? resolve(session) : reject(error))),
      )
    const set = (session: Parameters<typeof store.set>[1]) =>
      new Promise<void>((resolve, reject) =>
        store.set(id, session, (error) => (error ? reject(error) : resolve())),
      )
    const [one, other] = [await load(), await load()]
    one.cookie.maxAge = HOUR
    other.cart = 'full'
    await set(one)
    await set(other)
    const { data, left } = await row(id)
    expect(data).toMatchObject({
      user: 'u',
      cart: 'full',
      cookie: { originalMaxAge: expect.closeTo(HOUR, -3) },
    })
    expectAbout(left, HOUR * 1.1)
  })

  test('a millisecond that express-session loses is not a change', async () => {
    site = await start({ cookie: { maxAge: HOUR } })
    const browser = site.browser()
    await browser.text('/set')
    const { data, modified } = await row(browser.id())
    const age = (data.cookie as { originalMaxAge: number }).originalMaxAge
    await until(
      async () =>
        (await database.query('SELECT ceil(extract(epoch FROM clock_timestamp()))::bigint::text AS now'))[0]
          ?.now !== modified,
      'the clock to go on',
    )
    const calls = site.calls()
    await browser.text(`/age/${age - 3}`)
    // Only the read.
    expect(site.calls() - calls).toBe(1)
    expect(await row(browser.id())).toMatchObject({ modified, data })
  })

  test('below 5 minutes of maxAge stores the exact date, moves it with each request, and checks it', async () => {
    site = await start({ cookie: { maxAge: 60_000 } })
    const browser = site.browser()
    await browser.text('/set')
    const id = browser.id()
    const before = (await row(id)).data.cookie as { expires: string }
    expect(Date.parse(before.expires)).toBeGreaterThan(Date.now())
    const shown = JSON.parse(await browser.text('/show'))
    expect(shown.expires).toBe(before.expires)
    const after = (await row(id)).data.cookie as { expires: string }
    expect(Date.parse(after.expires)).toBeGreaterThan(Date.parse(before.expires))

    // 20 milliseconds end before the row's whole second does.
    await browser.text('/age/20')
    await until(async () => (await browser.clone().text('/show')).includes('"user"') === false, 'the expiry')
    expect((await row(id)).data.user).toBe('u')
    expect(await new Promise((resolve) => site.store.all((_, all) => resolve(all?.[id])))).toBeUndefined()
  })

  test('ignores the exact date of a machine whose clock was wrong', async () => {
    site = await start({ cookie: { maxAge: 60_000 } })
    const browser = site.browser()
    await browser.text('/set')
    const id = browser.id()
    const { data } = await row(id)
    const wrong = (hours: number) =>
      database.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [
        id,
        JSON.stringify({
          ...data,
          cookie: {
            ...(data.cookie as object),
            expires: new Date(Date.now() + 60_000 + hours * HOUR).toISOString(),
          },
        }),
      ])
    for (const hours of [-2, 2]) {
      await wrong(hours)
      const shown = JSON.parse(await browser.text('/show'))
      expect(shown.user).toBe('u')
      expectAbout(shown.maxAge, 60_000)
    }
  })

  // PGlite uses this process's clock: there is only one.
  if (server.kind === 'postgres') {
    test('a session of 60 seconds works on a machine whose clock is wrong by hours, at the write and at the read', async () => {
      site = await start({ cookie: { maxAge: 60_000 } })
      const show = async (browser: Browser) => JSON.parse(await browser.text('/show'))
      try {
        for (const hours of [-2, 2]) {
          const browser = site.browser()
          await browser.text('/set')
          vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * HOUR })
          const away = await show(browser)
          expect(away.user).toBe('u')
          expectAbout(away.maxAge, 60_000)
          const other = site.browser()
          await other.text('/set')
          vi.useRealTimers()
          for (const one of [browser, other]) expect((await show(one)).user).toBe('u')
        }
      } finally {
        vi.useRealTimers()
      }
    })
  }

  test('reads rows of connect-pg-simple and ignores their stale date', async () => {
    site = await start({ cookie: { maxAge: HOUR } })
    const browser = site.browser()
    await browser.text('/set')
    const stale = {
      cookie: {
        originalMaxAge: HOUR,
        expires: new Date(Date.now() - 1000).toISOString(),
        httpOnly: true,
        path: '/',
      },
      user: 'legacy',
    }
    await database.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [
      browser.id(),
      JSON.stringify(stale),
    ])
    const calls = site.calls()
    const shown = JSON.parse(await browser.text('/show'))
    expect(shown.user).toBe('legacy')
    expectAbout(shown.maxAge, HOUR)
    expect(site.calls() - calls).toBe(1)
    await browser.text('/set')
    expect((await row(browser.id())).data).toEqual({
      cookie: { originalMaxAge: expect.any(Number), httpOnly: true, path: '/' },
      user: 'u',
    })
  })

  test('a row without a cookie, as PHP writes it, gets the site’s cookie and is stored without one', async () => {
    site = await start({ cookie: { maxAge: HOUR, sameSite: 'strict', secure: false }, rolling: true })
    const browser = site.browser()
    await browser.text('/set')
    await database.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [
      browser.id(),
      '{"user":"php","n":1}',
    ])
    const { text, setCookie } = await browser.get('/show')
    const shown = JSON.parse(text)
    expect(shown).toMatchObject({ user: 'php', sameSite: 'strict', path: '/', httpOnly: true })
    expectAbout(shown.maxAge, HOUR)
    expect(setCookie).toMatch(/SameSite=Strict/)
    expect((await row(browser.id())).data).toEqual({ user: 'php', n: 1 })
    await browser.text('/set')
    const { data, left } = await row(browser.id())
    expect(data).toEqual({ user: 'u', n: 1 })
    expectAbout(left, HOUR * 1.1)
    await browser.text(`/age/${2 * HOUR}`)
    expect((await row(browser.id())).data).toMatchObject({ user: 'u', cookie: { sameSite: 'strict' } })
  })

  test('keeps a cookie that was changed on a row without one, also after a second save', async () => {
    site = await start({ cookie: { maxAge: HOUR } })
    const browser = site.browser()
    await browser.text('/set')
    await database.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [
      browser.id(),
      '{"user":"php"}',
    ])
    await browser.text(`/age-saved-twice/${2 * HOUR}`)
    expect((await row(browser.id())).data).toMatchObject({
      user: 'php',
      cookie: { originalMaxAge: expect.closeTo(2 * HOUR, -3) },
    })
  })

  test('a maxAge of 0 or less ends the session', async () => {
    site = await start({ cookie: { maxAge: HOUR } })
    for (const age of [0, -5000]) {
      const browser = site.browser()
      await browser.text('/set')
      await browser.clone().text(`/age/${age}`)
      expect(JSON.parse(await browser.text('/show')).user).toBeUndefined()
    }
  })
})
