/**
 * Remembers what decoded values cannot express, so that the writer writes them as they were read: which elements a
 * PHP reference connects, and which numbers had an unusual notation.
 *
 * The writer checks each of these hints against the current values: a reference counts while both elements still have
 * the same value, a notation while the number is still the same. A program that copies or changes values can lose a
 * hint, but it never causes a wrong value to be written.
 */
import { DisjointSets } from './disjoint-sets.ts'
import { kindOf, type PhpCustom, PhpFloat, type PhpKey, PhpObject, PhpProperties } from './php-values.ts'

/** A PHP reference: a variable that several elements share. Only its identity matters. */
export type Reference = { readonly slot: number }

/** What is remembered of one element of an array or object. */
export interface ElementMemory {
  /** Set if the element shares its variable with others. */
  reference?: Reference
  /** The notation of `value`, set if the writer would write it differently. */
  literal?: string
  value?: unknown
}

/** What is remembered of an array or object. */
export interface Memory {
  readonly elements: Map<PhpKey, ElementMemory>
  /** Length of a JavaScript array when it was read. If it differs, the elements may have moved. */
  length?: number
  /** Keys in the order in which they were read, set if a plain object has another order. */
  order?: string[]
}

const memories = new WeakMap<object, Memory>()
const arrayReferences = new WeakMap<object, Reference>()
const payloads = new WeakMap<PhpCustom, unknown[] | null>()

/** Returns what is remembered of this array, plain object or PhpProperties. */
export function memoryOf(holder: object): Memory | undefined {
  return memories.get(holder)
}

function remember(holder: object): Memory {
  let memory = memories.get(holder)
  if (memory === undefined) {
    memory = { elements: new Map() }
    if (Array.isArray(holder)) memory.length = holder.length
    memories.set(holder, memory)
  }
  return memory
}

/** Adds to what is remembered of the element. */
export function rememberElement(holder: object, key: PhpKey, element: ElementMemory): void {
  const { elements } = remember(holder)
  const at = elementKey(holder, key)
  elements.set(at, { ...elements.get(at), ...element })
}

/** Remembers the order of the keys if the object has another one: in JavaScript, integer keys come first. */
export function rememberOrder(data: object, keys: string[]): void {
  const order = [...new Set(keys)]
  if (Object.keys(data).some((key, index) => key !== order[index])) remember(data).order = order
}

/** Returns the object's keys in the order in which they were read, then the new ones. */
export function orderOf(data: object): string[] {
  const order = memories.get(data)?.order
  if (order === undefined) return Object.keys(data)
  return [...new Set([...order.filter((key) => Object.hasOwn(data, key)), ...Object.keys(data)])]
}

/** Returns the reference to this array, even if the array has moved to another element. */
export function referenceOf(array: object): Reference | undefined {
  return arrayReferences.get(array)
}

/** Remembers the reference to this array. */
export function rememberReference(array: object, reference: Reference): void {
  arrayReferences.set(array, reference)
}

/**
 * Returns the values in a payload; null if it contains something else, undefined if it was not parsed. PHP counts the
 * values in a payload together with those outside.
 */
export function payloadValues(custom: PhpCustom): unknown[] | null | undefined {
  return payloads.get(custom)
}

/** Remembers the values in a payload; null if it contains something else. */
export function rememberPayload(custom: PhpCustom, values: unknown[] | null): void {
  payloads.set(custom, values)
}

/** Returns the reference of an element, unless the array's length has changed and elements may have moved. */
export function referenceAt(holder: object, memory: Memory | undefined, key: PhpKey): Reference | undefined {
  if (memory === undefined) return undefined
  if (memory.length !== undefined && memory.length !== (holder as unknown[]).length) return undefined
  return elementAt(holder, memory, key)?.reference
}

/** Returns what is remembered of an element. */
export function elementAt(
  holder: object,
  memory: Memory | undefined,
  key: PhpKey,
): ElementMemory | undefined {
  return memory?.elements.get(elementKey(holder, key))
}

/** In arrays and plain objects, 5 and '5' are the same key. */
function elementKey(holder: object, key: PhpKey): PhpKey {
  return holder instanceof PhpProperties ? key : String(key)
}

/** Returns true if both are the same scalar or the same object. */
export function sameScalar(a: unknown, b: unknown): boolean {
  if (a instanceof PhpFloat && b instanceof PhpFloat) return Object.is(a.value, b.value)
  return Object.is(a, b)
}

/**
 * Copies what is remembered of a session's top-level keys to a shallow copy of the session, for example the result of
 * a merge.
 *
 * @param keys the keys that were copied from this session. Default: all
 */
export function carryReferences(from: object, to: object, keys?: Iterable<string>): void {
  const memory = memories.get(from)
  if (memory === undefined) return
  const target = remember(to)
  if (memory.order !== undefined) target.order ??= memory.order
  for (const key of keys ?? memory.elements.keys()) {
    const element = memory.elements.get(key)
    if (element !== undefined) target.elements.set(key, element)
  }
}

/**
 * Returns the groups of top-level keys that a PHP reference or a shared object connects. A merge must take all keys of
 * a group from the same side, and their values as a whole. A group of one key has references inside its value. Keys
 * without references are in no group.
 */
export function referenceGroups(data: object): string[][] {
  const keys = Object.keys(data)
  const sets = new DisjointSets<string>()
  const connected = new Set<string>()
  const owners = new Map<object, string>()

  /** Connects the key with an earlier key that contains this object. @returns true if there is none */
  const visit = (value: object, key: string): boolean => {
    const owner = owners.get(value)
    if (owner === undefined) {
      owners.set(value, key)
      return true
    }
    connected.add(owner).add(key)
    sets.unite(owner, key)
    return false
  }

  for (const key of keys) {
    // An explicit stack, because a program may nest its objects too deep for recursion.
    const stack: unknown[] = [(data as Record<string, unknown>)[key]]
    const own = referenceAt(data, memories.get(data), key)
    if (own !== undefined) visit(own, key)
    while (stack.length > 0) {
      const value = stack.pop()
      if (typeof value !== 'object' || value === null || kindOf(value) === 'enum') continue
      if (!visit(value, key)) continue
      const holder = value instanceof PhpObject ? value.properties : value
      const memory = memories.get(holder)
      // A referenced array is found by its identity. A referenced scalar has only its element.
      for (const elementKey of memory?.elements.keys() ?? []) {
        const reference = referenceAt(holder, memory, elementKey)
        if (reference !== undefined) visit(reference, key)
      }
      for (const child of childrenOf(holder)) stack.push(child)
    }
  }
  return sets.group(keys.filter((key) => connected.has(key)))
}

function childrenOf(holder: object): Iterable<unknown> {
  if (ArrayBuffer.isView(holder)) return []
  if (holder instanceof PhpProperties || holder instanceof Map) return holder.values()
  if (kindOf(holder) === 'custom') return payloads.get(holder as PhpCustom) ?? []
  return Object.values(holder)
}
