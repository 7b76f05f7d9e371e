import { SaveHandler } from 'session-pgsql'
import { describe, expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { LARAVEL, LARAVEL_PREFIXES, laravelCodec } from '../../src/gateway/laravel.ts'
import { gateways } from './kit.ts'

const bytes = (text: string): Buffer => Buffer.from(text)

/** Returns a value of Laravel's cache: a serialized string. */
const value = (content: string): string => `s:${Buffer.byteLength(content)}:"${content}";`

describe('the values of Laravel', () => {
  test.each([
    ['a serialized session', 'a:1:{s:4:"user";s:4:"Zoë";}'],
    ['a session in JSON', '{"user":"Zo\\u00eb","_flash":{"old":[],"new":[]}}'],
    ['an empty session in JSON', '[]'],
    ['an encrypted session', 'eyJpdiI6ImFiYyIsInZhbHVlIjoieHl6In0='],
  ])('are stored without the string around them, and come back: %s', (_, content) => {
    const sent = bytes(value(content))
    const text = laravelCodec.encode(LARAVEL.decode(sent) as Uint8Array)
    expect(text).toBe(content)
    expect(LARAVEL.encode(laravelCodec.decode(text))).toEqual(sent)
  })

  test.each([
    ['another value', 'i:5;'],
    ['a string with a wrong length', 's:3:"ab";'],
    ['a string with more behind', `${value('a:0:{}')}x`],
    ['nothing', ''],
    ['a session of PHP', 'user|s:3:"ada";'],
  ])('refuses %s', (_, sent) => {
    expect(() => LARAVEL.decode(bytes(sent))).toThrow('Invalid session data of Laravel')
  })

  test.each([['a:1:{s:4:"user"'], ['{"user":'], ['hello world'], ['{"user":"\xff']])(
    'refuses the content %s',
    (content) => {
      const encode = () => laravelCodec.encode(Buffer.from(content, 'latin1'))
      expect(encode).toThrow('Invalid session data of Laravel')
    },
  )
})

describe('the merge of Laravel sessions', () => {
  const merge = (ours: string, theirs: string, base: string): string =>
    String(laravelCodec.merge(bytes(ours), bytes(theirs), bytes(base)))

  test('keeps the changes of both sides, in JSON as in serialized arrays', () => {
    expect(
      merge('a:2:{s:1:"a";i:1;s:1:"m";i:1;}', 'a:2:{s:1:"a";i:1;s:1:"t";i:1;}', 'a:1:{s:1:"a";i:1;}'),
    ).toBe('a:3:{s:1:"a";i:1;s:1:"t";i:1;s:1:"m";i:1;}')
    const merged = merge(
      '{"a":1,"m":{"x":1.5},"u":{"n":1}}',
      '{"a":1,"t":null,"u":{"n":1,"k":[1,2]},"g":true}',
      '{"a":1,"u":{"n":1},"g":false}',
    )
    expect(JSON.parse(merged)).toEqual({ a: 1, t: null, u: { n: 1, k: [1, 2] }, m: { x: 1.5 } })
    // Created by both: nothing was read.
    expect(JSON.parse(merge('{"m":1}', '[]', 'a:0:{}'))).toEqual({ m: 1 })
    expect(JSON.parse(merge('{"m":1}', '{"t":1}', 'a:0:{}'))).toEqual({ t: 1, m: 1 })
  })

  test('writes the values of JSON as PHP arrays have them', () => {
    expect(merge('{"a":2.0,"b":{},"m":1}', '{"a":2.0,"b":{},"t":1}', '{"a":2.0,"b":{}}')).toBe(
      '{"a":2,"b":[],"t":1,"m":1}',
    )
  })

  test('keeps what they deleted deleted', () => {
    expect(JSON.parse(merge('{"user":1,"late":1}', '{"x":1}', '{"user":1,"x":1}'))).toEqual({ late: 1 })
  })

  test('stores the last one if they are encrypted, of different kinds, or have integers that JavaScript rounds', () => {
    const last = '{"n":12345678901234567890}'
    expect(merge(last, '{"n":1,"t":1}', '{"n":1}')).toBe(last)
    expect(merge('bW1t', 'dHR0', 'YmJi')).toBe('bW1t')
    expect(merge('{"m":1}', 'a:1:{s:1:"t";i:1;}', 'a:0:{}')).toBe('{"m":1}')
    // What was read is serialized or encrypted: which keys were deleted is not known.
    expect(merge('{"m":1}', '{"user":1}', 'a:1:{s:4:"user";i:1;}')).toBe('{"m":1}')
    expect(merge('{"m":1}', '{"user":1}', 'YmJi')).toBe('{"m":1}')
    // Digits in a string are no integer.
    expect(JSON.parse(merge('{"m":"12345678901234567890"}', '{"t":1}', '[]'))).toEqual({
      t: 1,
      m: '12345678901234567890',
    })
  })
})

describeOnEveryKind(
  'the gateway with --codec laravel',
  (server) => {
    const { start, key, db, after } = gateways(server)
    const idOf = (one: string): string => (one.split(':')[1] as string).padEnd(40, 'x')

    async function laravel() {
      const sessions = new SaveHandler<Uint8Array>({
        db: await db(),
        codec: laravelCodec,
        idPattern: 'php',
        gcInterval: 0,
      })
      after(() => sessions.close())
      return start({
        sessions,
        wireFormat: LARAVEL,
        prefixes: LARAVEL_PREFIXES,
        isLaravel: true,
        createUnread: false,
      })
    }

    test.each(LARAVEL_PREFIXES)('serves the keys and locks of the prefix %s', async (prefix) => {
      const { talk } = await laravel()
      const [client, other] = [talk(), talk()]
      const id = idOf(key())
      const [one, lock] = [`${prefix}${id}`, `${prefix}session:${id}`]
      expect(await client.ask('SET', lock, 'owner', 'EX', '10', 'NX')).toBe('+OK\r\n')
      expect(await other.ask('SET', lock, 'other', 'EX', '10', 'NX')).toBe('$-1\r\n')
      expect(await client.ask('GET', one)).toBe('$-1\r\n')
      expect(await client.ask('SETEX', one, '7200', value('a:0:{}'))).toBe('+OK\r\n')
      expect(await client.ask('GET', one)).toContain(value('a:0:{}'))
      const script =
        'if redis.call("get",KEYS[1]) == ARGV[1] then\n    return redis.call("del",KEYS[1])\nelse\n    return 0\nend'
      expect(await other.ask('EVAL', script, '1', lock, 'other')).toBe(':0\r\n')
      expect(await client.ask('EVAL', script, '1', lock, 'owner')).toBe(':1\r\n')
      expect(await other.ask('SET', lock, 'other', 'EX', '10', 'NX')).toBe('+OK\r\n')
    })

    test('creates the session of a regenerated id, and none on a connection that has read nothing', async () => {
      const { talk } = await laravel()
      const prefix = LARAVEL_PREFIXES[0] as string
      const [first, second, third] = [key(), key(), key()].map((one) => `${prefix}${idOf(one)}`) as [
        string,
        string,
        string,
      ]
      const client = talk()
      expect(await client.ask('GET', first)).toBe('$-1\r\n')
      expect(await client.ask('DEL', first)).toBe(':0\r\n')
      expect(await client.ask('SETEX', second, '7200', value('a:0:{}'))).toBe('+OK\r\n')
      // An error that phpredis throws.
      expect(await talk().ask('SETEX', third, '7200', value('a:0:{}'))).toMatch(/^-NOT_READ/)
      expect(await client.ask('SETEX', second, '7200', 'i:5;')).toMatch(/^-INVALID_DATA/)
    })
  },
  ['postgres'],
)
