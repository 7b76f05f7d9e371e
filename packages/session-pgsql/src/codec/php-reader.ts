/**
 * Reads what PHP's `serialize()` wrote. Nothing in it is executed or instantiated, no key reaches a prototype,
 * and nesting is bounded. Numbers of values (`R:5;`) are resolved while reading; what must be known to give the
 * same numbers again goes into php-memory.ts.
 */
import { PhpInput } from './php-input.ts'
import { rememberOrder, rememberPayload } from './php-memory.ts'
import { formatFloat, integerKey, parseFloatText, parseIntegerText } from './php-numbers.ts'
import { arrayOf, setOwn, sizeOf } from './php-shapes.ts'
import { type Frame, PhpSlots, type Slot } from './php-slots.ts'
import { PhpCustom, PhpEnum, PhpFloat, type PhpKey, PhpObject } from './php-values.ts'

/** How deep values may nest. PHP's own limit is 4096; ours lets every program compare and copy them safely. */
export const MAX_DEPTH = 512

/** No element is shorter than `i:0;N;`. */
const SHORTEST_ELEMENT = 6

/** Payloads within payloads: each level is a copy of its own, so this is not left to the input. */
const MAX_PAYLOAD_DEPTH = 16

export class PhpReader {
  readonly input: PhpInput
  readonly #payloadsCount: boolean
  readonly #slots = new PhpSlots()
  #depth = 0
  #payloadDepth = 0
  #sawPayload = false

  /** `payloadsCount`: whether serialized values in the payload of a `C:` have taken numbers; see `#readPayload`. */
  constructor(bytes: Buffer, payloadsCount: boolean) {
    this.input = new PhpInput(bytes)
    this.#payloadsCount = payloadsCount
  }

  /** True if a `C:` has been met whose payload is serialized values. */
  get sawPayload(): boolean {
    return this.#sawPayload
  }

  get hasReferences(): boolean {
    return this.#slots.hasReferences
  }

  /** A session that is one array, which takes the first number. */
  session(): Record<string, unknown> {
    this.input.expect('a:')
    const data: Record<string, unknown> = {}
    this.#slots.add({ holder: undefined }, 0, data)
    // The session itself is not a level: under PHP's default handler it is none either.
    this.#depth = -1
    const { keys, values } = this.#entries({ holder: data }, true)
    for (const [index, key] of keys.entries()) setOwn(data, String(key), values[index])
    rememberOrder(data, keys.map(String))
    return data
  }

  /** The values of a payload, to the end of the input. */
  values(): unknown[] {
    const values: unknown[] = []
    const frame: Frame = { holder: values }
    while (!this.input.done) values.push(this.value(frame, values.length))
    return values
  }

  /** To be called once, when all is read. */
  finish(): void {
    this.#slots.finish()
  }

  /** Whether a value begins here. */
  atValue(): boolean {
    const type = this.input.peek() < 0 ? '' : String.fromCharCode(this.input.peek())
    if (type === 'N') return this.input.peek(1) === 0x3b
    return type !== '' && 'bidsSaOCErR'.includes(type) && this.input.peek(1) === 0x3a
  }

  /** The value that begins here, which will stand in `frame` under `key`. */
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
    if (String(value) !== text) this.#slots.spelled(slot, `i:${text};`)
    return value
  }

  #float(slot: Slot): number | PhpFloat {
    const start = this.input.at
    const text = this.input.number()
    const number = parseFloatText(text)
    if (number === undefined) return this.input.fail('a number', start)
    if (formatFloat(number) !== text) this.#slots.spelled(slot, `d:${text};`)
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
    // Bytes can be changed in place, so a spelling of theirs could outlive them.
    if (literal !== undefined && typeof value === 'string') {
      this.#slots.spelled(slot, `S:${literal}`)
    }
    return value
  }

  #array(): object {
    const frame: Frame = { holder: undefined }
    const { keys, values } = this.#entries(frame, true)
    const array = arrayOf(keys, values)
    frame.holder = array
    if (sizeOf(array) !== keys.length) this.input.oddities++
    return array
  }

  #object(slot: Slot): PhpObject {
    const object = new PhpObject(this.input.name(this.input.quoted()))
    slot.value = object
    this.input.expect(':')
    const { keys, values } = this.#entries({ holder: object.properties }, false)
    for (const [index, key] of keys.entries()) object.properties.set(key, values[index])
    if (object.properties.size !== keys.length) this.input.oddities++
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
   * A class's own `serialize()` usually calls PHP's, and then the values in the payload are counted along with
   * those outside. So a payload that is nothing but serialized values is read as such; any other is opaque.
   */
  #readPayload(place: { start: number; end: number }): unknown[] | null {
    const { input } = this
    const before = { at: input.at, end: input.end, oddities: input.oddities, depth: this.#depth }
    const mark = this.#slots.mark()
    let values: unknown[] = []
    input.at = place.start
    input.end = place.end
    let readable = this.#payloadDepth < MAX_PAYLOAD_DEPTH && this.atValue()
    this.#payloadDepth++
    try {
      if (readable) values = this.values()
      // What PHP did not write so would not be written so again.
      readable &&= input.oddities === before.oddities
    } catch {
      readable = false
    }
    this.#payloadDepth--
    input.at = before.at
    input.end = before.end
    input.oddities = before.oddities
    this.#depth = before.depth
    if (readable) {
      this.#sawPayload = true
      return values
    }
    this.#slots.backTo(mark)
    return null
  }

  /** `r:5;`: the same object once more. It takes a number of its own. */
  #sameObject(): object {
    const start = this.input.at
    const object = this.#slots.objectAt(this.input.count())
    this.input.expect(';')
    if (object === undefined) return this.input.fail('the number of an object', start)
    return object
  }

  /** `R:5;`: the same variable. It takes no number. */
  #reference(frame: Frame, key: PhpKey): unknown {
    this.input.expect(':')
    const start = this.input.at
    const target = this.#slots.refer(this.input.count(), frame, key)
    this.input.expect(';')
    if (target === undefined) return this.input.fail('the number of a value before this one', start)
    return target.value
  }

  /** `count:{key value …}`; `ofArray`: keys that look like integers are integers. */
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
      if (integerKey(text) === undefined) input.oddities++
      return parseIntegerText(text) ?? input.fail('an integer key', start)
    }
    if (type !== 0x73) return input.fail('a key', start)
    input.expect(':')
    const name = input.name(input.quoted())
    input.expect(';')
    const integer = ofArray ? integerKey(name) : undefined
    if (integer === undefined) return name
    input.oddities++
    return integer
  }
}
