import { SessionPgsqlError } from '../errors.ts'

/** An error as programs are told of it: one server's failure does not hide what the others say. */
export interface Failure {
  readonly code: string
  readonly message: string
}

/** @throws what is not an error of this library */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof SessionPgsqlError)) throw error
  return { code: error.code, message: error.message }
}
