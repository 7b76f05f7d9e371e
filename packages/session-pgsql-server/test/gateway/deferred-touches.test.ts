import { expect, test } from 'vitest'
import { connectPool, queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { until } from '../../../session-pgsql/test/support/wait.ts'
import { DATA, gateways } from './kit.ts'
import { command, type Talk } from './talk.ts'

describeOnEveryKind(
  'the EXPIRE of a session that the client has just read',
  (server) => {
    const { start, startBehindProxy, db, key, after } = gateways(server)
    const idOf = (name: string) => name.split(':')[1] as string

    /** Seconds until the stored expiry. */
    async function secondsLeft(name: string): Promise<number> {
      const [row] = await queryOnce<{ left: number }>(
        await db(),
        'SELECT (sess_expire - extract(epoch FROM clock_timestamp()))::float8 AS left FROM php_session WHERE sess_id = $1',
        [idOf(name)],
      )
      return row?.left ?? Number.NaN
    }

    /** Returns a client that has read a session with a minute left. */
    async function reader(talk: () => Talk): Promise<{ client: Talk; one: string }> {
      const [client, one] = [talk(), key()]
      expect(await client.ask('SETEX', one, '60', DATA)).toBe('+OK\r\n')
      expect(await client.ask('GET', one)).toContain(DATA)
      return { client, one }
    }

    /** Locks a session's row until the returned function is called. */
    async function lockRow(name: string): Promise<() => Promise<unknown>> {
      const pool = connectPool(await db())
      after(() => pool.end())
      const client = await pool.connect()
      after(async () => client.release())
      await client.query('BEGIN')
      await client.query('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [idOf(name)])
      return () => client.query('COMMIT')
    }

    test('is answered before it is stored', async () => {
      const { client, one } = await reader((await start()).talk)
      const unlock = await lockRow(one)
      expect(await client.ask('EXPIRE', one, '1440')).toBe(':1\r\n')
      expect(await secondsLeft(one)).toBeLessThan(61)
      await unlock()
      await until(async () => (await secondsLeft(one)) > 1400, 'the touch to be stored')
    })

    test('is stored before the next command for the session is executed', async () => {
      const { talk } = await start()
      for (const next of ['TTL', 'EXISTS', 'GET', 'SESSION.INFO']) {
        const { client, one } = await reader(talk)
        client.send(Buffer.concat([command('EXPIRE', one, '1440'), command(next, one)]))
        expect(await client.answer()).toBe(':1\r\n')
        await client.answer()
        expect([next, await secondsLeft(one)]).toEqual([next, expect.closeTo(1440, -1)])
      }
      const { client, one } = await reader(talk)
      expect(await client.ask('EXPIRE', one, '1440')).toBe(':1\r\n')
      expect(await talk().ask('SETEX', one, '600', 'a|i:1;')).toBe('+OK\r\n')
      expect(await secondsLeft(one)).toBeCloseTo(600, -1)
    })

    test('does not restore a session that was destroyed in between', async () => {
      const { talk, gateway } = await start()
      const { client, one } = await reader(talk)
      expect(await talk().ask('DEL', one)).toBe(':1\r\n')
      expect(await client.ask('EXPIRE', one, '1440')).toBe(':1\r\n')
      expect(await client.ask('EXISTS', one)).toBe(':0\r\n')

      const { client: other, one: another } = await reader(talk)
      other.send(Buffer.concat([command('EXPIRE', another, '1440'), command('DEL', another)]))
      expect([await other.answer(), await other.answer()]).toEqual([':1\r\n', ':1\r\n'])
      await gateway.close()
      expect(await secondsLeft(one)).toBeNaN()
      expect(await secondsLeft(another)).toBeNaN()
    })

    test('is answered by what is stored if the client has not read it, or has ended it', async () => {
      const { talk } = await start()
      const { client, one } = await reader(talk)
      expect(await client.ask('DEL', one)).toBe(':1\r\n')
      expect(await client.ask('EXPIRE', one, '1440')).toBe(':0\r\n')
      expect(await talk().ask('EXPIRE', key(), '1440')).toBe(':0\r\n')
      // The second one of a request.
      const { client: other, one: another } = await reader(talk)
      expect(await other.ask('EXPIRE', another, '1440')).toBe(':1\r\n')
      expect(await talk().ask('DEL', another)).toBe(':1\r\n')
      expect(await other.ask('EXPIRE', another, '1440')).toBe(':0\r\n')
    })

    test('is stored when the gateway closes', async () => {
      const { talk, gateway } = await start()
      const readers = await Promise.all(Array.from({ length: 20 }, () => reader(talk)))
      const replies = readers.map(({ client, one }) => client.ask('EXPIRE', one, '1440'))
      expect(new Set(await Promise.all(replies))).toEqual(new Set([':1\r\n']))
      await gateway.close()
      for (const { one } of readers) expect(await secondsLeft(one)).toBeGreaterThan(1400)
    })

    test('is reported in the log if it is not stored', async () => {
      const lines: string[] = []
      const { talk, proxy } = await startBehindProxy({ log: (line) => lines.push(line) })
      const { client, one } = await reader(talk)
      await proxy.refuse()
      proxy.drop()
      expect(await client.ask('EXPIRE', one, '1440')).toBe(':1\r\n')
      await until(async () => lines.length > 0, 'a line in the log')
      expect(lines[0]).toMatch(/^EXPIRE of session kkkkkkkk… failed after its reply: SERVER_DOWN /)
    })

    test('waits for its answer with durableTouches', async () => {
      const { talk } = await start({}, undefined, { durableTouches: true })
      const { client, one } = await reader(talk)
      expect(await talk().ask('DEL', one)).toBe(':1\r\n')
      expect(await client.ask('EXPIRE', one, '1440')).toBe(':0\r\n')
    })
  },
  ['postgres'],
)
