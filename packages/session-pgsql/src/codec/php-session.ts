import { SessionPgsqlError } from '../errors.ts'
import { bytesToText, textToBytes } from './bytes.ts'
import type { MergingCodec } from './codec.ts'
import { type PhpSession, phpBinaryCodec, phpCodec, phpSerializeCodec } from './php.ts'

/** A session format of PHP, as `session.serialize_handler` names it. */
export type PhpSessionFormat = 'php' | 'php_serialize' | 'php_binary'

const CODECS = { php: phpCodec, php_serialize: phpSerializeCodec, php_binary: phpBinaryCodec }

/**
 * Decodes a PHP session from a source other than the table. Returns the variables of `$_SESSION` by name, with PHP
 * values as in docs/php-values.md.
 *
 * @param session the bytes that PHP wrote, or the text that the table stores for them, as `list({ text: true })`
 *   returns it
 * @param format PHP's `session.serialize_handler`. Default: `php`
 * @throws UNDECODABLE if it is not a session in this format; the message contains no session data
 * @throws INVALID_ARGUMENT if the format is unknown
 */
export function decodePhpSession(session: Uint8Array | string, format: PhpSessionFormat = 'php'): PhpSession {
  return codecOf(format).decode(typeof session === 'string' ? session : bytesToText(session))
}

/**
 * Encodes a session to the bytes that PHP would write. Unchanged data gives the same bytes again.
 *
 * @param format PHP's `session.serialize_handler`. Default: `php`
 * @throws INVALID_DATA if the format cannot represent a value or a name
 * @throws INVALID_ARGUMENT if the format is unknown
 */
export function encodePhpSession(data: PhpSession, format: PhpSessionFormat = 'php'): Uint8Array {
  return textToBytes(codecOf(format).encode(data))
}

/**
 * Returns a codec whose data are the bytes of PHP sessions, for programs that pass sessions on without reading them.
 * It rejects bytes that are not a session, because PHP destroys a session that it cannot decode. Two changes of a
 * session are merged variable by variable, as with the codec `format`.
 *
 * @param format PHP's `session.serialize_handler`. Default: `php`
 * @throws INVALID_ARGUMENT if the format is unknown
 */
export function phpBytesCodec(format: PhpSessionFormat = 'php'): MergingCodec<Uint8Array> {
  const codec = codecOf(format)
  const checked = new CheckedTexts()
  const check = (text: string): void => {
    if (checked.has(text)) return
    codec.decode(text)
    checked.add(text)
  }
  return {
    name: codec.name,
    encode(bytes) {
      const text = bytesToText(bytes)
      try {
        check(text)
      } catch (cause) {
        const message = `Invalid session data: expected the format that PHP writes with session.serialize_handler = ${format}.`
        throw new SessionPgsqlError('INVALID_DATA', message, { cause })
      }
      return text
    },
    decode(text) {
      check(text)
      return textToBytes(text)
    },
    merge(ours, theirs, base) {
      const parsed = (bytes: Uint8Array): PhpSession => codec.decode(bytesToText(bytes))
      return textToBytes(codec.encode(codec.merge(parsed(ours), parsed(theirs), parsed(base))))
    },
  }
}

/** Characters that the cache of checked texts holds at most. */
const MAX_CHECKED = 4 * 1024 * 1024

/**
 * The texts that were parsed last without an error. A session is read many times before it changes, and parsing is
 * the largest part of a read.
 */
class CheckedTexts {
  readonly #texts = new Set<string>()
  #length = 0

  has(text: string): boolean {
    return this.#texts.has(text)
  }

  add(text: string): void {
    this.#texts.add(text)
    this.#length += text.length
    for (const oldest of this.#texts) {
      if (this.#length <= MAX_CHECKED) return
      this.#texts.delete(oldest)
      this.#length -= oldest.length
    }
  }
}

function codecOf(format: PhpSessionFormat): (typeof CODECS)[PhpSessionFormat] {
  if (Object.hasOwn(CODECS, format)) return CODECS[format]
  throw new SessionPgsqlError(
    'INVALID_ARGUMENT',
    `Unknown format of PHP sessions: expected one of ${Object.keys(CODECS).join(', ')}.`,
  )
}
