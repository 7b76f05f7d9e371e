/**
 * What decoded values cannot show by themselves, kept beside them so that they are written as they were read:
 * which places a PHP reference ties together, and which numbers were spelled in an unusual way.
 *
 * All of it is a hint that the writer tests against the values of the moment: a tie holds as long as both
 * places still have the same value, a spelling as long as the number is still that one. Whoever copies or
 * changes values can therefore lose such a hint, but never get a wrong value written.
 */
import { DisjointSets } from './disjoint-sets.ts'
import { kindOf, type PhpCustom, PhpFloat, type PhpKey, PhpObject, PhpProperties } from './php-values.ts'

/** A variable of PHP's that several places share by reference. Only its identity matters. */
export type Cell = { readonly slot: number }

export interface Place {
  /** Set if the place is one of several that a reference ties together. */
  cell?: Cell
  /** How `value` was spelled, set if the writer would spell it otherwise. */
  literal?: string
  value?: unknown
}

export interface Memory {
  readonly places: Map<PhpKey, Place>
  /** Of a JavaScript array: if it has changed, its elements may have moved. */
  length?: number
  /** The keys as they came, set where a plain object has them in another order. */
  order?: string[]
}

const memories = new WeakMap<object, Memory>()
const cells = new WeakMap<object, Cell>()
const payloads = new WeakMap<PhpCustom, unknown[] | null>()

/** What is known of the places in this array, object, or table of properties. */
export function memoryOf(holder: object): Memory | undefined {
  return memories.get(holder)
}

function remember(holder: object): Memory {
  let memory = memories.get(holder)
  if (memory === undefined) {
    memory = { places: new Map() }
    if (Array.isArray(holder)) memory.length = holder.length
    memories.set(holder, memory)
  }
  return memory
}

export function rememberPlace(holder: object, key: PhpKey, place: Place): void {
  const { places } = remember(holder)
  const at = placeKey(holder, key)
  places.set(at, { ...places.get(at), ...place })
}

/** Notes the order in which the keys came, if the object does not show it: integers come first in JavaScript. */
export function rememberOrder(data: object, keys: string[]): void {
  const order = [...new Set(keys)]
  if (Object.keys(data).some((key, index) => key !== order[index])) remember(data).order = order
}

/** The object's keys, as they came as far as they still exist, then the new ones. */
export function orderOf(data: object): string[] {
  const order = memories.get(data)?.order
  if (order === undefined) return Object.keys(data)
  return [...new Set([...order.filter((key) => Object.hasOwn(data, key)), ...Object.keys(data)])]
}

/** The reference that points to this very array, wherever it has been moved. */
export function cellOf(array: object): Cell | undefined {
  return cells.get(array)
}

export function rememberCell(array: object, cell: Cell): void {
  cells.set(array, cell)
}

/**
 * The values that a payload consists of; null if it is known to be something else, undefined if nothing is
 * known. Values serialized within a payload are counted by PHP along with those outside it.
 */
export function payloadValues(custom: PhpCustom): unknown[] | null | undefined {
  return payloads.get(custom)
}

export function rememberPayload(custom: PhpCustom, values: unknown[] | null): void {
  payloads.set(custom, values)
}

/** The tie of a place, unless its array has changed so that the place may be another one now. */
export function tieOf(holder: object, memory: Memory | undefined, key: PhpKey): Cell | undefined {
  if (memory === undefined) return undefined
  if (memory.length !== undefined && memory.length !== (holder as unknown[]).length) return undefined
  return placeOf(holder, memory, key)?.cell
}

export function placeOf(holder: object, memory: Memory | undefined, key: PhpKey): Place | undefined {
  return memory?.places.get(placeKey(holder, key))
}

/** In arrays and plain objects, 5 and '5' are one place. */
function placeKey(holder: object, key: PhpKey): PhpKey {
  return holder instanceof PhpProperties ? key : String(key)
}

export function sameScalar(a: unknown, b: unknown): boolean {
  if (a instanceof PhpFloat && b instanceof PhpFloat) return Object.is(a.value, b.value)
  return Object.is(a, b)
}

/**
 * For a copy of a session's top level (a merge, a framework's own object): what is known of the original's
 * keys is known of the copy's. `keys` limits it to those that were taken from this original.
 */
export function carryReferences(from: object, to: object, keys?: Iterable<string>): void {
  const memory = memories.get(from)
  if (memory === undefined) return
  const carried = remember(to)
  if (memory.order !== undefined) carried.order ??= memory.order
  for (const key of keys ?? memory.places.keys()) {
    const place = memory.places.get(key)
    if (place !== undefined) carried.places.set(key, place)
  }
}

/**
 * The top-level keys of a session that belong together, because a PHP reference or a shared object ties them:
 * to take one from here and another from there would tear it. A group of one is a key with such ties inside;
 * it, too, is to be taken whole. Keys without ties are in no group.
 */
export function referenceGroups(data: object): string[][] {
  const keys = Object.keys(data)
  const sets = new DisjointSets<string>()
  const tied = new Set<string>()
  const owners = new Map<object, string>()

  /** True at the first sight of this object. */
  const meet = (thing: object, key: string): boolean => {
    const owner = owners.get(thing)
    if (owner === undefined) {
      owners.set(thing, key)
      return true
    }
    tied.add(owner).add(key)
    sets.unite(owner, key)
    return false
  }

  for (const key of keys) {
    // A stack of our own: how deep a program nests its objects is not known here.
    const waiting: unknown[] = [(data as Record<string, unknown>)[key]]
    const own = tieOf(data, memories.get(data), key)
    if (own !== undefined) meet(own, key)
    while (waiting.length > 0) {
      const value = waiting.pop()
      if (typeof value !== 'object' || value === null || kindOf(value) === 'enum') continue
      if (!meet(value, key)) continue
      const holder = value instanceof PhpObject ? value.properties : value
      const memory = memories.get(holder)
      // An array that a reference ties is met by itself already; a scalar has only its place.
      for (const placeKey of memory?.places.keys() ?? []) {
        const cell = tieOf(holder, memory, placeKey)
        if (cell !== undefined) meet(cell, key)
      }
      for (const child of childrenOf(holder)) waiting.push(child)
    }
  }
  return sets.group(keys.filter((key) => tied.has(key)))
}

function childrenOf(holder: object): Iterable<unknown> {
  if (ArrayBuffer.isView(holder)) return []
  if (holder instanceof PhpProperties || holder instanceof Map) return holder.values()
  if (kindOf(holder) === 'custom') return payloads.get(holder as PhpCustom) ?? []
  return Object.values(holder)
}
