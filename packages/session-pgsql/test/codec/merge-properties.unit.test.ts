import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { merge } from '../../src/codec/merge.ts'

interface Item {
  readonly id: number
  readonly n: number
}

const mergeLists = <T>(ours: T[], theirs: T[], base: T[]): T[] =>
  merge({ list: ours }, { list: theirs }, { list: base }).list

const items = fc.uniqueArray(fc.record({ id: fc.nat(9), n: fc.nat(3) }), {
  selector: ({ id }) => id,
  maxLength: 7,
})
const texts = (alphabet: string, maxLength = 7) => fc.array(fc.constantFrom(...alphabet), { maxLength })
const sets = fc.uniqueArray(fc.constantFrom(...'abcdefghi'), { maxLength: 7 })

const RUNS = { numRuns: 3000 }

const ids = (list: readonly Item[]): number[] => list.map(({ id }) => id)
/** One assertion for each sample: one for each element is most of the time of a run. */
const expectNone = (elements: readonly unknown[]): void => expect(elements).toEqual([])
const count = <T>(list: readonly T[], value: T): number => list.filter((element) => element === value).length

/** A side that shares nothing with the base assigned the list. */
const isReplaced = <T>(side: readonly T[], base: readonly T[]): boolean =>
  base.length > 0 && !side.some((element) => base.includes(element))

/** Whether ours is stored whole, because it was assigned. */
const isOursWhole = <T>(ours: readonly T[], theirs: readonly T[], base: readonly T[]): boolean =>
  isReplaced(ours, base) && (isReplaced(theirs, base) || (base.length > 1 && ours.length > 1))

/** The list without one element for each of the others that is equal to it. */
function without<T>(list: readonly T[], others: readonly T[]): T[] {
  const rest = [...list]
  for (const other of others) if (rest.includes(other)) rest.splice(rest.indexOf(other), 1)
  return rest
}

/** Whether a side put elements, new or moved ones, in front of the base and dropped as many at its end. */
const slides = <T>(side: readonly T[], base: readonly T[]): boolean =>
  isReplaced(side, base) ||
  side.some((_, place) => {
    const [added, kept] = [side.slice(0, place), side.slice(place)]
    // What was added may equal an element that stayed where it was, and is not moved then.
    const bases = [base, without(base, added)]
    return place > 0 && bases.some((rest) => kept.every((element, at) => element === rest[at]))
  })

/** Whether the lists are a window, which is cut: all of one length, and both sides slide from one end. */
function isWindow<T>(ours: readonly T[], theirs: readonly T[], base: readonly T[]): boolean {
  if (ours.length !== base.length || theirs.length !== base.length) return false
  const [o, t, b] = [ours, theirs, base].map((list) => list.toReversed()) as [T[], T[], T[]]
  return (slides(ours, base) && slides(theirs, base)) || (slides(o, b) && slides(t, b))
}

describe('merging lists', () => {
  test('returns exactly the change of the only side that changed something', () => {
    const anything = fc.array(
      fc.oneof(fc.nat(3), fc.constantFrom('a', 'b'), fc.record({ x: fc.nat(2) }), items),
    )
    for (const lists of [items, texts('abc'), anything] as fc.Arbitrary<unknown[]>[]) {
      fc.assert(
        fc.property(lists, lists, (changed, base) => {
          const clone = structuredClone(base)
          expect(mergeLists(changed, clone, base)).toEqual(changed)
          expect(mergeLists(clone, changed, base)).toEqual(changed)
        }),
        RUNS,
      )
    }
  })

  test('keeps what either side inserted', () => {
    const check = <T>(ours: T[], theirs: T[], base: T[]): void => {
      fc.pre(!isOursWhole(ours, theirs, base) && !isWindow(ours, theirs, base))
      const result = mergeLists(ours, theirs, base)
      expectNone([...ours, ...theirs].filter((one) => !base.includes(one) && !result.includes(one)))
    }
    fc.assert(fc.property(sets, sets, sets, check), RUNS)
    fc.assert(fc.property(texts('abcdef'), texts('abcdef'), texts('abcdef'), check), RUNS)
    fc.assert(
      fc.property(items, items, items, (ours, theirs, base) => {
        const lists = [ours, theirs, base].map(ids) as [number[], number[], number[]]
        fc.pre(!isOursWhole(...lists) && !isWindow(...lists))
        const result = ids(mergeLists(ours, theirs, base))
        expectNone([...lists[0], ...lists[1]].filter((id) => !lists[2].includes(id) && !result.includes(id)))
      }),
      RUNS,
    )
  })

  test('brings back nothing that either side removed', () => {
    const check = <T>(ours: T[], theirs: T[], base: T[], result: T[]): void => {
      const removed = base.filter((element) => !ours.includes(element) || !theirs.includes(element))
      // Of several equal ones each side's are counted; see below.
      expectNone(removed.filter((element) => count(base, element) === 1 && result.includes(element)))
    }
    for (const lists of [sets, texts('abcd')]) {
      fc.assert(
        fc.property(lists, lists, lists, (ours, theirs, base) =>
          check(ours, theirs, base, mergeLists(ours, theirs, base)),
        ),
        RUNS,
      )
    }
    fc.assert(
      fc.property(items, items, items, (ours, theirs, base) =>
        check(ids(ours), ids(theirs), ids(base), ids(mergeLists(ours, theirs, base))),
      ),
      RUNS,
    )
  })

  test('keeps what both sides kept', () => {
    fc.assert(
      fc.property(sets, sets, sets, (ours, theirs, base) => {
        fc.pre(!isWindow(ours, theirs, base))
        const result = mergeLists(ours, theirs, base)
        const kept = base.filter((element) => ours.includes(element) && theirs.includes(element))
        expectNone(kept.filter((element) => !result.includes(element)))
      }),
      RUNS,
    )
  })

  test('has no element of a set, and no identity, twice', () => {
    fc.assert(
      fc.property(sets, sets, sets, (...lists) => {
        const result = mergeLists(...lists)
        expect(new Set(result).size).toBe(result.length)
      }),
      RUNS,
    )
    fc.assert(
      fc.property(items, items, items, (...lists) => {
        const result = ids(mergeLists(...lists))
        expect(new Set(result).size).toBe(result.length)
      }),
      RUNS,
    )
  })

  test('keeps changes of different elements, whatever else happened to the list', () => {
    const edits = fc.uniqueArray(fc.nat(9), { maxLength: 4 })
    const orders = fc.infiniteStream(fc.nat(100)).map((stream) => <T>(list: T[]): T[] => {
      const keyed = list.map((element) => [stream.next().value as number, element] as const)
      return keyed.sort(([one], [other]) => one - other).map(([, element]) => element)
    })
    fc.assert(
      fc.property(
        items,
        edits,
        edits,
        orders,
        orders,
        items,
        (base, ours, theirs, order, otherOrder, more) => {
          const change = (list: Item[], own: number[], n: number): Item[] =>
            list.map((element) => (own.includes(element.id) ? { ...element, n } : element))
          const added = more.map(({ id, n }) => ({ id: id + 100, n }))
          const theirOwn = theirs.filter((id) => !ours.includes(id))
          const result = mergeLists(
            [...order(change(base, ours, 77)), ...added],
            otherOrder(change(base, theirOwn, 88)),
            base,
          )
          for (const { id } of result.filter(({ id }) => id < 100)) {
            const before = base.find((element) => element.id === id) as Item
            const expected = ours.includes(id) ? 77 : theirOwn.includes(id) ? 88 : before.n
            expect(result.find((element) => element.id === id)?.n).toBe(expected)
          }
          expect(
            ids(result)
              .filter((id) => id < 100)
              .sort(),
          ).toEqual(ids(base).sort())
        },
      ),
      RUNS,
    )
  })

  test('counts what each side removed and inserted of equal elements', () => {
    const lists = texts('aab', 8)
    fc.assert(
      fc.property(lists, lists, lists, (ours, theirs, base) => {
        fc.pre(!isOursWhole(ours, theirs, base) && !isWindow(ours, theirs, base))
        const result = mergeLists(ours, theirs, base)
        for (const value of ['a', 'b']) {
          const [o, t, b] = [ours, theirs, base].map((list) => count(list, value)) as [number, number, number]
          if (b > 1) expect(count(result, value)).toBe(Math.max(t + o - b, Math.min(t, o, 1)))
        }
      }),
      RUNS,
    )
  })

  test('keeps sorted sets sorted', () => {
    const numbers = fc
      .uniqueArray(fc.nat(30), { maxLength: 8 })
      .map((list) => list.sort((one, other) => one - other))
    fc.assert(
      fc.property(numbers, numbers, numbers, (ours, theirs, base) => {
        const result = mergeLists(ours, theirs, base)
        expect(result).toEqual([...new Set(result)].sort((one, other) => one - other))
      }),
      RUNS,
    )
  })

  test('keeps the order that both sides left', () => {
    fc.assert(
      fc.property(sets, sets, (base, inserted) => {
        const add = (list: string[], prefix: string): string[] =>
          list.flatMap((element, place) =>
            inserted.includes(String.fromCharCode(97 + place)) ? [`${prefix}${place}`, element] : [element],
          )
        const result = mergeLists(add(base, 'o'), add(base, 't'), base)
        expect(result.filter((element) => base.includes(element))).toEqual(base)
        expect(result.filter((element) => element.startsWith('o') && element.length > 1)).toEqual(
          add(base, 'o').filter((element) => !base.includes(element)),
        )
      }),
      RUNS,
    )
  })
})

describe('the changes of three writers, one merged after the other', () => {
  const ORDERS = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ] as const

  /**
   * Calls `check` with what each order of the writers leaves. Each write is merged once, from its base, into what is stored.
   *
   * @param namesOf the identities of the elements
   * @param isExcepted whether the names of the three lists of a merge make this sample another case
   */
  function inEveryOrder<T, Name>(
    lists: fc.Arbitrary<T[]>,
    namesOf: (list: readonly T[]) => Name[],
    isExcepted: typeof isWindow<Name>,
    check: (stored: Name[], writers: readonly Name[][], base: Name[]) => void,
  ): void {
    fc.assert(
      fc.property(fc.tuple(lists, lists, lists), lists, (writers, base) => {
        const names = writers.map(namesOf)
        const left = ORDERS.map(([first, ...later]) =>
          later.reduce((stored, next) => {
            fc.pre(!isExcepted(names[next] as Name[], namesOf(stored), namesOf(base)))
            return mergeLists(writers[next], stored, base)
          }, writers[first]),
        )
        for (const stored of left) check(namesOf(stored), names, namesOf(base))
      }),
      RUNS,
    )
  }

  test('leave the same identities in every order: all inserted ones, and those that none removed', () => {
    const isExcepted = <T>(ours: readonly T[], theirs: readonly T[], base: readonly T[]): boolean =>
      isOursWhole(ours, theirs, base) || isWindow(ours, theirs, base)
    const check = <T>(stored: T[], writers: readonly T[][], base: T[]): void => {
      const kept = base.filter((element) => writers.every((list) => list.includes(element)))
      const inserted = writers.flat().filter((element) => !base.includes(element))
      expect(stored.toSorted()).toEqual([...new Set([...kept, ...inserted])].sort())
    }
    inEveryOrder(items, ids, isExcepted, check)
    inEveryOrder(sets, (list) => [...list], isExcepted, check)
  })

  test('bring back nothing that one of them removed, in any order', () => {
    const check = <T>(stored: T[], writers: readonly T[][], base: T[]): void => {
      const removed = base.filter((element) => writers.some((list) => !list.includes(element)))
      expectNone(removed.filter((element) => count(base, element) === 1 && stored.includes(element)))
    }
    const never = (): boolean => false
    inEveryOrder(items, ids, never, check)
    for (const lists of [sets, texts('abcd')]) inEveryOrder(lists, (list) => [...list], never, check)
  })
})

describe('deleting a key', () => {
  test('beats any change below it, in either order', () => {
    const value = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        fc.nat(2),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom('a', 'b', 'id'), tie('tree'), { maxKeys: 3 }),
      ),
    })).tree
    const path = fc.array(fc.constantFrom('p', 'q'), { minLength: 1, maxLength: 3 })
    const at = (path: readonly string[], value: unknown): object =>
      path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as object
    fc.assert(
      fc.property(path, value, value, (path, before, changed) => {
        const base = at(path, { gone: before, kept: 1 })
        const deleted = at(path, { kept: 1 })
        expect(merge(at(path, { gone: changed, kept: 1 }), deleted, base)).toEqual(deleted)
        expect(merge(deleted, at(path, { gone: changed, kept: 1 }), base)).toEqual(deleted)
      }),
      RUNS,
    )
  })
})

describe("one user's data", () => {
  test("is never mixed with another's", () => {
    /** Every field of a user says whose it is. */
    const user = fc
      .tuple(fc.nat(3), fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.nat(2), { maxKeys: 3 }))
      .map(([id, fields]) => ({
        id,
        ...Object.fromEntries(Object.entries(fields).map(([name, n]) => [name, `${id}:${n}`])),
      }))
    const session = fc.record(
      {
        user,
        others: fc.array(user, { maxLength: 4 }),
        friends: fc.uniqueArray(user, { selector: ({ id }) => id, maxLength: 4 }),
        deep: fc.record({ user }, { requiredKeys: [] }),
        mixed: fc.array(fc.oneof(user, fc.nat(2)), { maxLength: 4 }),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(session, session, session, (ours, theirs, base) => {
        const mixed: unknown[] = []
        const check = (value: unknown): void => {
          if (typeof value !== 'object' || value === null) return
          const { id, ...fields } = value as { id?: number }
          for (const inner of Object.values(Array.isArray(value) ? value : fields)) {
            check(inner)
            if (id !== undefined && !String(inner).startsWith(`${id}:`)) mixed.push(value)
          }
        }
        check(merge(ours, theirs, base))
        expectNone(mixed)
      }),
      { numRuns: 10_000 },
    )
  })
})
