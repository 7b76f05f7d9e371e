import { SessionPgsqlError } from '../errors.ts'
import { bytesToText, textToBytes } from './bytes.ts'
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

function codecOf(format: PhpSessionFormat): (typeof CODECS)[PhpSessionFormat] {
  if (Object.hasOwn(CODECS, format)) return CODECS[format]
  throw new SessionPgsqlError(
    'INVALID_ARGUMENT',
    `Expected the format of a PHP session to be one of ${Object.keys(CODECS).join(', ')}.`,
  )
}
