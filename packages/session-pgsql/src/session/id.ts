import { randomBytes } from 'node:crypto'

/** Printable ASCII without blanks, 1 to 256 characters. */
export const DEFAULT_ID_PATTERN: RegExp = /^[\x21-\x7e]{1,256}$/

/** The rule of session_pgsql and PHP: what PHP's own generator makes. */
export const PHP_ID_PATTERN: RegExp = /^[A-Za-z0-9,_-]{1,256}$/

/** 32 characters of `A-Z a-z 0-9 - _` with 192 random bits: valid under either pattern, and for the seed. */
export function createId(): string {
  return randomBytes(24).toString('base64url')
}

/**
 * The form in which an id lies in the column `sess_id`. It is the id itself; this is the one place to change
 * should ids be hashed at rest.
 */
export function storedId(id: string): string {
  return id
}
