import { describe, expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { Keyspace } from '../../src/gateway/key.ts'
import { DATA, gateways } from './kit.ts'

describeOnEveryKind(
  'the prefix of a key',
  (server) => {
    const { start, key } = gateways(server)
    const idOf = (one: string): string => one.split(':')[1] as string

    test('separates sessions with the same id', async () => {
      const { talk, sessions } = await start({ createUnread: false })
      const id = idOf(key())
      const [shop, admin] = [`SHOP:${id}`, `ADMIN:${id}`]
      const [owner, other] = [talk(), talk()]
      expect(await owner.ask('GET', shop)).toBe('$-1\r\n')
      expect(await owner.ask('SETEX', shop, '1440', DATA)).toBe('+OK\r\n')

      const refused = /^-ERR OTHER_NAME/
      for (const client of [other, talk()]) {
        expect(await client.ask('SETEX', admin, '1440', 'role|s:5:"admin";')).toMatch(refused)
        expect(await client.ask('GET', admin)).toBe('$-1\r\n')
        expect(await client.ask('SETEX', admin, '1440', 'role|s:5:"admin";')).toMatch(refused)
        expect(await client.ask('SET', admin, 'a|i:1;', 'EX', '100')).toMatch(refused)
        expect(await client.ask('SET', admin, 'a|i:1;', 'EX', '100', 'NX')).toMatch(refused)
        expect(await client.ask('SET', admin, 'a|i:1;', 'EX', '100', 'XX')).toBe('$-1\r\n')
        expect(await client.ask('EXISTS', admin)).toBe(':0\r\n')
        expect(await client.ask('EXPIRE', admin, '1')).toBe(':0\r\n')
        expect(await client.ask('EXPIRE', admin, '0')).toBe(':0\r\n')
        expect(await client.ask('GETEX', admin, 'EX', '1')).toBe('$-1\r\n')
        expect(await client.ask('TTL', admin)).toBe(':-2\r\n')
        expect(await client.ask('DEL', admin)).toBe(':0\r\n')
        expect(await client.ask('SESSION.INFO', admin)).toBe('$-1\r\n')
        expect(await client.ask('SESSION.FIELD', admin)).toBe('$-1\r\n')
        expect(await client.ask('SESSION.FIELD', admin, 'eve')).toMatch(refused)
        expect(await client.ask('SESSION.ERROR', admin)).toBe('$-1\r\n')
        expect(await client.ask('SESSION.ERROR', admin, 'error')).toMatch(refused)
      }
      expect(await owner.ask('GET', shop)).toContain(DATA)
      expect(Number((await owner.ask('TTL', shop)).slice(1))).toBeGreaterThan(1400)
      expect(await sessions.info(id)).toMatchObject({ name: 'SHOP', custom: null, errors: 0 })
      expect(await owner.ask('DEL', shop)).toBe(':1\r\n')
      // The id is free.
      expect(await other.ask('GET', admin)).toBe('$-1\r\n')
      expect(await other.ask('SETEX', admin, '1440', 'role|s:5:"admin";')).toBe('+OK\r\n')
      expect(await owner.ask('GET', shop)).toBe('$-1\r\n')
    })

    test('separates them also when both are created at once, and merges the creations of one', async () => {
      const { talk, sessions } = await start({ createUnread: false })
      for (let round = 0; round < 20; round++) {
        const id = idOf(key())
        const clients = ['SHOP', 'ADMIN', 'SHOP'].map((name) => ({
          name,
          one: `${name}:${id}`,
          client: talk(),
        }))
        for (const { one, client } of clients) expect(await client.ask('GET', one)).toBe('$-1\r\n')
        const answers = await Promise.all(
          clients.map(({ one, client, name }, n) => client.ask('SETEX', one, '1440', `${name}${n}|i:1;`)),
        )
        const session = await sessions.read(id)
        const [winner, loser] = session?.name === 'SHOP' ? ['SHOP', 'ADMIN'] : ['ADMIN', 'SHOP']
        expect(session?.data).toEqual(winner === 'SHOP' ? { SHOP0: 1, SHOP2: 1 } : { ADMIN1: 1 })
        for (const [n, { name }] of clients.entries()) {
          expect(answers[n]).toMatch(name === loser ? /^-ERR OTHER_NAME/ : /^\+OK/)
        }
      }
    })

    test('is not chosen by a client: an id has no colon, and a key without a prefix is refused', async () => {
      const { talk, sessions } = await start()
      const client = talk()
      const one = key()
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      const id = idOf(one)
      for (const alias of [
        `PHPSESSID:evil:${id}`,
        `PHPSESSID::${id}`,
        id,
        `:${id}`,
        `PHPSESSID:evil:${id}_LOCK`,
      ]) {
        expect(await client.ask('GET', alias)).toMatch(/^-ERR INVALID_KEY/)
        // In strict mode, PHP makes a new id.
        expect(await client.ask('EXISTS', alias)).toBe(':0\r\n')
        expect(await client.ask('SETEX', alias, '1440', 'n|i:2;')).toMatch(/^-ERR/)
        expect(await client.ask('DEL', alias)).toMatch(/^-ERR INVALID_KEY/)
        expect(await client.ask('SESSION.INFO', alias)).toMatch(/^-ERR INVALID_KEY/)
      }
      expect((await sessions.read(id))?.data).toEqual({ user: 'ada', n: 1 })
    })

    test('is one of --prefix, if there are any', async () => {
      const { talk, sessions } = await start({ prefixes: ['app-cache-', 'ci_session:web:'] })
      const client = talk()
      const [first, second] = [idOf(key()), idOf(key())]
      expect(await client.ask('SETEX', `app-cache-${first}`, '1440', DATA)).toBe('+OK\r\n')
      expect(await client.ask('SETEX', `ci_session:web:${second}`, '1440', DATA)).toBe('+OK\r\n')
      expect((await sessions.info(first))?.name).toBe('app-cache-')
      expect((await sessions.info(second))?.name).toBe('ci_session:web')
      expect(await client.ask('GET', `PHPSESSID:${first}`)).toMatch(/^-ERR INVALID_KEY/)
    })

    test('cannot be replaced by SELECT, which fails with every later command', async () => {
      const { talk } = await start()
      const client = talk()
      const one = key()
      expect(await client.ask('SETEX', one, '1440', DATA)).toBe('+OK\r\n')
      expect(await client.ask('SELECT', '1')).toMatch(/^-NODB/)
      expect(await client.ask('GET', one)).toMatch(/^-ERR .*SELECT/)
      expect(await client.ask('DEL', one)).toMatch(/^-ERR .*SELECT/)
      expect(await client.ask('SELECT', '0')).toBe('+OK\r\n')
      expect(await client.ask('GET', one)).toContain(DATA)
    })
  },
  ['postgres'],
)

describe('Keyspace', () => {
  const bytes = (text: string) => Buffer.from(text)

  test('parses NAME:ID, and the lock of a session', () => {
    const keys = new Keyspace([], 'PHPSESSID')
    expect(keys.parse(bytes('PHPSESSID:abc'))).toMatchObject({
      id: 'abc',
      name: 'PHPSESSID',
      lock: undefined,
    })
    expect(keys.parse(bytes('PHPSESSID:abc_LOCK'))).toMatchObject({ id: 'abc', lock: 'value' })
    expect(keys.parse(bytes('PHPSESSID:abc:lock'))).toMatchObject({ id: 'abc', lock: 'connection' })
    for (const bad of ['abc', ':abc', 'a:b:c', 'abc_LOCK', '']) {
      expect(() => keys.parse(bytes(bad))).toThrow('INVALID_KEY')
    }
  })

  test('with prefixes takes the longest one that fits; without text, it is the default name', () => {
    const keys = new Keyspace(['', 'a:', 'a:b:'], 'PHPSESSID')
    expect(keys.parse(bytes('a:b:c'))).toMatchObject({ id: 'c', name: 'a:b' })
    expect(keys.parse(bytes('a:c'))).toMatchObject({ id: 'c', name: 'a' })
    expect(keys.parse(bytes('c'))).toMatchObject({ id: 'c', name: 'PHPSESSID' })
    // An id of the empty prefix, which no session has.
    expect(keys.parse(bytes('x:c'))).toMatchObject({ id: 'x:c', name: 'PHPSESSID' })
  })

  test('takes a row without a name for one of the default name', () => {
    const keys = new Keyspace([], 'PHPSESSID')
    expect(keys.owns(keys.parse(bytes('PHPSESSID:abc')), { name: null })).toBe(true)
    expect(keys.owns(keys.parse(bytes('SHOP:abc')), { name: null })).toBe(false)
    expect(keys.owns(keys.parse(bytes('SHOP:abc')), { name: 'SHOP' })).toBe(true)
  })
})
