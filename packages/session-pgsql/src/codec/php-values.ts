/**
 * Classes for PHP values that JavaScript does not have. None of them runs code of a PHP class: an object is the name
 * of its class and its properties. docs/php-values.md has the full table.
 */
import { SessionPgsqlError } from '../errors.ts'
import { integerKey, phpInteger } from './php-numbers.ts'

/** Key of a PHP array. A bigint only if a number would not be exact. */
export type PhpKey = number | bigint | string

type Kind = 'float' | 'properties' | 'array' | 'object' | 'enum' | 'custom'

const brand = Symbol.for('session-pgsql.php-value')

/** Returns the value's class among these, even if another copy of the package (ESM and CommonJS) created it. */
export function kindOf(value: object): Kind | undefined {
  return (value as { [brand]?: Kind })[brand]
}

function isKind(value: unknown, kind: Kind): boolean {
  return typeof value === 'object' && value !== null && kindOf(value) === kind
}

/**
 * A float without a fraction. PHP distinguishes 1.0 from 1 and JavaScript does not, so 1.0 is decoded as a PhpFloat
 * and 1.5 as a number. It calculates like a number: `price * 2`, `price > 10`. Compare with `price.value === 10`.
 */
export class PhpFloat {
  readonly value: number

  constructor(value: number) {
    this.value = value
  }

  valueOf(): number {
    return this.value
  }

  toString(): string {
    return String(this.value)
  }

  toJSON(): number {
    return this.value
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isKind(value, 'float')
  }
}

/**
 * Keys and values in PHP's order, used like a Map. `pairs` is for reading; change it with the methods. It is an own
 * property so that a deep comparison finds two of them unequal if their order differs, which it does not for a Map.
 */
export class PhpProperties implements Iterable<readonly [PhpKey, unknown]> {
  readonly pairs: readonly (readonly [PhpKey, unknown])[] = []
  /** Index of each key in `pairs`; undefined if it has to be built again. */
  #indexes: Map<PhpKey, number> | undefined = new Map()

  constructor(entries: Iterable<readonly [PhpKey, unknown]> = []) {
    for (const [key, value] of entries) this.set(key, value)
  }

  /** Number of pairs. */
  get size(): number {
    return this.pairs.length
  }

  /** Returns the value of the key; undefined if there is none. */
  get(key: PhpKey): unknown {
    return this.pairs[this.#find(this.normalKey(key))]?.[1]
  }

  /** Returns true if the key exists. */
  has(key: PhpKey): boolean {
    return this.#find(this.normalKey(key)) >= 0
  }

  /** Sets the value of the key. An existing key keeps its position, a new one is appended. */
  set(key: PhpKey, value: unknown): this {
    const normal = this.normalKey(key)
    const index = this.#find(normal)
    const pairs = this.pairs as [PhpKey, unknown][]
    if (index >= 0) {
      pairs[index] = [normal, value]
    } else {
      this.#indexes?.set(normal, pairs.length)
      pairs.push([normal, value])
    }
    return this
  }

  /** Removes the key. @returns true if it existed */
  delete(key: PhpKey): boolean {
    const index = this.#find(this.normalKey(key))
    if (index < 0) return false
    const pairs = this.pairs as [PhpKey, unknown][]
    pairs.splice(index, 1)
    // The pairs after it have moved.
    if (index < pairs.length) this.#indexes = undefined
    else this.#indexes?.delete(this.normalKey(key))
    return true
  }

  /** Iterates over the keys, in PHP's order. */
  *keys(): IterableIterator<PhpKey> {
    for (const [key] of this.pairs) yield key
  }

  /** Iterates over the values, in PHP's order. */
  *values(): IterableIterator<unknown> {
    for (const [, value] of this.pairs) yield value
  }

  /** Iterates over the pairs, in PHP's order. */
  entries(): IterableIterator<readonly [PhpKey, unknown]> {
    return this.pairs[Symbol.iterator]()
  }

  [Symbol.iterator](): IterableIterator<readonly [PhpKey, unknown]> {
    return this.entries()
  }

  toJSON(): Record<string, unknown> {
    return Object.fromEntries(this.pairs.map(([key, value]) => [String(key), value]))
  }

  /** Returns the key as PHP stores it. Properties distinguish '5' and 5. @throws INVALID_ARGUMENT */
  protected normalKey(key: PhpKey): PhpKey {
    if (typeof key === 'string') return key
    if (typeof key === 'number' && Number.isSafeInteger(key)) return key === 0 ? 0 : key
    const integer = typeof key === 'bigint' ? phpInteger(key) : undefined
    if (integer === undefined)
      throw new SessionPgsqlError(
        'INVALID_ARGUMENT',
        'Expected a key that is a string or an integer of 64 bits.',
      )
    return integer
  }

  #find(key: PhpKey): number {
    this.#indexes ??= new Map(this.pairs.map(([key], index) => [key, index]))
    return this.#indexes.get(key) ?? -1
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isKind(value, 'properties') || isKind(value, 'array')
  }
}

/**
 * A PHP array that neither a JavaScript array nor a plain object can represent: its keys are integers other than
 * 0, 1, 2, …, or both integers and strings. As in PHP, '5' and 5 are the same key.
 */
export class PhpArray extends PhpProperties {
  protected override normalKey(key: PhpKey): PhpKey {
    const integer = typeof key === 'string' ? integerKey(key) : undefined
    return integer ?? super.normalKey(key)
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return isKind(value, 'array')
  }
}

/**
 * An object of a PHP class. `get`, `has` and `set` take the name used in PHP code and find public, protected and
 * private properties. `properties` has the names as PHP stores them: `\0*\0name`, `\0Class\0name`.
 */
export class PhpObject {
  readonly className: string
  readonly properties: PhpProperties

  constructor(className: string, properties: Iterable<readonly [PhpKey, unknown]> = []) {
    this.className = className
    this.properties = new PhpProperties(properties)
  }

  /** Returns the value of the property; undefined if there is none. */
  get(name: string): unknown {
    return this.properties.get(this.#storedName(name) ?? name)
  }

  /** Returns true if the property exists. */
  has(name: string): boolean {
    return this.#storedName(name) !== undefined
  }

  /** Sets the property. A new property is public. */
  set(name: string, value: unknown): this {
    this.properties.set(this.#storedName(name) ?? name, value)
    return this
  }

  /** Returns the public properties, as PHP's json_encode does. */
  toJSON(): Record<string, unknown> {
    const pairs = this.properties.pairs.filter(([key]) => typeof key !== 'string' || key[0] !== '\0')
    return Object.fromEntries(pairs.map(([key, value]) => [String(key), value]))
  }

  #storedName(name: string): PhpKey | undefined {
    for (const stored of [name, `\0*\0${name}`, `\0${this.className}\0${name}`]) {
      if (this.properties.has(stored)) return stored
    }
    // A private property of a parent class.
    const isNamed = (key: PhpKey) => typeof key === 'string' && key[0] === '\0' && key.endsWith(`\0${name}`)
    return this.properties.pairs.find(([key]) => isNamed(key))?.[0]
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isKind(value, 'object')
  }
}

/** A case of a PHP enum. */
export class PhpEnum {
  readonly className: string
  readonly caseName: string

  constructor(className: string, caseName: string) {
    this.className = className
    this.caseName = caseName
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isKind(value, 'enum')
  }
}

/** An object of a class that serializes itself (`Serializable`). Only that class can read the payload. */
export class PhpCustom {
  readonly className: string
  readonly payload: string | Uint8Array

  constructor(className: string, payload: string | Uint8Array) {
    this.className = className
    this.payload = payload
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isKind(value, 'custom')
  }
}

// On the prototypes and not on the instances, because deep comparisons and util.inspect use own properties.
const classes: [object, Kind][] = [
  [PhpFloat.prototype, 'float'],
  [PhpProperties.prototype, 'properties'],
  [PhpArray.prototype, 'array'],
  [PhpObject.prototype, 'object'],
  [PhpEnum.prototype, 'enum'],
  [PhpCustom.prototype, 'custom'],
]
for (const [prototype, kind] of classes) Object.defineProperty(prototype, brand, { value: kind })
