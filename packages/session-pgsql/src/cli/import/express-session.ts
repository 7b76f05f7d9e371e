import { lifetimeOf, type StoredCookie, storedCookie } from '../../adapters/shared/stored-cookie.ts'
import type { Codec } from '../../codec/codec.ts'
import { SessionPgsqlError } from '../../errors.ts'
import { isHashedId } from '../../session/stored-id.ts'
import type { ImportedSession } from '../../table/importing.ts'
import type { SourceSession } from './source.ts'

/** Seconds that a session lives if its cookie has no maxAge, in express-session's stores and in ours. */
const DAY = 86_400

/** Seconds by which the expiry may differ from the cookie's, because two clocks set them. */
const TOLERANCE = 60

export interface ParseOptions {
  /** Encodes the data for the session table. */
  readonly codec: Codec<Record<string, unknown>>
  /** The ids that the save handler accepts. */
  readonly idPattern: RegExp
  /** Path of the value for the custom field: `['passport', 'user']`; empty for none. */
  readonly field: readonly string[]
}

export interface ParsedSession {
  /** The session as the Express store would write it. */
  readonly session: ImportedSession
  /** Whether the expiry contradicts the cookie: it was probably written in another time zone. */
  readonly misdated: boolean
}

/** Parses a session of express-session. @returns undefined if its id or its data is invalid */
export function parseSession(
  source: SourceSession,
  { codec, idPattern, field }: ParseOptions,
): ParsedSession | undefined {
  if (!idPattern.test(source.id) || isHashedId(source.id)) return undefined
  const data = parseObject(source.text)
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
      session: {
        id: source.id,
        text: codec.encode(data),
        lifetime,
        custom: storable(source.custom) ?? fieldOf(data, field),
      },
      misdated: source.zoneless === true && contradicts(lifetime, cookie, expires),
    }
  } catch (error) {
    if (error instanceof SessionPgsqlError) return undefined
    throw error
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const data: unknown = JSON.parse(text)
    if (typeof data === 'object' && data !== null && !Array.isArray(data)) {
      return data as Record<string, unknown>
    }
  } catch {
    // Not JSON: another program wrote it.
  }
  return undefined
}

function dateOf(cookie: unknown): number {
  const { expires } = (cookie ?? {}) as { expires?: unknown }
  return typeof expires === 'string' ? new Date(expires).getTime() : Number.NaN
}

/** Whether the expiry is more than maxAge away, or earlier than the cookie's, which the store set together with it. */
function contradicts(lifetime: number, cookie: StoredCookie | undefined, expires: number): boolean {
  const age = cookie?.originalMaxAge
  if (typeof age === 'number' && lifetime > age / 1000 + TOLERANCE) return true
  return lifetime < (expires - Date.now()) / 1000 - TOLERANCE
}

/** Returns the value at the path if it is a number, or a string that a column can hold; otherwise null. */
export function fieldOf(data: Record<string, unknown>, path: readonly string[]): string | null {
  if (path.length === 0) return null
  let value: unknown = data
  for (const key of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return null
    value = (value as Record<string, unknown>)[key]
  }
  return typeof value === 'number' ? String(value) : storable(value)
}

function storable(value: unknown): string | null {
  return typeof value === 'string' && !value.includes('\0') && value.isWellFormed() ? value : null
}
