import { isDeepStrictEqual } from 'node:util'
import { SessionPgsqlError } from '../errors.ts'

/** What a codec knows of its values that a merge must respect. For JSON there is nothing to know. */
export interface MergeRules {
  /**
   * Groups of top-level keys that only make sense together (PHP's references): each counts as one, and is
   * taken whole. Overlapping groups are one group.
   */
  readonly tied?: readonly (readonly string[])[] | undefined
  /** Whether two values are the same to their writer. Default: `isDeepStrictEqual`. */
  readonly same?: ((one: unknown, other: unknown) => boolean) | undefined
  /** Called with the result, for what is known of a whole and not of its parts. */
  readonly carry?: ((from: object, to: object, keys: readonly string[]) => void) | undefined
}

/**
 * The three-way merge: lays my difference (`mine` against `seen`) over `theirs`.
 *
 * Plain objects are merged key by key, to any depth; arrays and scalars are taken whole. A deletion beats a
 * change, on whichever side it was made: otherwise a slow request that touches `user.lastSeen` would undo
 * the logout that deleted `user`. Where both sides changed one leaf, mine is taken.
 *
 * Nothing that is passed in is changed; the result may share parts with it.
 *
 * @param mine what I want to write
 * @param theirs what is stored now
 * @param seen what both sides started from
 * @throws INVALID_DATA if they are nested so deep that they cannot be walked
 */
export function merge<Data>(mine: Data, theirs: Data, seen: Data, rules: MergeRules = {}): Data {
  try {
    // Of data, what is merged is data again: objects by key, anything else whole.
    return mergeWhole(mine, theirs, seen, rules) as Data
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new SessionPgsqlError('INVALID_DATA', 'The data of this session is nested too deep to be merged.')
  }
}

function mergeWhole(mine: unknown, theirs: unknown, seen: unknown, rules: MergeRules): unknown {
  const { tied = [], carry } = rules
  const same = orAbsent(rules.same ?? isDeepStrictEqual)
  if (!isPlainObject(mine) || !isPlainObject(theirs)) return same(mine, seen) ? theirs : mine

  const before = isPlainObject(seen) ? seen : {}
  const groups = unite(tied)
  const whole = new Set(groups.flat())
  // What is tied may be circular: it is never walked.
  const free = mergeKeys(without(mine, whole), without(theirs, whole), without(before, whole), same)
  const entries = new Map(Object.entries(free))
  for (const group of groups) {
    const changed = group.some((key) => !same(valueAt(mine, key), valueAt(before, key)))
    const source = changed ? mine : theirs
    for (const key of group) if (Object.hasOwn(source, key)) entries.set(key, source[key])
  }
  const result = Object.fromEntries(entries)
  if (carry !== undefined) {
    for (const source of [theirs, mine]) {
      const keys = Object.keys(result).filter((key) => Object.is(result[key], valueAt(source, key)))
      carry(source, result, keys)
    }
  }
  return result
}

function without(object: PlainObject, keys: ReadonlySet<string>): PlainObject {
  if (keys.size === 0) return object
  return Object.fromEntries(Object.entries(object).filter(([key]) => !keys.has(key)))
}

/** Joins the groups that overlap. The smaller one is moved: joining takes little more time than there are keys. */
function unite(groups: readonly (readonly string[])[]): string[][] {
  const groupOf = new Map<string, Set<string>>()
  for (const group of groups) {
    let united = new Set(group)
    for (const key of group) {
      const other = groupOf.get(key) ?? united
      const [smaller, larger] = other.size < united.size ? [other, united] : [united, other]
      if (smaller === larger) continue
      for (const moved of smaller) {
        larger.add(moved)
        groupOf.set(moved, larger)
      }
      united = larger
    }
    for (const key of group) groupOf.set(key, united)
  }
  return [...new Set(groupOf.values())].map((group) => [...group])
}

type PlainObject = Record<string, unknown>

type Same = (one: unknown, other: unknown) => boolean

function mergeValue(mine: unknown, theirs: unknown, seen: unknown, same: Same): unknown {
  if (!isPlainObject(mine) || !isPlainObject(theirs)) return same(mine, seen) ? theirs : mine
  return mergeKeys(mine, theirs, isPlainObject(seen) ? seen : {}, same)
}

function mergeKeys(mine: PlainObject, theirs: PlainObject, seen: PlainObject, same: Same): PlainObject {
  const entries: [string, unknown][] = []
  for (const [key, their] of Object.entries(theirs)) {
    if (Object.hasOwn(mine, key)) {
      entries.push([
        key,
        Object.is(mine[key], their) ? their : mergeValue(mine[key], their, valueAt(seen, key), same),
      ])
    } else if (!Object.hasOwn(seen, key)) {
      entries.push([key, their])
    }
    // else: I deleted it.
  }
  for (const [key, my] of Object.entries(mine)) {
    // Not theirs and not seen: I added it. Not theirs but seen: they deleted it, whatever I did to it.
    if (!Object.hasOwn(theirs, key) && !Object.hasOwn(seen, key)) entries.push([key, my])
  }
  // Not by assignment: a key named __proto__ is data like any other.
  return Object.fromEntries(entries)
}

/** A key that was not there is told apart from one that held undefined. */
const ABSENT: unique symbol = Symbol('absent')

/** A codec's own comparison is asked about values only. */
function orAbsent(same: Same): Same {
  return (one, other) => (one === ABSENT || other === ABSENT ? one === other : same(one, other))
}

function valueAt(object: PlainObject, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : ABSENT
}

function isPlainObject(value: unknown): value is PlainObject {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
