import { existsSync, readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import type { PostgresServer } from '../../../session-pgsql/test/support/postgres.ts'
import { eventually } from '../../../session-pgsql/test/support/wait.ts'
import { Gate, variablesOf } from './kit/gate.ts'
import type { Gateway } from './kit/gateway.ts'
import type { Php, PhpAnswer, Visitor } from './kit/php.ts'
import { describeWithPhp, startSite } from './kit/place.ts'

const LIBRARY = '/usr/share/php'
const missing = [
  `${LIBRARY}/Illuminate/Session/autoload.php`,
  `${LIBRARY}/Illuminate/Redis/autoload.php`,
  `${LIBRARY}/Illuminate/Cache/autoload.php`,
  `${LIBRARY}/Predis/Client.php`,
].filter((file) => !existsSync(file))
const reason =
  missing.length === 0
    ? undefined
    : `no Laravel on this machine (Debian: php-illuminate-session, -redis, -cache, -config, -encryption, -events, php-predis): ${missing.join(', ')}`

describeWithPhp("Laravel's session driver redis", (place) => {
  if (reason !== undefined) {
    test(`needs Laravel: ${reason}`, (ctx) => ctx.skip(reason))
    return
  }
  const MANY = 20
  let server: PostgresServer
  let gateway: Gateway
  let php: Php
  beforeAll(async () => {
    ;({ server, gateway, php } = await startSite(place, { argv: ['--codec', 'laravel'], workers: MANY + 1 }))
  })

  describe.each([
    ['phpredis', {}],
    ['predis', {}],
    ['phpredis', { encrypt: 1 }],
  ])('over %s %o', (client, more) => {
    const visit = (visitor: Visitor, query: Record<string, string | number>): Promise<PhpAnswer> =>
      visitor.visit('laravel.php', { query: { port: gateway.port, client, ...more, ...query } })
    const gated = (
      gate: Gate,
      visitor: Visitor,
      query: Record<string, string | number>,
    ): Promise<PhpAnswer> => visit(visitor, { ...query, gate: gate.folder })

    const shown = async (visitor: Visitor): Promise<Record<string, unknown>> =>
      variablesOf(await visit(visitor, { do: 'show' }))

    async function loggedIn(): Promise<Visitor> {
      const visitor = php.visitor()
      await visit(visitor, { do: 'set', key: 'before' })
      expect(JSON.parse((await visit(visitor, { do: 'login' })).text)).toEqual({ before: 1, user: 'ada' })
      return visitor
    }

    test('keeps a session over a regenerated id, and removes the old one', async () => {
      const visitor = php.visitor()
      await visit(visitor, { do: 'set', key: 'before' })
      const before = visitor.clone()
      await visit(visitor, { do: 'login' })
      expect(visitor.cookies.get('laravel_session')).not.toBe(before.cookies.get('laravel_session'))
      expect(await shown(visitor)).toEqual({ before: 1, user: 'ada' })
      expect(await shown(before)).toEqual({})
      const [row] = await queryOnce<{ sess_name: string }>(
        server.url(),
        'SELECT sess_name FROM php_session WHERE sess_id = $1',
        [visitor.cookies.get('laravel_session') as string],
      )
      expect(row?.sess_name).toBe('laravel_database_laravel_cache_')
    })

    test('shows flashed data once', async () => {
      const visitor = await loggedIn()
      await visit(visitor, { do: 'flash' })
      expect(await shown(visitor)).toEqual({ before: 1, user: 'ada', message: 'saved' })
      expect(await shown(visitor)).toEqual({ before: 1, user: 'ada' })
    })

    test('stays logged out, whatever was in progress', async () => {
      const visitor = await loggedIn()
      const gate = await Gate.make(php)
      const slow = gated(gate, visitor.clone(), { do: 'set', key: 'late' })
      await gate.arrived(1)
      const before = visitor.clone()
      await visit(visitor, { do: 'logout' })
      await gate.open(1)
      await slow
      expect(await shown(before)).toEqual({})
      expect(await shown(visitor)).toEqual({})
    })

    test('keeps every change of requests that overlap, unless it is encrypted', async () => {
      const visitor = await loggedIn()
      const gate = await Gate.make(php)
      const keys = Array.from({ length: MANY }, (_, n) => `key${n}`)
      const answers = keys.map((key) => gated(gate, visitor.clone(), { do: 'set', key }))
      await gate.open(MANY)
      for (const { text } of await Promise.all(answers)) expect(text).toMatch(/^\{/)
      const session = await shown(visitor)
      expect(session).toMatchObject({ before: 1, user: 'ada' })
      const kept = keys.filter((key) => key in session)
      expect(kept.length).toBe('encrypt' in more ? 1 : MANY)
    })

    test('counts requests that take turns with block()', async () => {
      const visitor = await loggedIn()
      const gate = await Gate.make(php)
      const answers = Array.from({ length: 8 }, () =>
        gated(gate, visitor.clone(), { do: 'gate, then start', block: 30, hold: 1000 }),
      )
      await gate.open(8)
      const counts = (await Promise.all(answers)).map(({ text }) => JSON.parse(text).count)
      expect(counts.sort((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    })

    test('ends a request with an exception while the database is unreachable, and keeps the session', async () => {
      const visitor = await loggedIn()
      await server.stop()
      try {
        const { text } = await visit(visitor.clone(), { do: 'show' })
        expect(text).toContain('Exception')
        expect(text).toContain('SERVER_DOWN')
      } finally {
        await server.start()
      }
      expect(await eventually(() => shown(visitor))).toEqual({ before: 1, user: 'ada' })
    })

    test('ends a request with an exception if the connection has another database', async () => {
      const { text } = await visit(php.visitor(), { do: 'set', key: 'lost', database: 1 })
      expect(text).toContain('there is only database 0')
    })
  })
})

test('documents the prefixes of Laravel that are served by default', async () => {
  const { LARAVEL_PREFIXES } = await import('../../src/gateway/laravel.ts')
  const docs = readFileSync(new URL('../../../../docs/php.md', import.meta.url), 'utf8')
  for (const prefix of LARAVEL_PREFIXES) expect(docs).toContain(`\`${prefix}\``)
})
