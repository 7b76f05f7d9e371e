import { SessionPgsqlError } from '../errors.ts'
import type { Marks } from './stored.ts'

/**
 * Checks of what is passed to the methods. PostgreSQL's text holds neither a NUL nor half a surrogate pair;
 * what it cannot hold is refused here, and nothing is cut off. No message shows a value.
 */

/** About 300 years. */
const LONGEST_LIFETIME = 1e10

/** PostgreSQL would take a gigabyte; a session of that size is a mistake, and stalls everybody else's. */
export const MAX_TEXT: number = 64 * 1024 * 1024

/** Characters of a name, a custom field, an address or a message: they come along wherever sessions are listed. */
const MAX_FIELD = 1024 * 1024

export function checkText(what: string, text: unknown): asserts text is string {
  if (typeof text !== 'string') {
    throw invalid(`Expected ${what} to be a string; received ${text === null ? 'null' : typeof text}.`)
  }
  if (text.length > MAX_FIELD) {
    throw invalid(
      `The ${what} has ${text.length.toLocaleString('en')} characters, and ${MAX_FIELD.toLocaleString('en')} are the limit.`,
    )
  }
  if (text.includes('\0')) {
    throw invalid(`The ${what} holds a NUL character, which PostgreSQL cannot store. Remove or escape it.`)
  }
  if (!text.isWellFormed()) {
    throw invalid(
      `The ${what} holds half a surrogate pair, which PostgreSQL cannot store. Cut strings between characters, or use toWellFormed().`,
    )
  }
}

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

/** @param lifetime seconds */
export function checkLifetime(lifetime: unknown): asserts lifetime is number {
  if (typeof lifetime !== 'number' || !(lifetime >= 0 && lifetime <= LONGEST_LIFETIME)) {
    const received = typeof lifetime === 'number' ? String(lifetime) : typeof lifetime
    throw invalid(
      `Expected the lifetime to be a number of seconds from 0 to ${LONGEST_LIFETIME}; received ${received}.`,
    )
  }
}

/** The custom field and the errors, checked; undefined if there is nothing to record. */
export function marksOf(options: {
  readonly custom?: string | null | undefined
  readonly errors?:
    | {
        readonly errors?: number | undefined
        readonly warnings?: number | undefined
        readonly notices?: number | undefined
        readonly message?: string | undefined
      }
    | undefined
}): Marks | undefined {
  const { custom, errors } = options
  const marks: { -readonly [K in keyof Marks]: Marks[K] } = {}
  if (custom !== undefined) {
    if (custom !== null) checkText('custom field', custom)
    marks.custom = custom
  }
  for (const counter of ['errors', 'warnings', 'notices'] as const) {
    const count = errors?.[counter]
    if (count === undefined || count === 0) continue
    if (!Number.isSafeInteger(count) || count < 0) {
      throw invalid(
        `Expected the number of ${counter} to be a whole number from 0 on; received ${typeof count === 'number' ? count : typeof count}.`,
      )
    }
    marks[counter] = count
  }
  if (errors?.message !== undefined) {
    checkText('error message', errors.message)
    marks.message = errors.message
  }
  return Object.keys(marks).length === 0 ? undefined : marks
}

export function invalid(message: string, cause?: unknown): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_ARGUMENT', message, { cause })
}
