import { isDeepStrictEqual } from 'node:util'
import { SessionPgsqlError } from './errors.ts'

export interface Applied<Data, Value> {
  /** The data to store. */
  readonly data: Data
  /** The return value of the function. */
  readonly value: Value
}

/**
 * Applies a function of `update` to data. The function changes the data, or returns an object, which is new data. A
 * primitive, an array or a part of the data is a value for its caller only.
 *
 * @param data is changed by the function
 * @param unchanged returns another copy of the data
 * @throws the error of the function; INVALID_ARGUMENT if it is asynchronous, or changes the data and returns new data
 */
export function applyChange<Data, Value>(
  change: (data: Data) => Value,
  data: Data,
  unchanged: () => Data,
): Applied<Data, Value> {
  const value = change(data)
  if (typeof value !== 'object' || value === null) return { data, value }
  if (typeof (value as { then?: unknown }).then === 'function') {
    // Its rejection, if any, belongs to the caller's mistake that this error reports.
    Promise.resolve(value).catch(() => {})
    throw invalid(
      'Expected the function passed to update() to be synchronous; it returned a promise. Await first, then call update().',
    )
  }
  if (Array.isArray(value) || isWithin(data, value)) return { data, value }
  if (!isDeepStrictEqual(data, unchanged())) {
    throw invalid(
      'The function passed to update() changed the data and returned an object, which would be new data. Do one of the two; to return an object beside a change, wrap it in an array.',
    )
  }
  return { data: value as unknown as Data, value }
}

/** @throws INVALID_ARGUMENT if it is not a function */
export function checkChange(change: unknown): void {
  if (typeof change === 'function') return
  throw invalid(`Expected update() to receive a function that changes the data; received ${typeof change}.`)
}

/** Returns true if this object is the data or a part of it: a caller returns such an object as a value. */
function isWithin(data: unknown, part: object, visited: Set<unknown> = new Set()): boolean {
  if (data === part) return true
  if (typeof data !== 'object' || data === null || visited.has(data)) return false
  visited.add(data)
  const values = data instanceof Map ? data.values() : Object.values(data)
  return [...values].some((value) => isWithin(value, part, visited))
}

function invalid(message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_ARGUMENT', message)
}
