import { type Canonical, compareFlat, OPAQUE } from './canonical.ts'
import { haveSameIdentity, type ReadField } from './identity.ts'
import { type ElementNames, nameByIdentity, nameByValue } from './list-names.ts'
import { mergeSequences, NOWHERE, type Versions } from './sequences.ts'

/** Stands for a value that is not there. */
export const ABSENT: unique symbol = Symbol('absent')

/** What a merge of lists must know about their elements. */
export interface ElementRules {
  /** Merges three versions of an element; the base is `ABSENT` if both sides inserted it. */
  readonly merge: (ours: unknown, theirs: unknown, base: unknown) => unknown
  readonly canonical: Canonical
  readonly isSame: (one: unknown, other: unknown) => boolean
  readonly isNumber: (value: unknown) => boolean
  /** The names of the fields that are merged one by one; undefined if the value has none. */
  readonly fieldsOf: (value: unknown) => readonly string[] | undefined
  readonly readField: ReadField
}

type List = readonly unknown[]

/** How many elements the three lists have in common at each end. */
interface Ends {
  readonly head: number
  readonly tail: number
}

const NO_ENDS: Ends = { head: 0, tail: 0 }

/** A list with more elements between its common ends is taken whole. */
export const MAX_LENGTH = 10_000

/**
 * Merges three versions of a list; docs/merging.md has the rules. Changes none of them; the result may be one of them.
 * Takes O(n log n) and one walk over the elements, whatever they are.
 */
export function mergeLists(ours: List, theirs: List, base: List, rules: ElementRules): List {
  const lists = { ours, theirs, base }
  if (isTuple(lists, rules)) return takeWhole(lists, rules)
  const names = nameByIdentity(lists, rules.readField)
  if (names === undefined) {
    const ends = commonEnds(lists, (one, other) => rules.canonical.isEqual(one, other))
    return mergeByValue(lists, ends, rules) ?? (mergeByValue(lists, NO_ENDS, rules) as List)
  }
  // Elements with one identity may differ, so those at the ends are merged, too.
  const ends = commonEnds(names, (one, other) => one === other)
  return isTooLong(names, ends) ? takeWhole(lists, rules) : assemble(lists, names, NO_ENDS, () => true, rules)
}

/** @returns undefined if the common ends contain values that must be counted together with those between them */
function mergeByValue(lists: Versions<unknown>, ends: Ends, rules: ElementRules): List | undefined {
  const { canonical } = rules
  if (isTooLong(lists, ends)) return takeWhole(lists, rules)
  const between = mapVersions(lists, (list) => list.slice(ends.head, list.length - ends.tail))
  const values = valuesOf(between, canonical)
  if (someVersion(values, (list) => list.includes(OPAQUE))) return takeWhole(lists, rules)
  if (areCountedAtEnds(values, lists.base, ends, canonical)) return undefined

  const edited = matchEdited(between, values, rules)
  const areSorted = areSortedSets(lists)
  let areSets: boolean | undefined
  const isOfSet = (value: unknown): boolean => {
    if (typeof value === 'string') areSets ??= areUnique(lists, canonical)
    return areSorted || (typeof value === 'string' && areSets === true)
  }
  const names = nameByValue(values, ends.tail === 0, isOfSet)
  const merged = assemble(lists, names, ends, (name) => edited.has(values.base[name]), rules)
  return areSorted ? merged.toSorted(ascending) : merged
}

function valuesOf(lists: Versions<unknown>, canonical: Canonical): Versions<unknown> {
  const { base } = lists
  return mapVersions(lists, (list) => {
    const shift = base.length - list.length
    // Most elements still stand where they stood, counted from one of the ends.
    return list.map((element, place) => canonical.nameOf(element, base[place], base[place + shift]))
  })
}

/**
 * Whether values occur both between and in the common ends, and it matters how often: not if there are only insertions
 * and no side inserted what the other did.
 */
function areCountedAtEnds(
  { ours, theirs, base }: Versions<unknown>,
  whole: List,
  { head, tail }: Ends,
  canonical: Canonical,
): boolean {
  if (head === 0 && tail === 0) return false
  const known = new Set(ours)
  if (base.length === 0 && !theirs.some((value) => known.has(value))) return false
  for (const value of [...theirs, ...base]) known.add(value)
  return whole.some((element, place) => {
    const isEnd = place < head || place >= whole.length - tail
    return isEnd && known.has(canonical.nameOf(element))
  })
}

/** @param isEdited whether the versions of the element with this name differ */
function assemble(
  { ours, theirs, base }: Versions<unknown>,
  names: ElementNames,
  { head, tail }: Ends,
  isEdited: (name: number) => boolean,
  rules: ElementRules,
): List {
  const hasCommon = head > 0 || tail > 0
  const isReplaced = (list: readonly number[]): boolean =>
    base.length > 0 && !hasCommon && !list.some((name) => name !== NOWHERE && name < names.base.length)
  if (isReplaced(names.ours) && (isReplaced(names.theirs) || (base.length > 1 && ours.length > 1)))
    return ours

  const { order, inOurs, inTheirs, inBase } = mergeSequences(
    { ...names, isHead: head === 0, isTail: tail === 0 },
    true,
  )
  const merged = order.map((name) => {
    const ofOurs = inOurs[name] as number
    const ofTheirs = inTheirs[name] as number
    if (ofTheirs === NOWHERE) return ours[head + ofOurs]
    const their = theirs[head + ofTheirs]
    if (ofOurs === NOWHERE || !isEdited(name)) return their
    const our = ours[head + ofOurs]
    if (compareFlat(our, their)) return their
    const ofBase = inBase[name] as number
    return rules.merge(our, their, ofBase === NOWHERE ? ABSENT : base[head + ofBase])
  })
  if (!hasCommon) return merged
  return [...theirs.slice(0, head), ...merged, ...theirs.slice(theirs.length - tail)]
}

/** A point or a range: a number of one side with a number of the other would be one that neither set. */
function isTuple({ ours, theirs, base }: Versions<unknown>, { isNumber }: ElementRules): boolean {
  const { length } = base
  if (length < 2 || length > 4 || ours.length !== length || theirs.length !== length) return false
  return base.every(isNumber) && ours.every(isNumber) && theirs.every(isNumber)
}

function isTooLong(lists: Versions<unknown>, { head, tail }: Ends): boolean {
  return someVersion(lists, (list) => list.length - head - tail > MAX_LENGTH)
}

function takeWhole({ ours, theirs, base }: Versions<unknown>, { isSame }: ElementRules): List {
  return isSame(ours, base) ? theirs : ours
}

function commonEnds<T>(
  { ours, theirs, base }: Versions<T>,
  isEqual: (one: T | undefined, other: T | undefined) => boolean,
): Ends {
  const most = Math.min(ours.length, theirs.length, base.length)
  const isCommon = (our: number, their: number, before: number): boolean =>
    isEqual(theirs[their], base[before]) && isEqual(ours[our], base[before])
  let head = 0
  while (head < most && isCommon(head, head, head)) head++
  let tail = 0
  while (
    tail < most - head &&
    isCommon(ours.length - 1 - tail, theirs.length - 1 - tail, base.length - 1 - tail)
  ) {
    tail++
  }
  return { head, tail }
}

/**
 * Finds objects without identity that were edited in place, and gives them the values of the objects that they were.
 *
 * @returns the values of the base whose objects were edited
 */
function matchEdited(
  { ours, theirs, base }: Versions<unknown>,
  values: Versions<unknown>,
  rules: ElementRules,
): ReadonlySet<unknown> {
  const edited = new Set<unknown>()
  if (ours.length !== base.length || theirs.length !== base.length) return edited
  const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null
  const inBase = new Set(values.base)
  const match = (list: List, own: unknown[]): void => {
    const isOther = (place: number): boolean => own[place] !== values.base[place] && isObject(list[place])
    const places = [...base.keys()].filter((place) => isObject(base[place]) && isOther(place))
    const inOwn = new Set(places.length > 0 ? own : [])
    for (const place of places) {
      const value = values.base[place]
      // What is somewhere else was moved.
      if (inOwn.has(value) || inBase.has(own[place]) || !isSimilar(list[place], base[place], rules)) continue
      own[place] = value
      edited.add(value)
    }
  }
  match(ours, values.ours as unknown[])
  match(theirs, values.theirs as unknown[])
  return edited
}

/** Whether more than half of the fields agree. */
function isSimilar(one: unknown, other: unknown, { canonical, fieldsOf, readField }: ElementRules): boolean {
  const fields = new Set([...(fieldsOf(one) ?? []), ...(fieldsOf(other) ?? [])])
  if (fields.size === 0 || haveSameIdentity(one, other, readField) === false) return false
  let agreeing = 0
  for (const field of fields) {
    if (canonical.isEqual(readField(one, field), readField(other, field))) agreeing++
  }
  return agreeing * 2 > fields.size
}

/**
 * Whether the lists are sorted sets of numbers or of strings. A few strings that were appended may be in order by
 * chance: messages, for example, are not to be sorted into each other.
 */
function areSortedSets({ ours, theirs, base }: Versions<unknown>): boolean {
  const type = typeof (base[0] ?? theirs[0] ?? ours[0])
  if (type !== 'number' && type !== 'string') return false
  const isAscending = (list: List): boolean =>
    list.every((element, place) => {
      return typeof element === type && (place === 0 || (element as number) > (list[place - 1] as number))
    })
  if (!isAscending(base) || !isAscending(theirs) || !isAscending(ours)) return false
  return type === 'number' || base.length > 1 || Math.max(ours.length, theirs.length) <= base.length + 1
}

/** Whether no list has an element twice. */
function areUnique(lists: Versions<unknown>, canonical: Canonical): boolean {
  return !someVersion(lists, (list) => {
    return new Set(list.map((element) => canonical.nameOf(element))).size < list.length
  })
}

function ascending(one: unknown, other: unknown): number {
  return (one as number) < (other as number) ? -1 : 1
}

function mapVersions<T>(
  { ours, theirs, base }: Versions<T>,
  map: (list: readonly T[]) => readonly T[],
): Versions<T> {
  return { ours: map(ours), theirs: map(theirs), base: map(base) }
}

function someVersion<T>({ ours, theirs, base }: Versions<T>, is: (list: readonly T[]) => boolean): boolean {
  return is(ours) || is(theirs) || is(base)
}
