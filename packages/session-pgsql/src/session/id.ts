import { randomBytes } from 'node:crypto'

/** Printable ASCII without spaces, 1 to 256 characters. */
export const DEFAULT_ID_PATTERN: RegExp = /^[\x21-\x7e]{1,256}$/

/** The ids that session_pgsql and PHP accept: the characters of PHP's own generator. */
export const PHP_ID_PATTERN: RegExp = /^[A-Za-z0-9,_-]{1,256}$/

/**
 * Returns 32 characters of `A-Z a-z 0-9 - _` with 192 random bits. They match both patterns, and session_pgsql accepts
 * them.
 */
export function createId(): string {
  return randomBytes(24).toString('base64url')
}
