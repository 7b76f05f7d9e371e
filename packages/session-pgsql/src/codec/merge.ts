import { isDeepStrictEqual } from 'node:util'
import { SessionPgsqlError } from '../errors.ts'
import { Canonical, type Describe } from './canonical.ts'
import { DisjointSets } from './disjoint-sets.ts'
import { haveSameIdentity } from './identity.ts'
import { ABSENT, type ElementRules, mergeLists } from './merge-lists.ts'

/** What a merge must know about a codec's values. */
export interface ValueRules extends Omit<ElementRules, 'merge' | 'canonical'> {
  /** What an object consists of; undefined if that is not known. */
  readonly describe: Describe
  /** Values of one kind are merged with each other; undefined: such a value is taken whole. */
  readonly kindOf: (value: unknown) => string | undefined
  /** Merges values of one kind; the base is undefined if it is not of that kind. */
  readonly mergeParts: (
    ours: object,
    theirs: object,
    base: object | undefined,
    rules: ElementRules,
  ) => unknown
}

/** What a codec knows about its sessions. For JSON there is nothing to know. */
export interface MergeRules {
  /**
   * Groups of top-level keys that only make sense together (PHP's references): all are taken from one side.
   * Overlapping groups are one group.
   */
  readonly tied?: readonly (readonly string[])[] | undefined
  /** Whether two sessions have the same under all these keys. Default: key by key. */
  readonly sameTied?: ((one: object, other: object, keys: readonly string[]) => boolean) | undefined
  /** Called with the result, for what is known of a whole and not of its parts. */
  readonly carry?: ((from: object, to: object, keys: readonly string[]) => void) | undefined
  /** Default: plain objects and arrays. */
  readonly values?: ValueRules | undefined
}

/**
 * The three-way merge: lays what ours changed since the base over theirs.
 *
 * - **Objects** are merged key by key, to any depth. A key that either side deleted is deleted, whatever the other
 *   side changed below it. If both sides added a key, the two values are merged.
 * - **Lists** are merged element by element. The result has what either side inserted, and nothing that either side
 *   removed. What a side moved stands where it moved it. Elements are known by `id`, `_id`, `uuid`, `key` or `sku` if
 *   all of them are objects with the same one of these, and are then merged themselves; otherwise by their values. If
 *   both sides changed it, ours is taken whole of two to four numbers, of a list that both replaced, of one in which
 *   ours replaced several elements by several, and of one with more than 10,000 elements between the ends that all
 *   three have in common.
 * - **Objects of different identity** (the same fields) are never merged. If both sides put another object in a
 *   place, ours is taken; if one side did, that side's. If both sides gave the whole session another identity, ours is
 *   taken whole.
 * - **A value of another kind** in place of an object or a list beats what the other side changed in it, as a
 *   deletion does: after `user = null`, a change of `user.lastSeen` does not bring the user back.
 * - **Everything else** (scalars, instances of classes) is taken whole: ours if ours changed it, else theirs.
 *
 * docs/merging.md has every rule, with examples. Changes none of its arguments; the result may share parts with them.
 * Pass what was read and what was changed, never the result of another merge as ours: merging is not associative.
 *
 * @param ours what this request wants to store
 * @param theirs what is stored now
 * @param base what both started from
 * @throws INVALID_DATA if the data is nested too deep to be walked
 */
export function merge<Data>(ours: Data, theirs: Data, base: Data, rules: MergeRules = {}): Data {
  try {
    return mergeSessions(ours, theirs, base, rules) as Data
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new SessionPgsqlError('INVALID_DATA', 'The data of this session is nested too deep to be merged.')
  }
}

/** Plain objects and arrays, as JSON has them. */
const jsonValues: ValueRules = {
  isSame: isDeepStrictEqual,
  isNumber: (value) => typeof value === 'number',
  fieldsOf: (value) => (isPlainObject(value) ? Object.keys(value) : undefined),
  readField: (value, field) =>
    typeof value === 'object' && value !== null && Object.hasOwn(value, field)
      ? (value as PlainObject)[field]
      : undefined,
  kindOf(value) {
    if (Array.isArray(value)) return 'list'
    return isPlainObject(value) ? 'object' : undefined
  },
  mergeParts(ours, theirs, base, rules) {
    if (Array.isArray(ours)) return mergeLists(ours, theirs as unknown[], (base ?? []) as unknown[], rules)
    return mergeKeys(ours as PlainObject, theirs as PlainObject, (base ?? {}) as PlainObject, rules)
  },
  describe(value, partOf) {
    if (Array.isArray(value)) return `[${value.length},${value.map(partOf).join('')}`
    if (value instanceof Date) return `@${value.getTime()}`
    if (!isPlainObject(value)) return undefined
    const keys = Object.keys(value)
    if (keys.some((key, index) => index > 0 && key < (keys[index - 1] as string))) keys.sort()
    let text = `{${keys.length},`
    for (const key of keys) text += `${key.length}:${key}${partOf(value[key])}`
    return text
  },
}

function mergeSessions(ours: unknown, theirs: unknown, base: unknown, rules: MergeRules): unknown {
  const { tied = [], carry, values = jsonValues } = rules
  const elements = elementRules(values)
  if (!isPlainObject(ours) || !isPlainObject(theirs)) return elements.merge(ours, theirs, base)
  const before = isPlainObject(base) ? base : {}
  if (areTwoLogins(ours, theirs, before, values)) return ours

  const { sameTied = sameKeys(values) } = rules
  const sources = new Map<string, PlainObject>()
  for (const group of tied.length > 0 ? unite(tied) : []) {
    const source = sameTied(ours, before, group) ? theirs : ours
    for (const key of group) sources.set(key, source)
  }
  const result = mergeKeys(ours, theirs, before, elements, sources)
  if (carry !== undefined) {
    for (const source of [theirs, ours]) {
      const isTaken = (key: string): boolean =>
        Object.hasOwn(source, key) && Object.is(result[key], source[key])
      carry(source, result, Object.keys(result).filter(isTaken))
    }
  }
  return result
}

/**
 * Whether both sides gave the session another identity. If one side did, the other changed the same session, of which
 * it may have changed anything.
 */
function areTwoLogins(
  ours: PlainObject,
  theirs: PlainObject,
  base: PlainObject,
  { readField }: ValueRules,
): boolean {
  const isKept = (side: PlainObject): boolean => haveSameIdentity(side, base, readField) === true
  return haveSameIdentity(ours, theirs, readField) === false && !isKept(ours) && !isKept(theirs)
}

function sameKeys({ isSame }: ValueRules): (one: object, other: object, keys: readonly string[]) => boolean {
  const valueAt = (object: object, key: string): unknown =>
    Object.hasOwn(object, key) ? (object as PlainObject)[key] : ABSENT
  return (one, other, keys) =>
    keys.every((key) => {
      const [first, second] = [valueAt(one, key), valueAt(other, key)]
      return first === ABSENT || second === ABSENT ? first === second : isSame(first, second)
    })
}

function unite(groups: readonly (readonly string[])[]): string[][] {
  const sets = new DisjointSets<string>()
  for (const [first, ...rest] of groups) for (const key of rest) sets.unite(first as string, key)
  return sets.group(new Set(groups.flat()))
}

function elementRules(values: ValueRules): ElementRules {
  const { isSame, kindOf, mergeParts, readField } = values
  const rules: ElementRules = { ...values, canonical: new Canonical(values.describe), merge: mergeValue }
  return rules

  function mergeValue(ours: unknown, theirs: unknown, base: unknown): unknown {
    if (Object.is(ours, theirs)) return theirs
    const our = kindOf(ours)
    const their = kindOf(theirs)
    const before = kindOf(base)
    if (our !== undefined && our === their) {
      const isOther = haveSameIdentity(ours, theirs, readField) === false
      if (isOther) return haveSameIdentity(ours, base, readField) ? theirs : ours
      return mergeParts(
        ours as object,
        theirs as object,
        before === our ? (base as object) : undefined,
        rules,
      )
    }
    if (before !== undefined && our === before) return theirs
    if (before !== undefined && their === before) return ours
    // A codec's own comparison is asked about values only.
    return base !== ABSENT && isSame(ours, base) ? theirs : ours
  }
}

type PlainObject = Record<string, unknown>

/** @param sources keys that are taken from one side, whatever the other has */
function mergeKeys(
  ours: PlainObject,
  theirs: PlainObject,
  base: PlainObject,
  { merge }: ElementRules,
  sources?: ReadonlyMap<string, PlainObject>,
): PlainObject {
  const result: PlainObject = {}
  for (const key of Object.keys(theirs)) {
    const isInBase = Object.hasOwn(base, key)
    const source = sources?.get(key)
    if (!Object.hasOwn(ours, key)) {
      if (!isInBase && source !== ours) setKey(result, key, theirs[key])
    } else if (source !== undefined) {
      setKey(result, key, source[key])
    } else {
      setKey(result, key, merge(ours[key], theirs[key], isInBase ? base[key] : ABSENT))
    }
  }
  for (const key of Object.keys(ours)) {
    const isAdded = !Object.hasOwn(theirs, key) && !Object.hasOwn(base, key)
    if (isAdded && sources?.get(key) !== theirs) setKey(result, key, ours[key])
  }
  return result
}

/** A key named __proto__ is data like any other. */
function setKey(object: PlainObject, key: string, value: unknown): void {
  if (key !== '__proto__') object[key] = value
  else Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

function isPlainObject(value: unknown): value is PlainObject {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
