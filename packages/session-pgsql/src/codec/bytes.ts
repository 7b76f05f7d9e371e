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

const HEX_DIGITS = '0123456789ABCDEF'

/** Returns the bytes as text: unchanged if they are UTF-8 without NUL, otherwise with the marker and escapes. */
export function bytesToText(bytes: Uint8Array): string {
  const buffer = asBuffer(bytes)
  const utf8 = isUtf8(buffer)
  if (utf8 && !buffer.includes(0)) {
    const text = buffer.toString('utf8')
    if (!text.startsWith(MARKER)) return text
  }
  return MARKER + escaped(buffer)
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
  // UTF-16: no character has more units than bytes.
  const units = Buffer.allocUnsafe(buffer.length * 2)
  let to = 0
  separate(buffer, () => false, {
    text: (start, end) => {
      to += units.write(buffer.toString('utf8', start, end), to, 'utf16le')
    },
    byte: (byte) => {
      to = units.writeUInt16LE(0xdc00 + byte, to)
    },
  })
  return units.toString('utf16le', 0, to)
}

/** Returns the bytes of such a name; undefined if it has a lone surrogate that represents no byte. */
export function nameToBytes(name: string): Buffer | undefined {
  if (isWellFormed(name)) return Buffer.from(name, 'utf8')
  const bytes = Buffer.allocUnsafe(name.length * 3)
  let to = 0
  let start = 0
  for (let at = 0; at < name.length; at++) {
    const code = name.charCodeAt(at)
    if (!isSurrogate(code)) continue
    if (code < 0xdc00 && name.charCodeAt(at + 1) >= 0xdc00 && isSurrogate(name.charCodeAt(at + 1))) {
      at++
      continue
    }
    if (code < 0xdc80 || code > 0xdcff) return undefined
    if (start < at) to += bytes.write(name.slice(start, at), to)
    bytes[to++] = code - 0xdc00
    start = at + 1
  }
  to += bytes.write(name.slice(start), to)
  return bytes.subarray(0, to)
}

function isSurrogate(code: number): boolean {
  return code >= 0xd800 && code <= 0xdfff
}

/** Returns false if the string contains half a surrogate pair, which has no UTF-8 form. */
export function isWellFormed(text: string): boolean {
  // Node 20 has isWellFormed, but the compiler's ES2023 library does not declare it.
  return (text as unknown as { isWellFormed(): boolean }).isWellFormed()
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Returns the bytes as text, with an escape for NUL, percent signs, and each byte that is not UTF-8. */
function escaped(bytes: Buffer): string {
  const text = Buffer.allocUnsafe(bytes.length * 3)
  let to = 0
  separate(bytes, (byte) => byte === 0 || byte === PERCENT, {
    text: (start, end) => {
      to += bytes.copy(text, to, start, end)
    },
    byte: (byte) => {
      text[to++] = PERCENT
      text[to++] = HEX_DIGITS.charCodeAt(byte >> 4)
      text[to++] = HEX_DIGITS.charCodeAt(byte & 15)
    },
  })
  return text.toString('utf8', 0, to)
}

/**
 * Calls `text` for each part that is UTF-8, and `byte` for each other byte and each that `also` selects, in their
 * order. The callers write into a buffer: a string that grows by one character each time takes seconds for 8 MB.
 */
function separate(
  bytes: Buffer,
  also: (byte: number) => boolean,
  write: { text(start: number, end: number): void; byte(byte: number): void },
): void {
  let start = 0
  let at = 0
  while (at < bytes.length) {
    const byte = bytes[at] as number
    const length = also(byte) ? 0 : sequenceLength(bytes, at)
    if (length > 0) {
      at += length
      continue
    }
    if (start < at) write.text(start, at)
    write.byte(byte)
    start = ++at
  }
  if (start < at) write.text(start, at)
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

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30
  const letter = byte | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1
}
