import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { phpCodec } from '../../src/codec/php.ts'
import { PhpArray, PhpCustom, PhpEnum, PhpFloat, PhpObject } from '../../src/codec/php-values.ts'

/** A PHP array with these pairs. */
const array = (...pairs: [number | bigint | string, unknown][]) => new PhpArray(pairs)

/** Merges three versions of one variable as they are after they were stored and read. Returns what would be stored. */
function merged(ours: unknown, theirs: unknown, base: unknown): string {
  const read = (value: unknown) => phpCodec.decode(phpCodec.encode(value === undefined ? {} : { v: value }))
  return phpCodec.encode(phpCodec.merge(read(ours), read(theirs), read(base)))
}

const stored = (value: unknown): string => phpCodec.encode({ v: value })

type Case = [name: string, ours: unknown, theirs: unknown, base: unknown, expected: unknown]

const check = (cases: Case[]): void => {
  test.each(cases)('%s', (_, ours, theirs, base, expected) => {
    expect(merged(ours, theirs, base)).toBe(stored(expected))
  })
}

describe('a PHP list', () => {
  check([
    ['keeps both pushes', ['x', 'b'], ['x', 'a'], ['x'], ['x', 'a', 'b']],
    ['is renumbered after array_shift', ['y'], ['x', 'y', 'a'], ['x', 'y'], ['y', 'a']],
    ['is merged if it is new', ['b'], ['a'], undefined, ['a', 'b']],
    ['tells 1 from 1.0', [new PhpFloat(1), 'o'], [1, 't'], [1], [new PhpFloat(1), 'o', 't']],
    [
      'knows elements by their id',
      [
        { id: 1, n: 5 },
        { id: 2, n: 1 },
      ],
      [
        { id: 1, n: 1 },
        { id: 2, n: 7 },
      ],
      [
        { id: 1, n: 1 },
        { id: 2, n: 1 },
      ],
      [
        { id: 1, n: 5 },
        { id: 2, n: 7 },
      ],
    ],
    ['is ours if it is a point', [new PhpFloat(2), 8.5], [3, 9.5], [1, 7.5], [new PhpFloat(2), 8.5]],
    [
      'keeps floats and bytes apart',
      [1.5, Buffer.from([255]), 'o'],
      [1.5, Buffer.from([255]), 't'],
      [1.5, Buffer.from([255])],
      [1.5, Buffer.from([255]), 't', 'o'],
    ],
    [
      'knows enums and objects of classes by their values',
      [new PhpEnum('A', 'B'), new PhpObject('C', [['x', 1]]), new PhpCustom('D', 'p'), 'o'],
      [new PhpObject('C', [['x', 1]]), new PhpCustom('D', 'p')],
      [new PhpEnum('A', 'B'), new PhpObject('C', [['x', 1]]), new PhpCustom('D', 'p')],
      [new PhpObject('C', [['x', 1]]), new PhpCustom('D', 'p'), 'o'],
    ],
    [
      'knows objects of classes by their id, and takes them whole',
      [
        new PhpObject('P', [
          ['id', 1],
          ['qty', 5],
        ]),
        new PhpObject('P', [
          ['id', 2],
          ['qty', 1],
        ]),
      ],
      [
        new PhpObject('P', [
          ['id', 1],
          ['qty', 7],
        ]),
        new PhpObject('P', [
          ['id', 2],
          ['qty', 7],
        ]),
      ],
      [
        new PhpObject('P', [
          ['id', 1],
          ['qty', 1],
        ]),
        new PhpObject('P', [
          ['id', 2],
          ['qty', 1],
        ]),
      ],
      [
        new PhpObject('P', [
          ['id', 1],
          ['qty', 5],
        ]),
        new PhpObject('P', [
          ['id', 2],
          ['qty', 7],
        ]),
      ],
    ],
  ])
})

describe('a PHP array with integer keys that is not a list', () => {
  const base = array([3, 'c'], [5, 'e'])
  check([
    [
      'keeps what each side added',
      array([3, 'c'], [5, 'e'], [9, 'o']),
      array([3, 'c'], [5, 'e'], [7, 't']),
      base,
      array([3, 'c'], [5, 'e'], [7, 't'], [9, 'o']),
    ],
    ['does not bring back a removed key', array([3, 'c'], [5, 'E']), array([3, 'c']), base, array([3, 'c'])],
    [
      'keeps changes of different keys',
      array([3, 'C'], [5, 'e']),
      array([3, 'c'], [5, 'E']),
      base,
      array([3, 'C'], [5, 'E']),
    ],
    [
      'takes ours of a key that both changed',
      array([3, 'o'], [5, 'e']),
      array([3, 't'], [5, 'e']),
      base,
      array([3, 'o'], [5, 'e']),
    ],
    [
      'gives our push the next free key',
      array([3, 'c'], [5, 'e'], [6, 'o']),
      array([3, 'c'], [5, 'e'], [6, 't']),
      base,
      array([3, 'c'], [5, 'e'], [6, 't'], [7, 'o']),
    ],
    [
      'keeps the order of our pushes',
      array([3, 'c'], [5, 'e'], [6, 'o'], [7, 'p']),
      array([3, 'c'], [5, 'e'], [6, 't']),
      base,
      array([3, 'c'], [5, 'e'], [6, 't'], [7, 'o'], [8, 'p']),
    ],
    [
      'has a value once that both pushed',
      array([3, 'c'], [5, 'e'], [6, 'a']),
      array([3, 'c'], [5, 'e'], [6, 'a']),
      base,
      array([3, 'c'], [5, 'e'], [6, 'a']),
    ],
    [
      'merges an element that both pushed with one identity',
      array([3, 'c'], [4, { id: 1, o: 1 }]),
      array([3, 'c'], [4, { id: 1, t: 1 }]),
      array([3, 'c']),
      array([3, 'c'], [4, { id: 1, t: 1, o: 1 }]),
    ],
    // $_SESSION['cart'][17] = 2: the product is 17, whatever is free.
    ['takes ours of a key that both set', array([17, 2]), array([17, 1]), undefined, array([17, 2])],
    [
      'merges what both put under a key that they set',
      array([17, { o: 1 }]),
      array([17, { t: 1 }]),
      undefined,
      array([17, { t: 1, o: 1 }]),
    ],
    [
      'keeps pushes after the largest integer of PHP',
      array([2n ** 63n - 1n, 'c'], ['o', 1]),
      array([2n ** 63n - 1n, 'c'], ['t', 1]),
      array([2n ** 63n - 1n, 'c']),
      array([2n ** 63n - 1n, 'c'], ['t', 1], ['o', 1]),
    ],
    [
      'keeps a push under a key that the other side did not use',
      array([3, 'c'], [5, 'e'], ['s', 1], [6, 'o']),
      array([3, 'c'], [5, 'e'], [6, 't']),
      base,
      array([3, 'c'], [5, 'e'], [6, 't'], ['s', 1], [7, 'o']),
    ],
  ])
})

describe('a PHP list from which one side unset an element', () => {
  const base = ['a', 'b', 'c']
  const holes = array([0, 'a'], [2, 'c'])
  check([
    ['keeps the keys', ['a', 'b', 'c', 'o'], holes, base, array([0, 'a'], [2, 'c'], [3, 'o'])],
    ['keeps the keys if we unset it', holes, ['a', 'b', 'c', 't'], base, array([0, 'a'], [2, 'c'], [3, 't'])],
    ['keeps an edit of another', ['a', 'b', 'C'], holes, base, array([0, 'a'], [2, 'C'])],
    ['drops an edit of that one', ['a', 'B', 'c'], holes, base, holes],
    ['keeps what both unset', array([1, 'b'], [2, 'c']), holes, base, array([2, 'c'])],
    // Keys say nothing after a sort: by key, "admin" would be back.
    [
      'is renumbered if the other side sorted it',
      ['admin', 'editor', 'viewer'],
      array([0, 'viewer'], [2, 'editor']),
      ['viewer', 'admin', 'editor'],
      ['editor', 'viewer'],
    ],
    ['is renumbered if the other side shifted it', ['b', 'c'], holes, base, ['c']],
    ['is renumbered if one side did so and pushed', ['a', 'c', 'o'], array([0, 'a']), holes, ['a', 'o']],
  ])
})

describe('a PHP array with string keys', () => {
  check([
    ['is merged key by key', { a: 2, b: 1 }, { a: 1, b: 2 }, { a: 1, b: 1 }, { a: 2, b: 2 }],
    [
      'may have integer keys too',
      array(['x', 1], [7, 'o']),
      array(['x', 2]),
      array(['x', 1]),
      array(['x', 2], [7, 'o']),
    ],
    ['grows from the empty array', { o: 1 }, { t: 1 }, [], { t: 1, o: 1 }],
    ['keeps an addition to an array that was emptied', [], { a: 1, t: 1 }, { a: 1 }, { t: 1 }],
    ['keeps additions if they emptied it', { a: 1, o: 1 }, [], { a: 1 }, { o: 1 }],
    [
      'keeps the order of a side that sorted it',
      { b: 1, a: 1 },
      { a: 1, b: 2 },
      { a: 1, b: 1 },
      { b: 2, a: 1 },
    ],
    ['keeps the order of keys put in front', { o: 1, a: 1 }, { a: 2 }, { a: 1 }, { o: 1, a: 2 }],
    ['is not merged with that of another user', { id: 2 }, { id: 1, su: true }, [], { id: 2 }],
    ['may have a key __proto__', array(['__proto__', 1]), { t: 1 }, [], array(['t', 1], ['__proto__', 1])],
  ])

  test('gives way to a value of another kind, as to a deletion', () => {
    expect(merged({ name: 'ada', seen: 2 }, null, { name: 'ada', seen: 1 })).toBe(stored(null))
    expect(merged(null, { name: 'ada', seen: 2 }, { name: 'ada', seen: 1 })).toBe(stored(null))
  })
})

describe('PHP references', () => {
  const merge = (ours: string, theirs: string, base: string): string =>
    phpCodec.encode(phpCodec.merge(phpCodec.decode(ours), phpCodec.decode(theirs), phpCodec.decode(base)))

  test.each([
    [
      'keep a list whole',
      'l|a:3:{i:0;i:1;i:1;R:2;i:2;s:1:"o";}n|i:1;',
      'l|a:3:{i:0;i:1;i:1;R:2;i:2;s:1:"t";}n|i:2;',
      'l|a:2:{i:0;i:1;i:1;R:2;}n|i:1;',
      'l|a:3:{i:0;i:1;i:1;R:2;i:2;s:1:"o";}n|i:2;',
    ],
    [
      'keep tied variables together',
      'a|a:1:{i:0;i:2;}b|R:1;c|i:1;',
      'a|a:1:{i:0;i:3;}b|R:1;c|i:2;',
      'a|a:1:{i:0;i:1;}b|R:1;c|i:1;',
      'a|a:1:{i:0;i:2;}b|R:1;c|i:2;',
    ],
    [
      'are not walked in a base that they make a circle',
      'a|a:1:{s:1:"x";i:1;}b|i:1;',
      'a|a:1:{s:1:"x";i:2;}b|i:2;',
      'a|a:1:{s:1:"x";R:1;}b|i:1;',
      'a|a:1:{s:1:"x";i:1;}b|i:2;',
    ],
    [
      'are a change where there were none',
      'a|i:1;b|R:1;',
      'a|i:1;b|i:1;c|i:1;',
      'a|i:1;b|i:1;',
      'a|i:1;b|R:1;c|i:1;',
    ],
    [
      'do not bring back a variable that the other side unset',
      'user|O:1:"U":1:{s:4:"seen";i:2;}order|r:1;',
      'order|O:1:"U":1:{s:4:"seen";i:1;}',
      'user|O:1:"U":1:{s:4:"seen";i:1;}order|r:1;',
      'order|O:1:"U":1:{s:4:"seen";i:2;}',
    ],
  ])('%s', (_, ours, theirs, base, expected) => {
    expect(merge(ours, theirs, base)).toBe(expected)
  })

  test('leave the spelling of floats in an array that one side did not change', () => {
    const spelled = 'a|a:1:{i:0;d:0.10000000000000001;}'
    expect(merge(`${spelled}b|i:2;`, `${spelled}b|i:1;c|i:1;`, `${spelled}b|i:1;`)).toBe(
      `${spelled}b|i:2;c|i:1;`,
    )
  })
})

describe('merging PHP variables', () => {
  const scalar = fc.oneof(
    fc.nat(2),
    fc.constantFrom('a', 'b'),
    fc.constant(null),
    fc.constant(new PhpFloat(1)),
  )
  const values = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      scalar,
      fc.array(tie('value'), { maxLength: 4 }),
      fc
        .array(fc.tuple(fc.oneof(fc.nat(6), fc.constantFrom('a', 'id', '7')), tie('value')), { maxLength: 4 })
        .map((pairs) => array(...pairs)),
      fc
        .array(fc.tuple(fc.constantFrom('id', 'x'), scalar), { maxLength: 2 })
        .map((pairs) => new PhpObject('C', pairs)),
    ),
  })).value

  test('returns exactly the change of the only side that changed something, order included', () => {
    fc.assert(
      fc.property(values, values, (changed, base) => {
        expect(merged(changed, base, base)).toBe(stored(changed))
        expect(merged(base, changed, base)).toBe(stored(changed))
      }),
      { numRuns: 3000 },
    )
  })

  test('brings back no key of an array that either side removed, if the keys identify its elements', () => {
    // 9 is in none, so that it is never a list.
    const maps = fc
      .uniqueArray(fc.tuple(fc.nat(6), scalar), { selector: ([key]) => key, maxLength: 5 })
      .map((pairs) => array([9, 'x'], ...pairs))
    fc.assert(
      fc.property(maps, maps, maps, (ours, theirs, base) => {
        const result = phpCodec.decode(merged(ours, theirs, base)).v as PhpArray
        for (const key of base.keys()) {
          if (!ours.has(key) || !theirs.has(key)) expect(result.has(key)).toBe(false)
        }
        for (const key of [...ours.keys(), ...theirs.keys()])
          if (!base.has(key)) expect(result.has(key)).toBe(true)
      }),
      { numRuns: 3000 },
    )
  })

  test('stores any three versions', () => {
    fc.assert(
      fc.property(values, values, values, (ours, theirs, base) => {
        const text = merged(ours, theirs, base)
        expect(phpCodec.encode(phpCodec.decode(text))).toBe(text)
      }),
      { numRuns: 3000 },
    )
  })
})
