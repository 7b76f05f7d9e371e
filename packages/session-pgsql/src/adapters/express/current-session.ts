import type { ServerResponse } from 'node:http'
import type { SessionData } from 'express-session'
import { SessionPgsqlError } from '../../errors.ts'
import type { ErrorLevel, SessionErrors } from '../../operations.ts'
import type { SessionInfo, SessionRecord } from '../../session/record.ts'
import type { AddedErrors } from '../shared/request-state.ts'
import type { Stored } from '../shared/working-copy.ts'
import { links, stateOf } from './registry.ts'
import type { PgsqlStore } from './store.ts'

/** The least of a request that is needed here; Express's fits. */
export interface RequestWithSession {
  readonly session?: unknown
}

/** What Express and express-session have put on it. */
interface FullRequest extends RequestWithSession {
  readonly sessionID?: string
  readonly sessionStore?: Pick<PgsqlStore, 'touch'>
  readonly res?: ServerResponse
}

/**
 * The seed's functions for the session of a request. What is set is kept with the request and written along
 * with the session by its next save or touch, at the end of the request at the latest; it is there even if
 * the session is regenerated in between. Nothing here asks the database.
 */
export interface CurrentSession {
  /** Dates, addresses and counters as they were last read or written; undefined for a session that is not stored yet. */
  info(): SessionInfo | undefined
  /** The custom field, for example a user's id; null if it is empty. */
  getField(): string | null
  /** Sets the custom field; null empties it. @throws INVALID_ARGUMENT */
  setField(value: string | null): void
  /** Adds one to a counter, and keeps the message. What cannot be stored of a message is left out, and it is cut to 1,000 characters. */
  addError(level?: ErrorLevel, message?: string): void
  /** The three counters and the last message, with what this request has added. */
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
      if (counter === undefined) throw invalid("Expected the level to be 'error', 'warning' or 'notice'.")
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
 * Error middleware that counts an error on the session, with its message, and passes it on. Put it behind the
 * routes, before the error handler that answers.
 */
export function recordErrors(): (
  error: unknown,
  request: RequestWithSession,
  response: unknown,
  next: (error?: unknown) => void,
) => void {
  // Express knows error middleware by its four parameters.
  return (error, request, _response, next) => {
    pgsqlSession(request).addError('error', messageOf(error))
    next(error)
  }
}

const COUNTERS = { error: 'errors', warning: 'warnings', notice: 'notices' } as const

const LONGEST_MESSAGE = 1000

function messageOf(error: unknown): string {
  try {
    if (error instanceof Error) return error.message || error.name
    return String(error)
  } catch {
    return 'an error that cannot be shown'
  }
}

/** An error's message may hold anything; recording it must not become an error of its own. */
function storable(message: unknown): string {
  return String(message).replaceAll('\0', '').slice(0, LONGEST_MESSAGE).toWellFormed()
}

function checkField(value: unknown): asserts value is string | null {
  if (value === null) return
  if (typeof value !== 'string') {
    throw invalid(`Expected the custom field to be a string or null; received ${typeof value}.`)
  }
  if (value.includes('\0') || !value.isWellFormed()) {
    throw invalid('The custom field holds a NUL or half a surrogate pair, which PostgreSQL cannot store.')
  }
}

function invalid(message: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_ARGUMENT', message)
}
