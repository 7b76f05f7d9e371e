/**
 * Converts between a session's cookie and its stored form: the attributes without the date of expiry. The row
 * has that date, and storing it in the data would make every request a change of the data.
 *
 * Below 5 minutes the row's whole seconds are too coarse: the exact date is stored, and reads check it.
 */

/** The cookie's attributes as they are stored in the session's data, under `cookie`. */
export interface StoredCookie {
  /** Milliseconds. null or false: the cookie lasts until the browser is closed. */
  readonly originalMaxAge?: number | null | false | undefined
  /** ISO 8601. Only if `originalMaxAge` is below 5 minutes. */
  readonly expires?: string | undefined
  readonly path?: string | undefined
  readonly domain?: string | undefined
  readonly httpOnly?: boolean | undefined
  readonly secure?: boolean | 'auto' | undefined
  readonly sameSite?: boolean | 'lax' | 'strict' | 'none' | undefined
  readonly partitioned?: boolean | undefined
  readonly priority?: 'low' | 'medium' | 'high' | undefined
}

/** The data of a session as it is stored: the application's keys, and the cookie's attributes. */
export type StoredData<Data = Record<string, unknown>> = Partial<Omit<Data, 'cookie'>> & {
  cookie?: StoredCookie | null
}

/** The data of a session as its session object shows it: any key may be absent. */
export type ShownData<Data = Record<string, unknown>> = {
  [Key in keyof Data as Key extends 'cookie' ? never : Key]?: Data[Key]
}

/** The cookie in the form from which express-session creates a Session. */
export interface RestoredCookie extends Omit<StoredCookie, 'expires'> {
  readonly originalMaxAge: number | null | false
  readonly expires: Date | null
}

/** Milliseconds of age below which the exact date of expiry is stored. */
export const EXACT_BELOW = 300_000

/** express-session's default cookie. */
export const PLAIN_COOKIE: RestoredCookie = Object.freeze({
  originalMaxAge: null,
  expires: null,
  httpOnly: true,
  path: '/',
})

/**
 * Returns the stored form of a cookie; undefined if it is not an object.
 *
 * @param cookie express-session's Cookie, or a plain object with its attributes
 * @param before the stored form of the cookie before this request
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
 * Ignores the milliseconds that express-session loses: on a touch it computes originalMaxAge from a date, and the
 * clock may advance in between. That is not a change.
 */
function steady(age: unknown, before: unknown): unknown {
  if (typeof age !== 'number' || typeof before !== 'number') return age
  const lost = before - age
  return lost > 0 && lost <= Math.min(1000, before / 100) ? before : age
}

function isExact(age: unknown): age is number {
  return typeof age === 'number' && age < EXACT_BELOW
}

/** The dates of a record that decide whether its session has expired. */
interface Dates {
  readonly modified: Date | null
  readonly expires: Date | null
  readonly clockAhead: number
}

/** Milliseconds of difference below which two clocks count as equal: a round trip, and the row's whole seconds. */
const TOLERANCE = 3000

/**
 * Returns the cookie of a session that was read; undefined if the session has expired.
 *
 * @param stored the cookie in the stored data
 * @param dates of the row, by the database's clock
 */
export function restoredCookie(stored: StoredCookie, dates: Dates): RestoredCookie | undefined {
  const { originalMaxAge = null, expires, ...others } = stored
  const cookie = { ...others, originalMaxAge }
  if (typeof originalMaxAge !== 'number') return { ...cookie, expires: null }
  const ahead = Math.abs(dates.clockAhead) < TOLERANCE ? 0 : dates.clockAhead
  if (isExact(originalMaxAge) && expires !== undefined) {
    const exact = new Date(expires).getTime()
    // The date is by the writer's clock. If that clock was wrong, only the row's expiry is reliable.
    const writerWasRight =
      Math.abs(exact - originalMaxAge - (dates.modified?.getTime() ?? Number.NaN)) < TOLERANCE
    if (writerWasRight) {
      return exact <= Date.now() + ahead ? undefined : { ...cookie, expires: new Date(exact - ahead) }
    }
  }
  // The row outlives the cookie, because not every request moves its expiry.
  const latest = Date.now() + originalMaxAge
  const rowExpires = dates.expires === null ? latest : dates.expires.getTime() - ahead
  return { ...cookie, expires: new Date(Math.min(rowExpires, latest)) }
}

/** Returns true if both cookies have the same attributes and the same exact date of expiry. */
export function sameCookie(one: StoredCookie | undefined, other: StoredCookie | undefined): boolean {
  if (one === undefined || other === undefined) return one === other
  const names = Object.keys(one)
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => one[name as keyof StoredCookie] === other[name as keyof StoredCookie])
  )
}

/** Returns true if both cookies have the same attributes, whatever their dates of expiry. */
export function sameAttributes(one: StoredCookie | undefined, other: StoredCookie | undefined): boolean {
  return sameCookie(one && { ...one, expires: undefined }, other && { ...other, expires: undefined })
}

/**
 * Returns the seconds that a session with this cookie lives.
 *
 * @param otherwise seconds, for a cookie without an age, which lasts until the browser is closed
 */
export function lifetimeOf(cookie: StoredCookie | undefined, otherwise: number): number {
  return secondsOf(cookie?.originalMaxAge) ?? otherwise
}

/** Converts an age in milliseconds into a lifetime in seconds; undefined if the age is not a finite number. */
export function secondsOf(age: unknown): number | undefined {
  if (typeof age !== 'number' || !Number.isFinite(age)) return undefined
  return Math.min(Math.max(0, age / 1000), LONGEST_LIFETIME)
}

/** The longest lifetime that a save handler takes, in seconds: about 300 years. */
export const LONGEST_LIFETIME: number = 1e10
