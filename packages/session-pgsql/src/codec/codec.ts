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
}
