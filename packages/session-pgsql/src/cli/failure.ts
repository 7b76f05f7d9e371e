import { SessionPgsqlError } from '../errors.ts'

/** The error of one server in the JSON output. The command still reports the other servers. */
export interface Failure {
  readonly code: string
  readonly message: string
}

/** Returns the code and message of an error. @throws the error itself if it is not a `SessionPgsqlError` */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof SessionPgsqlError)) throw error
  return { code: error.code, message: error.message }
}
