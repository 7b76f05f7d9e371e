import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SaveHandler } from 'session-pgsql'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { run } from '../../src/run.ts'
import { DATA } from './kit.ts'
import { Talk } from './talk.ts'

const KEY = randomBytes(32).toString('base64')

describeOnEveryKind(
  'session-pgsql-server gateway --encryption-keys',
  (server) => {
    let folder: string
    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'session-pgsql-keys-'))
    })
    afterAll(() => rmSync(folder, { recursive: true }))

    test('stores the sessions of PHP encrypted, for Node programs with the key too', async () => {
      const database = await server.freshDatabase()
      const db = database.db as string
      const keys = join(folder, 'keys')
      writeFileSync(keys, `one:${KEY}\n`, { mode: 0o600 })
      const stop = new AbortController()
      let said = ''
      const say = { write: (text: string) => (said += text) }
      const argv = ['gateway', '--port', '0', '--create-unread', '--encryption-keys', keys]
      const context = { environment: { SESSION_PGSQL_DB: db }, stdout: say, stderr: say, signal: stop.signal }
      const code = run(argv, context)
      const listening = /listening on tcp:\/\/127\.0\.0\.1:(\d+)/
      const port = await until(() => Number(listening.exec(said)?.[1]) || undefined, 'the port')
      const php = new Talk(port)
      const sessions = new SaveHandler({
        db,
        codec: 'php',
        gcInterval: 0,
        encryption: { keys: `one:${KEY}` },
      })
      try {
        const key = `PHPSESSID:${'k'.repeat(26)}`
        expect(await php.ask('SETEX', key, '1440', DATA)).toBe('+OK\r\n')
        expect(await php.ask('GET', key)).toContain(DATA)
        const [row] = await database.query<{ text: string }>('SELECT t::text AS text FROM php_session t')
        expect(row?.text).toContain('e1.one.')
        expect(row?.text).not.toContain('"ada"')
        const base = await sessions.read('k'.repeat(26))
        expect(base?.data).toEqual({ user: 'ada', n: 1 })
        // Both write, and both changes are kept.
        await sessions.write('k'.repeat(26), { ...base?.data, node: true }, { base })
        expect(await php.ask('SETEX', key, '1440', `${DATA}php|b:1;`)).toBe('+OK\r\n')
        expect((await sessions.read('k'.repeat(26)))?.data).toEqual({
          user: 'ada',
          n: 1,
          node: true,
          php: true,
        })
        expect(said).not.toContain(KEY)
      } finally {
        php.end()
        stop.abort()
        await sessions.close()
        expect(await code).toBe(0)
      }
    })

    test('refuses a file that cannot be read or has no keys, and shows no key', async () => {
      const broken = join(folder, 'broken')
      writeFileSync(broken, `${KEY}\n`, { mode: 0o600 })
      for (const file of [broken, join(folder, 'none')]) {
        for (const mode of ['gateway', 'console']) {
          let said = ''
          const say = { write: (text: string) => (said += text) }
          const argv = [mode, '--port', '0', '--encryption-keys', file]
          const { signal } = new AbortController()
          expect(await run(argv, { environment: {}, stdout: say, stderr: say, signal })).toBe(2)
          expect(said).toMatch(/encryption/)
          expect(said).not.toContain(KEY)
        }
      }
    })
  },
  ['postgres'],
)
