import { phpBytesCodec } from 'session-pgsql'
import { describe, expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { boundedCodec } from '../../src/gateway/bounded-codec.ts'
import { laravelCodec } from '../../src/gateway/laravel.ts'
import { gateways } from './kit.ts'

const repeat = (count: number, piece: (index: number) => string): string =>
  Array.from({ length: count }, (_, index) => piece(index)).join('')

/** Variables that are references in pairs. */
const pairs = (count: number): string => repeat(count, (n) => `x${n}|i:1;y${n}|R:${n + 1};`)

describe('boundedCodec', () => {
  const codec = boundedCodec(phpBytesCodec('php'), 1000)
  const bytes = (text: string): Buffer => Buffer.from(text)

  test.each([
    ['variables', repeat(1001, (n) => `v${n}|N;`)],
    ['elements, each a key and a value', `a|a:501:{${repeat(501, (n) => `i:${n};N;`)}}`],
    ['objects', `a|a:501:{${repeat(501, (n) => `i:${n};O:1:"A":0:{}`)}}`],
    ['references', `x|i:1;${repeat(1000, (n) => `y${n}|R:1;`)}`],
  ])('refuses a session with too many %s', (_, text) => {
    expect(() => codec.encode(bytes(text))).toThrow('more than 1,000 values (--max-values)')
  })

  test('takes one with as many, and counts nothing inside of strings', () => {
    for (const text of [
      repeat(1000, (n) => `v${n}|N;`),
      `s|s:5000:"${';'.repeat(5000)}";t|s:5000:"${'}'.repeat(5000)}";`,
      `${'s:'.repeat(10)}|i:1;s|s:3000:"${'s:1:";";'.repeat(375)}";`,
    ]) {
      expect(codec.decode(codec.encode(bytes(text)))).toEqual(bytes(text))
    }
  })

  test('merges up to a fifth of them, and calls it a conflict above', () => {
    const merge = (text: string): string =>
      String(codec.merge?.(bytes(`${text}m|i:1;`), bytes(`${text}t|i:1;`), bytes(text)))
    const small = repeat(199, (n) => `variable${n}|N;`)
    expect(merge(small)).toBe(`${small}t|i:1;m|i:1;`)
    expect(() => merge(repeat(200, (n) => `variable${n}|N;`))).toThrow('is not merged')
  })

  test('counts on behind a name that looks like the beginning of a string without an end', () => {
    const text = `s:99999999:"|i:1;${repeat(1001, (n) => `v${n}|N;`)}`
    expect(() => codec.encode(bytes(text))).toThrow('more than 1,000 values (--max-values)')
  })
})

describe('boundedCodec of JSON', () => {
  const codec = boundedCodec(laravelCodec, 1000)
  const bytes = (text: string): Buffer => Buffer.from(text)

  /** A session in JSON whose first value looks like the beginning of a serialized string. */
  const json = (count: number, first: string): string =>
    `{"first":"${first}"${repeat(count - 1, (n) => `,"v${n}":null`)}}`

  test.each([
    ['s:99999999:'],
    // Such a string would end at the quote of a later key.
    [`s:${'"'.length + ',"v0":null'.length}:`],
    [''],
  ])('counts all values if one is %j', (first) => {
    expect(() => codec.encode(bytes(json(1001, first)))).toThrow('more than 1,000 values (--max-values)')
    const one = json(1000, first)
    expect(codec.encode(bytes(one))).toBe(one)
    const merge = (count: number) =>
      codec.merge?.(bytes(json(count + 1, first)), bytes(json(count, first)), bytes(json(count, first)))
    expect(JSON.parse(String(merge(199)))).toMatchObject({ first, v198: null })
    expect(() => merge(200)).toThrow('is not merged')
  })
})

describeOnEveryKind(
  'a session with many references',
  (server) => {
    const { start, key } = gateways(server)

    test('makes no other client wait for seconds while it is merged', async () => {
      const { talk, sessions } = await start({ maxValue: 2_000_000 }, undefined, { operationTimeout: 60 })
      const [one, two] = [key(), key()]
      const [first, second, third, other] = [talk(), talk(), talk(), talk()]
      /** Writes the session on two connections that both have read it, and measures the slowest PING meanwhile. */
      async function overlap(session: string, data: string) {
        expect(await first.ask('SETEX', session, '1440', data)).toBe('+OK\r\n')
        for (const client of [second, third]) await client.ask('GET', session)
        expect(await second.ask('SETEX', session, '1440', `${data}a|i:1;`)).toBe('+OK\r\n')
        let isDone = false
        const merged = third.ask('SETEX', session, '1440', `${data}b|i:1;`).finally(() => {
          isDone = true
        })
        let slowest = 0
        while (!isDone) {
          const before = process.cpuUsage()
          await other.ask('ECHO', 'x')
          const { user, system } = process.cpuUsage(before)
          slowest = Math.max(slowest, (user + system) / 1_000_000)
        }
        return { answer: await merged, slowest }
      }
      const merged = await overlap(one, pairs(8000))
      expect(merged.answer).toBe('+OK\r\n')
      expect((await sessions.read(one.split(':')[1] as string))?.data).toMatchObject({ a: 1, b: 1 })
      const refused = await overlap(two, pairs(40_000))
      expect(refused.answer).toMatch(/^-ERR CONFLICT/)
      for (const { slowest } of [merged, refused]) expect(slowest).toBeLessThan(2)
    })
  },
  ['postgres'],
)
