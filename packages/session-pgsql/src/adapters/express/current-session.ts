import type { ServerResponse } from 'node:http'
import type { SessionData } from 'express-session'
import { SessionPgsqlError } from '../../errors.ts'
import type { ErrorLevel, SessionErrors } from '../../operations.ts'
import type { SessionInfo, SessionRecord } from '../../session/record.ts'
import type { AddedErrors } from '../shared/request-state.ts'
import type { Stored } from '../shared/working-copy.ts'
import { links, stateOf } from './registry.ts'
import type { PgsqlStore } from './store.ts'

/** The part of a request that is used here. Express's has it. */
export interface RequestWithSession {
  readonly session?: unknown
}

/** The properties that Express and express-session add to a request. */
interface FullRequest extends RequestWithSession {
  readonly sessionID?: string
  readonly sessionStore?: Pick<PgsqlStore, 'touch'>
  readonly res?: ServerResponse
}

/**
 * The functions of session_pgsql for the session of a request. The request keeps what is set, and the next save or
 * touch of its session records it: at the latest at the end of the request, and also if the session is regenerated
 * in between. No method sends a statement.
 */
export interface CurrentSession {
  /** Returns dates, addresses and counters as last read or written; undefined if the session is not stored yet. */
  info(): SessionInfo | undefined
  /** Returns the custom field, for example a user's id; null if it is empty. */
  getField(): string | null
  /** Sets the custom field; null empties it. @throws INVALID_ARGUMENT */
  setField(value: string | null): void
  /**
   * Adds one to an error counter and records the message, cut to 1,000 characters and without those that PostgreSQL
   * cannot store.
   *
   * @param level default: 'error'
   * @throws INVALID_ARGUMENT
   */
  addError(level?: ErrorLevel, message?: string): void
  /** Returns the three counters and the last message, including the additions of this request. */
  getErrors(): SessionErrors
}

/** Returns the current session of a request behind `session({ store: new PgsqlStore(...) })`. */
export function pgsqlSession(request: RequestWithSession): CurrentSession {
  const state = stateOf(request)
  return {
    info() {
      const record = recordOf(request)
      if (record === undefined) return undefined
      const { data: _, ...info } = record
      return info
    },
    getField() {
      return state.custom === undefined ? (recordOf(request)?.custom ?? null) : state.custom
    },
    setField(value) {
      checkField(value)
      state.custom = value
      recordAfterResponse(request)
    },
    addError(level = 'error', message) {
      const counter = COUNTERS[level]
      if (counter === undefined)
        throw invalid(`Expected the level to be 'error', 'warning' or 'notice'; received ${String(level)}.`)
      const added: AddedErrors = { errors: 0, warnings: 0, notices: 0, [counter]: 1 }
      state.addErrors(message === undefined ? added : { ...added, message: storable(message) })
      recordAfterResponse(request)
    },
    getErrors() {
      const { errors = 0, warnings = 0, notices = 0, errorMessage = null } = recordOf(request) ?? {}
      const added = state.errors
      return {
        errors: errors + (added?.errors ?? 0),
        warnings: warnings + (added?.warnings ?? 0),
        notices: notices + (added?.notices ?? 0),
        message: added?.message ?? errorMessage,
      }
    },
  }
}

function recordOf({ session }: RequestWithSession): SessionRecord<Stored> | undefined {
  return typeof session === 'object' && session !== null ? links.get(session)?.copy.record : undefined
}

/**
 * Touches the session after the response if metadata is still pending then. express-session neither saves nor
 * touches a session at the end of the request that created it if it has not changed since an explicit save.
 */
function recordAfterResponse(request: FullRequest): void {
  const { res } = request
  if (res === undefined || watched.has(request)) return
  watched.add(request)
  res.once('close', () => {
    const { session, sessionID, sessionStore } = request
    if (!stateOf(request).hasMetadata || recordOf(request) === undefined) return
    sessionStore?.touch(sessionID as string, session as SessionData, () => {})
  })
}

const watched = new WeakSet<object>()

/**
 * Returns error middleware that counts an error on the session, records its message, and passes it on. Add it after
 * the routes, before the error handler that responds.
 */
export function recordErrors(): (
  error: unknown,
  request: RequestWithSession,
  response: unknown,
  next: (error?: unknown) => void,
) => void {
  // Express recognizes error middleware by its four parameters.
  return (error, request, _response, next) => {
    pgsqlSession(request).addError('error', messageOf(error))
    next(error)
  }
}

const COUNTERS = { error: 'errors', warning: 'warnings', notice: 'notices' } as const

const MAX_MESSAGE = 1000

function messageOf(error: unknown): string {
  try {
    if (error instanceof Error) return error.message || error.name
    return String(error)
  } catch {
    return 'an error that cannot be converted to text'
  }
}

/** Removes what PostgreSQL cannot store: recording an error must not fail because of its message. */
function storable(message: unknown): string {
  return String(message).replaceAll('\0', '').slice(0, MAX_MESSAGE).toWellFormed()
}

function checkField(value: unknown): asserts value is string | null {
  if (value === null) return
  if (typeof value !== 'string') {
    throw invalid(`Expected the custom field to be a string or null; received ${typeof value}.`)
  }
  if (value.includes('\0') || !value.isWellFormed()) {
    throw invalid(
      'Expected the custom field to be text that PostgreSQL can store; received a NUL or an unpaired surrogate.',
    )
  }
}

function invalid(message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_ARGUMENT', message)
}
