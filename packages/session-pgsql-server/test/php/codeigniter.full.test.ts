import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { PostgresServer } from '../../../session-pgsql/test/support/postgres.ts'
import { eventually } from '../../../session-pgsql/test/support/wait.ts'
import { Gate, variablesOf } from './kit/gate.ts'
import type { Gateway } from './kit/gateway.ts'
import type { Php, PhpAnswer, Visitor } from './kit/php.ts'
import { describeWithPhp, startSite } from './kit/place.ts'

/**
 * CodeIgniter's own handlers, from a copy of the framework that an environment variable names: no package installs it. What
 * they send is tested without it, in test/gateway/codeigniter.test.ts.
 */
const VERSIONS = [
  ['3', 'SESSION_PGSQL_TEST_CODEIGNITER_3', 'system/libraries/Session/drivers/Session_redis_driver.php'],
  ['4', 'SESSION_PGSQL_TEST_CODEIGNITER_4', 'system/Session/Handlers/RedisHandler.php'],
] as const

describe.each(VERSIONS)('CodeIgniter %s', (version, variable, file) => {
  const folder = process.env[variable] ?? ''
  if (!existsSync(join(folder, file))) {
    test(`needs ${variable}`, (ctx) => ctx.skip(`${variable} names no folder of CodeIgniter ${version}`))
    return
  }
  describeWithPhp('its session handler redis', (place) => {
    let server: PostgresServer
    let gateway: Gateway
    let php: Php
    beforeAll(async () => {
      const argv = ['--prefix', 'ci_session:', '--prefix', 'ci_session:ci_session:']
      ;({ server, gateway, php } = await startSite(place, { argv, workers: 9 }))
    })
    const visit = (visitor: Visitor, query: Record<string, string | number>): Promise<PhpAnswer> =>
      visitor.visit('codeigniter.php', { query: { version, folder, port: gateway.port, ...query } })

    const shown = async (visitor: Visitor): Promise<Record<string, unknown>> =>
      variablesOf(await visit(visitor, { do: 'show' }))

    test('keeps a session, also over a regenerated id, until it is destroyed', async () => {
      const visitor = php.visitor()
      const start = performance.now()
      expect((await visit(visitor, { do: 'set', key: 'user' })).text).toBe('{"user":1}')
      expect(await shown(visitor)).toEqual({ user: 1 })
      const before = visitor.clone()
      expect((await visit(visitor, { do: 'regenerate' })).text).toBe('{"user":1}')
      expect(visitor.cookies.get('ci_session')).not.toBe(before.cookies.get('ci_session'))
      expect(await shown(visitor)).toEqual({ user: 1 })
      expect(await shown(before)).toEqual({})
      const old = visitor.clone()
      await visit(visitor, { do: 'destroy' })
      expect(await shown(old)).toEqual({})
      // No request has waited for a lock, which takes CodeIgniter 3 a second.
      expect(performance.now() - start).toBeLessThan(20_000)
    })

    test('runs the requests of a session one after the other', async () => {
      const visitor = php.visitor()
      await visit(visitor, { do: 'set', key: 'user' })
      const gate = await Gate.make(php)
      const answers = Array.from({ length: 4 }, () =>
        visit(visitor.clone(), { do: 'gate, then start', gate: gate.folder, hold: 1000 }),
      )
      await gate.open(4)
      const counts = (await Promise.all(answers)).map(({ text }) => JSON.parse(text).count)
      expect(counts.sort()).toEqual([1, 2, 3, 4])
      expect(await shown(visitor)).toEqual({ user: 1, count: 4 })
    })

    test('shows no empty session while the database is unreachable, and the same one afterwards', async () => {
      const visitor = php.visitor()
      await visit(visitor, { do: 'set', key: 'user' })
      await server.stop()
      try {
        const start = performance.now()
        const { text } = await visit(visitor.clone(), { do: 'show' })
        expect(text).toMatch(/SERVER_DOWN|Failed to read session data/)
        expect(performance.now() - start).toBeLessThan(10_000)
      } finally {
        await server.start()
      }
      expect(await eventually(() => shown(visitor))).toEqual({ user: 1 })
    })
  })
})
