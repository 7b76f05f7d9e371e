import { SessionPgsqlError } from '../../errors.ts'

/** The callback of a store with express-session's contract. */
export type Callback<T> = (error: unknown, value?: T) => void

/**
 * Calls back exactly once with the outcome of `work`. The call is outside the promise chain: an error that the
 * callback throws becomes an uncaught exception.
 */
export function settle<T>(work: Promise<T>, callback: Callback<T> | undefined): void {
  work.then(
    (value) => callback && process.nextTick(callback, null, value),
    (error) => callback && process.nextTick(callback, withoutEnoent(error)),
  )
}

/** Replaces an error with the code ENOENT: the frameworks take it for "no session", and log the user out. */
function withoutEnoent(error: unknown): unknown {
  if ((error as { code?: unknown } | null)?.code !== 'ENOENT') return error
  return new SessionPgsqlError('DATABASE', 'The session store cannot open a file: it does not exist.', {
    cause: error,
  })
}
