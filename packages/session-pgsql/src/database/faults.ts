import { SessionPgsqlError } from '../errors.ts'

/**
 * What an error of PostgreSQL or of the network means. By SQLSTATE, never by message: messages are
 * translated.
 */

export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : undefined
}

/** The SQLSTATE, if the error is PostgreSQL's answer: only those say how severe they are. */
export function sqlStateOf(error: unknown): string | undefined {
  const isAnswer = typeof (error as { severity?: unknown } | null)?.severity === 'string'
  return isAnswer ? codeOf(error) : undefined
}

/** Whether the server is going away, not yet there, or has no room: then another may serve, or a later try. */
function meansServerDown(sqlState: string): boolean {
  return sqlState.startsWith('08') || ['57P01', '57P02', '57P03', '57P05', '53300'].includes(sqlState)
}

/** Whether the connection on which this came is of no more use. */
export function breaksConnection(error: unknown): boolean {
  const sqlState = sqlStateOf(error)
  return sqlState === undefined || meansServerDown(sqlState) || isAboutNames(error)
}

/** A connection could not be made: nothing was sent. */
export function connectFault(cause: unknown): SessionPgsqlError {
  if (cause instanceof SessionPgsqlError) return cause
  const sqlState = sqlStateOf(cause)
  if (sqlState !== undefined && !meansServerDown(sqlState)) {
    return new SessionPgsqlError(
      'DATABASE',
      `The database refused the connection: ${messageOf(cause)} (SQLSTATE ${sqlState}).`,
      { cause, sqlState },
    )
  }
  return new SessionPgsqlError('SERVER_DOWN', `The database server cannot be reached: ${messageOf(cause)}.`, {
    cause,
    sqlState,
  })
}

/**
 * A statement failed after it was sent.
 *
 * @param mayBeDone whether it can have been carried out although no answer came
 */
export function statementFault(cause: unknown, mayBeDone: boolean): SessionPgsqlError {
  if (cause instanceof SessionPgsqlError) {
    if (!cause.outcomeUnknown || mayBeDone) return cause
    return new SessionPgsqlError(cause.code, cause.message, { sqlState: cause.sqlState })
  }
  const sqlState = sqlStateOf(cause)
  if (sqlState === undefined || meansServerDown(sqlState)) {
    return new SessionPgsqlError(
      'SERVER_DOWN',
      `The connection to the database was lost: ${messageOf(cause)}.`,
      {
        cause,
        sqlState,
        outcomeUnknown: mayBeDone,
      },
    )
  }
  if (sqlState === '57014' || sqlState === '55P03') {
    // statement_timeout, lock_timeout or an operator's cancel: ended in order, and nothing was done.
    return new SessionPgsqlError('TIMEOUT', `The database gave up on a statement (SQLSTATE ${sqlState}).`, {
      sqlState,
    })
  }
  if (sqlState === '22P05' || sqlState === '22021') {
    return new SessionPgsqlError(
      'INVALID_DATA',
      `The encoding of the database cannot represent a character of this session's data, field, name or address (SQLSTATE ${sqlState}). A database in UTF8 can.`,
      { sqlState },
    )
  }
  if (isAboutData(sqlState)) {
    // PostgreSQL's message may quote the data.
    return new SessionPgsqlError('DATABASE', `The database refused the data (SQLSTATE ${sqlState}).`, {
      sqlState,
    })
  }
  return new SessionPgsqlError(
    'DATABASE',
    `The database refused a statement: ${messageOf(cause)} (SQLSTATE ${sqlState}).`,
    {
      cause,
      sqlState,
    },
  )
}

/** Whether a statement failed for what one of its rows holds: the others may be tried without it. */
export function isAboutData(sqlState: string | undefined): boolean {
  return sqlState !== undefined && /^(22|23|44|54|P0)/.test(sqlState)
}

/** Whether the same statement may well pass when it is sent again: deadlock, serialization. */
export function isTransient(sqlState: string | undefined): boolean {
  return sqlState === '40P01' || sqlState === '40001'
}

/** Whether a statement waited longer for a lock than lock_timeout allows. */
export function isLocked(sqlState: string | undefined): boolean {
  return sqlState === '55P03'
}

/** Whether a name could not be prepared or was not known: a pooler that mixes connections stands between. */
export function isAboutNames(error: unknown): boolean {
  const code = codeOf(error)
  return code === '26000' || code === '42P05' || code === '0A000'
}

export function timeoutFault(what: string, sent: boolean): SessionPgsqlError {
  return new SessionPgsqlError('TIMEOUT', `No answer from the database within operationTimeout (${what}).`, {
    outcomeUnknown: sent,
  })
}

function messageOf(cause: unknown): string {
  const error = cause as { message?: unknown; errors?: unknown; code?: unknown } | null
  // Node reports the attempts at each address of a name as one AggregateError without a message.
  if (Array.isArray(error?.errors) && error.errors.length > 0) return messageOf(error.errors[0])
  const message =
    typeof error?.message === 'string' && error.message !== ''
      ? error.message
      : String(error?.code ?? 'unknown reason')
  return message.replace(/\.$/, '')
}
