/** How a session's data becomes the text in the table's column, and data again. */

export interface Codec<Data> {
  /** As in the setting `codec`. */
  readonly name: string
  /** The text to store. Fails with INVALID_DATA on what it cannot carry faithfully, rather than leave it out. */
  encode(data: Data): string
  /**
   * Fresh values at every call: changing them changes nobody else's. The empty text is the empty session.
   * Fails with UNDECODABLE; the message tells the position and what was expected there, never the data.
   */
  decode(text: string): Data
}
