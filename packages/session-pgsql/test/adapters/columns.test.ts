import { expect, test } from 'vitest'
import { pgsqlSecondaryStorage } from '../../src/adapters/better-auth.ts'
import { PgsqlStore as ExpressStore } from '../../src/adapters/express.ts'
import { PgsqlStore as FastifyStore } from '../../src/adapters/fastify.ts'
import { pgsqlSessions } from '../../src/adapters/hono.ts'
import { PgsqlStore as KoaStore } from '../../src/adapters/koa.ts'
import { createPgsqlSessionStorage } from '../../src/adapters/react-router.ts'
import pgsqlDriver from '../../src/adapters/unstorage.ts'
import { createSessions } from '../../src/adapters/web.ts'
import type { SaveHandler } from '../../src/index.ts'
import { describeHandler } from '../handler/kit.ts'

describeHandler('own columns in the adapters', (kit) => {
  test('every adapter passes the option through', async () => {
    const { db } = kit.database()
    const columns = { tag: { type: 'text', value: (data: unknown) => JSON.stringify(data) } } as const
    const options = { db, table: 'adapted', gcInterval: 0, poolSize: 2, columns }
    const secret = 'a secret of at least 32 characters'
    const [web, hono, router] = [
      createSessions({ ...options, secret }),
      pgsqlSessions(options),
      createPgsqlSessionStorage({ ...options, cookie: { secrets: [secret] } }),
    ]
    const [express, fastify, koa] = [
      new ExpressStore(options),
      new FastifyStore(options),
      new KoaStore(options),
    ]
    const [driver, storage] = [pgsqlDriver(options), pgsqlSecondaryStorage(options)]
    const adapters: Record<string, [handler: SaveHandler<never>, close: () => unknown]> = {
      web: [web.handler as never, () => web.close()],
      hono: [hono.handler as never, () => hono.close()],
      'react-router': [router.handler as never, () => router.close()],
      express: [express.handler as never, () => express.close()],
      fastify: [fastify.handler as never, () => fastify.close()],
      koa: [koa.handler as never, () => koa.close()],
      unstorage: [driver.getInstance() as never, () => driver.dispose()],
      'better-auth': [storage.handler as never, () => storage.close()],
    }
    try {
      await express.handler.open()
      await driver.setItem('item', 'of unstorage')
      await storage.set('value', 'of better-auth')
      for (const [name, [handler]] of Object.entries(adapters)) {
        const data = name === 'unstorage' ? 'text' : { from: name }
        const { session } = await handler.write(name, data as never, { base: null })
        expect([name, session?.columns]).toEqual([name, { tag: JSON.stringify(data) }])
      }
      const [row] = await kit.query<{ n: number }>(
        "SELECT count(*)::int AS n FROM adapted WHERE sess_filled = 'tag' AND tag IS NOT NULL",
      )
      expect(row?.n).toBe(10)
      const found = await express.handler.list({ where: { tag: '"of unstorage"' } })
      expect(found.map(({ id }) => id)).toEqual(['item'])
    } finally {
      for (const [, close] of Object.values(adapters)) await close()
    }
  })
})
