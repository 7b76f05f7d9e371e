/**
 * Reads the output of PHP's `serialize()`. Executes and instantiates nothing, never sets a prototype, and limits the
 * nesting. Resolves the numbers of values (`R:5;`). php-memory.ts remembers what the writer needs to write the same
 * again.
 */
import { PhpInput } from './php-input.ts'
import { rememberOrder, rememberPayload } from './php-memory.ts'
import { formatFloat, integerKey, parseFloatText, parseIntegerText } from './php-numbers.ts'
import { arrayOf, setOwn, sizeOf } from './php-shapes.ts'
import { type Frame, PhpSlots, type Slot } from './php-slots.ts'
import { PhpCustom, PhpEnum, PhpFloat, type PhpKey, PhpObject } from './php-values.ts'

/** Maximum nesting of values. PHP's limit is 4096; this one lets programs compare and copy values recursively. */
export const MAX_DEPTH = 512

/** Bytes of the shortest element, `i:0;N;`. */
const SHORTEST_ELEMENT = 6

/** Maximum nesting of payloads. Limited because each level copies its payload. */
const MAX_PAYLOAD_DEPTH = 16

export class PhpReader {
  readonly input: PhpInput
  readonly #payloadsCount: boolean
  readonly #slots = new PhpSlots()
  #depth = 0
  #payloadDepth = 0
  #sawPayload = false

  /** @param payloadsCount whether the serialized values in the payload of a `C:` have numbers; see `#readPayload` */
  constructor(bytes: Buffer, payloadsCount: boolean) {
    this.input = new PhpInput(bytes)
    this.#payloadsCount = payloadsCount
  }

  /** Whether a `C:` was read whose payload consists of serialized values. */
  get sawPayload(): boolean {
    return this.#sawPayload
  }

  /** Whether an `R:` or `r:` was read. */
  get hasReferences(): boolean {
    return this.#slots.hasReferences
  }

  /** Reads a session that is one array. The array has the first number. */
  session(): Record<string, unknown> {
    this.input.expect('a:')
    const data: Record<string, unknown> = {}
    this.#slots.add({ holder: undefined }, 0, data)
    // The session itself is not a level, as in PHP's default format.
    this.#depth = -1
    const { keys, values } = this.#entries({ holder: data }, true)
    for (const [index, key] of keys.entries()) setOwn(data, String(key), values[index])
    rememberOrder(data, keys.map(String))
    return data
  }

  /** Reads the values of a payload, up to the end of the input. */
  values(): unknown[] {
    const values: unknown[] = []
    const frame: Frame = { holder: values }
    while (!this.input.done) values.push(this.value(frame, values.length))
    return values
  }

  /** Resolves and records the references. Call it once, at the end. */
  finish(): void {
    this.#slots.finish()
  }

  /** Returns true if a value starts at the current position. */
  atValue(): boolean {
    const type = this.input.peek() < 0 ? '' : String.fromCharCode(this.input.peek())
    if (type === 'N') return this.input.peek(1) === 0x3b
    return type !== '' && 'bidsSaOCErR'.includes(type) && this.input.peek(1) === 0x3a
  }

  /** Reads the value at the current position, which is the element `key` of `frame`. */
  value(frame: Frame, key: PhpKey): unknown {
    const type = this.input.peek()
    if (type < 0) this.input.fail('a value')
    this.input.at++
    if (type === 0x52) return this.#reference(frame, key)
    const slot = this.#slots.add(frame, key)
    slot.value = this.#typed(String.fromCharCode(type), slot)
    return slot.value
  }

  #typed(type: string, slot: Slot): unknown {
    if (type === 'N') {
      this.input.expect(';')
      return null
    }
    this.input.expect(':')
    switch (type) {
      case 'b':
        return this.#boolean()
      case 'i':
        return this.#integer(slot)
      case 'd':
        return this.#float(slot)
      case 's':
        return this.#string()
      case 'S':
        return this.#escapedString(slot)
      case 'a':
        return this.#array()
      case 'O':
        return this.#object(slot)
      case 'E':
        return this.#enum()
      case 'C':
        return this.#custom(slot)
      case 'r':
        return this.#sameObject()
      default:
        return this.input.fail('a value', this.input.at - 2)
    }
  }

  #boolean(): boolean {
    const value = this.input.peek() === 0x31
    this.input.expect(value ? '1;' : '0;')
    return value
  }

  #integer(slot: Slot): number | bigint {
    const plain = this.input.plainInteger()
    if (plain !== undefined) return plain
    const start = this.input.at
    const text = this.input.number()
    const value = parseIntegerText(text)
    if (value === undefined) return this.input.fail('an integer of 64 bits', start)
    if (String(value) !== text) this.#slots.addLiteral(slot, `i:${text};`)
    return value
  }

  #float(slot: Slot): number | PhpFloat {
    const start = this.input.at
    const text = this.input.number()
    const number = parseFloatText(text)
    if (number === undefined) return this.input.fail('a number', start)
    if (formatFloat(number) !== text) this.#slots.addLiteral(slot, `d:${text};`)
    return Number.isSafeInteger(number) && !Object.is(number, -0) ? new PhpFloat(number) : number
  }

  #string(): string | Buffer {
    const value = this.input.text(this.input.quoted())
    this.input.expect(';')
    return value
  }

  #escapedString(slot: Slot): string | Buffer {
    const start = this.input.at
    const value = this.input.escaped()
    this.input.expect(';')
    const literal = this.input.ascii(start, this.input.at)
    // Not for bytes: they can be changed in place, and the literal would then be wrong.
    if (literal !== undefined && typeof value === 'string') {
      this.#slots.addLiteral(slot, `S:${literal}`)
    }
    return value
  }

  #array(): object {
    const frame: Frame = { holder: undefined }
    const { keys, values } = this.#entries(frame, true)
    const array = arrayOf(keys, values)
    frame.holder = array
    if (sizeOf(array) !== keys.length) this.input.nonCanonical++
    return array
  }

  #object(slot: Slot): PhpObject {
    const object = new PhpObject(this.input.name(this.input.quoted()))
    slot.value = object
    this.input.expect(':')
    const { keys, values } = this.#entries({ holder: object.properties }, false)
    for (const [index, key] of keys.entries()) object.properties.set(key, values[index])
    if (object.properties.size !== keys.length) this.input.nonCanonical++
    return object
  }

  #enum(): PhpEnum {
    const start = this.input.at
    const [className, caseName, ...rest] = this.input.name(this.input.quoted()).split(':')
    if (!className || !caseName || rest.length > 0) return this.input.fail('an enum and its case', start)
    this.input.expect(';')
    return new PhpEnum(className, caseName)
  }

  #custom(slot: Slot): PhpCustom {
    const className = this.input.name(this.input.quoted())
    this.input.expect(':')
    const length = this.input.count()
    this.input.expect(':{')
    const place = this.input.take(length, 'a shorter payload')
    const custom = new PhpCustom(className, this.input.text(place))
    slot.value = custom
    rememberPayload(custom, this.#payloadsCount ? this.#readPayload(place) : null)
    this.input.expect('}')
    return custom
  }

  /**
   * Reads a payload that consists of serialized values only; returns null for any other. The `serialize()` of a class
   * usually calls PHP's `serialize()`, which then numbers the values in the payload together with those outside.
   */
  #readPayload(place: { start: number; end: number }): unknown[] | null {
    const { input } = this
    const before = { at: input.at, end: input.end, nonCanonical: input.nonCanonical, depth: this.#depth }
    const snapshot = this.#slots.snapshot()
    let values: unknown[] = []
    input.at = place.start
    input.end = place.end
    let readable = this.#payloadDepth < MAX_PAYLOAD_DEPTH && this.atValue()
    this.#payloadDepth++
    try {
      if (readable) values = this.values()
      // The writer would not write the same again.
      readable &&= input.nonCanonical === before.nonCanonical
    } catch {
      readable = false
    }
    this.#payloadDepth--
    input.at = before.at
    input.end = before.end
    input.nonCanonical = before.nonCanonical
    this.#depth = before.depth
    if (readable) {
      this.#sawPayload = true
      return values
    }
    this.#slots.restore(snapshot)
    return null
  }

  /** Reads `r:5;`, another variable with the same object. It has a number of its own. */
  #sameObject(): object {
    const start = this.input.at
    const object = this.#slots.objectAt(this.input.count())
    this.input.expect(';')
    if (object === undefined) return this.input.fail('the number of an object', start)
    return object
  }

  /** Reads `R:5;`, the same variable. It has no number of its own. */
  #reference(frame: Frame, key: PhpKey): unknown {
    this.input.expect(':')
    const start = this.input.at
    const target = this.#slots.refer(this.input.count(), frame, key)
    this.input.expect(';')
    if (target === undefined) return this.input.fail('the number of a value before this one', start)
    return target.value
  }

  /** Reads `count:{key value …}`. @param ofArray whether keys that look like integers are integers */
  #entries(frame: Frame, ofArray: boolean): { keys: PhpKey[]; values: unknown[] } {
    const { input } = this
    const start = input.at
    const count = input.count()
    input.expect(':{')
    if (count * SHORTEST_ELEMENT > input.end - input.at) input.fail('fewer elements', start)
    if (this.#depth >= MAX_DEPTH) input.fail(`no more than ${MAX_DEPTH} levels`)
    this.#depth++
    const keys: PhpKey[] = []
    const values: unknown[] = []
    for (let index = 0; index < count; index++) {
      const key = this.#key(ofArray)
      keys.push(key)
      values.push(this.value(frame, key))
    }
    this.#depth--
    input.expect('}')
    return { keys, values }
  }

  #key(ofArray: boolean): PhpKey {
    const { input } = this
    const type = input.peek()
    const start = input.at
    input.at++
    if (type === 0x69) {
      input.expect(':')
      const plain = input.plainInteger()
      if (plain !== undefined) return plain
      const text = input.number()
      if (integerKey(text) === undefined) input.nonCanonical++
      return parseIntegerText(text) ?? input.fail('an integer key', start)
    }
    if (type !== 0x73) return input.fail('a key', start)
    input.expect(':')
    const name = input.name(input.quoted())
    input.expect(';')
    const integer = ofArray ? integerKey(name) : undefined
    if (integer === undefined) return name
    input.nonCanonical++
    return integer
  }
}
