import Koa, { type Context } from 'koa'
import session from 'koa-session'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { PgsqlStore } from '../../src/adapters/koa.ts'
import { Browser } from '../../src/testing/browser.ts'
import { listen, optionsFor } from '../express/site.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { describeGuarantees, startExample } from './guarantees.ts'

describeGuarantees({
  name: 'koa-session',
  lifetime: 3600,
  start: (options, pause) => startExample('koa', options, pause),
})

describeOnEveryKind('The store of koa-session', (server) => {
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

  const count = (data: Record<string, unknown>): number => {
    data.n = Number(data.n ?? 0) + 1
    return data.n as number
  }

  test('an update is stored at once and shown, and leaves to the save what the request has set', async () => {
    const browser = await start({ maxAge: 3_600_000 }, async (ctx) => {
      if (ctx.path === '/create') Object.assign(ctx.session, { n: 1, cart: ['x'] })
      if (ctx.path !== '/update') return
      const { cart } = ctx.session
      ctx.session.before = true
      cart.push('ours')
      const updated = await store.update(ctx, (data) => {
        expect(data).toEqual({ n: 1, cart: ['x'] })
        Object.assign(data, { cart: ['x', 'theirs'], _maxAge: 1, save: 1 })
        return count(data)
      })
      expect((await theRow()).data).toEqual({ n: 2, cart: ['x', 'theirs'], length: 7, _maxAge: 3_600_000 })
      ctx.session.after = ctx.session.n
      cart.push('last')
      return updated
    })
    await browser.send('POST', '/create')
    await database.query(
      `UPDATE php_session SET sess_data = '{"n":1,"cart":["x"],"length":7,"_maxAge":3600000}'`,
    )
    expect((await browser.send('POST', '/update')).text).toBe('{"outcome":"updated","value":2}')
    const { cart, ...others } = (await theRow()).data
    expect(others).toEqual({ n: 2, before: true, after: 2, length: 7, _maxAge: 3_600_000 })
    expect((cart as string[]).toSorted()).toEqual(['last', 'ours', 'theirs', 'x'])
    const [listed] = await store.handler.list()
    expect(listed).toMatchObject({ accesses: 2 })
  })

  test('an update stores a new session, also after regenerate, and is gone after a destroy', async () => {
    const browser = await start({ maxAge: 3_600_000 }, async (ctx) => {
      if (ctx.path === '/nothing') return store.update(ctx, () => 'nothing')
      if (ctx.path === '/regenerate') {
        await ctx.session.regenerate()
        ctx.session.color = 'blue'
      }
      if (ctx.path === '/destroy') ctx.session = null
      return store.update(ctx, count)
    })
    expect((await browser.send('POST', '/nothing')).text).toBe('{"outcome":"skipped","value":"nothing"}')
    expect(browser.cookies.size).toBe(0)
    expect((await browser.send('POST', '/update')).text).toBe('{"outcome":"created","value":1}')
    expect((await theRow()).left).toBeGreaterThan(3_600)
    const [before] = await store.handler.list()
    expect((await browser.send('POST', '/regenerate')).text).toBe('{"outcome":"updated","value":2}')
    const [after] = await store.handler.list()
    expect(after?.id).not.toBe(before?.id)
    expect((await theRow()).data).toEqual({ n: 2, color: 'blue', _maxAge: 3_600_000 })
    expect((await browser.send('POST', '/destroy')).text).toBe('{"outcome":"gone"}')
    expect(await store.handler.list()).toEqual([])
    await expect(store.update({}, count)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('the custom field is stored with a login and with unchanged data, and ends the sessions of a user', async () => {
    const browser = await start({ maxAge: 3_600_000 }, async (ctx) => {
      if (ctx.path === '/create') ctx.session.cart = ['x']
      if (ctx.path === '/login') {
        await ctx.session.regenerate()
        store.setField(ctx, 'ada')
        ctx.session.user = 'ada'
      }
      if (ctx.path === '/set') store.setField(ctx, 'bob')
      if (ctx.path === '/clear') store.setField(ctx, null)
      if (ctx.path === '/end') ctx.session = null
      if (ctx.path === '/end') store.setField(ctx, 'ada')
      if (ctx.path === '/wrong') expect(() => store.setField(ctx, 7 as never)).toThrow(/custom field/)
    })
    const field = async () => (await store.handler.list())[0]?.custom
    await browser.send('POST', '/create')
    await browser.send('POST', '/login')
    expect(await field()).toBe('ada')
    expect((await theRow()).data).toMatchObject({ cart: ['x'], user: 'ada' })
    await browser.send('POST', '/set')
    expect(await field()).toBe('bob')
    await browser.send('POST', '/clear')
    expect(await field()).toBeNull()
    expect((await browser.send('POST', '/wrong')).status).toBe(200)
    await browser.send('POST', '/end')
    expect(await store.handler.list()).toEqual([])
    await browser.send('POST', '/login')
    expect(await store.handler.destroyByField('ada')).toBe(1)
    expect(() => store.setField({}, 'ada')).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
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
