import { type ErrorCode, SessionPgsqlError } from '../errors.ts'
import type { Codec } from './codec.ts'
import { json } from './json.ts'
import { phpBinaryCodec, phpCodec, phpSerializeCodec } from './php.ts'
import { carryReferences, referenceGroups } from './php-memory.ts'
import { samePhpValue } from './php-writer.ts'

/** A codec whose values can be tied together across keys, as PHP's references do. For its members see `MergeRules`. */
export interface TyingCodec<Data> extends Codec<Data> {
  /** Groups of top-level keys that only make sense together. */
  readonly tied?: (data: Data) => readonly (readonly string[])[]
  readonly same?: (one: unknown, other: unknown) => boolean
  readonly carry?: (from: object, to: object, keys: readonly string[]) => void
}

/** The codec of a setting: one of ours by its name, or the caller's own. */
export function codecNamed<Data>(setting: string | Codec<Data>): TyingCodec<Data> {
  if (typeof setting === 'object') return guarded(setting)
  return OURS[setting] as TyingCodec<unknown> as TyingCodec<Data>
}

const tied = (data: unknown): readonly (readonly string[])[] =>
  typeof data === 'object' && data !== null ? referenceGroups(data) : []

const php = { tied, same: samePhpValue, carry: carryReferences }

const OURS: Record<string, unknown> = {
  json,
  php: { ...phpCodec, ...php },
  php_serialize: { ...phpSerializeCodec, ...php },
  php_binary: { ...phpBinaryCodec, ...php },
}

/**
 * The caller's own codec, whatever it throws. What that was is not passed on: the errors of parsers quote
 * what they have read.
 */
function guarded<Data>(codec: Codec<Data>): Codec<Data> {
  const attempt = <T>(work: () => T, code: ErrorCode, what: string): T => {
    try {
      return work()
    } catch (error) {
      if (error instanceof SessionPgsqlError) throw error
      const name = error instanceof Error ? error.name : typeof error
      throw new SessionPgsqlError(code, `The codec ${codec.name} cannot ${what} (${name}).`)
    }
  }
  return {
    name: codec.name,
    encode: (data) => attempt(() => codec.encode(data), 'INVALID_DATA', 'encode the data of this session'),
    decode: (text) =>
      attempt(() => codec.decode(text), 'UNDECODABLE', 'decode the stored data of this session'),
  }
}
