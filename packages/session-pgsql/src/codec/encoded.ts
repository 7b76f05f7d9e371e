import { SessionPgsqlError } from '../errors.ts'
import { keyIdOf } from './sealed.ts'

/** Characters. PostgreSQL accepts a gigabyte, but a session of that size is an error and blocks other requests. */
const MAX_TEXT = 64 * 1024 * 1024

/** Checks that the table can store the text of a codec. @throws INVALID_DATA */
export function checkEncoded(text: unknown, codec: string): asserts text is string {
  const refuse = (reason: string): never => {
    throw new SessionPgsqlError('INVALID_DATA', `Cannot store the session's data: ${reason}`)
  }
  if (typeof text !== 'string') refuse(`expected a string from the codec ${codec}, received ${typeof text}.`)
  const encoded = text as string
  if (encoded.length > MAX_TEXT) {
    refuse(
      `it has ${encoded.length.toLocaleString('en')} characters; the maximum is ${MAX_TEXT.toLocaleString('en')}.`,
    )
  }
  if (encoded.includes('\0')) refuse(`the text from the codec ${codec} contains a NUL character.`)
  if (!encoded.isWellFormed()) refuse(`the text from the codec ${codec} contains half a surrogate pair.`)
  if (keyIdOf(encoded) !== undefined) refuse(`the text from the codec ${codec} looks like encrypted data.`)
}
