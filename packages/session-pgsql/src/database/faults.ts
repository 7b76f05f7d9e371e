import { type ErrorCode, SessionPgsqlError } from '../errors.ts'

/**
 * Translates errors of PostgreSQL and of the network. They are recognized by SQLSTATE, never by message, because
 * PostgreSQL translates its messages.
 */

/** Returns the error's `code` (an SQLSTATE or a code of Node); undefined if it has none. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

/**
 * Returns the SQLSTATE if the error came from PostgreSQL, which only its errors' `severity` tells; otherwise undefined.
 */
export function sqlStateOf(error: unknown): string | undefined {
  const isAnswer = typeof (error as { severity?: unknown } | null)?.severity === 'string'
  return isAnswer ? codeOf(error) : undefined
}

/**
 * Returns true if the server is shutting down, starting up, or out of connections, or has closed the connection because
 * a session or transaction was idle or open for too long. Another server or a retry may work.
 */
function meansServerDown(sqlState: string): boolean {
  return sqlState.startsWith('08') || SERVER_DOWN.has(sqlState)
}

const SERVER_DOWN = new Set(['57P01', '57P02', '57P03', '57P05', '53300', '25P03', '25P04'])

/** Returns true if the connection on which the error came must be closed. */
export function breaksConnection(error: unknown): boolean {
  const sqlState = sqlStateOf(error)
  return sqlState === undefined || meansServerDown(sqlState) || isAboutNames(error)
}

/**
 * Returns the error for a connection that could not be made. No statement was sent.
 *
 * @param advice a sentence for the end of the message; empty for none
 */
export function connectFault(cause: unknown, advice = ''): SessionPgsqlError {
  if (cause instanceof SessionPgsqlError) return cause
  const sqlState = sqlStateOf(cause)
  if (sqlState !== undefined && !meansServerDown(sqlState)) {
    return fault('DATABASE', 'The database rejected the connection', cause, { advice })
  }
  return fault('SERVER_DOWN', 'The database server cannot be reached', cause, { advice })
}

/**
 * Returns the error for a statement that failed after it was sent.
 *
 * @param mayBeDone whether PostgreSQL may have executed it although no answer came
 */
export function statementFault(cause: unknown, mayBeDone: boolean): SessionPgsqlError {
  if (cause instanceof SessionPgsqlError) {
    if (!cause.outcomeUnknown || mayBeDone) return cause
    return new SessionPgsqlError(cause.code, cause.message, { sqlState: cause.sqlState })
  }
  const sqlState = sqlStateOf(cause)
  if (sqlState === undefined || meansServerDown(sqlState)) {
    return fault('SERVER_DOWN', 'The connection to the database was lost', cause, {
      outcomeUnknown: mayBeDone,
    })
  }
  if (sqlState === '57014' || sqlState === '55P03') {
    // statement_timeout, lock_timeout or an operator's cancel: the statement was rolled back.
    return new SessionPgsqlError('TIMEOUT', `The database canceled a statement (SQLSTATE ${sqlState}).`, {
      sqlState,
    })
  }
  if (sqlState === '22P05' || sqlState === '22021') {
    return new SessionPgsqlError(
      'INVALID_DATA',
      `The database's encoding cannot store a character in this session's data, custom field, name or address (SQLSTATE ${sqlState}). Use a database with the encoding UTF8.`,
      { sqlState },
    )
  }
  return fault(
    'DATABASE',
    `The database rejected ${isAboutData(sqlState) ? 'the data' : 'a statement'}`,
    cause,
  )
}

/**
 * SQLSTATE classes whose messages name objects, roles, settings and errors of the system, but contain no values; and the
 * states for damaged files. Messages of other classes may quote what was stored or sent.
 */
const WITHOUT_VALUES = /^(?:08|0A|25|26|28|2D|34|3B|3D|3F|40|42|53|55|57|58|XX00[12])/

/** Returns an error with the cause and its message, or with its SQLSTATE only if the message may contain session data. */
function fault(
  code: ErrorCode,
  what: string,
  cause: unknown,
  {
    advice = '',
    outcomeUnknown = false,
  }: { readonly advice?: string; readonly outcomeUnknown?: boolean } = {},
): SessionPgsqlError {
  const sqlState = sqlStateOf(cause)
  const end = advice === '' ? '.' : `. ${advice}`
  if (sqlState === undefined) {
    return new SessionPgsqlError(code, `${what}: ${messageOf(cause)}${end}`, { cause, outcomeUnknown })
  }
  // An error of a trigger or another function has a context. It may have any SQLSTATE and any text.
  const isSafe = WITHOUT_VALUES.test(sqlState) && (cause as { where?: unknown }).where === undefined
  return isSafe
    ? new SessionPgsqlError(code, `${what}: ${messageOf(cause)} (SQLSTATE ${sqlState})${end}`, {
        cause,
        sqlState,
        outcomeUnknown,
      })
    : new SessionPgsqlError(code, `${what} (SQLSTATE ${sqlState})${end}`, { sqlState, outcomeUnknown })
}

/** Returns true if one row's content made the statement fail. The other rows may succeed without it. */
export function isAboutData(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(22|23|44|54|P0)/.test(sqlState)
}

/** Returns true if the statement may succeed when it is sent again: deadlock or serialization failure. */
export function isTransient(sqlState: string | undefined): boolean {
  return sqlState === '40P01' || sqlState === '40001'
}

/** Returns true if a statement waited for a lock longer than lock_timeout. */
export function isLocked(sqlState: string | undefined): boolean {
  return sqlState === '55P03'
}

/**
 * Returns true if a prepared statement does not exist, exists already, or has a stale plan, as behind a pooler that
 * shares connections.
 */
export function isAboutNames(error: unknown): boolean {
  const code = codeOf(error)
  return code === '26000' || code === '42P05' || code === '0A000'
}

/**
 * Returns the error TIMEOUT.
 *
 * @param what what the caller was waiting for
 * @param sent whether the statement was sent, and may have been executed
 */
export function timeoutFault(what: string, sent: boolean): SessionPgsqlError {
  return new SessionPgsqlError('TIMEOUT', `The database did not answer within operationTimeout (${what}).`, {
    outcomeUnknown: sent,
  })
}

function messageOf(cause: unknown): string {
  const error = cause as { message?: unknown; errors?: unknown; code?: unknown } | null
  // Node reports the failed attempts at a host's addresses as one AggregateError without a message.
  if (Array.isArray(error?.errors) && error.errors.length > 0) return messageOf(error.errors[0])
  const message =
    typeof error?.message === 'string' && error.message !== ''
      ? error.message
      : String(error?.code ?? 'unknown reason')
  return message.replace(/\.$/, '')
}
