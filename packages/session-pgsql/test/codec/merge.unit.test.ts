import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { merge } from '../../src/codec/merge.ts'

describe('merge', () => {
  test.each([
    ['keeps what neither side changed', { a: 1 }, { a: 1 }, { a: 1 }, { a: 1 }],
    ['keeps the keys that each side added', { a: 1, o: 1 }, { a: 1, t: 1 }, { a: 1 }, { a: 1, t: 1, o: 1 }],
    ['takes ours of a scalar that both sides changed', { a: 2 }, { a: 3 }, { a: 1 }, { a: 2 }],
    ['takes ours of a scalar that both sides added', { a: 2 }, { a: 3 }, {}, { a: 2 }],
    ['lets our deletion beat their change', {}, { u: { seen: 2 } }, { u: { seen: 1 } }, {}],
    ['lets their deletion beat our change', { u: { seen: 2 } }, {}, { u: { seen: 1 } }, {}],
    ['deletes what both sides deleted', {}, {}, { a: 1 }, {}],
    ['deletes deep inside', { u: { a: 1 } }, { u: { a: 2, b: 2 } }, { u: { a: 1, b: 1 } }, { u: { a: 2 } }],
    [
      'merges objects inside objects',
      { u: { a: 2, b: 1 } },
      { u: { a: 1, b: 2 } },
      { u: { a: 1, b: 1 } },
      { u: { a: 2, b: 2 } },
    ],
    ['merges an object that both sides added', { u: { a: 1 } }, { u: { b: 1 } }, {}, { u: { b: 1, a: 1 } }],
    ['takes null for a value', { a: null }, { a: 1 }, { a: 1 }, { a: null }],
    ['merges data that is a list', ['z', 'o'], ['z', 't'], ['z'], ['z', 't', 'o']],
    ['takes data of another kind whole', { a: 1 }, [2], [1], { a: 1 }],
    // Deleting a key beats everything below it, lists included.
    [
      'lets their deletion of a list beat our push',
      { permissions: ['a', 'o'] },
      {},
      { permissions: ['a'] },
      {},
    ],
    [
      'lets our deletion of a list beat their push',
      {},
      { permissions: ['a', 't'] },
      { permissions: ['a'] },
      {},
    ],
    [
      'keeps a push onto a list that the other side emptied',
      { permissions: [] },
      { permissions: ['a', 'admin'] },
      { permissions: ['a'] },
      { permissions: ['admin'] },
    ],
    // As a deletion does: it is how some applications delete.
    [
      'lets their null beat our change of the object that was there',
      { user: { name: 'ada', seen: 2 } },
      { user: null },
      { user: { name: 'ada', seen: 1 } },
      { user: null },
    ],
    [
      'lets our null beat their change of the object that was there',
      { user: null },
      { user: { name: 'ada', seen: 2 } },
      { user: { name: 'ada', seen: 1 } },
      { user: null },
    ],
    ['lets their null beat our push', { l: ['a', 'o'] }, { l: null }, { l: ['a'] }, { l: null }],
    [
      'lets their object replace a list that we changed',
      { l: ['a', 'o'] },
      { l: {} },
      { l: ['a'] },
      { l: {} },
    ],
    ['takes ours if both replaced an object', { u: 1 }, { u: 2 }, { u: { a: 1 } }, { u: 1 }],
    [
      'merges objects that both put in place of a scalar',
      { u: { o: 1 } },
      { u: { t: 1 } },
      { u: 0 },
      { u: { t: 1, o: 1 } },
    ],
  ])('%s', (_, ours, theirs, base, expected) => {
    expect(merge<unknown>(ours, theirs, base)).toStrictEqual(expected)
  })

  describe('of objects with identity', () => {
    const user = (id: unknown, more = {}) => ({ user: { id, ...more } })
    test.each([
      ['takes ours of two logins', user(2), user(1, { su: true }), {}, user(2)],
      ['takes ours of two logins after a third', user(2), user(1, { su: true }), user(0), user(2)],
      ['takes our login, not the change of whom it replaced', user(2), user(0, { n: 1 }), user(0), user(2)],
      ['takes their login, not our change of whom it replaced', user(0, { n: 1 }), user(2), user(0), user(2)],
      ['tells a number from a text', user('1'), user(1, { su: true }), {}, user('1')],
      ['merges changes of one user', user(1, { o: 1 }), user(1, { t: 1 }), user(1), user(1, { t: 1, o: 1 })],
      [
        'merges a change with the login of a guest',
        { user: { cart: 1 } },
        { user: { id: 1 } },
        { user: {} },
        { user: { id: 1, cart: 1 } },
      ],
      ['knows _id', { u: { _id: 'b' } }, { u: { _id: 'a', x: 1 } }, {}, { u: { _id: 'b' } }],
      ['knows uuid', { u: { uuid: 'b' } }, { u: { uuid: 'a', x: 1 } }, {}, { u: { uuid: 'b' } }],
      ['knows key', { u: { key: 'b' } }, { u: { key: 'a', x: 1 } }, {}, { u: { key: 'b' } }],
      ['knows sku', { u: { sku: 'b' } }, { u: { sku: 'a', x: 1 } }, {}, { u: { sku: 'b' } }],
      [
        'goes by the first of them',
        { u: { id: 1, key: 'b' } },
        { u: { id: 1, key: 'a', x: 1 } },
        {},
        { u: { id: 1, key: 'b', x: 1 } },
      ],
      [
        'takes no object for an identity',
        { u: { id: { a: 1 } } },
        { u: { id: { b: 1 } } },
        {},
        { u: { id: { b: 1, a: 1 } } },
      ],
      // PHP: $_SESSION['id'] = 2.
      ['takes ours of two logins at the top level', { id: 2 }, { id: 1, su: true }, {}, { id: 2 }],
      [
        'merges with a session whose identity one side changed: it is the same session',
        { id: 1, cart: ['x'] },
        { id: 2, cart: [] },
        { id: 1, cart: [] },
        { id: 2, cart: ['x'] },
      ],
    ])('%s', (_, ours, theirs, base, expected) => {
      expect(merge<unknown>(ours, theirs, base)).toStrictEqual(expected)
    })
  })

  test('takes keys that are tied together from one side', () => {
    const base = { a: 1, b: 1, c: 1 }
    const tied = [['a', 'b']]
    expect(merge({ ...base, a: 2 }, { ...base, b: 3, c: 3 }, base, { tied })).toEqual({ a: 2, b: 1, c: 3 })
    expect(merge(base, { ...base, b: 3 }, base, { tied })).toEqual({ a: 1, b: 3, c: 1 })
    expect(merge({ a: 2, b: 1 }, { a: 1, b: 1 }, { a: 1, b: 1 }, { tied: [['a', 'b', 'absent']] })).toEqual({
      a: 2,
      b: 1,
    })
    expect(merge({ a: 2, b: 1, c: 1 }, { a: 1, b: 3, c: 3 }, base, { tied: [...tied, ['c', 'b']] })).toEqual({
      a: 2,
      b: 1,
      c: 1,
    })
  })

  test('deletes a key that one side deleted, though it is tied to one that the other changed', () => {
    const base: Record<string, number> = { user: 1, order: 1 }
    const tied = [['user', 'order']]
    expect(merge({ user: 2, order: 2 }, { order: 1 }, base, { tied })).toEqual({ order: 2 })
    expect(merge({ order: 2 }, { user: 2, order: 1 }, base, { tied })).toEqual({ order: 2 })
  })

  test('takes a key named __proto__ for data', () => {
    const result = merge(JSON.parse('{"__proto__":{"a":1}}'), JSON.parse('{"b":1}'), {})
    expect(JSON.stringify(result)).toBe('{"b":1,"__proto__":{"a":1}}')
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype)
  })

  test('takes instances of classes whole', () => {
    class Money {
      readonly amount: number
      constructor(amount: number) {
        this.amount = amount
      }
    }
    const [ours, theirs, base] = [new Money(2), new Money(3), new Money(1)]
    expect(merge({ m: ours }, { m: theirs }, { m: base })).toEqual({ m: ours })
    expect(merge({ m: new Money(1) }, { m: theirs }, { m: base })).toEqual({ m: theirs })
    const at = (...times: number[]) => ({ at: times.map((time) => new Date(time)) })
    expect(merge(at(1, 2), at(1, 3), at(1))).toEqual(at(1, 3, 2))
  })

  const key = fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor')
  const dataOf = (leaf: fc.Arbitrary<unknown>) =>
    fc.letrec<{ tree: unknown; object: unknown }>((tie) => ({
      object: fc
        .uniqueArray(fc.tuple(key, tie('tree')), { selector: ([name]) => name, maxLength: 4 })
        .map((entries) =>
          JSON.parse(
            `{${entries.map(([name, v]) => `${JSON.stringify(name)}:${JSON.stringify(v)}`).join()}}`,
          ),
        ),
      tree: fc.oneof({ maxDepth: 3 }, leaf, tie('object')),
    })).object
  const scalar = fc.oneof(fc.integer({ min: 0, max: 2 }), fc.constant(null))
  const data = dataOf(scalar)
  const withLists = dataOf(fc.oneof(scalar, fc.array(fc.oneof(scalar, data), { maxLength: 4 })))

  test('does with objects and scalars what a simple model says', () => {
    fc.assert(
      fc.property(data, data, data, (ours, theirs, base) => {
        expect(sorted(merge(ours, theirs, base))).toBe(sorted(model(ours, theirs, base)))
      }),
      { numRuns: 3000 },
    )
  })

  test('changes none of its arguments, and returns exactly the change of one side', () => {
    fc.assert(
      fc.property(withLists, withLists, withLists, (ours, theirs, base) => {
        const before = JSON.stringify([ours, theirs, base])
        merge(ours, theirs, base)
        expect(JSON.stringify([ours, theirs, base])).toBe(before)
        expect(sorted(merge(ours, base, base))).toBe(sorted(ours))
        expect(sorted(merge(base, theirs, base))).toBe(sorted(theirs))
      }),
      { numRuns: 2000 },
    )
  })

  test('brings back no key that either side deleted', () => {
    fc.assert(
      fc.property(withLists, withLists, withLists, (ours, theirs, base) => {
        const result = merge(ours, theirs, base) as object
        for (const name of Object.keys(base as object)) {
          const isDeleted = !Object.hasOwn(ours as object, name) || !Object.hasOwn(theirs as object, name)
          if (isDeleted) expect(Object.hasOwn(result, name)).toBe(false)
        }
      }),
      { numRuns: 1000 },
    )
  })
})

/** The rules for objects and scalars, stated another way: an object is the set of its keys, a leaf is a text. */
function model(ours: unknown, theirs: unknown, base: unknown): unknown {
  const isObject = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null
  if (!isObject(ours) || !isObject(theirs)) {
    if (isObject(base) && isObject(ours) !== isObject(theirs)) return isObject(ours) ? theirs : ours
    return sorted(ours) === sorted(base) ? theirs : ours
  }
  const before = isObject(base) ? base : JSON.parse('{}')
  const result = new Map<string, unknown>()
  for (const name of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const [inOurs, inTheirs, inBase] = [ours, theirs, before].map((side) => Object.hasOwn(side, name))
    if (inOurs && inTheirs)
      result.set(name, model(ours[name], theirs[name], inBase ? before[name] : '\0nothing'))
    else if (!inBase) result.set(name, inOurs ? ours[name] : theirs[name])
  }
  return Object.fromEntries(result)
}

/** As text, in whatever order the keys stand. */
function sorted(v: unknown): string {
  if (Array.isArray(v)) return `[${v.map(sorted).join()}]`
  if (typeof v !== 'object' || v === null) return JSON.stringify(v) ?? 'undefined'
  return `{${Object.keys(v)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${sorted((v as Record<string, unknown>)[name])}`)
    .join()}}`
}
