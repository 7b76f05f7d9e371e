/**
 * Writes values as PHP's `serialize()` does. Numbers the values again, because a changed session has other numbers,
 * and writes the references that were read with the new numbers.
 */
import { SessionPgsqlError } from '../errors.ts'
import { bytesToText, isWellFormed, MARKER, nameToBytes } from './bytes.ts'
import {
  elementAt,
  type Memory,
  memoryOf,
  payloadValues,
  type Reference,
  referenceAt,
  referenceOf,
  rememberPayload,
  sameScalar,
} from './php-memory.ts'
import { formatFloat, integerKey, phpInteger } from './php-numbers.ts'
import { MAX_DEPTH, PhpReader } from './php-reader.ts'
import { elementsOf, isPlain, type Pairs, pairsOf } from './php-shapes.ts'
import {
  kindOf,
  PhpArray,
  type PhpCustom,
  type PhpEnum,
  type PhpFloat,
  type PhpKey,
  type PhpObject,
} from './php-values.ts'

export class PhpWriter {
  /** Text and bytes in turn. Most sessions are one text. */
  #chunks: (string | Buffer)[] = []
  #text = ''
  /** Number of the last value. */
  #count = 0
  readonly #references = new Map<Reference, { number: number; value: unknown }>()
  readonly #objects = new Map<unknown, number>()
  #depth = 0

  /** Returns the output as the text that the table stores. */
  text(): string {
    if (this.#chunks.length === 0 && !this.#text.includes('\0') && !this.#text.startsWith(MARKER)) {
      return this.#text
    }
    return bytesToText(this.bytes())
  }

  /** Returns the output as bytes. */
  bytes(): Buffer {
    const chunks = [...this.#chunks, this.#text]
    return Buffer.concat(chunks.map((chunk) => (typeof chunk === 'string' ? Buffer.from(chunk) : chunk)))
  }

  /** Writes a session as one array. The array has the first number. */
  session(data: object, keys: string[]): void {
    this.#count++
    const reference = referenceOf(data)
    if (reference !== undefined) this.#references.set(reference, { number: this.#count, value: data })
    // Not a level of nesting, as in the reader.
    this.#depth--
    this.#array(data, pairsOf(data, keys))
    this.#depth++
  }

  /** Writes the value of the element `key` of `holder`. */
  value(value: unknown, holder: object, key: PhpKey, memory: Memory | undefined = memoryOf(holder)): void {
    const isObject = typeof value === 'object' && value !== null
    const reference = (isObject ? referenceOf(value) : undefined) ?? referenceAt(holder, memory, key)
    if (isObject) {
      const kind = kindOf(value)
      const identity = kind === 'enum' ? caseOf(value as PhpEnum) : value
      const number = this.#objects.get(identity)
      if (number !== undefined) {
        // `R:` shares the variable and has no number; `r:` is another variable with the same object.
        this.raw(`${reference === undefined ? 'r' : 'R'}:${number};`)
        if (reference === undefined) this.#count++
        return
      }
      if (kind === 'object' || kind === 'enum' || kind === 'custom')
        this.#objects.set(identity, this.#count + 1)
    }
    if (reference !== undefined) {
      const first = this.#references.get(reference)
      if (first === undefined) {
        this.#references.set(reference, { number: this.#count + 1, value })
      } else if (sameScalar(first.value, value)) {
        this.raw(`R:${first.number};`)
        return
      }
    }
    this.#count++
    const element = elementAt(holder, memory, key)
    if (element?.literal !== undefined && sameScalar(element.value, value)) this.raw(element.literal)
    else if (isObject) this.#object(value)
    else this.raw(this.#scalar(value))
  }

  /** Writes the text unchanged. */
  raw(text: string): void {
    this.#text += text
  }

  /** Writes a name without quotes. */
  name(name: string): void {
    this.#append(isWellFormed(name) ? name : this.#bytesOf(name))
  }

  #bytesOf(name: string): Buffer {
    const bytes = nameToBytes(name)
    if (bytes === undefined) throw this.#unfit('a name with half a surrogate pair')
    return bytes
  }

  #append(chunk: string | Uint8Array): void {
    if (typeof chunk === 'string') {
      this.#text += chunk
      return
    }
    if (this.#text !== '') this.#chunks.push(this.#text)
    this.#chunks.push(Buffer.from(chunk))
    this.#text = ''
  }

  #scalar(value: unknown): string {
    switch (typeof value) {
      case 'undefined':
        return 'N;'
      case 'boolean':
        return value ? 'b:1;' : 'b:0;'
      case 'string':
        if (!isWellFormed(value)) throw this.#unfit('a string with half a surrogate pair')
        return `s:${Buffer.byteLength(value)}:"${value}";`
      case 'number': {
        const integer = Number.isSafeInteger(value) && !Object.is(value, -0)
        return integer ? `i:${value};` : `d:${formatFloat(value)};`
      }
      case 'bigint':
        if (phpInteger(value) === undefined) throw this.#unfit('a bigint of more than 64 bits')
        return `i:${value};`
      case 'object':
        return 'N;'
      default:
        throw this.#unfit(`a ${typeof value}`)
    }
  }

  #object(value: object): void {
    const kind = kindOf(value)
    if (kind === 'float') {
      this.raw(`d:${formatFloat((value as PhpFloat).value)};`)
    } else if (kind === 'array') {
      this.#array(value, (value as PhpArray).pairs)
    } else if (kind === 'object') {
      const { className, properties } = value as PhpObject
      this.#quoted('O', className)
      this.#pairs(properties, properties.pairs, false)
    } else if (kind === 'enum') {
      this.#quoted('E', caseOf(value as PhpEnum))
      this.raw(';')
    } else if (kind === 'custom') {
      this.#custom(value as PhpCustom)
    } else if (value instanceof Uint8Array) {
      this.raw(`s:${value.byteLength}:"`)
      this.#append(value)
      this.raw('";')
    } else if (Array.isArray(value)) {
      this.#array(value, elementsOf(value))
    } else if (value instanceof Map) {
      this.#array(value, new PhpArray(value).pairs)
    } else if (isPlain(value)) {
      this.#array(value, pairsOf(value, Object.keys(value)))
    } else {
      this.#instance(value)
    }
  }

  /** Writes an instance of another class as the result of its toJSON, as JSON.stringify does. */
  #instance(value: object): void {
    const { toJSON } = value as { toJSON?: unknown }
    if (typeof toJSON !== 'function') throw this.#unfit('an instance of a class without toJSON')
    const stored: unknown = toJSON.call(value)
    if (typeof stored !== 'object' || stored === null) this.raw(this.#scalar(stored))
    else if (isPlain(stored) || Array.isArray(stored)) this.#object(stored)
    else throw this.#unfit('an instance of a class without toJSON')
  }

  #array(holder: object, pairs: Pairs): void {
    this.raw('a')
    this.#pairs(holder, pairs, true)
  }

  #pairs(holder: object, pairs: Pairs, ofArray: boolean): void {
    if (this.#depth >= MAX_DEPTH) {
      throw this.#unfit(`a value that contains itself or is nested deeper than ${MAX_DEPTH} levels`)
    }
    this.#depth++
    this.raw(`:${pairs.length}:{`)
    const memory = memoryOf(holder)
    for (const [key, value] of pairs) {
      const integer = typeof key === 'string' ? (ofArray ? integerKey(key) : undefined) : key
      if (integer === undefined) {
        this.#quoted('s', key as string)
        this.raw(';')
      } else {
        this.raw(`i:${integer};`)
      }
      this.value(value, holder, key, memory)
    }
    this.raw('}')
    this.#depth--
  }

  #quoted(type: string, name: string): void {
    const length = isWellFormed(name) ? Buffer.byteLength(name) : this.#bytesOf(name).length
    this.raw(`${type}:${length}:"`)
    this.name(name)
    this.raw('"')
  }

  #custom(custom: PhpCustom): void {
    const values = this.#payloadOf(custom)
    let payload: string | Uint8Array = custom.payload
    if (typeof payload === 'string' && !isWellFormed(payload)) {
      throw this.#unfit('a payload with half a surrogate pair')
    }
    if (values !== null) {
      // The values in the payload may refer to values outside, whose numbers have changed.
      const [chunks, text] = [this.#chunks, this.#text]
      this.#chunks = []
      this.#text = ''
      for (const [index, value] of values.entries()) this.value(value, values, index)
      payload = this.#chunks.length === 0 ? this.#text : this.bytes()
      this.#chunks = chunks
      this.#text = text
    }
    this.#quoted('C', custom.className)
    this.raw(`:${typeof payload === 'string' ? Buffer.byteLength(payload) : payload.length}:{`)
    this.#append(payload)
    this.raw('}')
  }

  #payloadOf(custom: PhpCustom): unknown[] | null {
    const known = payloadValues(custom)
    if (known !== undefined) return known
    let values: unknown[] | null
    const reader = new PhpReader(Buffer.from(custom.payload as string), true)
    try {
      values = reader.atValue() ? reader.values() : null
    } catch {
      values = null
    }
    if (values !== null && reader.hasReferences)
      throw this.#unfit('a payload made in JavaScript that contains references')
    if (values !== null) reader.finish()
    rememberPayload(custom, values)
    return values
  }

  #unfit(what: string): SessionPgsqlError {
    const where = this.#depth === 0 ? 'at the top level' : `${this.#depth} levels deep`
    return new SessionPgsqlError('INVALID_DATA', `A PHP session cannot contain ${what} (${where}).`)
  }
}

/** Identifies an enum case, which is the same object everywhere in a session. */
function caseOf({ className, caseName }: PhpEnum): string {
  return `${className}:${caseName}`
}

/**
 * Returns true if PHP could not distinguish the two values. Unlike util.isDeepStrictEqual it compares the order of
 * keys, and its work does not multiply if values share parts.
 */
export function samePhpValue(a: unknown, b: unknown): boolean {
  return sameVariables({ 0: a }, { 0: b }, ['0'])
}

/** Whether two sessions have the same variables of these names, with the same references between them. */
export function sameVariables(one: object, other: object, names: readonly string[]): boolean {
  const [first, second] = [one, other].map((session) => {
    const writer = new PhpWriter()
    for (const name of names) {
      if (!Object.hasOwn(session, name)) continue
      writer.name(`${name}|`)
      writer.value((session as Record<string, unknown>)[name], session, name)
    }
    return writer.text()
  })
  return first === second
}
