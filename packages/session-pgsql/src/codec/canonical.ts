/**
 * Writes what an object is, so that the texts of two objects are equal if the objects are, and no text begins another.
 *
 * @param partOf writes a part of the object
 * @returns undefined if the object is not known
 */
export type Describe = (value: object, partOf: (part: unknown) => string) => string | undefined

/** Stands for all equal objects. */
interface Token {
  readonly number: number
}

/** Names an object that cannot be described: it equals no other. */
export const OPAQUE: unique symbol = Symbol('opaque')

/**
 * Names values so that equal values have the same name (`===`; a `Map` takes it as a key): a scalar is its own name,
 * an object gets a token.
 *
 * Takes time in proportion to the size of the values: what was named once is known, also as a part of something
 * else. Comparing the elements of nested lists by text or by `isDeepStrictEqual` would walk the inner lists once per
 * level.
 */
export class Canonical {
  readonly #describe: Describe
  readonly #tokens = new Map<string, Token>()
  readonly #names = new Map<object, Token | typeof OPAQUE>()

  constructor(describe: Describe) {
    this.#describe = describe
  }

  /** @param alike values that it is probably equal to: comparing is cheaper than naming */
  nameOf(value: unknown, alike?: unknown, alikeToo?: unknown): unknown {
    if (typeof value !== 'object' || value === null) return value
    let name = this.#names.get(value)
    if (name === undefined) {
      if (compareFlat(value, alike)) name = this.nameOf(alike) as Token
      else if (compareFlat(value, alikeToo)) name = this.nameOf(alikeToo) as Token
      else name = this.#nameOf(value)
      this.#names.set(value, name)
    }
    return name
  }

  isEqual(one: unknown, other: unknown): boolean {
    if (one === other) return true
    const isSame = compareFlat(one, other)
    if (isSame !== undefined) return isSame
    const name = this.nameOf(one)
    return name !== OPAQUE && name === this.nameOf(other)
  }

  #nameOf(value: object): Token | typeof OPAQUE {
    let isKnown = true
    const text = this.#describe(value, (part) => {
      if (typeof part !== 'object' || part === null) return textOf(part)
      const name = this.nameOf(part)
      isKnown &&= name !== OPAQUE
      return `#${(name as Token).number},`
    })
    if (text === undefined || !isKnown) return OPAQUE
    let token = this.#tokens.get(text)
    if (token === undefined) {
      token = { number: this.#tokens.size }
      this.#tokens.set(text, token)
    }
    return token
  }
}

/** Compares plain objects of scalars, which most elements are, without naming them; undefined: they are something else. */
export function compareFlat(one: unknown, other: unknown): boolean | undefined {
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false
  if (Object.getPrototypeOf(one) !== Object.prototype || Object.getPrototypeOf(other) !== Object.prototype) {
    return undefined
  }
  const keys = Object.keys(one)
  const others = Object.keys(other)
  if (keys.length !== others.length) return false
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] as string
    if (key !== others[index]) return undefined
    const first = (one as Record<string, unknown>)[key]
    const second = (other as Record<string, unknown>)[key]
    if (first === second) continue
    return typeof first === 'object' && typeof second === 'object' ? undefined : false
  }
  return true
}

/** Different for different scalars, and no such text begins another. */
function textOf(scalar: unknown): string {
  if (typeof scalar === 'string') return `"${scalar.length}:${scalar}`
  if (typeof scalar === 'number') return Object.is(scalar, -0) ? '-0,' : `${scalar},`
  return typeof scalar === 'bigint' ? `${scalar}n` : `${String(scalar)},`
}
