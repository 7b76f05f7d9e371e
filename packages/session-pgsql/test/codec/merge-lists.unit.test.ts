import { describe, expect, test } from 'vitest'
import { merge } from '../../src/codec/merge.ts'

type List = unknown[]
type Case = [name: string, ours: List, theirs: List, base: List | undefined, expected: List]

/** Merges lists that lie under a key of a session; without a base the key is new. */
function merged(ours: List, theirs: List, base: List | undefined): unknown {
  const result = merge<{ list?: List }>(
    { list: ours },
    { list: theirs },
    base === undefined ? {} : { list: base },
  )
  return result.list
}

const check = (cases: Case[]): void => {
  test.each(cases)('%s', (_, ours, theirs, base, expected) => {
    expect(merged(ours, theirs, base)).toStrictEqual(expected)
  })
}

const item = (id: number, n = 1) => ({ id, n })

describe('a merge of two pushes', () => {
  check([
    ['keeps both, theirs first', ['x', 'b'], ['x', 'a'], ['x'], ['x', 'a', 'b']],
    ['keeps both of a list that is new', ['b'], ['a'], undefined, ['a', 'b']],
    ['keeps both of a list that was empty', ['b'], ['a'], [], ['a', 'b']],
    ['keeps both of a list that took the place of something else', ['b'], ['a'], undefined, ['a', 'b']],
    ['keeps a push onto a list that was shifted', ['y'], ['x', 'y', 'a'], ['x', 'y'], ['y', 'a']],
    ['keeps a push onto a list that was emptied', [], ['x', 'b'], ['x'], ['b']],
    ['keeps our push onto a list that they emptied', ['x', 'b'], [], ['x'], ['b']],
    ['keeps the order of several', ['z', 'b', 'a'], ['z', 'y', 'x'], ['z'], ['z', 'y', 'x', 'b', 'a']],
  ])
})

describe('a list whose elements have identity', () => {
  check([
    [
      'merges changes of different elements',
      [item(1, 5), item(2)],
      [item(1), item(2, 7)],
      [item(1), item(2)],
      [item(1, 5), item(2, 7)],
    ],
    [
      'merges changes of one element field by field',
      [{ id: 1, a: 2, b: 1 }],
      [{ id: 1, a: 1, b: 2 }],
      [{ id: 1, a: 1, b: 1 }],
      [{ id: 1, a: 2, b: 2 }],
    ],
    [
      'merges lists inside elements',
      [{ id: 1, tags: ['x', 'b'] }],
      [{ id: 1, tags: ['x', 'a'] }],
      [{ id: 1, tags: ['x'] }],
      [{ id: 1, tags: ['x', 'a', 'b'] }],
    ],
    ['takes ours of a scalar in an element', [item(1, 5)], [item(1, 7)], [item(1)], [item(1, 5)]],
    [
      'has an element once that both added, with both changes',
      [{ id: 1, a: 1 }],
      [{ id: 1, b: 1 }],
      [],
      [{ id: 1, b: 1, a: 1 }],
    ],
    ['does not bring back what they removed and we changed', [item(1, 5)], [], [item(1)], []],
    ['does not bring back what we removed and they changed', [], [item(1, 5)], [item(1)], []],
    [
      'does not bring back what they removed and we moved',
      [item(2), item(1)],
      [item(2)],
      [item(1), item(2)],
      [item(2)],
    ],
    [
      'keeps a move and a change of one element',
      [item(2), item(3), item(1)],
      [item(1, 9), item(2), item(3)],
      [item(1), item(2), item(3)],
      [item(2), item(3), item(1, 9)],
    ],
    [
      'knows an element after an element before it was removed',
      [item(2, 5)],
      [item(1), item(2), item(3)],
      [item(1), item(2)],
      [item(2, 5), item(3)],
    ],
    ['knows texts', [{ id: 'a', n: 2 }], [{ id: 'a', m: 2 }], [{ id: 'a' }], [{ id: 'a', m: 2, n: 2 }]],
    [
      'tells a number from a text',
      [item(1), { id: '1' }],
      [item(1, 2)],
      [item(1)],
      [item(1, 2), { id: '1' }],
    ],
    ...(['_id', 'uuid', 'key', 'sku'] as const).map(
      (field): Case => [
        `knows ${field}`,
        [{ [field]: 1, a: 2 }],
        [{ [field]: 1, b: 2 }],
        [{ [field]: 1 }],
        [{ [field]: 1, b: 2, a: 2 }],
      ],
    ),
    [
      'goes by the first field that is unique',
      [
        { id: 1, sku: 'a', n: 2 },
        { id: 1, sku: 'b' },
      ],
      [
        { id: 1, sku: 'a' },
        { id: 1, sku: 'b', n: 2 },
      ],
      [
        { id: 1, sku: 'a' },
        { id: 1, sku: 'b' },
      ],
      [
        { id: 1, sku: 'a', n: 2 },
        { id: 1, sku: 'b', n: 2 },
      ],
    ],
    [
      'goes by values if one element has no identity',
      [item(1, 5), { x: 1 }],
      [item(1), { x: 1 }, item(3)],
      [item(1), { x: 1 }],
      [item(1, 5), { x: 1 }, item(3)],
    ],
  ])
})

describe('a list of values', () => {
  check([
    ['keeps an insertion of either side', ['a', 'o', 'c'], ['a', 'c', 't'], ['a', 'c'], ['a', 'o', 'c', 't']],
    ['removes what either side removed', ['a', 'c'], ['a', 'b'], ['a', 'b', 'c'], ['a']],
    [
      'removes what one side removed and the other moved',
      ['c', 'a', 'b'],
      ['a', 'b'],
      ['a', 'b', 'c'],
      ['a', 'b'],
    ],
    [
      'does not bring back a revoked role when the list is sorted',
      ['admin', 'editor', 'viewer'],
      ['viewer', 'editor'],
      ['viewer', 'admin', 'editor'],
      ['editor', 'viewer'],
    ],
    [
      'keeps a granted role when the list is sorted',
      ['admin', 'viewer'],
      ['viewer', 'admin', 'billing'],
      ['viewer', 'admin'],
      ['admin', 'viewer', 'billing'],
    ],
    [
      'keeps what was appended behind what was sorted',
      ['a', 'b', 'c'],
      ['c', 'a', 'b', 'z'],
      ['c', 'a', 'b'],
      ['a', 'b', 'c', 'z'],
    ],
    [
      'knows objects by their values, in whatever order their keys stand',
      [{ b: 1, a: 1 }, { o: 1 }],
      [{ t: 1 }],
      [{ a: 1, b: 1 }],
      [{ t: 1 }, { o: 1 }],
    ],
    [
      'knows lists by their values',
      [[1, [2]], ['o']],
      [[1, [2]], ['t']],
      [[1, [2]]],
      [[1, [2]], ['t'], ['o']],
    ],
    [
      'tells a number and null from texts',
      [1, null, '1', 'null'],
      [1, null, 't'],
      [1, null],
      [1, null, 't', '1', 'null'],
    ],
    [
      'puts an edited value where it was',
      ['a', 'B', 'c'],
      ['a', 'b', 'c', 't'],
      ['a', 'b', 'c'],
      ['a', 'B', 'c', 't'],
    ],
    ['puts two edited values where they were', ['A', 'b'], ['a', 'B'], ['a', 'b'], ['A', 'B']],
    [
      'keeps both edits of a scalar: which of them was meant cannot be told',
      ['o', 'b'],
      ['t', 'b'],
      ['x', 'b'],
      ['t', 'o', 'b'],
    ],
  ])
})

describe('the order', () => {
  check([
    ['has ours first at the head', ['o', 'x'], ['t', 'x'], ['x'], ['o', 't', 'x']],
    ['has theirs first elsewhere', ['x', 'o', 'y'], ['x', 't', 'y'], ['x', 'y'], ['x', 't', 'o', 'y']],
    ['follows a move', ['c', 'a', 'b'], ['a', 'b', 'c', 't'], ['a', 'b', 'c'], ['c', 'a', 'b', 't']],
    ['follows their move', ['a', 'b', 'c', 'o'], ['c', 'a', 'b'], ['a', 'b', 'c'], ['c', 'a', 'b', 'o']],
    [
      'follows moves of different elements',
      ['d', 'a', 'b', 'c', 'e'],
      ['b', 'c', 'd', 'e', 'a'],
      ['a', 'b', 'c', 'd', 'e'],
      ['d', 'b', 'c', 'e', 'a'],
    ],
    [
      'has an element once that both moved, where we moved it',
      ['b', 'c', 'd', 'a'],
      ['b', 'a', 'c', 'd'],
      ['a', 'b', 'c', 'd'],
      ['b', 'c', 'd', 'a'],
    ],
    ['stays sorted', [1, 6, 9, 12, 15], [1, 4, 9, 12], [1, 9, 12, 15], [1, 4, 6, 9, 12]],
    ['stays sorted where both inserted at one place', [10, 30, 40], [10, 20, 40], [10, 40], [10, 20, 30, 40]],
    [
      'does not sort new messages into each other that are in order by chance',
      ['a', 'c'],
      ['b', 'd'],
      [],
      ['b', 'd', 'a', 'c'],
    ],
    ['stays sorted, texts too', ['a', 'c', 'x'], ['a', 'b', 'x'], ['a', 'x'], ['a', 'b', 'c', 'x']],
    [
      'stays sorted and has a number once that both inserted',
      [1, 2, 3, 4, 7],
      [1, 2, 3, 4, 7],
      [1, 2, 3, 4],
      [1, 2, 3, 4, 7],
    ],
  ])
})

describe('equal insertions', () => {
  check([
    ['are one string if the list has no string twice', ['x', 'a'], ['x', 'a'], ['x'], ['x', 'a']],
    [
      'are two strings if the list has one twice',
      ['x', 'x', 'a'],
      ['x', 'x', 'a'],
      ['x', 'x'],
      ['x', 'x', 'a', 'a'],
    ],
    ['are two numbers', [9, 1], [9, 1], [9], [9, 1, 1]],
    ['are two objects without identity', [{ n: 1 }], [{ n: 1 }], [], [{ n: 1 }, { n: 1 }]],
    ['are one if they are not at the end', [1, 9], [1, 9], [9], [1, 9]],
    ['are one object if they are not at the end', [{ n: 1 }, 9], [{ n: 1 }, 9], [9], [{ n: 1 }, 9]],
    [
      'stand where they stand, in front of the other',
      ['x', 'a', 'o'],
      ['x', 't', 'a'],
      ['x'],
      ['x', 't', 'a', 'o'],
    ],
    ['stand where we put them at the head', [5, 8, 3], [7, 5, 3], [3], [5, 8, 7, 3]],
  ])
})

describe('objects without identity', () => {
  const product = (name: string, qty: number) => ({ name, price: 3, qty })
  check([
    [
      'are merged field by field if most fields agree',
      [{ a: 1, b: 1, c: 1, d: 2 }],
      [{ a: 1, b: 1, c: 2, d: 1 }],
      [{ a: 1, b: 1, c: 1, d: 1 }],
      [{ a: 1, b: 1, c: 2, d: 2 }],
    ],
    [
      'are changed at different places',
      [product('a', 5), product('b', 1)],
      [product('a', 1), product('b', 7)],
      [product('a', 1), product('b', 1)],
      [product('a', 5), product('b', 7)],
    ],
    [
      'are not paired if half of the fields agree',
      [{ a: 1, b: 2 }],
      [{ a: 1, b: 3 }],
      [{ a: 1, b: 1 }],
      [{ a: 1, b: 2 }],
    ],
    [
      'are not paired if the lists have different lengths',
      [product('a', 5)],
      [product('a', 1), product('b', 1)],
      [product('a', 1)],
      [product('a', 5), product('b', 1)],
    ],
    [
      'are not paired if their identities differ',
      [{ id: 2, a: 1, b: 1, c: 1 }, 'x'],
      [{ id: 1, a: 1, b: 1, c: 2 }, 'x'],
      [{ id: 1, a: 1, b: 1, c: 1 }, 'x'],
      [{ id: 2, a: 1, b: 1, c: 1 }, 'x'],
    ],
  ])
})

describe('a list that was replaced', () => {
  check([
    ['is ours if both replaced it', ['o'], ['t'], ['x'], ['o']],
    ['is ours if both replaced it, one by nothing', [], ['t'], ['x'], []],
    ['is ours if we replaced two elements by two', ['o', 'p'], ['x', 'y', 't'], ['x', 'y'], ['o', 'p']],
    ['is merged if the base had one element', ['o', 'p'], ['x', 't'], ['x'], ['o', 'p', 't']],
    [
      'is merged if we put in one element: after reading flash messages',
      ['o'],
      ['x', 'y', 't'],
      ['x', 'y'],
      ['o', 't'],
    ],
    ['is merged if they replaced it', ['x', 'y', 'o'], ['s', 't'], ['x', 'y'], ['s', 't', 'o']],
    [
      'is ours if the elements have identity',
      [item(8), item(9)],
      [item(1), item(2), item(3)],
      [item(1), item(2)],
      [item(8), item(9)],
    ],
  ])
})

describe('two to four numbers', () => {
  check([
    ['are ours if both changed them', [50.1, 8.2], [48.9, 2.3], [48.1, 2.2], [50.1, 8.2]],
    ['are ours if each changed another', [50.1, 2.2], [48.1, 2.3], [48.1, 2.2], [50.1, 2.2]],
    ['are theirs if we did not change them', [48.1, 2.2], [48.9, 2.3], [48.1, 2.2], [48.9, 2.3]],
    ['are ours of four', [1, 2, 30, 40], [10, 20, 3, 4], [1, 2, 3, 4], [1, 2, 30, 40]],
    ['are a list if the length differs', [9, 2, 1], [9, 3], [9, 2], [9, 3, 1]],
    ['are a list from five on', [0, 9, 8, 7, 1], [5, 9, 8, 7, 6], [5, 9, 8, 7, 1], [0, 9, 8, 7, 6]],
  ])
})

describe('a window', () => {
  check([
    [
      'keeps its length if both pushed at the end',
      ['y', 'x', 'o'],
      ['y', 'x', 't'],
      ['z', 'y', 'x'],
      ['x', 't', 'o'],
    ],
    [
      'keeps its length if both pushed different counts',
      ['w', 'o', 'p', 'q'],
      ['y', 'x', 'w', 't'],
      ['z', 'y', 'x', 'w'],
      ['t', 'o', 'p', 'q'],
    ],
    [
      'keeps its length if both pushed at the head',
      ['o', 'a', 'b'],
      ['t', 'a', 'b'],
      ['a', 'b', 'c'],
      ['o', 't', 'a'],
    ],
    [
      'keeps its length if one moved an element to the head',
      ['b', 'o', 'a'],
      ['t', 'a', 'b'],
      ['a', 'b', 'c'],
      ['b', 'o', 't'],
    ],
    [
      'keeps its length if both pushed an element that it has already',
      ['a', 'a', 'a'],
      ['a', 'a', 'a'],
      ['b', 'a', 'a'],
      ['a', 'a', 'a'],
    ],
    [
      'is none if one side did not drop as many',
      ['y', 'x', 'o'],
      ['z', 'y', 'x', 't'],
      ['z', 'y', 'x'],
      ['y', 'x', 't', 'o'],
    ],
    [
      'is none if the sides dropped at different ends',
      ['b', 'c', 'o'],
      ['t', 'a', 'b'],
      ['a', 'b', 'c'],
      ['t', 'b', 'o'],
    ],
    [
      'is none if elements were replaced in place',
      ['z', 'o', 'x', 'w'],
      ['z', 'y', 't', 'w'],
      ['z', 'y', 'x', 'w'],
      ['z', 'o', 't', 'w'],
    ],
  ])
})

describe('duplicates', () => {
  const many = (count: number, ...more: string[]) => [...Array(count).fill('x'), ...more]
  check([
    ['are counted if both removed one', many(2, 'y'), many(2, 'y'), many(3, 'y'), many(1, 'y')],
    ['are counted if both inserted one', many(3, 'y'), many(3, 'y'), many(2, 'y'), many(4, 'y')],
    ['are counted if one inserted and one removed', many(3, 'y'), many(1, 'y'), many(2, 'y'), many(2, 'y')],
    ['keep one that both kept', many(1, 'y'), many(1, 'y'), many(4, 'y'), many(1, 'y')],
    ['are all gone if one side removed all', ['y'], many(2, 'y', 'z'), many(2, 'y'), ['y', 'z']],
    ['are gone if one side removed the only one', ['y'], many(2, 'y'), many(1, 'y'), ['y']],
    [
      'are counted with those at the ends',
      ['x', 'a', 'x', 'b', 'x'],
      ['x', 'a', 'x'],
      ['x', 'a', 'b', 'x', 'x'],
      ['x', 'a', 'x'],
    ],
  ])
})

describe('a list nested in a list', () => {
  test('is merged through objects with identity to any depth', () => {
    const order = (...lines: object[]) => ({ orders: [{ id: 'a', lines }] })
    expect(
      merge(
        order({ sku: 1, n: 5 }, { sku: 2, n: 1 }),
        order({ sku: 1, n: 1 }, { sku: 2, n: 7 }),
        order({ sku: 1, n: 1 }, { sku: 2, n: 1 }),
      ),
    ).toEqual(order({ sku: 1, n: 5 }, { sku: 2, n: 7 }))
  })
})
