import { SessionPgsqlError } from '../errors.ts'

/**
 * Texts that are stored encrypted: `e1.`, the key's id, `.`, and base64url of IV, ciphertext and tag. The data that a
 * codec encodes must not look like one, whether or not this process encrypts.
 */
export const SEALED_PREFIX = 'e1.'

/** What the id of a key may be. */
export const KEY_ID: RegExp = /^[A-Za-z0-9_-]{1,32}$/

const SEALED = /^e1\.([A-Za-z0-9_-]{1,32})\.[A-Za-z0-9_-]*$/

/** Returns the id of the key with which a stored text is encrypted; undefined if it is not encrypted. */
export function keyIdOf(stored: string): string | undefined {
  return stored.startsWith(SEALED_PREFIX) ? SEALED.exec(stored)?.[1] : undefined
}

/**
 * Returns a text that takes the place of stored text that this process cannot read. It begins with a NUL character, so it
 * is equal to no text that is stored, no codec decodes it, and PostgreSQL rejects it. A single unreadable row must not fail
 * a whole batch, and its other columns remain usable.
 *
 * @param reason the message of the error UNDECODABLE
 */
export function unreadable(reason: string, stored: string): string {
  return `\0${reason}\0${stored}`
}

/** Returns why a text is unreadable; undefined if it is not. */
export function unreadableReason(text: string): string | undefined {
  // 0 is the NUL character; this runs for every text that is decoded.
  return text.charCodeAt(0) === 0 ? text.slice(1, text.indexOf('\0', 1)) : undefined
}

/** Returns the stored text that an unreadable one takes the place of; other texts unchanged. */
export function storedText(text: string): string {
  return text.charCodeAt(0) === 0 ? text.slice(text.indexOf('\0', 1) + 1) : text
}

/** @throws UNDECODABLE if the text is unreadable */
export function checkReadable(text: string): void {
  const reason = unreadableReason(text)
  if (reason !== undefined) throw new SessionPgsqlError('UNDECODABLE', reason)
}

/** Returns decrypted data, or why it cannot be decrypted. */
export function textOrReason(text: string): { readonly text: string } | { readonly unreadable: string } {
  const unreadable = unreadableReason(text)
  return unreadable === undefined ? { text } : { unreadable }
}
