import { expect, test } from 'vitest'
import { queryOnce } from '../../../session-pgsql/test/support/connect.ts'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { DATA, gateways } from './kit.ts'
import type { Talk } from './talk.ts'

describeOnEveryKind(
  'the lifetime of sessions in the gateway',
  (server) => {
    const { start, db, key } = gateways(server)

    const shift = async (key: string, set: string) =>
      queryOnce(await db(), `UPDATE php_session SET ${set} WHERE sess_id = $1`, [key.split(':')[1]])
    /** Returns a status, a number or a text as it is written in a reply; null for nil. */
    async function ask(client: Talk, ...words: string[]): Promise<string | null> {
      const [first = '', ...rest] = (await client.ask(...words)).split('\r\n')
      if (first === '$-1') return null
      return first.startsWith('$') ? rest.slice(0, -1).join('\r\n') : first
    }
    const age = (key: string, seconds: number) => shift(key, `sess_began = sess_began - ${seconds}`)
    const expire = (key: string, seconds: number) =>
      shift(key, `sess_expire = floor(extract(epoch FROM clock_timestamp()))::bigint - ${seconds}`)

    test('maxLifetime ends a session, however often it is used', async () => {
      const { talk } = await start({}, undefined, { maxLifetime: 3600 })
      const client = talk()
      const one = key()
      await ask(client, 'SETEX', one, '1440', DATA)
      const { endsAt } = JSON.parse((await ask(client, 'SESSION.INFO', one)) as string)
      expect(new Date(endsAt).getTime() - Date.now()).toBeLessThanOrEqual(3_601_000)
      await age(one, 3500)
      expect(await ask(client, 'GET', one)).toBe(DATA)
      expect(await ask(client, 'SETEX', one, '1440', 'a|i:1;')).toBe('+OK')
      expect(Number(String(await ask(client, 'TTL', one)).slice(1))).toBeLessThanOrEqual(101)
      expect(await ask(client, 'EXPIRE', one, '1440')).toBe(':1')
      expect(Number(String(await ask(client, 'TTL', one)).slice(1))).toBeLessThanOrEqual(101)
      await age(one, 101)
      expect(await ask(client, 'GET', one)).toBeNull()
      expect(await ask(client, 'TTL', one)).toBe(':-2')
      // With PHP's session.use_strict_mode = 0 the same id begins a new session.
      expect(await ask(client, 'SETEX', one, '1440', DATA)).toBe('+OK')
      expect(Number(String(await ask(client, 'TTL', one)).slice(1))).toBeGreaterThan(1400)
    })

    test('a request in progress saves a session that has expired, for expiryGrace', async () => {
      for (const [grace, isSaved] of [
        [60, true],
        [0, false],
      ] as const) {
        const { talk } = await start({}, undefined, { expiryGrace: grace })
        const client = talk()
        const one = key()
        await ask(client, 'SETEX', one, '1440', DATA)
        await ask(client, 'GET', one)
        await expire(one, 30)
        expect(await ask(client, 'SETEX', one, '1440', 'a|i:1;')).toBe('+OK')
        expect(await ask(talk(), 'GET', one)).toBe(isSaved ? 'a|i:1;' : null)
      }
    })
  },
  ['postgres'],
)
