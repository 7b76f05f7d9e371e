import { type Codec, SessionPgsqlError } from 'session-pgsql'

/**
 * Most values of a session, by default. Checking a session is one step, and all other clients wait for it. Measured for
 * 100,000 values: 0.01 to 0.3 seconds of processor time, the most for variables that are references.
 */
export const MAX_VALUES = 100_000

/** Merging takes five to eight times as long as checking. */
const MERGE_COST = 5

/**
 * A codec of PHP's bytes that bounds the work on one session: with more values, it is refused; with more than a fifth of
 * them, two changes of it are a conflict instead of being merged.
 *
 * @param maxValues counted at all depths; in arrays and objects, the keys count too
 */
export function boundedCodec(codec: Codec<Uint8Array>, maxValues: number): Codec<Uint8Array> {
  const maxMerged = Math.ceil(maxValues / MERGE_COST)
  return {
    ...codec,
    encode(bytes) {
      if (exceeds(bytes, maxValues)) {
        throw new SessionPgsqlError(
          'INVALID_DATA',
          `The session has more than ${maxValues.toLocaleString('en')} values (--max-values).`,
        )
      }
      return codec.encode(bytes)
    },
    merge(ours, theirs, base) {
      if ([ours, theirs, base].some((bytes) => exceeds(bytes, maxMerged))) {
        throw new SessionPgsqlError(
          'CONFLICT',
          `Another request has changed the session since this connection read it, and a session with more than ${maxMerged.toLocaleString('en')} values is not merged (--max-values).`,
        )
      }
      return (codec.merge as NonNullable<typeof codec.merge>)(ours, theirs, base)
    },
  }
}

const SEMICOLON = 0x3b
const COLON = 0x3a
const COMMA = 0x2c
const QUOTE = 0x22
const BRACE = 0x7d
const OPENING_BRACE = 0x7b
const OPENING_BRACKET = 0x5b
const LOWER_S = 0x73

/**
 * Returns true if there are more values. Counts what ends a value or a key outside of PHP's strings: `;`, `}`, and in
 * JSON `,`. In JSON, a text that looks like a PHP string hides nothing.
 */
function exceeds(bytes: Uint8Array, maxValues: number): boolean {
  if (bytes.length <= maxValues) return false
  const isJson = bytes[0] === OPENING_BRACE || bytes[0] === OPENING_BRACKET
  let count = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]
    if (byte === SEMICOLON || byte === BRACE || byte === COMMA) {
      if (++count > maxValues) return true
    } else if (byte === LOWER_S && bytes[at + 1] === COLON && !isJson) {
      at = endOfString(bytes, at)
    }
  }
  return false
}

/** Returns the place of the last byte of the string that begins here, or `at` if none does, or one that has no end. */
function endOfString(bytes: Uint8Array, at: number): number {
  let length = 0
  let digit = at + 2
  for (; digit < at + 12; digit++) {
    const value = (bytes[digit] as number) - 0x30
    if (!(value >= 0 && value <= 9)) break
    length = length * 10 + value
  }
  const end = digit + 1 + length + 1
  return bytes[digit] === COLON && bytes[digit + 1] === QUOTE && bytes[end] === QUOTE ? end : at
}
