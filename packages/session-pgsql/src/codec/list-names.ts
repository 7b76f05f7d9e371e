import { IDENTITY_FIELDS, identitiesAt, type ReadField } from './identity.ts'
import { NOWHERE, type Sequences, type Versions } from './sequences.ts'

/** Names of the elements. Those in the base come first: they are the names below its length. */
export type ElementNames = Pick<Sequences, 'ours' | 'theirs' | 'base' | 'names'>

/** Names elements by the first field that identifies all of them, and is unique in each list. */
export function nameByIdentity(lists: Versions<unknown>, read: ReadField): ElementNames | undefined {
  for (const field of IDENTITY_FIELDS) {
    const ours = identitiesAt(field, lists.ours, read)
    const theirs = ours && identitiesAt(field, lists.theirs, read)
    const base = theirs && identitiesAt(field, lists.base, read)
    const names = base && nameUnique({ ours: ours as unknown[], theirs: theirs as unknown[], base })
    if (names !== undefined) return names
  }
  return undefined
}

/**
 * Names elements by what is unique in each list.
 *
 * @returns undefined if something occurs twice in a list
 */
export function nameUnique({ ours, theirs, base }: Versions<unknown>): ElementNames | undefined {
  const known = new Map<unknown, number>()
  /** The list in which each name was met last. */
  const lists: (readonly unknown[])[] = []
  const nameAll = (list: readonly unknown[]): number[] | undefined => {
    const names: number[] = []
    for (const element of list) {
      const name = known.get(element) ?? known.size
      if (name === known.size) known.set(element, name)
      else if (lists[name] === list) return undefined
      lists[name] = list
      names.push(name)
    }
    return names
  }
  const inBase = nameAll(base)
  const inTheirs = inBase && nameAll(theirs)
  const inOurs = inTheirs && nameAll(ours)
  return inOurs && { base: inBase as number[], theirs: inTheirs as number[], ours: inOurs, names: known.size }
}

/** One value: how often each list has it, and the names of its occurrences in the base and in theirs. */
interface Value {
  base: number
  theirs: number
  ours: number
  readonly names: number[]
}

interface Occurrence {
  readonly value: Value
  /** How many of this value precede it in the list. */
  readonly nth: number
}

/**
 * Names elements by their values: the nth occurrence of a value is the same element in every list.
 *
 * - Both sides inserted a value: one element, but two if both appended it to a list that is not a set.
 * - Either side removed the only occurrence: the value is gone, however often the other side has it.
 * - The base has a value several times: what each side removed and inserted is counted.
 *
 * @param values equal elements have values that are equal as keys of a `Map`
 * @param isTail whether what is appended here is appended to the whole list
 * @param isOfSet whether a list that contains this value holds no value twice
 */
export function nameByValue(
  values: Versions<unknown>,
  isTail: boolean,
  isOfSet: (value: unknown) => boolean,
): ElementNames {
  const unique = nameUnique(values)
  if (unique !== undefined && insertedByBoth(unique).every((place) => isOfSet(values.ours[place])))
    return unique

  const known = new Map<unknown, Value>()
  const occurrencesIn = (side: keyof Versions<unknown>): Occurrence[] =>
    values[side].map((given) => {
      let value = known.get(given)
      if (value === undefined) {
        value = { base: 0, theirs: 0, ours: 0, names: [] }
        known.set(given, value)
      }
      return { value, nth: value[side]++ }
    })
  const [inBase, inTheirs, inOurs] = [occurrencesIn('base'), occurrencesIn('theirs'), occurrencesIn('ours')]

  let names = 0
  const nameNext = ({ value, nth }: Occurrence): number => {
    value.names[nth] = names
    return names++
  }
  const base = inBase.map(nameNext)
  const theirs = inTheirs.map((occurrence) => {
    const { value, nth } = occurrence
    if (nth >= mostOf(value)) return NOWHERE
    return value.names[nth] ?? nameNext(occurrence)
  })
  const firstAppended = { ours: endOfBase(inOurs), theirs: endOfBase(inTheirs) }
  const isAppended: boolean[] = []
  for (const name of isTail ? theirs.slice(firstAppended.theirs) : []) {
    if (name !== NOWHERE) isAppended[name] = true
  }
  const ours = inOurs.map(({ value, nth }, place) => {
    if (nth >= mostOf(value)) return NOWHERE
    const name = value.names[nth]
    if (name === undefined) return names++
    const isAppendedTwice = nth >= value.base && place >= firstAppended.ours && isAppended[name] === true
    const isCounted = nth >= value.base && value.base > 1
    return isCounted || (isAppendedTwice && !isOfSet(values.ours[place])) ? names++ : name
  })
  return { base, theirs, ours, names }
}

/** How many occurrences of a value a side can contribute. */
function mostOf({ base, theirs, ours }: Value): number {
  if (base === 1 && (theirs === 0 || ours === 0)) return 1
  const isRemovedByBoth = theirs > 0 && theirs < base && ours > 0 && ours < base
  return isRemovedByBoth ? Math.max(theirs + ours - base, 1) : Number.POSITIVE_INFINITY
}

/** Where the elements begin that stand after all those of the base. */
function endOfBase(list: readonly Occurrence[]): number {
  return list.findLastIndex(({ value, nth }) => nth < value.base) + 1
}

/** Where ours has the names that both sides inserted. */
function insertedByBoth({ ours, theirs, base }: ElementNames): number[] {
  // Theirs were named first, in their order.
  let end = base.length
  for (const name of theirs) if (name === end) end++
  const places: number[] = []
  for (const [place, name] of ours.entries()) if (name >= base.length && name < end) places.push(place)
  return places
}
