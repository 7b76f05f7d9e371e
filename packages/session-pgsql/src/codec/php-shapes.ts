/** Which JavaScript value a PHP array becomes, how to get at the places in it, and the way back. */
import { integerKey } from './php-numbers.ts'
import { kindOf, PhpArray, type PhpKey, PhpProperties } from './php-values.ts'

export type Pairs = readonly (readonly [PhpKey, unknown])[]

/**
 * 0, 1, 2, … are an array; other strings a plain object, which merges key by key; all else a PhpArray: a plain
 * object would reorder integers, and `__proto__` in one is a trap for whoever copies it.
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
  // With a key given twice, it may be a list after all.
  return isList([...array.keys()]) ? [...array.values()] : array
}

export function sizeOf(array: unknown[] | Record<string, unknown> | PhpArray): number {
  if (Array.isArray(array)) return array.length
  return array instanceof PhpArray ? array.size : Object.keys(array).length
}

/** Whether it stands for a PHP array, which is a value, and not for an object, which is a thing. */
export function isArray(value: unknown): value is object {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return false
  return [undefined, 'array'].includes(kindOf(value))
}

export function readAt(holder: object, key: PhpKey): unknown {
  if (holder instanceof PhpProperties) return holder.get(key)
  return Object.hasOwn(holder, String(key)) ? (holder as Record<string, unknown>)[String(key)] : undefined
}

export function writeAt(holder: object, key: PhpKey, value: unknown): void {
  if (holder instanceof PhpProperties) holder.set(key, value)
  else setOwn(holder, String(key), value)
}

/** Sets a property of this very object, whatever its name. */
export function setOwn(holder: object, name: string, value: unknown): void {
  if (name === '__proto__') {
    Object.defineProperty(holder, name, { value, writable: true, enumerable: true, configurable: true })
  } else {
    ;(holder as Record<string, unknown>)[name] = value
  }
}

/** Undefined is absent, as in JSON. */
export function pairsOf(holder: object, keys: string[]): Pairs {
  const pairs: [PhpKey, unknown][] = []
  for (const key of keys) {
    const value = (holder as Record<string, unknown>)[key]
    if (value !== undefined) pairs.push([key, value])
  }
  return pairs
}

/**
 * What is there, and only that: PHP's empty array comes as `[]`, and a program that then sets `cart[17]` or
 * `prefs.theme` on it means the PHP array with that one key.
 */
export function elementsOf(array: unknown[]): Pairs {
  return Object.keys(array).map((key) => [
    integerKey(key) ?? key,
    (array as unknown as Record<string, unknown>)[key],
  ])
}

export function isPlain(value: object): boolean {
  const prototype: object | null = Object.getPrototypeOf(value)
  // The second: plain objects of another realm.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function isList(keys: PhpKey[]): boolean {
  return keys.every((key, index) => key === index)
}
