import { invalid, received } from '../../errors.ts'
import { type Stored, setKey } from './session-data.ts'

/**
 * When the user of a session has last authenticated, for actions that need a recent password.
 *
 * The time is stored in the session's data, where it moves with the session to a new id. It is a key of an object, not
 * a value: a merge then keeps the times of both requests, and the later one counts. Adapters hide the key, so that the
 * application cannot store there what a client has sent.
 */

/** The key in the data: an object whose keys are `t` and a time, in milliseconds since 1970. */
export const AUTHENTICATED = '$authenticated'

/** Milliseconds by which the clocks of two processes may differ. A later time is not trusted. */
const TOLERANCE = 60_000

/** Sets the time at which the user has authenticated. */
export function setAuthenticated(data: Stored, time: number): void {
  setKey(data, AUTHENTICATED, { [`t${time}`]: true })
}

/** Returns the time at which the user has last authenticated; undefined if it is not known. */
export function authenticatedAt(data: Stored): number | undefined {
  const value = Object.hasOwn(data, AUTHENTICATED) ? data[AUTHENTICATED] : undefined
  if (typeof value !== 'object' || value === null) return undefined
  const times = Object.keys(value).map((key) => (/^t\d{1,16}$/.test(key) ? Number(key.slice(1)) : 0))
  return times.length === 0 ? undefined : Math.max(...times)
}

/** Returns true if the time is at most that many seconds ago. @throws INVALID_ARGUMENT */
export function isWithin(time: number | undefined, seconds: number): boolean {
  if (typeof seconds !== 'number' || !(seconds > 0)) {
    throw invalid(`Expected a number of seconds above 0; received ${received(seconds)}.`)
  }
  if (time === undefined) return false
  const ago = Date.now() - time
  return ago <= seconds * 1000 && ago >= -TOLERANCE
}
