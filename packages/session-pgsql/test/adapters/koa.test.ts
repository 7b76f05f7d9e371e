import Koa, { type Context } from 'koa'
import session from 'koa-session'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { PgsqlStore } from '../../src/adapters/koa.ts'
import { Browser } from '../../src/testing/browser.ts'
import { listen, optionsFor } from '../express/site.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { describeGuarantees, startExample } from './guarantees.ts'

describeGuarantees({
  name: 'koa-session',
  lifetime: 3600,
  start: (options, pause) => startExample('koa', options, pause),
})

describeOnEveryServer('The store of koa-session', (server) => {
  let database: FreshDatabase
  let store: PgsqlStore
  let stop: () => Promise<void>
  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  afterEach(async () => {
    await stop()
    await store.close()
  })

  async function start(options: object, routes: (ctx: Context) => unknown): Promise<Browser> {
    store = new PgsqlStore(optionsFor(database))
    const app = new Koa()
    app.keys = ['test']
    app.silent = true
    app.use(session({ store, ...options }, app))
    app.use(async (ctx) => {
      ctx.body = (await routes(ctx)) ?? {}
    })
    const { url, close } = await listen(app.callback())
    stop = close
    return new Browser(url)
  }

  async function theRow(): Promise<{ data: Record<string, unknown>; left: number; version: string }> {
    const rows = await database.query<{ data: string; left: number; version: string }>(
      `SELECT sess_data AS data, xmin::text AS version, sess_name AS name,
        (sess_expire - extract(epoch FROM clock_timestamp()))::float AS left
      FROM php_session ORDER BY sess_created DESC, sess_modified DESC`,
    )
    expect(rows).toHaveLength(1)
    const [row] = rows as [(typeof rows)[number]]
    return { ...row, data: JSON.parse(row.data) }
  }

  beforeEach(async () => {
    if ((await database.query("SELECT to_regclass('php_session') AS there"))[0]?.there === null) return
    await database.query('DELETE FROM php_session')
  })

  test("with maxAge 'session' a session lives for gcMaxlifetime and stays a browser session", async () => {
    const browser = await start({ maxAge: 'session' }, (ctx) => {
      if (ctx.path === '/set') ctx.session.user = 'ada'
      return { user: ctx.session.user, maxAge: ctx.session.maxAge }
    })
    await browser.send('POST', '/set')
    const { data, left } = await theRow()
    expect(data).toEqual({ user: 'ada', _session: true })
    expect(left).toBeGreaterThan(86_400 - 60)
    expect(left).toBeLessThan(86_400 * 1.1 + 60)
    expect(JSON.parse((await browser.send('GET', '/read')).text)).toEqual({ user: 'ada', maxAge: 'session' })
  })

  test('a forced save writes changed data and a changed maxAge', async () => {
    const browser = await start({ maxAge: 3_600_000 }, async (ctx) => {
      if (ctx.path === '/create') ctx.session.user = 'ada'
      if (ctx.path === '/force') {
        ctx.session.forced = true
        await ctx.session.save()
      }
      if (ctx.path === '/shorten') ctx.session.maxAge = 600_000
      return ctx.session.toJSON()
    })
    await browser.send('POST', '/create')
    await browser.send('POST', '/force')
    expect((await theRow()).data).toEqual({ user: 'ada', forced: true, _maxAge: 3_600_000 })
    await browser.send('POST', '/shorten')
    const { data, left } = await theRow()
    expect(data).toEqual({ user: 'ada', forced: true, _maxAge: 600_000 })
    expect(left).toBeLessThan(700)
  })

  test('with rolling an unchanged session is not written until its expiry is old enough', async () => {
    const browser = await start({ rolling: true, maxAge: 3_600_000 }, (ctx) => {
      if (ctx.path === '/create') ctx.session.user = 'ada'
      return ctx.session.toJSON()
    })
    await browser.send('POST', '/create')
    const { version } = await theRow()
    await browser.send('GET', '/read')
    expect((await theRow()).version).toBe(version)
    await database.query('UPDATE php_session SET sess_expire = sess_expire - 1800')
    await browser.send('GET', '/read')
    expect((await theRow()).left).toBeGreaterThan(3_600)
  })

  test('with renew koa-session uses the expiry of the row', async () => {
    const browser = await start({ renew: true, maxAge: 3_600_000 }, (ctx) => {
      if (ctx.path === '/create') ctx.session.user = 'ada'
      return { left: (ctx.session._expire - Date.now()) / 1000 }
    })
    await browser.send('POST', '/create')
    const { version } = await theRow()
    expect(JSON.parse((await browser.send('GET', '/read')).text).left).toBeGreaterThan(3_500)
    expect((await theRow()).version).toBe(version)
    await database.query('UPDATE php_session SET sess_expire = sess_expire - 3000')
    expect(JSON.parse((await browser.send('GET', '/read')).text).left).toBeLessThan(1_100)
    expect((await theRow()).left).toBeGreaterThan(3_500)
  })

  test('a session of some seconds ends on time', async () => {
    const browser = await start({ maxAge: 1_500 }, (ctx) => {
      if (ctx.path === '/create') ctx.session.user = 'ada'
      return ctx.session.toJSON()
    })
    await browser.send('POST', '/create')
    const { data } = await theRow()
    // A browser would drop the cookie. This one sends it anyway.
    await until(() => Date.now() > Number(data._expire), 'the end of the session', 10_000)
    const late = new Browser(browser.url, browser.cookies)
    expect((await late.send('GET', '/read')).text).toBe('{}')
  })

  test('keeps keys that koa-session hides', async () => {
    const browser = await start({}, (ctx) => {
      if (ctx.path === '/create') ctx.session.user = 'ada'
      if (ctx.path === '/change') ctx.session.user = 'grace'
      return { user: ctx.session.user, length: ctx.session.length, save: typeof ctx.session.save }
    })
    await browser.send('POST', '/create')
    await database.query(
      `UPDATE php_session SET sess_data = '{"user":"ada","length":7,"_private":1,"save":true,"_maxAge":86400000}'`,
    )
    expect(JSON.parse((await browser.send('POST', '/change')).text)).toEqual({
      user: 'grace',
      length: 1,
      save: 'function',
    })
    expect((await theRow()).data).toEqual({
      user: 'grace',
      length: 7,
      _private: 1,
      save: true,
      _maxAge: 86_400_000,
    })
  })

  test('data that is not an object is an error, not a new session', async () => {
    const browser = await start({}, (ctx) => {
      if (ctx.path === '/create') ctx.session.user = 'ada'
      return ctx.session.toJSON()
    })
    await browser.send('POST', '/create')
    await database.query(`UPDATE php_session SET sess_data = '[1]'`)
    expect((await browser.send('GET', '/read')).status).toBe(500)
  })
})
