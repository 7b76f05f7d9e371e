import { hash } from 'node:crypto'

/** What the stored form of a hashed id begins with. No id of a session may begin with it. */
export const HASHED_ID_PREFIX = 'h1:'

/**
 * Returns the hashed form of an id, from which the id cannot be computed. Returns a hashed form unchanged, so that it can
 * be computed from a row of either form.
 */
export function hashedId(id: string): string {
  return id.startsWith(HASHED_ID_PREFIX) ? id : HASHED_ID_PREFIX + hash('sha256', id, 'base64url')
}
