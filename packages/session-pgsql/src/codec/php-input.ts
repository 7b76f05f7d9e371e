/**
 * The input of the reader and the current position. Every length is checked against the remaining bytes before it is
 * used, so the work is linear in the size of the input.
 */
import { isUtf8 } from 'node:buffer'
import { SessionPgsqlError } from '../errors.ts'
import { bytesToName, isContinuation } from './bytes.ts'

/** Characters: more than the longest exact decimal form of a double, which PHP never exceeds. */
const LONGEST_NUMBER = 1100

const QUOTE = 0x22
const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39
const SEMICOLON = 0x3b
const BACKSLASH = 0x5c

export class PhpInput {
  readonly #bytes: Buffer
  /** Whether the whole input is UTF-8. Then a part is UTF-8 too, unless it starts or ends inside a character. */
  readonly #utf8: boolean
  at = 0
  end: number
  /** How many notations were read that PHP does not write. */
  nonCanonical = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
    this.#utf8 = isUtf8(bytes)
    this.end = bytes.length
  }

  /** Whether the end is reached. */
  get done(): boolean {
    return this.at >= this.end
  }

  /** Throws UNDECODABLE with what was expected and where, but not what was found, which is session data. */
  fail(expected: string, at: number = this.at): never {
    throw new SessionPgsqlError('UNDECODABLE', `Expected ${expected} at byte ${at} of the session.`)
  }

  /** Returns the byte at the position plus `ahead`; -1 past the end. */
  peek(ahead = 0): number {
    const at = this.at + ahead
    return at < this.end ? (this.#bytes[at] as number) : -1
  }

  /** Reads these characters. @throws UNDECODABLE */
  expect(characters: string): void {
    for (let index = 0; index < characters.length; index++) {
      if (this.peek() !== characters.charCodeAt(index)) this.fail(`"${characters[index]}"`)
      this.at++
    }
  }

  /** Reads a length, a count, or the number of a value. */
  count(): number {
    const start = this.at
    let value = 0
    for (let byte = this.peek(); byte >= ZERO && byte <= NINE; byte = this.peek()) {
      value = value * 10 + byte - ZERO
      this.at++
      if (this.at - start > 15) this.fail('a smaller number', start)
    }
    if (this.at === start) this.fail('a number')
    if (this.at - start > 1 && this.#bytes[start] === ZERO) this.nonCanonical++
    return value
  }

  /** Reads an integer in the usual notation, and its semicolon. Otherwise returns undefined and reads nothing. */
  plainInteger(): number | undefined {
    let at = this.at
    const negative = this.#bytes[at] === MINUS
    if (negative) at++
    const start = at
    let value = 0
    for (; at < this.end; at++) {
      const byte = this.#bytes[at] as number
      if (byte < ZERO || byte > NINE) break
      value = value * 10 + byte - ZERO
    }
    const digits = at - start
    if (digits === 0 || digits > 15 || at >= this.end || this.#bytes[at] !== SEMICOLON) return undefined
    if (this.#bytes[start] === ZERO && (digits > 1 || negative)) return undefined
    this.at = at + 1
    return negative ? -value : value
  }

  /** Reads the characters of a number, and the semicolon after them. */
  number(): string {
    const limit = Math.min(this.end, this.at + LONGEST_NUMBER)
    let end = this.at
    while (end < limit && this.#bytes[end] !== SEMICOLON) end++
    if (end === limit) this.fail('a number and ";"')
    const text = this.#bytes.toString('latin1', this.at, end)
    this.at = end + 1
    return text
  }

  /** Reads `length:"…"`. @returns the range between the quotes */
  quoted(): { start: number; end: number } {
    const length = this.count()
    this.expect(':"')
    const start = this.at
    // The closing quote must fit, too.
    if (length >= this.end - start) this.fail(`no more than ${Math.max(0, this.end - start - 1)} bytes`)
    this.at += length
    this.expect('"')
    return { start, end: start + length }
  }

  /** Reads `length:"…"` in the escaped form, in which a backslash and two digits are one byte. */
  escaped(): string | Buffer {
    const length = this.count()
    this.expect(':"')
    if (length >= this.end - this.at) this.fail('a shorter string')
    const bytes = Buffer.alloc(length)
    for (let index = 0; index < length; index++) {
      let byte = this.peek()
      if (byte === BACKSLASH) {
        const digits = this.#bytes.toString('latin1', this.at + 1, Math.min(this.at + 3, this.end))
        if (!/^[0-9a-f]{2}$/i.test(digits)) this.fail('two hexadecimal digits', this.at + 1)
        byte = Number.parseInt(digits, 16)
        this.at += 2
      }
      if (byte < 0) this.fail('more of the string')
      bytes[index] = byte
      this.at++
    }
    if (this.peek() !== QUOTE) this.fail('"""')
    this.at++
    return isUtf8(bytes) ? bytes.toString('utf8') : bytes
  }

  /** Skips `length` bytes. @param expected for the message if they are not there @returns their range */
  take(length: number, expected: string): { start: number; end: number } {
    if (length > this.end - this.at) this.fail(expected)
    const start = this.at
    this.at += length
    return { start, end: this.at }
  }

  /** Returns the next position of the byte; -1 if there is none. */
  indexOf(byte: number): number {
    const at = this.#bytes.indexOf(byte, this.at)
    return at < this.end ? at : -1
  }

  /** Returns the range as a string if it is UTF-8, otherwise as a copy of the bytes. */
  text({ start, end }: { start: number; end: number }): string | Buffer {
    if (this.#isText(start, end)) return this.#bytes.toString('utf8', start, end)
    return Buffer.from(this.#bytes.subarray(start, end))
  }

  /** Returns the range as a name; see `bytesToName`. */
  name({ start, end }: { start: number; end: number }): string {
    if (this.#isText(start, end)) return this.#bytes.toString('utf8', start, end)
    return bytesToName(this.#bytes.subarray(start, end))
  }

  /** Returns the range as it is written, if it is ASCII; otherwise undefined. */
  ascii(start: number, end: number): string | undefined {
    const text = this.#bytes.toString('latin1', start, end)
    return /^[\0-\x7f]*$/.test(text) ? text : undefined
  }

  #isText(start: number, end: number): boolean {
    if (!this.#utf8) return isUtf8(this.#bytes.subarray(start, end))
    return start === end || !(isContinuation(this.#bytes[start]) || isContinuation(this.#bytes[end]))
  }
}
