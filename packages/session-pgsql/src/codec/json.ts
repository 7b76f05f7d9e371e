import { SessionPgsqlError } from '../errors.ts'
import type { MergingCodec } from './codec.ts'
import { merge } from './merge.ts'

/**
 * Data as JSON, the default. What JSON cannot say (a Date, a Map, undefined) becomes what `JSON.stringify`
 * makes of it, as in every session store of Node; a NUL or half a surrogate pair is escaped, not lost.
 */
export const json: MergingCodec<unknown> = {
  name: 'json',

  encode(data) {
    let text: string | undefined
    try {
      text = JSON.stringify(data)
    } catch (cause) {
      // The message of a TypeError about a cycle names keys, which are session data.
      const reason =
        cause instanceof RangeError
          ? 'it is too large or nested too deep'
          : `it holds ${String(cause).includes('BigInt') ? 'a BigInt' : 'a cycle'}, or a toJSON that throws`
      throw new SessionPgsqlError('INVALID_DATA', `The session's data cannot be written as JSON: ${reason}.`)
    }
    if (text === undefined) {
      throw new SessionPgsqlError(
        'INVALID_DATA',
        `Expected session data that JSON can write, such as an object; received ${typeof data}.`,
      )
    }
    return text
  },

  decode(text) {
    if (text === '') return {}
    try {
      return JSON.parse(text)
    } catch {
      // V8 quotes the text in its message.
      throw new SessionPgsqlError(
        'UNDECODABLE',
        'The stored data of this session is not JSON. Was it written under another codec? ' +
          'Set `codec` to the one that wrote it, or destroy the session.',
      )
    }
  },

  merge,
}
