import { isDeepStrictEqual } from 'node:util'

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
 * @param tied groups of top-level keys that only make sense together (PHP's references): they count as one
 */
export function merge(
  mine: unknown,
  theirs: unknown,
  seen: unknown,
  tied: readonly (readonly string[])[] = [],
): unknown {
  const result = mergeValue(mine, theirs, seen)
  if (tied.length === 0 || !isPlainObject(mine) || !isPlainObject(theirs) || !isPlainObject(result))
    return result

  const seenKeys = isPlainObject(seen) ? seen : {}
  const entries = new Map(Object.entries(result))
  for (const group of tied) {
    const changed = group.some((key) => !sameAt(key, mine, seenKeys))
    const source = changed ? mine : theirs
    for (const key of group) {
      if (Object.hasOwn(source, key)) entries.set(key, source[key])
      else entries.delete(key)
    }
  }
  return Object.fromEntries(entries)
}

type PlainObject = Record<string, unknown>

function mergeValue(mine: unknown, theirs: unknown, seen: unknown): unknown {
  if (!isPlainObject(mine) || !isPlainObject(theirs)) {
    return isDeepStrictEqual(mine, seen) ? theirs : mine
  }
  return mergeKeys(mine, theirs, isPlainObject(seen) ? seen : {})
}

function mergeKeys(mine: PlainObject, theirs: PlainObject, seen: PlainObject): PlainObject {
  const entries: [string, unknown][] = []
  for (const [key, their] of Object.entries(theirs)) {
    if (Object.hasOwn(mine, key)) {
      entries.push([
        key,
        Object.is(mine[key], their) ? their : mergeValue(mine[key], their, seenAt(seen, key)),
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

function seenAt(seen: PlainObject, key: string): unknown {
  return Object.hasOwn(seen, key) ? seen[key] : ABSENT
}

function sameAt(key: string, one: PlainObject, other: PlainObject): boolean {
  return isDeepStrictEqual(seenAt(one, key), seenAt(other, key))
}

function isPlainObject(value: unknown): value is PlainObject {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
