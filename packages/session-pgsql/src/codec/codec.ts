/**
 * Converts a session's data to the text in the column `sess_data`, and back.
 *
 * `decode('')` is the empty session. `decode` throws UNDECODABLE for a text that it cannot read, and
 * `encode` INVALID_DATA for data that it cannot write; neither puts any data into its message.
 * Each call of `decode` returns a new value, so that no caller sees the changes of another.
 */
export interface Codec<Data> {
  /** For messages and `status()`. */
  readonly name: string
  encode(data: Data): string
  decode(text: string): Data
  /**
   * Applies the changes of `ours` since `base` to `theirs`, if the setting `conflict` is `merge`. Changes none of the
   * three. `base` is the empty session (`decode('')`) if there was none. Always called with the original three, never
   * with the result of another merge as `ours`.
   *
   * Default: plain objects are merged key by key and arrays element by element, to any depth; everything else is
   * taken whole, ours if ours changed it. A key that either side deleted, and an element that either side removed,
   * stay deleted. docs/merging.md has every rule.
   */
  merge?(ours: Data, theirs: Data, base: Data): Data
}

/** A codec with a merge, its own or the default. */
export type MergingCodec<Data> = Required<Codec<Data>>
