/**
 * The errors of this package. Other files throw these only, so that programs can distinguish them by `code`, and so
 * that no message contains session data or a password.
 */

/** The error codes, stable across versions. A test compares this table with the code and the docs. */
export const ERROR_CODES = {
  INVALID_OPTION: 'A setting is invalid',
  INVALID_ARGUMENT: 'An argument of a method is invalid',
  INVALID_ID: 'The session id is invalid',
  INVALID_DATA: 'The session data cannot be encoded or stored without loss',
  UNDECODABLE: 'The stored session data cannot be decrypted, or the codec cannot decode it',
  CONFLICT: 'Another request has changed the session since it was read (conflict: "error")',
  AMBIGUOUS: 'The connection was lost, and the change may or may not have been applied',
  TIMEOUT: 'No answer within operationTimeout',
  OVERLOADED: 'Too many operations are waiting',
  SERVER_DOWN: 'The database server cannot be reached',
  TABLE_MISSING: 'The session table does not exist',
  TABLE_UNFIT: 'The session table lacks required columns',
  COLUMNS_UNFILLED: 'Sessions lack current values of own columns (option columns)',
  PRIVILEGE_MISSING: 'The database user lacks a required privilege, or row-level security applies to it',
  CLOCK_IMPLAUSIBLE: "The database's clock and this machine's clock differ too much",
  DATABASE: 'PostgreSQL rejected a statement, or a trigger dropped a change',
  CLOSED: 'The save handler is closed',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface ErrorDetails {
  /** The error that caused this one. Of a database error, only properties without data are kept; see `withoutData`. */
  cause?: unknown
  /** PostgreSQL's SQLSTATE, if the error comes from PostgreSQL. */
  sqlState?: string | undefined
  /** True if the statement may have been applied. */
  outcomeUnknown?: boolean
}

const brand: unique symbol = Symbol.for('session-pgsql.error') as never

/**
 * The class of all errors of this package. `instanceof` compares a registered symbol instead of the prototype, so it
 * also works between two copies of the package in one process (ESM and CommonJS, or two versions).
 */
export class SessionPgsqlError extends Error {
  /** What went wrong; stable, for programs. The message is for people and may change. */
  readonly code: ErrorCode
  /** PostgreSQL's SQLSTATE, if the error comes from PostgreSQL. */
  readonly sqlState: string | undefined
  /** True if the connection was lost after sending, so the statement may have been applied. */
  readonly outcomeUnknown: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: withoutData(details.cause) })
    this.name = 'SessionPgsqlError'
    this.code = code
    this.sqlState = details.sqlState
    this.outcomeUnknown = details.outcomeUnknown ?? false
    Object.defineProperty(this, brand, { value: true })
  }

  /** Returns a copy for another caller: callers may add properties to the error that they receive. */
  copy(): SessionPgsqlError {
    return new SessionPgsqlError(this.code, this.message, {
      cause: this.cause,
      sqlState: this.sqlState,
      outcomeUnknown: this.outcomeUnknown,
    })
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && brand in value
  }
}

/**
 * PostgreSQL's errors contain rows and parameters in `detail` and `where`, and node-postgres attaches the client to
 * some of them. Keeps what happened and to which object, but no values.
 */
function withoutData(cause: unknown): unknown {
  if (!(cause instanceof Error) || cause instanceof SessionPgsqlError) return cause
  const kept = new Error(cause.message)
  kept.name = cause.name
  if (cause.stack !== undefined) kept.stack = cause.stack
  const source = cause as unknown as Record<string, unknown>
  for (const key of [
    'code',
    'errno',
    'syscall',
    'severity',
    'hint',
    'schema',
    'table',
    'column',
    'constraint',
    'routine',
  ]) {
    if (source[key] !== undefined) Object.assign(kept, { [key]: source[key] })
  }
  return kept
}

/**
 * Returns the description of an argument for a message: a number's value, otherwise the type, because it may be session
 * data.
 */
export function received(value: unknown): string {
  if (value === null) return 'null'
  return typeof value === 'number' ? String(value) : typeof value
}

/** Returns the error INVALID_ARGUMENT. */
export function invalid(message: string, cause?: unknown): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_ARGUMENT', message, { cause })
}
