import { expect } from 'vitest'
import { SessionPgsqlError } from '../../src/errors.ts'

/**
 * Expects INVALID_OPTION, and returns its message.
 *
 * @param what names the case if no error comes
 */
export function messageOfInvalidOption(work: () => unknown, what = 'the options'): string {
  try {
    work()
  } catch (error) {
    expect(error).toBeInstanceOf(SessionPgsqlError)
    expect((error as SessionPgsqlError).code).toBe('INVALID_OPTION')
    return (error as Error).message
  }
  throw new Error(`no error for ${what}`)
}
