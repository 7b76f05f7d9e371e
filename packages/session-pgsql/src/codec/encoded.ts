import { SessionPgsqlError } from '../errors.ts'

/** PostgreSQL would take a gigabyte; a session of that size is a mistake, and stalls everybody else's. */
const MAX_TEXT = 64 * 1024 * 1024

/** What a codec has made of the data. */
export function checkEncoded(text: unknown, codec: string): asserts text is string {
  const refuse = (reason: string): never => {
    throw new SessionPgsqlError('INVALID_DATA', `The session's data cannot be stored: ${reason}`)
  }
  if (typeof text !== 'string') refuse(`the codec ${codec} gave ${typeof text} instead of a string.`)
  const encoded = text as string
  if (encoded.length > MAX_TEXT) {
    refuse(
      `it has ${encoded.length.toLocaleString('en')} characters, and ${MAX_TEXT.toLocaleString('en')} are the limit.`,
    )
  }
  if (encoded.includes('\0')) refuse(`what the codec ${codec} made of it holds a NUL character.`)
  if (!encoded.isWellFormed()) refuse(`what the codec ${codec} made of it holds half a surrogate pair.`)
}
