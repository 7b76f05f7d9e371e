import { isUtf8 } from 'node:buffer'
import {
  type Codec,
  decodePhpSession,
  encodePhpSession,
  phpBytesCodec,
  SessionPgsqlError,
} from 'session-pgsql'
import type { WireFormat } from './wire-format.ts'

/**
 * Laravel's sessions. Its session driver `redis` sends the value of a cache entry: a serialized PHP string, whose content
 * is the session as a serialized array, as JSON (`session.serialization`), or encrypted (`session.encrypt`). The content
 * is stored, so a serialized session can be read with the codec `php_serialize`.
 */

/** Keys of Laravel's session driver for an application with the default name: of releases 8, 10, 11 and 12. */
export const LARAVEL_PREFIXES: readonly string[] = [
  'laravel_database_laravel_cache:',
  'laravel_database_laravel_cache_:',
  'laravel_database_laravel_cache_',
  'laravel-database-laravel-cache-',
]

/** What is between the prefix and the id in the key of a session's lock: `Route::…->block()`. */
export const LARAVEL_LOCK = 'session:'

type Kind = 'serialized' | 'json' | 'opaque'

/** An encrypted session: base64. */
const OPAQUE = /^[A-Za-z0-9+/=_-]+$/

const EMPTY: Buffer = Buffer.from('a:0:{}')

const php = phpBytesCodec('php_serialize')

/** A serialized session is merged key by key, as JSON too. For encrypted sessions, the last write is stored. */
export const laravelCodec: Codec<Uint8Array> & Required<Pick<Codec<Uint8Array>, 'merge'>> = {
  name: 'laravel',
  encode(bytes) {
    const text = bytesOf(bytes).toString('utf8')
    const kind = kindOf(text)
    if (kind === 'serialized') return encodeSerialized(bytes)
    if (kind === 'json' && !(isUtf8(bytes) && isJson(text))) throw invalid('Expected valid JSON.')
    return text
  },
  decode(text) {
    if (text === '') return EMPTY
    return kindOf(text) === 'serialized' ? php.decode(text) : Buffer.from(text)
  },
  merge(ours, theirs, base) {
    const kinds = [ours, theirs].map((bytes) => kindOf(bytesOf(bytes).toString('latin1')))
    if (kinds.every((kind) => kind === 'serialized')) return php.merge(ours, theirs, base)
    // A new session is empty in either format. Against a base of another format, a deleted key would come back.
    const sessions = [parseJson(ours), parseJson(theirs), EMPTY.equals(base) ? {} : parseJson(base)]
    if (!sessions.every((one) => one !== undefined)) return ours
    // As PHP's arrays, which is what the application takes them for.
    const [first, second, third] = sessions.map((one) => encodePhpSession(one, 'php_serialize'))
    const merged = php.merge(first as Uint8Array, second as Uint8Array, third as Uint8Array)
    return Buffer.from(JSON.stringify(decodePhpSession(merged, 'php_serialize')))
  },
}

/** A serialized string around the content. */
export const LARAVEL: WireFormat = {
  empty: EMPTY,
  decode(bytes) {
    const [head = '', length] = /^s:(\d{1,10}):"/.exec(bytes.toString('latin1', 0, 16)) ?? []
    const end = head.length + Number(length)
    if (length === undefined || bytes.length !== end + 2 || bytes.toString('latin1', end) !== '";') {
      throw invalid(
        'Expected the value that its session driver "redis" stores. A cache of other values needs a Redis of its own.',
      )
    }
    return bytes.subarray(head.length, end)
  },
  encode(data) {
    const content = bytesOf(data as Uint8Array)
    return Buffer.concat([Buffer.from(`s:${content.length}:"`), content, Buffer.from('";')])
  },
}

function encodeSerialized(bytes: Uint8Array): string {
  try {
    return php.encode(bytes)
  } catch (cause) {
    throw invalid('Expected a serialized array, JSON, or an encrypted session.', cause)
  }
}

function kindOf(text: string): Kind {
  if (/^[[{]/.test(text)) return 'json'
  return OPAQUE.test(text) ? 'opaque' : 'serialized'
}

/** Returns a session in JSON; undefined if it is none, or has an integer that JavaScript would round. */
function parseJson(bytes: Uint8Array): Record<string, unknown> | undefined {
  const text = bytesOf(bytes).toString('utf8')
  if (kindOf(text) !== 'json' || /\d{16}/.test(text.replaceAll(/"(?:[^"\\]|\\.)*"/g, ''))) return undefined
  const value = JSON.parse(text)
  // PHP writes an empty array as [].
  return Array.isArray(value) ? (value.length === 0 ? {} : undefined) : value
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function bytesOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function invalid(reason: string, cause?: unknown): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_DATA', `Invalid session data of Laravel. ${reason}`, { cause })
}
