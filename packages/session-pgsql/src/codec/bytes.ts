/**
 * Converts between the bytes of a PHP session and the text in the table. Bytes that PostgreSQL accepts as text are
 * stored unchanged, so a table of the C extension needs no conversion. Other sessions are stored with a marker in
 * front, and only the bytes that a text cannot contain are escaped. The gateway stores sessions this way without
 * parsing them.
 */
import { isUtf8 } from 'node:buffer'
import { SessionPgsqlError } from '../errors.ts'

/**
 * Marks a text as escaped. No PHP session starts like this in any of the three formats: in `php_binary` the first
 * byte is the length of a name (35 bytes), in `php` the name ends at the bar, and no value starts with `#`.
 */
export const MARKER = '#php session bytes, escaped as %HH:|#'

const PERCENT = 0x25

/** Returns the bytes as text: unchanged if they are UTF-8 without NUL, otherwise with the marker and escapes. */
export function bytesToText(bytes: Uint8Array): string {
  const buffer = asBuffer(bytes)
  const utf8 = isUtf8(buffer)
  if (utf8 && !buffer.includes(0)) {
    const text = buffer.toString('utf8')
    if (!text.startsWith(MARKER)) return text
  }
  return MARKER + escapeBytes(buffer, (byte) => byte === 0 || byte === PERCENT, percent)
}

/** Returns the bytes that `bytesToText` converted. @throws UNDECODABLE if an escape is invalid */
export function textToBytes(text: string): Buffer {
  if (!text.startsWith(MARKER)) return Buffer.from(text, 'utf8')
  const bytes = Buffer.from(text.slice(MARKER.length), 'utf8')
  let to = bytes.indexOf(PERCENT)
  if (to < 0) return bytes
  for (let from = to; from < bytes.length; from++) {
    let byte = bytes[from] as number
    if (byte === PERCENT) {
      const high = hexDigit(bytes[from + 1])
      const low = hexDigit(bytes[from + 2])
      if (high < 0 || low < 0) {
        const at = MARKER.length + from
        throw new SessionPgsqlError('UNDECODABLE', `Expected two hexadecimal digits after % at byte ${at}.`)
      }
      byte = high * 16 + low
      from += 2
    }
    bytes[to++] = byte
  }
  return bytes.subarray(0, to)
}

/**
 * Returns the name of a variable, key or class as a JavaScript string. Names are used as keys and must be strings, so
 * a byte that is not UTF-8 becomes the lone surrogate U+DC00 + byte, as in Python's file names.
 */
export function bytesToName(bytes: Uint8Array): string {
  const buffer = asBuffer(bytes)
  if (isUtf8(buffer)) return buffer.toString('utf8')
  return escapeBytes(
    buffer,
    () => false,
    (byte) => String.fromCharCode(0xdc00 + byte),
  )
}

/** Returns the bytes of such a name; undefined if it has a lone surrogate that represents no byte. */
export function nameToBytes(name: string): Buffer | undefined {
  if (isWellFormed(name)) return Buffer.from(name, 'utf8')
  const parts: Buffer[] = []
  for (const part of name.split(/([\udc80-\udcff])/u)) {
    const code = part.charCodeAt(0)
    if (part.length === 1 && code >= 0xdc80 && code <= 0xdcff) parts.push(Buffer.of(code - 0xdc00))
    else if (isWellFormed(part)) parts.push(Buffer.from(part, 'utf8'))
    else return undefined
  }
  return Buffer.concat(parts)
}

/** Returns false if the string contains half a surrogate pair, which has no UTF-8 form. */
export function isWellFormed(text: string): boolean {
  // Node 20 has isWellFormed, but the compiler's ES2023 library does not declare it.
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed()
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Decodes the UTF-8 parts. Replaces each other byte, and each byte that `also` selects, by `escaped(byte)`. */
function escapeBytes(
  bytes: Buffer,
  also: (byte: number) => boolean,
  escaped: (byte: number) => string,
): string {
  let text = ''
  let start = 0
  let at = 0
  while (at < bytes.length) {
    const byte = bytes[at] as number
    const length = sequenceLength(bytes, at)
    if (length > 0 && !also(byte)) {
      at += length
      continue
    }
    if (start < at) text += bytes.toString('utf8', start, at)
    text += escaped(byte)
    start = ++at
  }
  return text + bytes.toString('utf8', start)
}

/** Returns the length of the UTF-8 character at this position in bytes; 0 if there is none. */
function sequenceLength(bytes: Buffer, at: number): number {
  const first = bytes[at] as number
  if (first < 0x80) return 1
  if (first < 0xc2 || first > 0xf4) return 0
  const second = bytes[at + 1] ?? 0
  // Excludes overlong forms, surrogates and code points above U+10FFFF.
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < lowest || second > highest) return 0
  if (first < 0xe0) return 2
  if (!isContinuation(bytes[at + 2])) return 0
  if (first < 0xf0) return 3
  return isContinuation(bytes[at + 3]) ? 4 : 0
}

/** Returns true if the byte is inside a UTF-8 character, not its first byte. */
export function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80
}

function percent(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
