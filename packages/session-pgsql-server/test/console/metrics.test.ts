import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { consoles, type StartOptions } from './kit.ts'

describeOnEveryKind(
  'GET /metrics of the console',
  (server) => {
    const start = consoles()

    /** Starts a console over a table with one session. @returns a function that requests the metrics */
    async function startWithSession(options: StartOptions = {}) {
      const database = await server.freshDatabase()
      const writer = new SaveHandler({ db: database.db, gcInterval: 0 })
      await writer.write(
        'who-must-not-be-named',
        { secret: 1 },
        { address: '203.0.113.7', custom: 'lovelace' },
      )
      await writer.close()
      const { port } = await start(database, { metrics: true, ...options })
      return (authorization?: string) =>
        fetch(`http://127.0.0.1:${port}/metrics`, { headers: authorization ? { authorization } : {} })
    }

    test('returns the number of sessions and the table size, and nothing about a single session', async () => {
      const get = await startWithSession()
      const text = await (await get()).text()
      expect(text).toMatch(/^session_pgsql_session_count\{.*session_pgsql_name="PHPSESSID".*\} 1$/m)
      expect(Number(/^session_pgsql_table_size\{.*\} (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(0)
      // Not in hexadecimal digits: the name of the database has some.
      expect(text).not.toMatch(/named|secret|203\.0\.113|lovelace/)
    })

    test('is 404 without the option metrics', async () => {
      const get = await startWithSession({ metrics: false })
      expect((await get()).status).toBe(404)
    })

    test('requires a password if there is one, and limits guesses', async () => {
      const get = await startWithSession({
        passwords: { operator: 'correct horse', reader: 'battery staple' },
      })
      const anonymous = await get()
      expect([anonymous.status, anonymous.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
      expect((await get('Bearer battery staple')).status).toBe(200)
      expect((await get('Bearer correct horse')).status).toBe(200)
      const statuses: number[] = []
      for (let n = 0; n < 7; n++) statuses.push((await get(`Bearer guess ${n}`)).status)
      expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429])
    })
  },
  ['postgres'],
)
