import { type ErrorCode, SessionPgsqlError } from '../errors.ts'
import type { Codec, MergingCodec } from './codec.ts'
import { checkEncoded } from './encoded.ts'
import { json } from './json.ts'
import { merge } from './merge.ts'
import { phpBinaryCodec, phpCodec, phpSerializeCodec } from './php.ts'
import { checkReadable } from './sealed.ts'

/**
 * The codec of a setting: one of ours by its name, or the caller's own. What it makes of the data is checked, so
 * that it can be stored.
 */
export function codecNamed<Data>(setting: string | Codec<Data>): MergingCodec<Data> {
  const codec = typeof setting === 'object' ? guarded(setting) : (OURS[setting] as MergingCodec<Data>)
  return {
    ...codec,
    encode(data) {
      const text = codec.encode(data)
      checkEncoded(text, codec.name)
      return text
    },
    decode(text) {
      checkReadable(text)
      return codec.decode(text)
    },
  }
}

const OURS: Record<string, unknown> = {
  json,
  php: phpCodec,
  php_serialize: phpSerializeCodec,
  php_binary: phpBinaryCodec,
}

/**
 * The caller's own codec, whatever it throws. What that was is not passed on: the errors of parsers quote
 * what they have read.
 */
function guarded<Data>(codec: Codec<Data>): MergingCodec<Data> {
  const attempt = <T>(work: () => T, code: ErrorCode, what: string): T => {
    try {
      return work()
    } catch (error) {
      if (error instanceof SessionPgsqlError) throw error
      const name = error instanceof Error ? error.name : typeof error
      throw new SessionPgsqlError(code, `The codec ${codec.name} cannot ${what} (${name}).`)
    }
  }
  const mergeTheirWay = codec.merge?.bind(codec) ?? merge
  return {
    name: codec.name,
    encode: (data) => attempt(() => codec.encode(data), 'INVALID_DATA', 'encode the data of this session'),
    decode: (text) =>
      attempt(() => codec.decode(text), 'UNDECODABLE', 'decode the stored data of this session'),
    merge: (ours, theirs, base) =>
      attempt(() => mergeTheirWay(ours, theirs, base), 'INVALID_DATA', 'merge two changes of this session'),
  }
}
