import { createHash } from 'node:crypto'
import type { SaveHandler } from '../../save-handler.ts'
import { isHashedId } from '../../session/stored-id.ts'

/** What the adapters for key-value storages share: keys are the application's, and values need not expire. */

/** Seconds that a value is stored if it does not expire: about 30 years. */
export const UNLIMITED = 1e9

/** The keys that a storage takes: any text. The limit of 512 characters keeps an index entry within a b-tree page. */
export const ANY_KEY: RegExp = /^[^\0\p{Cs}]{1,512}$/u

/** Returns false if PostgreSQL's text cannot hold a key: it contains NUL or half a surrogate pair. */
export function isStorable(key: string): boolean {
  return !/[\0\p{Cs}]/u.test(key)
}

/** The first characters of the id under which a key is stored that is not a valid id. */
export const HASHED = 'sha256-'

/**
 * Returns a function that returns the id under which a key is stored: the key itself if the save handler's `idPattern`
 * and PostgreSQL accept it, otherwise its hash. Visitors choose keys, for example by the path that a rate limiter counts.
 */
export function idsOfKeys<Data>(handler: SaveHandler<Data>): (key: string) => string {
  const { idPattern } = handler.status().settings
  const [, source = '', flags] = /^\/(.*)\/(\w*)$/s.exec(String(idPattern)) ?? []
  const pattern = new RegExp(source, flags)
  return (key) => {
    if (pattern.test(key) && isStorable(key) && !key.startsWith(HASHED) && !isHashedId(key)) return key
    // As JSON, because UTF-8 has only one form for all lone surrogates.
    return HASHED + createHash('sha256').update(JSON.stringify(key)).digest('base64url')
  }
}
