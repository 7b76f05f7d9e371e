import { describe, expect, test } from 'vitest'
import { merge } from '../../src/codec/merge.ts'
import { MAX_LENGTH } from '../../src/codec/merge-lists.ts'
import { phpCodec } from '../../src/codec/php.ts'

/** Three versions of a session, of a size that grows with n. */
type Make = (n: number) => [ours: unknown, theirs: unknown, base: unknown]

/** Linear work takes 4 times as long for 4 times the input, quadratic work 16 times. */
const LIMIT = 9

/** How many times the processor time grows if the input grows four times. Measured again if a busy machine spoiled it. */
function growth(n: number, prepare: (n: number) => () => unknown): number {
  const [once, fourTimes] = [prepare(n), prepare(4 * n)]
  const best = (work: () => unknown): number => {
    let least = Number.POSITIVE_INFINITY
    for (let run = 0; run < 7; run++) {
      const before = process.cpuUsage()
      work()
      const { user, system } = process.cpuUsage(before)
      least = Math.min(least, user + system)
    }
    return least
  }
  // Warm, so that the first is not measured while it is being compiled.
  best(once)
  let measured = Number.POSITIVE_INFINITY
  for (let attempt = 0; attempt < 3 && measured >= LIMIT; attempt++) {
    measured = best(fourTimes) / Math.max(best(once), 200)
  }
  return measured
}

const range = (n: number): number[] => [...Array(n).keys()]

/** In an order that looks random and is always the same. */
const shuffled = <T>(list: readonly T[], step: number): T[] =>
  list.map((_, place) => list[(place * step) % list.length] as T)

const texts = (n: number): string[] => range(n).map((place) => `text ${place}`)
const points = (n: number, edit = 0) => range(n).map((x) => ({ x, y: 1, z: 2, edit }))
/** Of an object that both sides edit and to which both add as many keys as it had. */
const keysOf = (n: number, side: string): string[] =>
  range(side === '' ? n : 2 * n).map((place) => (place < n ? `key ${place}` : `${side} ${place}`))
const wide = (n: number, side: string) => Object.fromEntries(keysOf(n, side).map((key) => [key, side]))
const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value))

describe('the time that a merge takes grows no faster than its input', () => {
  test.each<[string, number, Make]>([
    [
      'of texts in two other orders',
      2000,
      (n) => [shuffled(texts(n), 7919), shuffled(texts(n), 6101), texts(n)],
    ],
    ['of texts in reverse', 2000, (n) => [texts(n).reverse(), [...texts(n), 't'], texts(n)]],
    [
      'of texts that are all other ones',
      2000,
      (n) => [texts(2 * n).slice(n), texts(3 * n).slice(2 * n), texts(n)],
    ],
    [
      'of texts of which both sides removed every other',
      2000,
      (n) => [texts(n).filter((_, i) => i % 2), texts(n).filter((_, i) => i % 3), texts(n)],
    ],
    ['of equal elements', 2000, (n) => [Array(n).fill('x'), Array(n - 9).fill('x'), Array(n - 5).fill('x')]],
    [
      'of two values in turn',
      2000,
      (n) => [range(n).map((i) => i % 2), range(n).map((i) => (i + 1) % 2), range(n - 3).map((i) => i % 2)],
    ],
    [
      'of equal ends around a change',
      2000,
      (n) => [
        [...Array(n).fill('x'), 'o', 'x'],
        [...Array(n).fill('x'), 't', 'x'],
        [...Array(n).fill('x'), 'b', 'x'],
      ],
    ],
    ['of numbers that both sides inserted', 2000, (n) => [range(n).reverse(), range(n).reverse(), [-1]]],
    [
      'of sorted numbers',
      2000,
      (n) => [range(n).map((i) => 3 * i), range(n).map((i) => 2 * i), range(n).map((i) => 6 * i)],
    ],
    ['of objects that both sides edited', 1000, (n) => [points(n, 1), points(n, 2), points(n)]],
    ['of objects in other orders', 1000, (n) => [shuffled(points(n), 7919), [...points(n), 't'], points(n)]],
    [
      'of equal objects',
      1000,
      (n) => [Array(n).fill({ x: 1 }), Array(n - 9).fill({ x: 1 }), Array(n - 5).fill({ x: 1 })],
    ],
    [
      'of elements with identity, moved and edited',
      1000,
      (n) => [
        shuffled(points(n, 1), 7919).map((point) => ({ id: point.x, ...point })),
        points(n, 2).map((point) => ({ id: point.x, ...point })),
        points(n).map((point) => ({ id: point.x, ...point })),
      ],
    ],
    ['of an object with many keys', 1000, (n) => [wide(n, 'o'), wide(n, 't'), wide(n, '')]],
    [
      'of lists in elements with identity',
      50,
      (n) => {
        const lists = (more: string) => range(n).map((id) => ({ id, list: [...texts(50), more] }))
        return [lists('o'), lists('t'), lists('b')]
      },
    ],
  ])('%s', (_, n, make) => {
    const work = (n: number) => {
      const [ours, theirs, base] = make(n).map((list) => copy({ list }))
      return () => merge(ours, theirs, base)
    }
    expect(4 * n).toBeLessThan(MAX_LENGTH)
    expect(growth(n, work)).toBeLessThan(LIMIT)
  })

  /** Each level is an object of which all fields but the list with the next level agree. */
  const nested = (depth: number, leaf: unknown, more = {}): unknown =>
    range(depth).reduce<unknown>((inner) => [{ p: 1, q: 2, r: 3, ...more, inner }, 'x'], [leaf])
  const deepLists = (depth: number, leaf: unknown): unknown =>
    range(depth).reduce<unknown>((inner) => [1, inner], [leaf])

  test.each<[string, number, Make]>([
    ['of objects and lists within each other', 100, (n) => [nested(n, 'o'), nested(n, 't'), nested(n, 'b')]],
    ['of lists within lists', 100, (n) => [deepLists(n, 'o'), deepLists(n, 't'), deepLists(n, 'b')]],
    [
      'of elements with identity within each other',
      100,
      (n) => [nested(n, 'o', { id: 1 }), nested(n, 't', { id: 1 }), nested(n, 'b', { id: 1 })],
    ],
  ])('%s', (_, n, make) => {
    const work = (n: number) => {
      const [ours, theirs, base] = make(n).map((list) => copy({ list }))
      return () => {
        for (let run = 0; run < 10; run++) merge(ours, theirs, base)
      }
    }
    expect(growth(n, work)).toBeLessThan(LIMIT)
  })

  test.each<[string, number, (n: number, more: string) => string]>([
    [
      'of PHP variables that are tied in pairs',
      1000,
      (n, more) =>
        `${range(n)
          .map((i) => `a${i}|i:${i};b${i}|R:${i + 1};`)
          .join('')}${more}`,
    ],
    [
      'of PHP variables that share one large array',
      500,
      (n, more) =>
        `big|a:${n}:{${range(n)
          .map((i) => `i:${i};s:4:"text";`)
          .join('')}}${range(n)
          .map((i) => `v${i}|R:1;`)
          .join('')}${more}`,
    ],
    [
      'of PHP variables that each hold the one object',
      500,
      (n, more) =>
        `o|O:1:"A":0:{}${range(n)
          .map((i) => `v${i}|a:1:{i:0;r:1;}`)
          .join('')}${more}`,
    ],
    [
      'of a PHP array with holes',
      500,
      (n, more) =>
        `l|a:${n}:{${range(n)
          .map((i) => `i:${2 * i};i:${more === '' ? 1 : more.length};`)
          .join('')}}${more}`,
    ],
    [
      'of a PHP array with holes onto which both sides push',
      500,
      (n, more) => {
        const pushed = more === '' ? [] : range(n)
        return `l|a:${n + pushed.length}:{${range(n)
          .map((i) => `i:${2 * i};i:1;`)
          .join('')}${pushed.map((i) => `i:${2 * n + i};i:${more.length};`).join('')}}`
      },
    ],
    [
      'of a PHP array with many string keys',
      500,
      (n, more) => {
        const keys = keysOf(n, more)
        return `l|a:${keys.length}:{${keys.map((key) => `s:${key.length}:"${key}";i:${more.length};`).join('')}}`
      },
    ],
  ])('%s', (_, n, write) => {
    const work = (n: number) => {
      const [ours, theirs, base] = ['x|i:1;', 'longer|i:1;', ''].map((more) =>
        phpCodec.decode(write(n, more)),
      )
      return () =>
        phpCodec.merge(
          ours as object as Record<string, unknown>,
          theirs as Record<string, unknown>,
          base as Record<string, unknown>,
        )
    }
    expect(growth(n, work)).toBeLessThan(LIMIT)
  })
})

describe('a list that is too long', () => {
  const long = (more: string) => ({ list: [...texts(MAX_LENGTH + 1).reverse(), more] })

  test('is merged if only what was appended differs', () => {
    expect(
      merge({ list: [...long('o').list] }, long('t'), { list: long('').list.slice(0, -1) }).list.slice(-2),
    ).toEqual(['t', 'o'])
  })

  test('of elements with identity is merged if only what was appended or in elements differs', () => {
    const elements = (n: number, ...more: number[]) => ({
      list: [...range(MAX_LENGTH + 1), ...more].map((id) => ({ id, n: id === n ? 1 : 0 })),
    })
    const { list } = merge(elements(3, -1), elements(5, -2), elements(-9))
    expect(list.map(({ id }) => id)).toEqual([...range(MAX_LENGTH + 1), -2, -1])
    expect(list.filter(({ n }) => n === 1).map(({ id }) => id)).toEqual([3, 5])
  })

  test('is taken whole if more differs: ours if we changed it, else theirs', () => {
    const base = long('b')
    const theirs = { list: ['t', ...base.list.slice(1, -1), 't'] }
    const ours = { list: ['o', ...base.list.slice(1, -1), 'o'] }
    expect(merge(ours, theirs, base)).toEqual(ours)
    expect(merge(copy(base), theirs, base)).toEqual(theirs)
  })
})

test('data that is nested too deep to be walked is refused', () => {
  const deep = (leaf: string): unknown => JSON.parse(`${'['.repeat(100_000)}"${leaf}"${']'.repeat(100_000)}`)
  expect(() => merge({ l: deep('o') }, { l: deep('t') }, { l: deep('b') })).toThrow(
    expect.objectContaining({ code: 'INVALID_DATA' }),
  )
})
