import { randomBytes, randomUUID } from 'node:crypto'
import { stringify } from 'devalue'
import { H3 } from 'h3'
import { expect, test } from 'vitest'
import { pgsqlStore as adonisStore } from '../../src/adapters/adonis.ts'
import pgsqlSessionDriver from '../../src/adapters/astro.ts'
import { pgsqlSecondaryStorage } from '../../src/adapters/better-auth.ts'
import { PgsqlStore as ExpressStore } from '../../src/adapters/express.ts'
import { PgsqlStore as FastifyStore } from '../../src/adapters/fastify.ts'
import { createSessions as createH3Sessions } from '../../src/adapters/h3.ts'
import { pgsqlSessions } from '../../src/adapters/hono.ts'
import { PgsqlStore as KoaStore } from '../../src/adapters/koa.ts'
import { createPgsqlSessionStorage } from '../../src/adapters/react-router.ts'
import pgsqlDriver from '../../src/adapters/unstorage.ts'
import { createSessions } from '../../src/adapters/web.ts'
import type { SaveHandlerOptions } from '../../src/index.ts'
import { describeHandler, type Kit } from '../handler/kit.ts'

const MARKER = 'known-secret-data'

type Options = Pick<SaveHandlerOptions<never>, 'db' | 'gcInterval' | 'encryption'>

/** How each adapter is opened, writes a session with the marker, and is closed. */
const ADAPTERS: Record<string, (options: Options, kit: Kit) => Promise<unknown>> = {
  async express(options, kit) {
    const store = new ExpressStore(options)
    const session = { cookie: { originalMaxAge: null }, secret: MARKER }
    await done((callback) => store.set(kit.id(), session as never, callback))
    await store.close()
  },
  async fastify(options, kit) {
    const store = new FastifyStore(options)
    await done((callback) => store.set(kit.id(), { cookie: {}, secret: MARKER }, callback))
    await store.close()
  },
  async koa(options, kit) {
    const store = new KoaStore(options)
    await store.set(kit.id(), { secret: MARKER })
    await store.close()
  },
  async hono(options, kit) {
    const sessions = pgsqlSessions(options)
    await sessions.handler.write(kit.id(), { secret: MARKER })
    await sessions.close()
  },
  async 'react-router'(options) {
    const storage = createPgsqlSessionStorage({ ...options, cookie: { secrets: ['a secret'] } } as never)
    const session = await storage.getSession()
    session.set('secret' as never, MARKER as never)
    await storage.commitSession(session)
    await storage.close()
  },
  async web(options) {
    const sessions = createSessions({ ...options, secret: 'a secret for the tests' } as never)
    const session = await sessions.session(new Request('https://example.org/'))
    session.set('secret' as never, MARKER as never)
    await session.commit()
    await sessions.close()
  },
  async h3(options) {
    const sessions = createH3Sessions({ ...options, secret: 'a secret for the tests' } as never)
    const app = new H3().use(sessions.middleware).get('/', async (event) => {
      ;(await sessions.session(event)).set('secret' as never, MARKER as never)
    })
    await app.request('/')
    await sessions.close()
  },
  async astro(options) {
    const driver = pgsqlSessionDriver(options as never)
    const id = randomUUID()
    await driver.setItem(id, stringify(new Map([['secret', { data: MARKER }]])))
    expect(await driver.getItem(id)).toContain(MARKER)
    await driver.close()
  },
  async adonis(options, kit) {
    const provider = adonisStore(options as never)
    const newStore = await provider.resolver({ terminating() {} })
    const store = newStore(null, { age: '2 hours' })
    const id = kit.id()
    await store.write(id, { secret: MARKER })
    expect(await store.read(id)).toEqual({ secret: MARKER })
    await provider.close()
  },
  async unstorage(options) {
    const driver = pgsqlDriver(options as never)
    await driver.setItem('key', JSON.stringify(MARKER))
    expect(await driver.getItem('key')).toContain(MARKER)
    await driver.dispose()
  },
  async 'better-auth'(options) {
    const storage = pgsqlSecondaryStorage(options as never)
    await storage.set('token', JSON.stringify({ secret: MARKER }))
    expect(await storage.get('token')).toContain(MARKER)
    await storage.close()
  },
}

function done(work: (callback: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => work((error) => (error ? reject(error) : resolve())))
}

describeHandler('the option encryption', (kit) => {
  test.each(Object.keys(ADAPTERS))('encrypts the sessions of %s', async (name) => {
    const encryption = { keys: [{ id: 'one', key: randomBytes(32) }] }
    await kit.query('DROP TABLE IF EXISTS php_session')
    await ADAPTERS[name]?.({ db: kit.database().db, gcInterval: 0, encryption }, kit)
    const rows = await kit.query<{ text: string }>('SELECT t::text AS text FROM php_session t')
    expect(rows).not.toEqual([])
    for (const { text } of rows) {
      expect(text).toContain('e1.one.')
      expect(text).not.toContain(MARKER)
    }
  })
})
