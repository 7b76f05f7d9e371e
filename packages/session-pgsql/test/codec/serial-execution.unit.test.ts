import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { expect, test } from 'vitest'
import { merge } from '../../src/codec/merge.ts'

/**
 * Two requests overlap, and each makes one realistic edit of the same list. How often is the merged list the one that
 * the requests would have stored one after the other, in one of the two orders? An edit that changes nothing is not
 * counted: there is nothing to merge then.
 *
 * Everything follows from a seed. SESSION_PGSQL_SERIAL_TABLE=1 prints the table in docs/merging.md.
 */

const PAIRS = 2000
const SEED = 42

type Random = () => number

/** What a request does to the list, whatever the list is by then. */
type Edit<T> = (list: readonly T[]) => readonly T[]

interface Scenario<T = unknown> {
  readonly name: string
  /** What the table says about it. */
  readonly edits: string
  readonly base: (random: Random) => readonly T[]
  readonly edit: (random: Random, base: readonly T[]) => Edit<T>
  /** Percent; slightly below what was measured. */
  readonly floor: number
}

const scenario = <T>(given: Scenario<T>): Scenario => given as unknown as Scenario

/** mulberry32: small, and the same on every machine. */
function seeded(seed: number): Random {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const integer = (random: Random, end: number): number => Math.floor(random() * end)
const pick = <T>(random: Random, list: readonly T[]): T => list[integer(random, list.length)] as T
const range = (end: number): number[] => [...Array(end).keys()]

function sample<T>(random: Random, list: readonly T[], size: number): T[] {
  const left = [...list]
  return range(size).map(() => left.splice(integer(random, left.length), 1)[0] as T)
}

interface Product {
  readonly qty: number
}

/** Adds a product or one more of it, sets how many, or removes it. */
function cartEdit<T extends Product>(
  random: Random,
  base: readonly T[],
  make: (product: number) => T,
  isSame: (one: T, other: T) => boolean,
): Edit<T> {
  const kind = random()
  const change = (meant: T, next: (item: T) => T): Edit<T> => {
    return (list) => list.map((item) => (isSame(item, meant) ? next(item) : item))
  }
  if (kind < 0.5 || base.length === 0) {
    const product = make(integer(random, PRODUCTS))
    const oneMore = change(product, (item) => ({ ...item, qty: item.qty + 1 }))
    return (list) => (list.some((item) => isSame(item, product)) ? oneMore(list) : [...list, product])
  }
  const meant = pick(random, base)
  const qty = 1 + integer(random, 5)
  if (kind < 0.75) return change(meant, (item) => ({ ...item, qty }))
  return (list) => list.filter((item) => !isSame(item, meant))
}

const PRODUCTS = 60
const withId = (id: number) => ({ id, qty: 1 })
const withoutId = (product: number) => ({ name: `product ${product}`, price: 3 * product, qty: 1 })
const cart = <T extends Product>(random: Random, make: (product: number) => T): T[] =>
  sample(random, range(PRODUCTS), integer(random, 7)).map((product) => ({
    ...make(product),
    qty: 1 + integer(random, 3),
  }))

const ROLES = ['admin', 'author', 'billing', 'editor', 'guest', 'owner', 'support', 'viewer']
const CAP = 10
const text = (random: Random): string => integer(random, 2 ** 32).toString(36)
/** Of a list that is cut to this length, most are full. */
const length = (random: Random): number => (random() < 0.8 ? CAP : integer(random, CAP))

const SCENARIOS: readonly Scenario[] = [
  scenario({
    name: 'cart with ids',
    edits: 'add, set quantity, remove',
    base: (random) => cart(random, withId),
    edit: (random, base) => cartEdit(random, base, withId, (one, other) => one.id === other.id),
    floor: 98,
  }),
  scenario({
    name: 'cart without ids',
    edits: 'add, set quantity, remove',
    base: (random) => cart(random, withoutId),
    edit: (random, base) => cartEdit(random, base, withoutId, (one, other) => one.name === other.name),
    floor: 94,
  }),
  scenario<string>({
    name: 'roles',
    edits: 'grant, revoke, sort',
    base: (random) => sample(random, ROLES, integer(random, 6)),
    edit(random, base) {
      const kind = random()
      if (kind >= 0.8 && base.length > 1) return (list) => list.toSorted()
      const revoked = pick(random, base)
      if (kind >= 0.4 && base.length > 0) return (list) => list.filter((role) => role !== revoked)
      const granted = pick(random, ROLES)
      return (list) => (list.includes(granted) ? list : [...list, granted])
    },
    floor: 99,
  }),
  scenario<number>({
    name: 'recently viewed',
    edits: 'put a page in front, keep 10',
    base: (random) => sample(random, range(40), length(random)),
    edit(random) {
      const viewed = integer(random, 40)
      return (list) => [viewed, ...list.filter((page) => page !== viewed)].slice(0, CAP)
    },
    floor: 94,
  }),
  scenario<string>({
    name: 'tokens',
    edits: 'append one, keep the last 10',
    base: (random) => range(length(random)).map(() => text(random)),
    edit(random) {
      const token = text(random)
      return (list) => [...list, token].slice(-CAP)
    },
    floor: 96,
  }),
  scenario<number>({
    name: 'sorted sets',
    edits: 'insert in order, remove',
    base: (random) => sample(random, range(50), integer(random, 8)).sort((one, other) => one - other),
    edit(random, base) {
      const inserted = integer(random, 50)
      const removed = pick(random, base)
      if (random() < 0.35 && base.length > 0) return (list) => list.filter((number) => number !== removed)
      return (list) => [...new Set([...list, inserted])].sort((one, other) => one - other)
    },
    floor: 95,
  }),
  scenario<string>({
    name: 'flash messages',
    edits: 'append one or two, show and empty',
    base: (random) => range(integer(random, 3)).map(() => text(random)),
    edit(random) {
      const messages = range(1 + integer(random, 2)).map(() => text(random))
      return random() < 0.35 ? () => [] : (list) => [...list, ...messages]
    },
    floor: 98,
  }),
  scenario<string>({
    name: 'reordering',
    edits: 'drag to a place, move to the top, one up or down',
    base: (random) =>
      sample(random, range(30), 3 + integer(random, 6)).map((section) => `section ${section}`),
    edit(random, base) {
      const moved = pick(random, base)
      const target = integer(random, base.length)
      const kind = random()
      return (list) => {
        const place = list.indexOf(moved)
        const rest = list.toSpliced(place, 1)
        if (kind < 0.5) return rest.toSpliced(target, 0, moved)
        if (kind < 0.75) return [moved, ...rest]
        return rest.toSpliced(Math.max(0, kind < 0.875 ? place - 1 : place + 1), 0, moved)
      }
    },
    floor: 79,
  }),
]

/** A session is stored as text and read again. */
const stored = (list: readonly unknown[]): { list: unknown[] } => JSON.parse(JSON.stringify({ list }))

interface Overlap {
  readonly base: readonly unknown[]
  readonly ours: readonly unknown[]
  readonly theirs: readonly unknown[]
  readonly merged: readonly unknown[]
  /** What the two serial orders store. */
  readonly serial: readonly (readonly unknown[])[]
}

function* overlaps({ base: makeBase, edit }: Scenario): Iterable<Overlap> {
  const random = seeded(SEED)
  for (let pair = 0; pair < PAIRS; pair++) {
    const base = makeBase(random)
    const [theirEdit, ourEdit] = [edit(random, base), edit(random, base)]
    const [theirs, ours] = [theirEdit(base), ourEdit(base)]
    if (isDeepStrictEqual(theirs, base) || isDeepStrictEqual(ours, base)) continue
    const merged = merge(stored(ours), stored(theirs), stored(base)).list
    yield { base, ours, theirs, merged, serial: [ourEdit(theirs), theirEdit(ours)] }
  }
}

/** Percent of the pairs whose result is that of a serial order: if the later list is taken whole, and if they are merged. */
function measure(scenario: Scenario): { pairs: number; whole: number; merged: number } {
  const counts = { pairs: 0, whole: 0, merged: 0 }
  for (const { merged, ours, serial } of overlaps(scenario)) {
    const isSerial = (list: readonly unknown[]): boolean => serial.some((one) => isDeepStrictEqual(one, list))
    counts.pairs++
    if (isSerial(ours)) counts.whole++
    if (isSerial(merged)) counts.merged++
  }
  const percent = (count: number): number => (100 * count) / counts.pairs
  return { pairs: counts.pairs, whole: percent(counts.whole), merged: percent(counts.merged) }
}

const named = SCENARIOS.map((scenario) => [scenario.name, scenario] as const)

test.each(named)('a merge is what one request after the other would have stored: %s', (_, scenario) => {
  const { merged, pairs } = measure(scenario)
  expect(pairs).toBeGreaterThan(PAIRS / 2)
  expect(merged).toBeGreaterThan(scenario.floor)
})

test('docs/merging.md has these figures', () => {
  const rows = SCENARIOS.map((scenario) => {
    const { merged, whole } = measure(scenario)
    return `| ${[scenario.name, scenario.edits, whole.toFixed(1), merged.toFixed(1)].join(' | ')} |`
  })
  const table = ['| list | edits | taken whole, % | merged, % |', '|---|---|---|---|', ...rows].join('\n')
  if (process.env.SESSION_PGSQL_SERIAL_TABLE) console.log(table)
  const document = readFileSync(new URL('../../../../docs/merging.md', import.meta.url), 'utf8')
  expect(document).toContain(table)
})

test.each(named.filter(([name]) => name !== 'cart without ids'))(
  'nothing that a request removed comes back, and nothing is there twice: %s',
  (_, scenario) => {
    const idsOf = (list: readonly unknown[]): unknown[] =>
      list.map((element) => (typeof element === 'object' ? (element as { id: number }).id : element))
    for (const overlap of overlaps(scenario)) {
      const [base, ours, theirs, merged] = [overlap.base, overlap.ours, overlap.theirs, overlap.merged].map(
        idsOf,
      )
      const isRemoved = (id: unknown): boolean =>
        base?.includes(id) === true && !(ours?.includes(id) && theirs?.includes(id))
      expect(merged?.filter(isRemoved)).toEqual([])
      expect(new Set(merged).size).toBe(merged?.length)
    }
  },
)
