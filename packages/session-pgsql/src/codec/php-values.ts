/**
 * PHP's values for which JavaScript has none of its own. None of them ever runs code of a class: an object is
 * its class's name and its properties, whatever the class is. docs/php-values.md has the whole table.
 */
import { SessionPgsqlError } from '../errors.ts'
import { integerKey, phpInteger } from './php-numbers.ts'

/** A bigint only where a number is not exact. */
export type PhpKey = number | bigint | string

type Kind = 'float' | 'properties' | 'array' | 'object' | 'enum' | 'custom'

const brand = Symbol.for('session-pgsql.php-value')

/** Which of these classes it is, also if it comes from another copy of this package (ESM beside CommonJS). */
export function kindOf(value: object): Kind | undefined {
  return (value as { [brand]?: Kind })[brand]
}

function isKind(value: unknown, kind: Kind): boolean {
  return typeof value === 'object' && value !== null && kindOf(value) === kind
}

/**
 * A float without a fraction. PHP tells 1.0 from 1, JavaScript does not; so 1.0 comes as this and 1.5 as a
 * number. It calculates like a number: `price * 2`, `price > 10`; compare with `price.value === 10`.
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
 * Pairs in PHP's order, used like a Map. `pairs` is there to be looked at, and so that two of them compare as
 * unequal if their order differs (a Map would not): change it through the methods.
 */
export class PhpProperties implements Iterable<readonly [PhpKey, unknown]> {
  readonly pairs: readonly (readonly [PhpKey, unknown])[] = []
  #places: Map<PhpKey, number> | undefined = new Map()

  constructor(entries: Iterable<readonly [PhpKey, unknown]> = []) {
    for (const [key, value] of entries) this.set(key, value)
  }

  get size(): number {
    return this.pairs.length
  }

  get(key: PhpKey): unknown {
    return this.pairs[this.#find(this.normalKey(key))]?.[1]
  }

  has(key: PhpKey): boolean {
    return this.#find(this.normalKey(key)) >= 0
  }

  /** Keeps the place of a key that is there; appends one that is not. */
  set(key: PhpKey, value: unknown): this {
    const normal = this.normalKey(key)
    const place = this.#find(normal)
    const pairs = this.pairs as [PhpKey, unknown][]
    if (place >= 0) {
      pairs[place] = [normal, value]
    } else {
      this.#places?.set(normal, pairs.length)
      pairs.push([normal, value])
    }
    return this
  }

  delete(key: PhpKey): boolean {
    const place = this.#find(this.normalKey(key))
    if (place < 0) return false
    const pairs = this.pairs as [PhpKey, unknown][]
    pairs.splice(place, 1)
    // All that came after it has moved, unless it was the last.
    if (place < pairs.length) this.#places = undefined
    else this.#places?.delete(this.normalKey(key))
    return true
  }

  *keys(): IterableIterator<PhpKey> {
    for (const [key] of this.pairs) yield key
  }

  *values(): IterableIterator<unknown> {
    for (const [, value] of this.pairs) yield value
  }

  entries(): IterableIterator<readonly [PhpKey, unknown]> {
    return this.pairs[Symbol.iterator]()
  }

  [Symbol.iterator](): IterableIterator<readonly [PhpKey, unknown]> {
    return this.entries()
  }

  toJSON(): Record<string, unknown> {
    return Object.fromEntries(this.pairs.map(([key, value]) => [String(key), value]))
  }

  /** How PHP sees this key. Properties keep '5' and 5 apart. */
  protected normalKey(key: PhpKey): PhpKey {
    if (typeof key === 'string') return key
    if (typeof key === 'number' && Number.isSafeInteger(key)) return key === 0 ? 0 : key
    const integer = typeof key === 'bigint' ? phpInteger(key) : undefined
    if (integer === undefined)
      throw new SessionPgsqlError('INVALID_ARGUMENT', 'A key is a string or an integer')
    return integer
  }

  #find(key: PhpKey): number {
    this.#places ??= new Map(this.pairs.map(([key], place) => [key, place]))
    return this.#places.get(key) ?? -1
  }

  static [Symbol.hasInstance](value: unknown): boolean {
    return isKind(value, 'properties') || isKind(value, 'array')
  }
}

/**
 * A PHP array that neither a JavaScript array nor a plain object can carry: with integer keys that are not
 * 0, 1, 2, …, or a mixture. As in PHP, '5' and 5 are one key.
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
 * An object of a PHP class. `get` and `set` take the name as PHP code has it and find the property whether it
 * is public, protected or private; `properties` has the names as PHP stores them, `\0*\0name`, `\0Class\0name`.
 */
export class PhpObject {
  readonly className: string
  readonly properties: PhpProperties

  constructor(className: string, properties: Iterable<readonly [PhpKey, unknown]> = []) {
    this.className = className
    this.properties = new PhpProperties(properties)
  }

  get(name: string): unknown {
    return this.properties.get(this.#storedName(name) ?? name)
  }

  has(name: string): boolean {
    return this.#storedName(name) !== undefined
  }

  /** A property that is not there yet becomes a public one. */
  set(name: string, value: unknown): this {
    this.properties.set(this.#storedName(name) ?? name, value)
    return this
  }

  /** The public properties, which is what PHP's json_encode shows. */
  toJSON(): Record<string, unknown> {
    const pairs = this.properties.pairs.filter(([key]) => typeof key !== 'string' || key[0] !== '\0')
    return Object.fromEntries(pairs.map(([key, value]) => [String(key), value]))
  }

  #storedName(name: string): PhpKey | undefined {
    for (const stored of [name, `\0*\0${name}`, `\0${this.className}\0${name}`]) {
      if (this.properties.has(stored)) return stored
    }
    // A private property of a parent class.
    const isIt = (key: PhpKey) => typeof key === 'string' && key[0] === '\0' && key.endsWith(`\0${name}`)
    return this.properties.pairs.find(([key]) => isIt(key))?.[0]
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

/** An object of a class that serializes itself (`Serializable`): what it wrote, which only the class can read. */
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

// On the prototypes, not the instances: a value is compared by its own properties, and shown by them.
const classes: [object, Kind][] = [
  [PhpFloat.prototype, 'float'],
  [PhpProperties.prototype, 'properties'],
  [PhpArray.prototype, 'array'],
  [PhpObject.prototype, 'object'],
  [PhpEnum.prototype, 'enum'],
  [PhpCustom.prototype, 'custom'],
]
for (const [prototype, kind] of classes) Object.defineProperty(prototype, brand, { value: kind })
