import type { Codec } from './codec.ts'
import { json } from './json.ts'

/** A codec whose values can be tied together across keys, as PHP's references do. */
export interface TyingCodec<Data> extends Codec<Data> {
  /** Groups of top-level keys that only make sense together. */
  tied?(data: Data): readonly (readonly string[])[]
}

/** The codec of a setting: one of ours by its name, or the caller's own. */
export function codecNamed<Data>(setting: string | Codec<Data>): Codec<Data> {
  if (typeof setting === 'object') return setting
  return json as Codec<Data>
}
