import { lifetimeOf, type StoredCookie, storedCookie } from '../../adapters/shared/stored-cookie.ts'
import type { Codec } from '../../codec/codec.ts'
import { SessionPgsqlError } from '../../errors.ts'
import type { ImportedSession } from '../../table/importing.ts'
import type { SourceSession } from './source.ts'

/** Seconds: what express-session's stores, and ours, give a session whose cookie has no age. */
const DAY = 86_400

/** Seconds by which an expiry may differ from what the cookie says, for two clocks. */
const TOLERANCE = 60

export interface Reading {
  /** How the data becomes text. */
  readonly codec: Codec<Record<string, unknown>>
  /** An id as the save handler takes it. */
  readonly idPattern: RegExp
  /** The path to what goes into the custom field: `['passport', 'user']`. */
  readonly field: readonly string[]
}

export interface Read {
  /** As the Express store would have written it. */
  readonly session: ImportedSession
  /** The date of expiry contradicts the cookie: it was probably written under another time zone. */
  readonly misdated: boolean
}

/** What express-session has stored, as the Express store stores it; undefined if it cannot be read or kept. */
export function readSession(source: SourceSession, { codec, idPattern, field }: Reading): Read | undefined {
  if (!idPattern.test(source.id)) return undefined
  const data = parse(source.text)
  if (data === undefined) return undefined
  const cookie = storedCookie(data.cookie)
  const expires = dateOf(data.cookie)
  if (cookie !== undefined) data.cookie = cookie
  const lifetime =
    source.expires === undefined
      ? lifetimeOf(cookie, DAY)
      : Math.max(0, (source.expires - performance.now()) / 1000)
  try {
    return {
      session: { id: source.id, text: codec.encode(data), lifetime, custom: fieldOf(data, field) },
      misdated: source.zoneless === true && contradicts(lifetime, cookie, expires),
    }
  } catch (error) {
    if (error instanceof SessionPgsqlError) return undefined
    throw error
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const data: unknown = JSON.parse(text)
    if (typeof data === 'object' && data !== null && !Array.isArray(data)) {
      return data as Record<string, unknown>
    }
  } catch {
    // It was not written by a store of this kind.
  }
  return undefined
}

function dateOf(cookie: unknown): number {
  const { expires } = (cookie ?? {}) as { expires?: unknown }
  return typeof expires === 'string' ? new Date(expires).getTime() : Number.NaN
}

/** The old stores' date is at least the cookie's, which they set together, and at most one maxAge from now. */
function contradicts(lifetime: number, cookie: StoredCookie | undefined, expires: number): boolean {
  const age = cookie?.originalMaxAge
  if (typeof age === 'number' && lifetime > age / 1000 + TOLERANCE) return true
  return lifetime < (expires - Date.now()) / 1000 - TOLERANCE
}

/** What lies at the path, if that is a text or a number that a column can hold. */
function fieldOf(data: Record<string, unknown>, path: readonly string[]): string | null {
  if (path.length === 0) return null
  let value: unknown = data
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return null
    value = (value as Record<string, unknown>)[key]
  }
  if (typeof value === 'number') return String(value)
  return typeof value === 'string' && !value.includes('\0') && value.isWellFormed() ? value : null
}
