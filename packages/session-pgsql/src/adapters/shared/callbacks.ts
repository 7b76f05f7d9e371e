import { SessionPgsqlError } from '../../errors.ts'

/** From promises to the callbacks of express-session's kind of store. */

export type Callback<T> = (error: unknown, value?: T) => void

/** Calls back exactly once, outside of the promise: what the callback throws is the process's to know. */
export function settle<T>(work: Promise<T>, callback: Callback<T> | undefined): void {
  work.then(
    (value) => callback && process.nextTick(callback, null, value),
    (error) => callback && process.nextTick(callback, notMissing(error)),
  )
}

/** The hosts take any error with this code for "no session", and the visitor would be logged out. */
function notMissing(error: unknown): unknown {
  if ((error as { code?: unknown } | null)?.code !== 'ENOENT') return error
  return new SessionPgsqlError('DATABASE', 'A file that the session needs is missing.', { cause: error })
}
