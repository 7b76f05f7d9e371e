import fastifyCookie from '@fastify/cookie'
import Fastify, { type FastifyReply, type FastifyRequest } from 'fastify'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type PgsqlSessionOptions, PgsqlStore, pgsqlSession } from '../../src/adapters/fastify.ts'
import { Browser } from '../../src/testing/browser.ts'
import { optionsFor } from '../express/site.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { describeGuarantees, startExample } from './guarantees.ts'

describeGuarantees({
  name: '@fastify/session',
  lifetime: 3600,
  start: (options, pause) => startExample('fastify', options, pause),
})

describeOnEveryKind('The store of @fastify/session', (server) => {
  let database: FreshDatabase
  let store: PgsqlStore
  let stop: () => Promise<void>
  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  beforeEach(async () => {
    if ((await database.query("SELECT to_regclass('php_session') AS there"))[0]?.there === null) return
    await database.query('DELETE FROM php_session')
  })
  afterEach(() => stop())

  type Session = FastifyRequest['session'] & Record<string, unknown>
  type Handler = (session: Session, request: FastifyRequest, reply: FastifyReply) => unknown

  async function start(
    options: Partial<PgsqlSessionOptions>,
    routes: Record<string, Handler>,
  ): Promise<Browser> {
    store = new PgsqlStore(optionsFor(database))
    const app = Fastify({ forceCloseConnections: true })
    app.register(fastifyCookie)
    app.register(pgsqlSession, { store, secret: 'x'.repeat(32), ...options })
    for (const [path, handler] of Object.entries(routes)) {
      app.get(
        path,
        async (request, reply) => (await handler(request.session as Session, request, reply)) ?? 'done',
      )
    }
    stop = () => app.close()
    return new Browser(await app.listen({ port: 0, host: '127.0.0.1' }))
  }

  async function theRow(): Promise<{
    id: string
    data: Record<string, unknown>
    left: number
    version: string
  }> {
    const rows = await database.query<{ id: string; data: string; left: number; version: string }>(
      `SELECT sess_id AS id, sess_data AS data, xmin::text AS version,
        (sess_expire - extract(epoch FROM clock_timestamp()))::float AS left FROM php_session`,
    )
    expect(rows).toHaveLength(1)
    const [row] = rows as [(typeof rows)[number]]
    return { ...row, data: JSON.parse(row.data) }
  }

  const HOUR = { cookie: { secure: false, maxAge: 3_600_000 } } as const

  test('every request saves, but the store writes only when the expiry is old enough', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
      },
      '/read': (session) => ({ user: session.user }),
    })
    await browser.send('GET', '/create')
    const { version, data } = await theRow()
    expect(data.cookie).not.toHaveProperty('expires')
    expect(data.cookie).not.toHaveProperty('originalExpires')
    await browser.send('GET', '/read')
    await browser.send('GET', '/read')
    expect((await theRow()).version).toBe(version)
    await database.query('UPDATE php_session SET sess_expire = sess_expire - 1800')
    expect((await browser.send('GET', '/read')).text).toBe('{"user":"ada"}')
    const moved = await theRow()
    expect(moved.left).toBeGreaterThan(3_600)
    expect(moved.data).toEqual(data)
  })

  test('cookie.expires comes from the row’s expiry', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
      },
    })
    await browser.send('GET', '/create')
    const { id } = await theRow()
    await database.query(
      'UPDATE php_session SET sess_expire = floor(extract(epoch FROM clock_timestamp()))::bigint + 1000',
    )
    const session = await new Promise<{ cookie: { expires: Date } }>((resolve, reject) =>
      store.get(id, (error, found) => (error ? reject(error) : resolve(found))),
    )
    const left = (session.cookie.expires.getTime() - Date.now()) / 1000
    expect(left).toBeGreaterThan(900)
    expect(left).toBeLessThan(1_100)
  })

  test('a request that saves twice keeps what another one writes in between', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
      },
      '/twice': async (session) => {
        session.first = 1
        await new Browser(other.url, other.cookies).send('GET', '/other')
        await session.save()
        session.second = 2
      },
      '/other': (session) => {
        session.other = true
      },
    })
    await browser.send('GET', '/create')
    const other = browser.clone()
    await browser.send('GET', '/twice')
    expect((await theRow()).data).toMatchObject({ user: 'ada', first: 1, second: 2, other: true })
  })

  test('a reloaded session is linked to the row that it was reloaded from', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
        session.flash = 'hello'
      },
      '/reload': async (session, request) => {
        await new Browser(other.url, other.cookies).send('GET', '/other')
        await session.reload()
        delete (request.session as Session).flash
        return { other: (request.session as Session).other }
      },
      '/other': (session) => {
        session.other = true
      },
    })
    await browser.send('GET', '/create')
    const other = browser.clone()
    expect((await browser.send('GET', '/reload')).text).toBe('{"other":true}')
    const { cookie: _, ...data } = (await theRow()).data
    expect(data).toEqual({ user: 'ada', other: true })
  })

  test('regenerate sends as many statements as it needs', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
      },
      '/regenerate': async (session) => {
        const before = calls()
        await session.regenerate(['user'])
        return String(calls() - before)
      },
    })
    const calls = () => store.handler.status().servers[0]?.calls as number
    await browser.send('GET', '/create')
    // The old row is destroyed, and the new one created.
    expect((await browser.send('GET', '/regenerate')).text).toBe('2')
  })

  test('regenerate keeps the named fields and leaves no other row', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
        session.basket = 'apple'
      },
      '/regenerate': async (session, request) => {
        await session.regenerate(['basket'])
        ;(request.session as Session).user = 'grace'
      },
    })
    await browser.send('GET', '/create')
    const { id } = await theRow()
    await browser.send('GET', '/regenerate')
    const { id: newId, data } = await theRow()
    expect(newId).not.toBe(id)
    expect(data).toMatchObject({ basket: 'apple', user: 'grace' })
  })

  test('a session of some seconds ends on time', async () => {
    const browser = await start(
      { cookie: { secure: false, maxAge: 1_500 }, saveUninitialized: false },
      {
        '/create': (session) => {
          session.user = 'ada'
        },
        '/read': (session) => ({ user: session.user ?? null }),
      },
    )
    await browser.send('GET', '/create')
    const { expires } = (await theRow()).data.cookie as { expires: string }
    // A browser would drop the cookie. This one sends it anyway.
    await until(() => Date.now() > new Date(expires).getTime(), 'the end of the session', 10_000)
    const late = new Browser(browser.url, browser.cookies)
    expect((await late.send('GET', '/read')).text).toBe('{"user":null}')
  })

  test('a cookie with a fixed date keeps it, and the row lives at least as long', async () => {
    const expires = new Date(Date.now() + 1_000_000)
    const browser = await start(
      { cookie: { secure: false, expires } },
      {
        '/create': (session) => {
          session.user = 'ada'
        },
        '/read': (session) => ({ user: session.user, expires: session.cookie.expires }),
      },
    )
    await browser.send('GET', '/create')
    const { left, version } = await theRow()
    expect(left).toBeGreaterThan(900)
    expect(left).toBeLessThan(2 * 3_600)
    expect((await browser.send('GET', '/read')).text).toBe(JSON.stringify({ user: 'ada', expires }))
    expect((await theRow()).version).toBe(version)
  })

  test('keeps keys that a Session hides, and stores no cookie in a row without one', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
      },
      '/change': (session) => {
        session.user = 'grace'
      },
      '/read': (session) => ({ user: session.user, save: typeof session.save }),
    })
    await browser.send('GET', '/create')
    await database.query(`UPDATE php_session SET sess_data = '{"user":"ada","save":1,"sessionId":"x"}'`)
    const { version } = await theRow()
    expect((await browser.send('GET', '/read')).text).toBe('{"user":"ada","save":"function"}')
    expect((await theRow()).version).toBe(version)
    expect((await browser.send('GET', '/change')).status).toBe(200)
    expect((await theRow()).data).toEqual({ user: 'grace', save: 1, sessionId: 'x' })
  })

  test('an update is stored at once and shown, and leaves to the save what the request has set', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => Object.assign(session, { n: 1, save2: 1, cart: ['x'] }) && 'created',
      '/update': async (session, request) => {
        const { cart } = session as { cart?: string[] }
        session.before = true
        cart?.push('ours')
        const updated = await store.update(request, (data) => {
          const { n, cart } = data as { n: number; cart: string[] }
          expect(Object.keys(data)).toEqual(['n', 'save2', 'cart'])
          cart.push('theirs')
          Object.assign(data, { n: n + 1, cookie: 1, save: 2 })
          return n + 1
        })
        expect((await theRow()).data).toMatchObject({ n: 2, save2: 1, cart: ['x', 'theirs'] })
        expect(session.n).toBe(2)
        session.after = session.n
        cart?.push('last')
        return updated
      },
    })
    await browser.send('GET', '/create')
    const { data, id } = await theRow()
    expect((await browser.send('GET', '/update')).text).toBe('{"outcome":"updated","value":2}')
    const { cookie, cart, ...others } = (await theRow()).data
    expect(others).toEqual({ n: 2, save2: 1, before: true, after: 2 })
    expect((cart as string[]).toSorted()).toEqual(['last', 'ours', 'theirs', 'x'])
    expect(cookie).toEqual(data.cookie)
    expect(await store.handler.info(id)).toMatchObject({ accesses: 2 })
  })

  test('an update stores a new session, also after regenerate, and is gone after a destroy', async () => {
    const count = (data: Record<string, unknown>): number => {
      data.n = Number(data.n ?? 0) + 1
      return data.n as number
    }
    const browser = await start(
      { ...HOUR, saveUninitialized: false },
      {
        '/nothing': (_session, request) => store.update(request, () => 'nothing'),
        '/update': (_session, request) => store.update(request, count),
        '/regenerate': async (session, request) => {
          await session.regenerate()
          return store.update(request, count)
        },
        '/destroy': async (session, request) => {
          await session.destroy()
          return store.update(request, count)
        },
      },
    )
    expect((await browser.send('GET', '/nothing')).text).toBe('{"outcome":"skipped","value":"nothing"}')
    expect(browser.cookies.size).toBe(0)
    expect((await browser.send('GET', '/update')).text).toBe('{"outcome":"created","value":1}')
    const { id, data } = await theRow()
    expect(data).toMatchObject({ n: 1, cookie: { path: '/' } })
    expect((await browser.send('GET', '/update')).text).toBe('{"outcome":"updated","value":2}')
    expect((await browser.send('GET', '/regenerate')).text).toBe('{"outcome":"updated","value":1}')
    expect((await theRow()).id).not.toBe(id)
    const before = await store.handler.count()
    expect((await browser.send('GET', '/destroy')).text).toBe('{"outcome":"gone"}')
    expect(await store.handler.count()).toBe(before - 1)
    await expect(store.update({ session: {} }, count)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('the custom field is stored with a login and with unchanged data, and ends the sessions of a user', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.cart = ['x']
      },
      '/login': async (session, request) => {
        await session.regenerate(['cart'])
        store.setField(request, 'ada')
        Object.assign(request.session, { user: 'ada' })
      },
      '/set': (_session, request) => store.setField(request, 'bob'),
      '/clear': (_session, request) => store.setField(request, null),
      '/wrong': (_session, request) => {
        expect(() => store.setField(request, 7 as never)).toThrow(/custom field/)
      },
    })
    const field = async () => (await store.handler.list())[0]?.custom
    await browser.send('GET', '/create')
    await browser.send('GET', '/login')
    expect(await field()).toBe('ada')
    expect((await theRow()).data).toMatchObject({ cart: ['x'], user: 'ada' })
    await browser.send('GET', '/set')
    expect(await field()).toBe('bob')
    await browser.send('GET', '/clear')
    expect(await field()).toBeNull()
    expect((await browser.send('GET', '/wrong')).status).toBe(200)
    await browser.send('GET', '/login')
    expect(await store.handler.destroyByField('ada')).toBe(1)
    expect(() => store.setField({ session: null }, 'ada')).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    )
  })

  test('data that is not an object is an error, not a new session', async () => {
    const browser = await start(HOUR, {
      '/create': (session) => {
        session.user = 'ada'
      },
    })
    await browser.send('GET', '/create')
    await database.query(`UPDATE php_session SET sess_data = '[1]'`)
    expect((await browser.send('GET', '/create')).status).toBe(500)
  })
})
