import { serve } from '@hono/node-server'
import { type SessionData, type SessionEnv, useSession } from '@hono/session'
import { type Context, Hono } from 'hono'
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import {
  type PgsqlSessions,
  pgsqlSessions,
  regenerateSession,
  setSessionField,
  updateSession,
} from '../../src/adapters/hono.ts'
import { Browser } from '../../src/testing/browser.ts'
import { optionsFor } from '../express/site.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { describeGuarantees, startExample } from './guarantees.ts'

describeGuarantees({
  name: '@hono/session',
  lifetime: 86400,
  start: (options, pause) => startExample('hono', options, pause),
})

describeOnEveryKind('The sessions of @hono/session', (server) => {
  let database: FreshDatabase
  let sessions: PgsqlSessions<SessionData>
  let stop: () => Promise<void>
  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  beforeEach(async () => {
    if ((await database.query("SELECT to_regclass('php_session') AS there"))[0]?.there === null) return
    await database.query('DELETE FROM php_session')
  })
  afterEach(async () => {
    await stop()
    await sessions.close()
  })

  type Session = Context<SessionEnv>['var']['session']

  async function start(
    routes: Record<string, (session: Session, context: Context<SessionEnv>) => unknown>,
  ): Promise<Browser> {
    sessions = pgsqlSessions<SessionData>(optionsFor(database))
    const app = new Hono<SessionEnv>()
    app.use(sessions, useSession({ secret: 'x'.repeat(32) }))
    for (const [path, handler] of Object.entries(routes)) {
      app.get(path, async (context) => context.json((await handler(context.var.session, context)) ?? {}))
    }
    app.onError((error, context) => context.text(error.message, 500))
    const url = await new Promise<string>((resolve) => {
      const listening = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
        resolve(`http://127.0.0.1:${port}`),
      )
      stop = () => new Promise((closed) => listening.close(() => closed()))
    })
    return new Browser(url)
  }

  async function theRow(): Promise<{ data: unknown; left: number; version: string; address: string }> {
    const rows = await database.query<{ data: string; left: number; version: string; address: string }>(
      `SELECT sess_data AS data, xmin::text AS version, sess_addr_created AS address,
        (sess_expire - extract(epoch FROM clock_timestamp()))::float AS left FROM php_session`,
    )
    expect(rows).toHaveLength(1)
    const [row] = rows as [(typeof rows)[number]]
    return { ...row, data: JSON.parse(row.data) }
  }

  const create = (session: Session) => session.update({ user: 'ada' })

  test('reading extends the expiry, without a write while it is recent', async () => {
    const browser = await start({ '/create': create, '/read': (session) => session.get() })
    await browser.send('GET', '/create')
    const { version, left, address } = await theRow()
    expect(left).toBeGreaterThan(86_400 - 60)
    expect(address).toBe('127.0.0.1')
    await browser.send('GET', '/read')
    expect((await theRow()).version).toBe(version)
    await database.query('UPDATE php_session SET sess_expire = sess_expire - 80000')
    expect((await browser.send('GET', '/read')).text).toBe('{"user":"ada"}')
    expect((await theRow()).left).toBeGreaterThan(86_400 - 60)
  })

  test('stores data that was changed in place and then updated', async () => {
    const browser = await start({
      '/create': create,
      '/change': async (session) => {
        const data = (await session.get()) as SessionData
        data.color = 'blue'
        delete data.user
        expect(await session.get()).toEqual({ user: 'ada' })
        await session.update(data)
      },
    })
    await browser.send('GET', '/create')
    expect((await browser.send('GET', '/change')).status).toBe(200)
    expect((await theRow()).data).toEqual({ color: 'blue' })
  })

  test('a failed write is an error of the request, not an unhandled rejection', async () => {
    const unhandled: unknown[] = []
    const listener = (reason: unknown): void => void unhandled.push(reason)
    process.on('unhandledRejection', listener)
    try {
      const browser = await start({
        '/create': create,
        '/bad': (session) => session.update({ user: 1n }),
        '/thrown': async (session) => {
          await session.update({ user: 1n })
          throw new Error('thrown by the handler')
        },
        '/delete': async (session, context) => {
          await session.get()
          await database.query('ALTER TABLE php_session RENAME COLUMN sess_id TO sess_away')
          session.delete()
          return context.req.path
        },
      })
      await browser.send('GET', '/create')
      expect((await browser.clone().send('GET', '/bad')).status).toBe(500)
      expect((await browser.clone().send('GET', '/thrown')).status).toBe(500)
      try {
        expect((await browser.clone().send('GET', '/delete')).status).toBe(500)
      } finally {
        await database.query('ALTER TABLE php_session RENAME COLUMN sess_away TO sess_id')
      }
      await new Promise((resolve) => setImmediate(resolve))
      expect(unhandled).toEqual([])
      expect((await theRow()).data).toEqual({ user: 'ada' })
    } finally {
      process.off('unhandledRejection', listener)
    }
  })

  test('stores the update of a handler that throws afterwards', async () => {
    const browser = await start({
      '/throw': async (session) => {
        await session.update({ user: 'ada' })
        throw new Error('thrown by the handler')
      },
    })
    expect(await browser.send('GET', '/throw')).toEqual({ status: 500, text: 'thrown by the handler' })
    expect((await theRow()).data).toEqual({ user: 'ada' })
  })

  test('data that is not an object is an error, not a new session', async () => {
    const browser = await start({ '/create': create, '/read': (session) => session.get() })
    await browser.send('GET', '/create')
    await database.query(`UPDATE php_session SET sess_data = '[1]'`)
    expect((await browser.send('GET', '/read')).status).toBe(500)
  })

  const count = (data: SessionData): number => {
    data.n = Number(data.n ?? 0) + 1
    return data.n as number
  }

  test('an update is stored at once, and a later session.update with earlier data undoes nothing of it', async () => {
    const browser = await start({
      '/create': (session) => session.update({ n: 1, cart: [{ a: 1 }] }),
      '/update': async (session, context) => {
        const data = (await session.get()) as SessionData & { cart: object[] }
        const updated = await updateSession(context, (stored) => {
          ;(stored.cart as object[]).push({ b: 1 })
          return count(stored)
        })
        expect((await theRow()).data).toEqual({ n: 2, cart: [{ a: 1 }, { b: 1 }] })
        expect(await session.get()).toEqual({ n: 1, cart: [{ a: 1 }] })
        await session.update({ ...data, cart: [...data.cart, { c: 1 }], color: 'blue' })
        await updateSession(context, count)
        return updated
      },
      '/alone': (_session, context) => updateSession(context, count),
    })
    await browser.send('GET', '/create')
    expect((await browser.send('GET', '/update')).text).toBe('{"outcome":"updated","value":2}')
    const { cart, ...others } = (await theRow()).data as { cart: object[] }
    expect(others).toEqual({ n: 3, color: 'blue' })
    expect(cart).toHaveLength(3)
    expect(cart).toEqual(expect.arrayContaining([{ a: 1 }, { b: 1 }, { c: 1 }]))
    expect((await browser.send('GET', '/alone')).text).toBe('{"outcome":"updated","value":4}')
    const [listed] = await sessions.handler.list()
    expect(listed).toMatchObject({ accesses: 3 })
  })

  test('an update creates a new session with the response, also after regenerateSession', async () => {
    const browser = await start({
      '/nothing': (_session, context) => updateSession(context, () => 'nothing'),
      '/update': async (_session, context) => {
        await updateSession(context, count)
        return updateSession(context, count)
      },
      '/both': async (session, context) => {
        await updateSession(context, count)
        await session.update({ color: 'blue' })
      },
      '/regenerate': async (session, context) => {
        const data = await session.get()
        await regenerateSession(context)
        await updateSession(context, count)
        await session.update({ old: data?.n })
        return updateSession(context, count)
      },
      '/delete': async (session, context) => {
        await session.get()
        session.delete()
        return updateSession(context, count)
      },
    })
    expect((await browser.send('GET', '/nothing')).text).toBe('{"outcome":"skipped","value":"nothing"}')
    expect(await sessions.handler.list()).toEqual([])
    expect((await browser.clone().send('GET', '/both')).status).toBe(200)
    expect((await theRow()).data).toEqual({ n: 1, color: 'blue' })
    await database.query('DELETE FROM php_session')
    expect((await browser.send('GET', '/update')).text).toBe('{"outcome":"created","value":2}')
    expect((await theRow()).data).toEqual({ n: 2 })
    expect((await browser.send('GET', '/regenerate')).text).toBe('{"outcome":"created","value":2}')
    expect((await theRow()).data).toMatchObject({ old: 2 })
    expect((await browser.send('GET', '/delete')).text).toBe('{"outcome":"gone"}')
    expect(await sessions.handler.list()).toEqual([])
  })

  test('the custom field is stored with a login, an update or a read, and ends the sessions of a user', async () => {
    const browser = await start({
      '/login': async (session, context) => {
        await regenerateSession(context)
        setSessionField(context, 'ada')
        await session.update({ user: 'ada' })
      },
      '/read': async (session, context) => {
        setSessionField(context, 'bob')
        return session.get()
      },
      '/update': async (_session, context) => {
        setSessionField(context, null)
        return updateSession(context, count)
      },
      '/wrong': (_session, context) => setSessionField(context, 7 as never),
    })
    const field = async () => (await sessions.handler.list())[0]?.custom
    await browser.send('GET', '/login')
    expect(await field()).toBe('ada')
    expect((await browser.send('GET', '/read')).text).toBe('{"user":"ada"}')
    expect(await field()).toBe('bob')
    await browser.send('GET', '/update')
    expect(await field()).toBeNull()
    expect((await browser.send('GET', '/wrong')).text).toMatch(/custom field to be a string/)
    await browser.send('GET', '/login')
    expect(await sessions.handler.destroyByField('ada')).toBe(1)
    expect(() => setSessionField({ get: () => undefined } as never, 'ada')).toThrow(TypeError)
  })

  test('an update of a session that another request has destroyed is gone', async () => {
    const browser = await start({
      '/create': create,
      '/update': async (session, context) => {
        await session.get()
        const [listed] = await sessions.handler.list()
        await sessions.handler.destroy(listed?.id as string)
        return updateSession(context, count)
      },
    })
    await browser.send('GET', '/create')
    expect((await browser.send('GET', '/update')).text).toBe('{"outcome":"gone"}')
    expect(await sessions.handler.list()).toEqual([])
  })

  test('a session with a new id has the data passed to the update', async () => {
    const browser = await start({
      '/create': create,
      '/regenerate': async (session, context) => {
        const data = await session.get()
        await regenerateSession(context)
        await session.update({ ...data, signedIn: true })
      },
    })
    await browser.send('GET', '/create')
    const [before] = await sessions.handler.list()
    await browser.send('GET', '/regenerate')
    const [after, ...others] = await sessions.handler.list()
    expect(others).toEqual([])
    expect(after?.id).not.toBe(before?.id)
    expect((await theRow()).data).toEqual({ user: 'ada', signedIn: true })
  })
})
