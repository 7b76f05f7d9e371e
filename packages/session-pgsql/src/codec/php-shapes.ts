/** Converts PHP arrays to JavaScript values and back, and accesses their elements. */
import { integerKey } from './php-numbers.ts'
import { kindOf, PhpArray, type PhpKey, PhpProperties } from './php-values.ts'

/** Keys and values in PHP's order. */
export type Pairs = readonly (readonly [PhpKey, unknown])[]

/**
 * Returns an array for the keys 0, 1, 2, …; a plain object, which can be merged key by key, for string keys; a
 * PhpArray for all other keys. A plain object would reorder integer keys, and copying one with the key `__proto__`
 * would change its prototype.
 */
export function arrayOf(keys: PhpKey[], values: unknown[]): unknown[] | Record<string, unknown> | PhpArray {
  if (isList(keys)) return values
  if (keys.every((key) => typeof key === 'string' && key !== '__proto__')) {
    const object: Record<string, unknown> = {}
    for (const [index, key] of keys.entries()) object[String(key)] = values[index]
    return object
  }
  const array = new PhpArray()
  for (const [index, key] of keys.entries()) array.set(key, values[index])
  // If a key occurs twice, the remaining keys may be 0, 1, 2, …
  return isList([...array.keys()]) ? [...array.values()] : array
}

/** Returns the number of elements. */
export function sizeOf(array: unknown[] | Record<string, unknown> | PhpArray): number {
  if (Array.isArray(array)) return array.length
  return array instanceof PhpArray ? array.size : Object.keys(array).length
}

/** Returns true if the value represents a PHP array, and not a PHP object, a scalar or bytes. */
export function isArray(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false
  return [undefined, 'array'].includes(kindOf(value))
}

/** Returns the element at the key; undefined if there is none. */
export function readAt(holder: object, key: PhpKey): unknown {
  if (holder instanceof PhpProperties) return holder.get(key)
  return Object.hasOwn(holder, String(key)) ? (holder as Record<string, unknown>)[String(key)] : undefined
}

/** Sets the element at the key. */
export function writeAt(holder: object, key: PhpKey, value: unknown): void {
  if (holder instanceof PhpProperties) holder.set(key, value)
  else setOwn(holder, String(key), value)
}

/** Sets an own property, also with the name `__proto__`. */
export function setOwn(holder: object, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(holder, name, { value, writable: true, enumerable: true, configurable: true })
  } else {
    ;(holder as Record<string, unknown>)[name] = value
  }
}

/** Returns the elements at these keys. As in JSON, undefined counts as absent. */
export function pairsOf(holder: object, keys: string[]): Pairs {
  const pairs: [PhpKey, unknown][] = []
  for (const key of keys) {
    const value = (holder as Record<string, unknown>)[key]
    if (value !== undefined) pairs.push([key, value])
  }
  return pairs
}

/**
 * Returns the elements of an array that exist, without holes. PHP's empty array is decoded as `[]`; if the program
 * then sets `cart[17]` or `prefs.theme`, the result is the PHP array with that one key.
 */
export function elementsOf(array: unknown[]): Pairs {
  return Object.keys(array).map((key) => [
    integerKey(key) ?? key,
    (array as unknown as Record<string, unknown>)[key],
  ])
}

/** Returns true if the value is a plain object. */
export function isPlain(value: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(value)
  // The second case: plain objects of another realm.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function isList(keys: PhpKey[]): boolean {
  return keys.every((key, index) => key === index)
}
