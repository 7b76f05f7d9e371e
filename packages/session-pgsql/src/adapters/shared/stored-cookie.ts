/**
 * Between a session's cookie and its form in the stored data: the attributes without the date of expiry. That
 * date lies in the row already, and it alone would make every request a change of the data.
 *
 * Below 5 minutes the row's whole seconds are too coarse: there the exact date is stored, and judged.
 */

/** The cookie's attributes as they lie in the session's data, under `cookie`. */
export interface StoredCookie {
  /** Milliseconds; null or false: until the browser is closed. */
  readonly originalMaxAge?: number | null | false | undefined
  /** ISO 8601; only below 5 minutes of `originalMaxAge`. */
  readonly expires?: string | undefined
  readonly path?: string | undefined
  readonly domain?: string | undefined
  readonly httpOnly?: boolean | undefined
  readonly secure?: boolean | 'auto' | undefined
  readonly sameSite?: boolean | 'lax' | 'strict' | 'none' | undefined
  readonly partitioned?: boolean | undefined
  readonly priority?: 'low' | 'medium' | 'high' | undefined
}

/** The cookie of an object that express-session can make a session of. */
export interface RestoredCookie extends Omit<StoredCookie, 'expires'> {
  readonly originalMaxAge: number | null | false
  readonly expires: Date | null
}

/** Milliseconds of `originalMaxAge` below which the exact time counts. */
const EXACT_BELOW = 300_000

/** What express-session gives a session by default. */
export const PLAIN_COOKIE: RestoredCookie = Object.freeze({
  originalMaxAge: null,
  expires: null,
  httpOnly: true,
  path: '/',
})

/**
 * A cookie's stored form; undefined for what is no cookie.
 *
 * @param cookie express-session's Cookie, or a plain object with its attributes
 * @param before what the cookie was, in the same form
 */
export function storedCookie(cookie: unknown, before?: StoredCookie): StoredCookie | undefined {
  if (typeof cookie !== 'object' || cookie === null) return undefined
  const { toJSON } = cookie as { toJSON?: unknown }
  const attributes = (typeof toJSON === 'function' ? toJSON.call(cookie) : cookie) as Record<string, unknown>
  const { originalMaxAge, maxAge, expires, ...others } = attributes
  const expiry =
    expires instanceof Date || typeof expires === 'string' ? new Date(expires).getTime() : Number.NaN
  const age = steady(originalMaxAge ?? maxAge ?? (expiry - Date.now() || null), before?.originalMaxAge)
  const stored: Record<string, unknown> = { originalMaxAge: age }
  for (const [name, value] of Object.entries(others)) {
    if (value !== undefined) stored[name] = value
  }
  if (isExact(age) && !Number.isNaN(expiry)) stored.expires = new Date(expiry).toISOString()
  return stored
}

/**
 * express-session computes originalMaxAge from a date whenever the cookie is touched, and loses a millisecond
 * where the clock ticks in between. That is no change.
 */
function steady(age: unknown, before: unknown): unknown {
  if (typeof age !== 'number' || typeof before !== 'number') return age
  const lost = before - age
  return lost > 0 && lost <= Math.min(1000, before / 100) ? before : age
}

function isExact(age: unknown): age is number {
  return typeof age === 'number' && age < EXACT_BELOW
}

/** Of a record, what tells when its session expires. */
interface Dates {
  readonly modified: Date | null
  readonly expires: Date | null
  readonly clockAhead: number
}

/** Milliseconds within which two clocks are taken to go alike: a round trip, and the row's whole seconds. */
const ALIKE = 3000

/**
 * The cookie for a session that was read; undefined if the session has expired.
 *
 * @param stored what lies in the data under `cookie`
 * @param dates of its row, by the database's clock
 */
export function restoredCookie(stored: StoredCookie, dates: Dates): RestoredCookie | undefined {
  const { originalMaxAge = null, expires, ...others } = stored
  const cookie = { ...others, originalMaxAge }
  if (typeof originalMaxAge !== 'number') return { ...cookie, expires: null }
  const ahead = Math.abs(dates.clockAhead) < ALIKE ? 0 : dates.clockAhead
  if (isExact(originalMaxAge) && expires !== undefined) {
    const exact = new Date(expires).getTime()
    // By the clock of whoever wrote it. Unless that is the database's time, only the row can be trusted.
    const wasAlike = Math.abs(exact - originalMaxAge - (dates.modified?.getTime() ?? Number.NaN)) < ALIKE
    if (wasAlike)
      return exact <= Date.now() + ahead ? undefined : { ...cookie, expires: new Date(exact - ahead) }
  }
  // The row is good for longer, as its expiry is moved only once in a while.
  const latest = Date.now() + originalMaxAge
  const rowExpires = dates.expires === null ? latest : dates.expires.getTime() - ahead
  return { ...cookie, expires: new Date(Math.min(rowExpires, latest)) }
}

export function sameCookie(one: StoredCookie | undefined, other: StoredCookie | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  const names = Object.keys(one)
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => one[name as keyof StoredCookie] === other[name as keyof StoredCookie])
  )
}

/** The same but for the date of expiry. */
export function sameAttributes(one: StoredCookie | undefined, other: StoredCookie | undefined): boolean {
  return sameCookie(one && { ...one, expires: undefined }, other && { ...other, expires: undefined })
}

/**
 * How long a session with this cookie lives, in seconds.
 *
 * @param otherwise for a cookie without an age, which lasts until the browser is closed
 */
export function lifetimeOf(cookie: StoredCookie | undefined, otherwise: number): number {
  const age = cookie?.originalMaxAge
  if (typeof age !== 'number' || !Number.isFinite(age)) return otherwise
  return Math.min(Math.max(0, age / 1000), LONGEST_LIFETIME)
}

/** About 300 years, in seconds: the most that a save handler takes. */
export const LONGEST_LIFETIME: number = 1e10
