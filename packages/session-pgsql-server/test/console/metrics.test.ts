import { SaveHandler } from 'session-pgsql'
import { afterEach, expect, test } from 'vitest'
import { describeOnEveryServer } from '../../../session-pgsql/test/support/servers.ts'
import { Console, type ConsoleOptions } from '../../src/console/console.ts'

describeOnEveryServer(
  "the console's metrics",
  (server) => {
    const closing: (() => Promise<unknown>)[] = []
    afterEach(async () => {
      for (const close of closing.splice(0).reverse()) await close()
    })

    async function start(options: Partial<ConsoleOptions>) {
      const sessions = new SaveHandler({ db: (await server.freshDatabase()).db as string, gcInterval: 0 })
      await sessions.write('who-must-not-be-named', { secret: 1 }, { address: '203.0.113.7', custom: 'ada' })
      const console = new Console({
        sessions,
        host: '127.0.0.1',
        port: 0,
        passwords: undefined,
        names: [],
        trustProxy: false,
        tls: undefined,
        metrics: true,
        auditFile: undefined,
        log: () => {},
        ...options,
      })
      const port = await console.listen()
      closing.push(
        () => sessions.close(),
        () => console.close(),
      )
      return (authorization?: string) =>
        fetch(`http://127.0.0.1:${port}/metrics`, { headers: authorization ? { authorization } : {} })
    }

    test('tell how many sessions there are and how large the table is, and nothing of a session', async () => {
      const text = await (await (await start({}))()).text()
      expect(text).toMatch(/^session_pgsql_session_count\{.*session_pgsql_name="PHPSESSID".*\} 1$/m)
      expect(Number(/^session_pgsql_table_size\{.*\} (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(0)
      expect(text).not.toMatch(/named|secret|203\.0|ada/)
    })

    test('are not there unless they are wanted', async () => {
      expect((await (await start({ metrics: false }))()).status).toBe(404)
    })

    test("want a password where there is one, the readers' too, and nobody guesses it", async () => {
      const ask = await start({ passwords: { operator: 'correct horse', reader: 'battery staple' } })
      const anonymous = await ask()
      expect([anonymous.status, anonymous.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
      expect((await ask('Bearer battery staple')).status).toBe(200)
      expect((await ask('Bearer correct horse')).status).toBe(200)
      const statuses: number[] = []
      for (let n = 0; n < 7; n++) statuses.push((await ask(`Bearer guess ${n}`)).status)
      expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429])
    })
  },
  ['postgres'],
)
