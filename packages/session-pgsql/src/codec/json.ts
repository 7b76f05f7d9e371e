import { SessionPgsqlError } from '../errors.ts'
import type { MergingCodec } from './codec.ts'
import { merge } from './merge.ts'

/**
 * The default codec. Values that JSON does not have (a Date, a Map, undefined) become what `JSON.stringify` makes of
 * them, as in other session stores for Node. A NUL character or half a surrogate pair is escaped and not lost.
 */
export const json: MergingCodec<unknown> = {
  name: 'json',

  encode(data) {
    let text: string | undefined
    try {
      text = JSON.stringify(data)
    } catch (cause) {
      // The TypeError about a cycle quotes keys, which are session data.
      const reason =
        cause instanceof RangeError
          ? 'it is too large or too deeply nested'
          : `it contains ${String(cause).includes('BigInt') ? 'a BigInt' : 'a cycle'}, or a toJSON that throws`
      throw new SessionPgsqlError('INVALID_DATA', `Cannot encode the session's data as JSON: ${reason}.`)
    }
    if (text === undefined) {
      throw new SessionPgsqlError(
        'INVALID_DATA',
        `Cannot encode the session's data as JSON: expected an object or another JSON value, received ${typeof data}.`,
      )
    }
    return text
  },

  decode(text) {
    if (text === '') return {}
    try {
      return JSON.parse(text)
    } catch {
      // V8's message quotes the text.
      throw new SessionPgsqlError(
        'UNDECODABLE',
        'Cannot decode the stored session: it is not JSON. ' +
          'Set the option codec to the codec that wrote it, or destroy the session.',
      )
    }
  },

  merge,
}
