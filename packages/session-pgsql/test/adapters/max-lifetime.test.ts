import fastifyCookie from '@fastify/cookie'
import { serve } from '@hono/node-server'
import { useSession } from '@hono/session'
import express from 'express'
import session from 'express-session'
import Fastify from 'fastify'
import { H3 } from 'h3'
import { Hono } from 'hono'
import Koa from 'koa'
import koaSession from 'koa-session'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { PgsqlStore } from '../../src/adapters/express.ts'
import * as fastify from '../../src/adapters/fastify.ts'
import { createSessions as createH3Sessions } from '../../src/adapters/h3.ts'
import { pgsqlSessions } from '../../src/adapters/hono.ts'
import * as koa from '../../src/adapters/koa.ts'
import { createPgsqlSessionStorage } from '../../src/adapters/react-router.ts'
import pgsqlDriver from '../../src/adapters/unstorage.ts'
import { createSessions } from '../../src/adapters/web.ts'
import { listen, optionsFor } from '../express/site.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'

const HOUR = 3600

/** A site that sets a value with each request and answers with the number of values. */
interface Site {
  /** Sends a request with the cookies of the last response. */
  visit(): Promise<{ readonly count: number; readonly cookie: string }>
  close(): Promise<void>
}

describeOnEveryKind('maxLifetime and expiryGrace in every adapter', (server) => {
  /** What happens while a request is in progress. */
  let meanwhile: () => Promise<unknown> = async () => {}
  let database: FreshDatabase
  let site: Site
  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  afterEach(async () => {
    meanwhile = async () => {}
    await site.close()
    await database.query('DELETE FROM php_session')
  })

  const options = () => ({ ...optionsFor(database), maxLifetime: HOUR })

  function siteOver(fetch: (cookie: string) => Promise<Response>, close: () => Promise<void>): Site {
    const jar = new Map<string, string>()
    return {
      close,
      async visit() {
        const response = await fetch([...jar].map(([name, value]) => `${name}=${value}`).join('; '))
        const text = await response.text()
        if (response.status !== 200) throw new Error(`${response.status} ${text}`)
        for (const header of response.headers.getSetCookie()) {
          const [, name, value] = /^([^=]+)=([^;]*)/.exec(header) ?? []
          if (name !== undefined) jar.set(name, value ?? '')
        }
        return { count: Number(text), cookie: response.headers.getSetCookie()[0] ?? '' }
      },
    }
  }

  const overHttp = (url: string, close: () => Promise<void>) =>
    siteOver((cookie) => fetch(url, { headers: { cookie } }), close)

  /** A cookie without a limit of its own lives for a day. */
  const SITES: Record<string, () => Promise<Site>> = {
    async 'express-session'() {
      const store = new PgsqlStore(options())
      const app = express()
      app.use(
        session({
          ...{ store, secret: 'secret', resave: false, saveUninitialized: false },
          cookie: { maxAge: 24 * HOUR * 1000 },
        }),
      )
      app.get('/', async (req, res) => {
        await meanwhile()
        const data = req.session as unknown as { count?: number }
        data.count = (data.count ?? 0) + 1
        res.send(String(data.count))
      })
      const { url, close } = await listen(app)
      return overHttp(url, async () => {
        await close()
        await store.close()
      })
    },
    async 'session-pgsql/web'() {
      const sessions = createSessions<{ count: number }>({ ...options(), secret: 'x'.repeat(32) })
      const respond = async (cookie: string) => {
        const session = await sessions.session(new Request('https://example.org/', { headers: { cookie } }))
        const count = (session.get('count') ?? 0) + 1
        await meanwhile()
        session.set('count', count)
        const header = (await session.commit())?.header
        return new Response(String(count), { headers: header === undefined ? {} : { 'set-cookie': header } })
      }
      return siteOver(respond, () => sessions.close())
    },
    async h3() {
      const sessions = createH3Sessions<{ count: number }>({ ...options(), secret: 'x'.repeat(32) })
      const app = new H3({ silent: true }).use(sessions.middleware).get('/', async (event) => {
        const session = await sessions.session(event)
        const count = (session.get('count') ?? 0) + 1
        await meanwhile()
        session.set('count', count)
        return String(count)
      })
      const respond = async (cookie: string) => app.request('https://example.org/', { headers: { cookie } })
      return siteOver(respond, () => sessions.close())
    },
    async '@fastify/session'() {
      const app = Fastify({ forceCloseConnections: true })
      app.register(fastifyCookie)
      app.register(fastify.pgsqlSession, {
        store: new fastify.PgsqlStore(options()),
        secret: 'x'.repeat(32),
        cookie: { secure: false, maxAge: 24 * HOUR * 1000 },
      })
      app.get('/', async ({ session }) => {
        const data = session as unknown as { count?: number }
        await meanwhile()
        data.count = (data.count ?? 0) + 1
        return String(data.count)
      })
      return overHttp(await app.listen({ port: 0, host: '127.0.0.1' }), () => app.close())
    },
    async 'koa-session'() {
      const store = new koa.PgsqlStore(options())
      const app = new Koa()
      app.keys = ['test']
      app.use(koaSession({ store, maxAge: 24 * HOUR * 1000 }, app))
      app.use(async (ctx) => {
        ctx.session ??= {} as never
        await meanwhile()
        ctx.session.count = (ctx.session.count ?? 0) + 1
        ctx.body = String(ctx.session.count)
      })
      const { url, close } = await listen(app.callback())
      return overHttp(url, async () => {
        await close()
        await store.close()
      })
    },
    async '@hono/session'() {
      const sessions = pgsqlSessions<{ count: number }>(options())
      const app = new Hono()
      app.use(sessions, useSession({ secret: 'x'.repeat(32), duration: { absolute: 24 * HOUR } }))
      app.get('/', async (context) => {
        // biome-ignore lint/suspicious/noExplicitAny: @hono/session types its data for the whole program
        const { session } = context.var as any
        const count = ((await session.get())?.count ?? 0) + 1
        await meanwhile()
        await session.update({ count })
        return context.text(String(count))
      })
      let close = async () => {}
      const url = await new Promise<string>((resolve) => {
        const listening = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }, ({ port }) =>
          resolve(`http://127.0.0.1:${port}`),
        )
        close = () => new Promise((closed) => listening.close(() => closed()))
      })
      return overHttp(url, async () => {
        await close()
        await sessions.close()
      })
    },
    async 'React Router'() {
      const { maxLifetime, ...rest } = options()
      const { close, commitSession, getSession } = createPgsqlSessionStorage<{ count: number }>({
        ...rest,
        maxLifetime,
        cookie: { secrets: ['secret'], maxAge: 24 * HOUR },
      })
      const respond = async (cookie: string) => {
        const session = await getSession(cookie)
        const count = (session.get('count') ?? 0) + 1
        await meanwhile()
        session.set('count', count)
        return new Response(String(count), { headers: { 'set-cookie': await commitSession(session) } })
      }
      return siteOver(respond, close)
    },
  }

  /** Returns the seconds that a cookie lives. */
  function ageOf(cookie: string): number {
    const maxAge = /max-age=(\d+)/i.exec(cookie)?.[1]
    if (maxAge !== undefined) return Number(maxAge)
    return (new Date(/expires=([^;]*)/i.exec(cookie)?.[1] ?? '').getTime() - Date.now()) / 1000
  }

  const age = (seconds: number) =>
    database.query('UPDATE php_session SET sess_began = sess_began - $1', [seconds])

  test.each(Object.keys(SITES))('%s: neither the session nor its cookie lives longer', async (name) => {
    site = await (SITES[name] as () => Promise<Site>)()
    const first = await site.visit()
    expect(ageOf(first.cookie)).toBeLessThanOrEqual(HOUR + 1)
    expect(ageOf(first.cookie)).toBeGreaterThan(HOUR - 60)
    const data = async () =>
      (await database.query<{ sess_data: string }>('SELECT sess_data FROM php_session'))[0]
    const stored = JSON.parse((await data())?.sess_data ?? '')
    await age(HOUR - 100)
    const second = await site.visit()
    expect(second.count).toBe(2)
    // @hono/session sets its cookie only once.
    if (second.cookie !== '') {
      expect(ageOf(second.cookie)).toBeLessThanOrEqual(101)
      expect(ageOf(second.cookie)).toBeGreaterThan(60)
    }
    const third = await site.visit()
    expect(third.count).toBe(3)
    expect(JSON.parse((await data())?.sess_data ?? '')).toEqual({ ...stored, count: 3 })
    await age(101)
    expect((await site.visit()).count).toBe(1)
  })

  test.each(Object.keys(SITES))(
    '%s: a request in progress saves a session that has just expired',
    async (name) => {
      site = await (SITES[name] as () => Promise<Site>)()
      const expire = (seconds: number) => () =>
        database.query(
          'UPDATE php_session SET sess_expire = floor(extract(epoch FROM clock_timestamp()))::bigint - $1',
          [seconds],
        )
      await site.visit()
      meanwhile = expire(30)
      expect((await site.visit()).count).toBe(2)
      meanwhile = async () => {}
      expect((await site.visit()).count).toBe(3)
      meanwhile = expire(90)
      await site.visit()
      meanwhile = async () => {}
      expect((await site.visit()).count).toBe(1)
    },
  )

  test('unstorage: an item ends that long after it was first set', async () => {
    const driver = pgsqlDriver(options())
    site = { visit: () => Promise.reject(), close: async () => driver.dispose() }
    await driver.setItem('a', '1')
    await age(HOUR - 100)
    await driver.setItem('a', '2')
    expect(await driver.getItem('a')).toBe('2')
    expect((await driver.getMeta('a'))?.ttl).toBeLessThanOrEqual(101)
    await age(101)
    expect(await driver.getItem('a')).toBeNull()
    await driver.setItem('a', '3')
    expect(await driver.getItem('a')).toBe('3')
  })
})
