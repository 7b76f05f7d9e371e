/**
 * Between a session's data and the text in the column `sess_data`.
 *
 * `decode('')` is the empty session. `decode` throws UNDECODABLE for a text that it cannot read, and
 * `encode` INVALID_DATA for data that it cannot write; neither puts any data into its message.
 * Each call of `decode` gives a value of its own: what one caller changes, no other sees.
 */
export interface Codec<Data> {
  /** For messages and `status()`. */
  readonly name: string
  encode(data: Data): string
  decode(text: string): Data
  /**
   * Lays what `mine` has changed since `seen` over `theirs`, where the setting `conflict` is `merge`; changes none
   * of the three. Left out: plain objects are merged key by key, to any depth, and everything else is taken whole.
   */
  merge?(mine: Data, theirs: Data, seen: Data): Data
}

/** A codec that can merge, be it as all can. */
export type MergingCodec<Data> = Required<Codec<Data>>
