import { SessionPgsqlError } from '../errors.ts'
import type { MetadataUpdate } from './stored.ts'

/**
 * Checks of what is passed to the methods. PostgreSQL's text holds neither a NUL nor half a surrogate pair;
 * what it cannot hold is refused here, and nothing is cut off. No message shows a value.
 */

/** About 300 years. */
const LONGEST_LIFETIME = 1e10

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
        `Expected the number of ${counter} to be a whole number from 0 on; received ${typeof count === 'number' ? count : typeof count}.`,
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

export function invalid(message: string, cause?: unknown): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_ARGUMENT', message, { cause })
}
