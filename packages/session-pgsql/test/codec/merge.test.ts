import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { merge } from '../../src/codec/merge.ts'

describe('The three-way merge', () => {
  test.each([
    ['what nobody changed stays', { a: 1 }, { a: 1 }, { a: 1 }, { a: 1 }],
    ['both sides’ keys are kept', { a: 1, m: 1 }, { a: 1, t: 1 }, { a: 1 }, { a: 1, t: 1, m: 1 }],
    ['one leaf changed by both is mine', { a: 2 }, { a: 3 }, { a: 1 }, { a: 2 }],
    ['one key added by both is mine', { a: 2 }, { a: 3 }, {}, { a: 2 }],
    ['my deletion beats their change', {}, { u: { seen: 2 } }, { u: { seen: 1 } }, {}],
    ['their deletion beats my change', { u: { seen: 2 } }, {}, { u: { seen: 1 } }, {}],
    ['a deletion on both sides', {}, {}, { a: 1 }, {}],
    [
      'a deletion deep inside',
      { u: { a: 1 } },
      { u: { a: 2, b: 2 } },
      { u: { a: 1, b: 1 } },
      { u: { a: 2 } },
    ],
    [
      'objects are merged inside',
      { u: { a: 2, b: 1 } },
      { u: { a: 1, b: 2 } },
      { u: { a: 1, b: 1 } },
      { u: { a: 2, b: 2 } },
    ],
    ['arrays are taken whole', { l: [1, 2] }, { l: [3] }, { l: [1] }, { l: [1, 2] }],
    ['their array is kept if I have not touched it', { l: [1] }, { l: [3] }, { l: [1] }, { l: [3] }],
    ['an object added by both is merged', { u: { a: 1 } }, { u: { b: 1 } }, {}, { u: { b: 1, a: 1 } }],
    ['an object that I made a scalar', { u: 1 }, { u: { a: 2 } }, { u: { a: 1 } }, { u: 1 }],
    ['an object that they made a scalar', { u: { a: 1 } }, { u: 1 }, { u: { a: 1 } }, { u: 1 }],
    ['null is a value', { a: null }, { a: 1 }, { a: 1 }, { a: null }],
    ['data that is no object', [1], [2], [1], [2]],
    ['data that became one', { a: 1 }, [2], [1], { a: 1 }],
  ])('%s', (_, mine, theirs, seen, expected) => {
    expect(merge(mine, theirs, seen)).toStrictEqual(expected)
  })

  test('keys that are tied together count as one', () => {
    const seen = { a: 1, b: 1, c: 1 }
    expect(merge({ ...seen, a: 2 }, { ...seen, b: 3, c: 3 }, seen, { tied: [['a', 'b']] })).toEqual({
      a: 2,
      b: 1,
      c: 3,
    })
    expect(merge(seen, { ...seen, b: 3 }, seen, { tied: [['a', 'b']] })).toEqual({ a: 1, b: 3, c: 1 })
    expect(merge({ a: 2, b: 1 }, { a: 1, b: 1 }, { a: 1, b: 1 }, { tied: [['a', 'b', 'absent']] })).toEqual({
      a: 2,
      b: 1,
    })
  })

  test('groups that overlap are one, whatever their order', () => {
    const seen = { a: 1, b: 1, c: 1, d: 1, e: 1 }
    const tied = [
      ['a', 'b'],
      ['c', 'd'],
      ['d', 'a'],
      ['e', 'e'],
    ]
    for (const groups of [tied, [...tied].reverse()]) {
      const merged = merge({ ...seen, a: 2 }, { ...seen, b: 3, c: 3, d: 3, e: 3 }, seen, { tied: groups })
      expect(merged).toEqual({ a: 2, b: 1, c: 1, d: 1, e: 3 })
    }
  })

  test('60,000 groups are united in seconds', () => {
    // One by one against all others it would take minutes; the limit is the runner's.
    const names = Array.from({ length: 60_000 }, (_, index) => `k${index}`)
    const seen = Object.fromEntries(names.map((name) => [name, 1]))
    const pairs = names.map((name, index) => [name, names[index ^ 1] as string])
    expect(merge({ ...seen, k5: 2 }, { ...seen, k4: 3, k7: 3 }, seen, { tied: pairs })).toMatchObject({
      k4: 1,
      k5: 2,
      k7: 3,
    })
    const chain = names.slice(1).map((name, index) => [names[index] as string, name])
    expect(merge({ ...seen, k5: 2 }, { ...seen, k59999: 3 }, seen, { tied: chain })).toMatchObject({
      k5: 2,
      k59999: 1,
    })
  })

  test('a key named __proto__ is data', () => {
    const result = merge(JSON.parse('{"__proto__":{"a":1}}'), JSON.parse('{"b":1}'), {})
    expect(JSON.stringify(result)).toBe('{"b":1,"__proto__":{"a":1}}')
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype)
  })

  const key = fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor')
  const value = fc.letrec<{ tree: unknown; leaf: unknown; object: unknown }>((tie) => ({
    leaf: fc.oneof(
      fc.integer({ min: 0, max: 2 }),
      fc.constant(null),
      fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 2 }),
    ),
    object: fc
      .uniqueArray(fc.tuple(key, tie('tree')), { selector: ([name]) => name, maxLength: 4 })
      .map((entries) =>
        JSON.parse(`{${entries.map(([name, v]) => `${JSON.stringify(name)}:${JSON.stringify(v)}`).join()}}`),
      ),
    tree: fc.oneof({ maxDepth: 3 }, tie('leaf'), tie('object')),
  }))
  const data = value.object

  test('is what a simple model says', () => {
    fc.assert(
      fc.property(data, data, data, (mine, theirs, seen) => {
        expect(sorted(merge(mine, theirs, seen))).toBe(sorted(model(mine, theirs, seen)))
      }),
      { numRuns: 3000 },
    )
  })

  test('changes nothing of what it is given, and mine alone or theirs alone is the whole difference', () => {
    fc.assert(
      fc.property(data, data, data, (mine, theirs, seen) => {
        const before = JSON.stringify([mine, theirs, seen])
        merge(mine, theirs, seen)
        expect(JSON.stringify([mine, theirs, seen])).toBe(before)
        expect(sorted(merge(mine, seen, seen))).toBe(sorted(mine))
        expect(sorted(merge(seen, theirs, seen))).toBe(sorted(theirs))
        expect(sorted(merge(mine, mine, seen))).toBe(sorted(mine))
      }),
      { numRuns: 1000 },
    )
  })

  test('never brings back a key that either side has deleted', () => {
    fc.assert(
      fc.property(data, data, data, (mine, theirs, seen) => {
        const result = merge(mine, theirs, seen) as object
        for (const name of Object.keys(seen as object)) {
          const gone = !Object.hasOwn(mine as object, name) || !Object.hasOwn(theirs as object, name)
          if (gone) expect(Object.hasOwn(result, name)).toBe(false)
        }
      }),
      { numRuns: 1000 },
    )
  })
})

/** By paths: the same rules in another way of thinking. Objects are the set of their keys; leaves are texts. */
function model(mine: unknown, theirs: unknown, seen: unknown): unknown {
  const isObject = (v: unknown): v is Record<string, unknown> =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
  if (!isObject(mine) || !isObject(theirs)) return sorted(mine) === sorted(seen) ? theirs : mine
  const base = isObject(seen) ? seen : JSON.parse('{}')
  const result = new Map<string, unknown>()
  for (const name of new Set([...Object.keys(mine), ...Object.keys(theirs)])) {
    const [inMine, inTheirs, inSeen] = [mine, theirs, base].map((side) => Object.hasOwn(side, name))
    if (inMine && inTheirs)
      result.set(name, model(mine[name], theirs[name], inSeen ? base[name] : '\0nothing'))
    else if (!inSeen) result.set(name, inMine ? mine[name] : theirs[name])
  }
  return Object.fromEntries(result)
}

/** As text, whatever the order of keys. */
function sorted(v: unknown): string {
  if (Array.isArray(v)) return `[${v.map(sorted).join()}]`
  if (typeof v !== 'object' || v === null) return JSON.stringify(v) ?? 'undefined'
  return `{${Object.keys(v)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${sorted((v as Record<string, unknown>)[name])}`)
    .join()}}`
}
