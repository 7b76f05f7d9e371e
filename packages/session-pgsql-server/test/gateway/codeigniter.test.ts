import { expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { DATA, gateways } from './kit.ts'
import type { Talk } from './talk.ts'

/** The commands that the Redis handlers of CodeIgniter 3.1.13 and 4.7 send, in their order. */
describeOnEveryKind(
  "CodeIgniter's session handlers",
  (server) => {
    const { start, startBehindProxy, key } = gateways(server)
    const OK = '+OK\r\n'
    const NIL = '$-1\r\n'

    /** Takes the lock as CodeIgniter 3 does. @returns false if another request holds it */
    async function lockAs3(client: Talk, lock: string): Promise<boolean> {
      const ttl = Number((await client.ask('TTL', lock)).slice(1))
      if (ttl > 0) return false
      expect(ttl).toBe(-2)
      if ((await client.ask('SET', lock, '1764360000', 'NX', 'EX', '300')) === NIL) return false
      // It does not skip this after the lock was set.
      expect(await client.ask('SETEX', lock, '300', '1764360001')).toBe(OK)
      return true
    }

    /** Takes the lock as CodeIgniter 4 does. */
    async function lockAs4(client: Talk, lock: string): Promise<boolean> {
      return (await client.ask('SET', lock, '1764360000', 'NX', 'EX', '300')) === OK
    }

    test.each([
      ['3', 'ci_session:', lockAs3],
      ['4', 'ci_session:ci_session:', lockAs4],
    ])('of release %s have sessions and locks', async (_, prefix, take) => {
      const { talk } = await start({ createUnread: false, prefixes: [prefix] })
      const [client, other] = [talk(), talk()]
      const one = `${prefix}${key().split(':')[1]}`
      const lock = `${one}:lock`
      expect(await client.ask('EXISTS', one)).toBe(':0\r\n')
      expect(await take(client, lock)).toBe(true)
      expect(await client.ask('GET', one)).toBe(NIL)
      // The value of the lock is the time: another request may have the same.
      for (let n = 0; n < 3; n++) expect(await take(other, lock)).toBe(false)
      expect(Number((await other.ask('TTL', lock)).slice(1))).toBeGreaterThan(0)
      expect(await client.ask('EXPIRE', lock, '300')).toBe(':1\r\n')
      expect(await client.ask('SETEX', one, '7200', DATA)).toBe(OK)
      // Another client does not release it, and does not take it over.
      expect(await other.ask('DEL', lock)).toBe(':0\r\n')
      expect(await other.ask('EXPIRE', lock, '300')).toBe(':0\r\n')
      expect(await other.ask('SETEX', lock, '300', '1764360000')).toMatch(/^-ERR/)
      expect(await client.ask('PING')).toBe('+PONG\r\n')
      expect(await client.ask('DEL', lock)).toBe(':1\r\n')
      expect(await take(other, lock)).toBe(true)
      expect(await other.ask('GET', one)).toContain(DATA)
      expect(await other.ask('EXPIRE', one, '7200')).toBe(':1\r\n')
      expect(await other.ask('DEL', one)).toBe(':1\r\n')
      // The lock ends with its connection.
      other.end()
      await expect.poll(() => take(client, lock), { timeout: 10_000 }).toBe(true)
    })

    test('get an error that phpredis throws where they would take another for an empty session or a busy lock', async () => {
      const { talk, proxy } = await startBehindProxy()
      const [locked, fresh] = [talk(), talk()]
      const one = key()
      expect(await lockAs4(locked, `${one}:lock`)).toBe(true)
      await proxy.refuse()
      proxy.drop()
      expect(await locked.ask('GET', one)).toMatch(/^-SERVER_DOWN/)
      expect(await fresh.ask('SET', `${one}:lock`, '1764360000', 'NX', 'EX', '300')).toMatch(/^-SERVER_DOWN/)
      // These are warnings of PHP.
      expect(await locked.ask('SETEX', one, '7200', DATA)).toMatch(/^-ERR/)
      expect(await fresh.ask('TTL', `${one}:lock`)).toMatch(/^-ERR/)
    })
  },
  ['postgres'],
)
