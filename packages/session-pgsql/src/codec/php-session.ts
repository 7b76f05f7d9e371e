import { SessionPgsqlError } from '../errors.ts'
import { bytesToText, textToBytes } from './bytes.ts'
import type { MergingCodec } from './codec.ts'
import { type PhpSession, phpBinaryCodec, phpCodec, phpSerializeCodec } from './php.ts'

/** PHP's `session.serialize_handler`, those that PHP itself has. */
export type PhpSessionFormat = 'php' | 'php_serialize' | 'php_binary'

const CODECS = { php: phpCodec, php_serialize: phpSerializeCodec, php_binary: phpBinaryCodec }

/**
 * The variables in a session as PHP hands it to its save handlers: for who receives PHP's bytes from somewhere
 * else than the table. PHP's values become JavaScript's as docs/php-values.md says.
 *
 * @param session PHP's bytes; or the text that is stored for them, as `list({ text: true })` gives it
 * @param format PHP's `session.serialize_handler`
 * @throws UNDECODABLE if it is not what PHP writes in this format; the message holds none of it
 */
export function decodePhpSession(session: Uint8Array | string, format: PhpSessionFormat = 'php'): PhpSession {
  return codecOf(format).decode(typeof session === 'string' ? session : bytesToText(session))
}

/**
 * The bytes that PHP would have written: the very same ones, where nothing was changed.
 *
 * @param format PHP's `session.serialize_handler`
 * @throws INVALID_DATA for what the format cannot carry
 */
export function encodePhpSession(data: PhpSession, format: PhpSessionFormat = 'php'): Uint8Array {
  return textToBytes(codecOf(format).encode(data))
}

/**
 * A codec for who hands PHP's sessions on and does not look into them: its data are PHP's bytes. What is no session
 * is neither stored nor handed out, for PHP destroys a session that it cannot decode. Two changes of one session are
 * merged variable by variable, as under the codec of this name.
 *
 * @param format PHP's `session.serialize_handler`
 */
export function phpBytesCodec(format: PhpSessionFormat = 'php'): MergingCodec<Uint8Array> {
  const codec = codecOf(format)
  const checked = new LatelyChecked()
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
        const message = `This is no session as PHP writes it with session.serialize_handler = ${format}.`
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

/** Most characters of texts that are known to be sessions. */
const MOST_CHECKED = 4 * 1024 * 1024

/** What has been parsed without fault: a session is read many times before it changes, and parsing it is most of a read. */
class LatelyChecked {
  readonly #texts = new Set<string>()
  #length = 0

  has(text: string): boolean {
    return this.#texts.has(text)
  }

  add(text: string): void {
    this.#texts.add(text)
    this.#length += text.length
    for (const oldest of this.#texts) {
      if (this.#length <= MOST_CHECKED) return
      this.#texts.delete(oldest)
      this.#length -= oldest.length
    }
  }
}

function codecOf(format: PhpSessionFormat): (typeof CODECS)[PhpSessionFormat] {
  if (Object.hasOwn(CODECS, format)) return CODECS[format]
  throw new SessionPgsqlError(
    'INVALID_ARGUMENT',
    `Expected the format of a PHP session to be one of ${Object.keys(CODECS).join(', ')}.`,
  )
}
