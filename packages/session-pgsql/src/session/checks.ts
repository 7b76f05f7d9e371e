import { invalid, received } from '../errors.ts'
import type { MetadataUpdate } from './stored.ts'

/**
 * Checks of arguments. PostgreSQL's text cannot store a NUL character or a lone surrogate; such strings are rejected,
 * and never truncated. No message contains a string that was passed in.
 */

/** Seconds: about 300 years. */
const MAX_LIFETIME = 1e10

/**
 * Maximum length of a name, a custom field, an address or a message, in characters: every list of sessions has them.
 */
const MAX_FIELD = 1024 * 1024

/**
 * @param what the argument's name, for the message
 * @throws INVALID_ARGUMENT
 */
export function checkText(what: string, text: unknown): asserts text is string {
  if (typeof text !== 'string') {
    throw invalid(`Expected the ${what} to be a string; received ${received(text)}.`)
  }
  if (text.length > MAX_FIELD) {
    throw invalid(
      `Expected the ${what} to have at most ${MAX_FIELD.toLocaleString('en')} characters; received ${text.length.toLocaleString('en')}.`,
    )
  }
  if (text.includes('\0')) {
    throw invalid(`The ${what} contains a NUL character, which PostgreSQL cannot store. Remove or escape it.`)
  }
  if (!text.isWellFormed()) {
    throw invalid(
      `The ${what} contains a lone surrogate, which PostgreSQL cannot store. Do not split characters, or call toWellFormed().`,
    )
  }
}

/**
 * @param lifetime seconds
 * @throws INVALID_ARGUMENT
 */
export function checkLifetime(lifetime: unknown): asserts lifetime is number {
  if (typeof lifetime !== 'number' || !(lifetime >= 0 && lifetime <= MAX_LIFETIME)) {
    throw invalid(
      `Expected the lifetime to be a number of seconds from 0 to ${MAX_LIFETIME}; received ${received(lifetime)}.`,
    )
  }
}

/** Returns the checked custom field and errors; undefined if there are none. @throws INVALID_ARGUMENT */
export function metadataOf(options: {
  readonly custom?: string | null | undefined
  readonly errors?:
    | {
        readonly errors?: number | undefined
        readonly warnings?: number | undefined
        readonly notices?: number | undefined
        readonly message?: string | undefined
      }
    | undefined
}): MetadataUpdate | undefined {
  const { custom, errors } = options
  const metadata: { -readonly [K in keyof MetadataUpdate]: MetadataUpdate[K] } = {}
  if (custom !== undefined) {
    if (custom !== null) checkText('custom field', custom)
    metadata.custom = custom
  }
  for (const counter of ['errors', 'warnings', 'notices'] as const) {
    const count = errors?.[counter]
    if (count === undefined || count === 0) continue
    if (!Number.isSafeInteger(count) || count < 0) {
      throw invalid(
        `Expected the number of ${counter} to be an integer of at least 0; received ${received(count)}.`,
      )
    }
    metadata[counter] = count
  }
  if (errors?.message !== undefined) {
    checkText('error message', errors.message)
    metadata.message = errors.message
  }
  return Object.keys(metadata).length === 0 ? undefined : metadata
}
