/**
 * Every error of this package. Other files throw what is defined here and nothing else, so that a program
 * can tell them apart by `code`, and so that no text ever holds session data or a password.
 */

/** What went wrong, stable across versions. A test holds this table against the code and the docs. */
export const ERROR_CODES = {
  INVALID_OPTION: 'A setting is not what it should be',
  INVALID_ARGUMENT: 'A method was given something that it cannot take',
  INVALID_ID: 'This cannot be the id of a session',
  INVALID_DATA: 'The data of a session cannot be encoded or stored faithfully',
  UNDECODABLE: 'The stored data of a session cannot be decoded by the codec in force',
  CONFLICT: 'Somebody else has changed the session since it was read (conflict: "error")',
  AMBIGUOUS: 'The connection was lost after sending, and it cannot be told whether the write was done',
  TIMEOUT: 'No answer within operationTimeout',
  OVERLOADED: 'Too many operations are waiting',
  SERVER_DOWN: 'The database server cannot be reached',
  TABLE_MISSING: 'The session table is not there',
  TABLE_UNFIT: 'The session table lacks columns that a session needs',
  PRIVILEGE_MISSING: 'The database user may not do what is needed',
  CLOCK_IMPLAUSIBLE: "The database's clock and the clock of this machine are too far apart",
  DATABASE: 'The database refused a statement',
  CLOSED: 'The save handler has been closed',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface ErrorDetails {
  /** What led to it. Errors of the database are cut down to what holds no data; see `withoutData`. */
  cause?: unknown
  /** The SQLSTATE that PostgreSQL gave, where it gave one. */
  sqlState?: string | undefined
  /** True if the statement may have been carried out all the same. */
  outcomeUnknown?: boolean
}

const brand: unique symbol = Symbol.for('session-pgsql.error') as never

/**
 * The one class of errors. Two copies of this package in one process (ESM and CommonJS, or two versions)
 * recognise each other's: `instanceof` goes by a registered symbol, not by the prototype.
 */
export class SessionPgsqlError extends Error {
  /** Stable, for programs. The message is for people and may change. */
  readonly code: ErrorCode
  /** The SQLSTATE that PostgreSQL gave, where it gave one. */
  readonly sqlState: string | undefined
  /** True if the statement may have been carried out all the same: the connection was lost after sending. */
  readonly outcomeUnknown: boolean

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: withoutData(details.cause) })
    this.name = 'SessionPgsqlError'
    this.code = code
    this.sqlState = details.sqlState
    this.outcomeUnknown = details.outcomeUnknown ?? false
    Object.defineProperty(this, brand, { value: true })
  }

  /** The same error again, for another caller: an error that is shared collects what each of them adds. */
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
 * PostgreSQL's errors carry rows and parameters in `detail` and `where`, and node-postgres hangs the client
 * on some of them. What is kept says what happened and to which object, never with which values.
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
