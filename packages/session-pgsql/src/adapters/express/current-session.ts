import type { ServerResponse } from 'node:http'
import type { SessionData } from 'express-session'
import { invalid } from '../../errors.ts'
import type { ErrorLevel, SessionErrors } from '../../operations.ts'
import type { Devices } from '../../session/device.ts'
import type { SessionInfo, SessionRecord } from '../../session/record.ts'
import { AUTHENTICATED, authenticatedAt, isWithin } from '../shared/authentication.ts'
import { type AddedErrors, checkField } from '../shared/request-state.ts'
import type { Stored } from '../shared/session-data.ts'
import type { SessionLink } from '../shared/session-link.ts'
import type { ShownData } from '../shared/stored-cookie.ts'
import type { SessionUpdate } from '../shared/update-row.ts'
import { links, stateOf } from './registry.ts'
import type { PgsqlStore } from './store.ts'

/** The part of a request that is used here. Express's has it. */
export interface RequestWithSession {
  readonly session?: unknown
}

/** The properties that Express and express-session add to a request. */
interface FullRequest extends RequestWithSession {
  readonly sessionID?: string
  readonly sessionStore?: Pick<PgsqlStore, 'handler' | 'touch' | 'updateSession'>
  readonly res?: ServerResponse
}

/**
 * The functions of session_pgsql for the session of a request, and others. The request keeps the field and the errors
 * that are set, and the next save or touch of its session records them: at the latest at the end of the request, and
 * also if the session is regenerated in between. Only `update`, `limit`, `endOthers`, `devices`
 * and `endDevice` send statements.
 */
export interface CurrentSession<Data = SessionData> {
  /**
   * Applies a function to the stored session at once, such that no change of another request comes in between: for
   * counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one session all
   * take effect, in any number of processes.
   *
   * ```ts
   * const { value: granted } = await pgsqlSession(req).update((data) => {
   *   if (data.redeemed) return false
   *   data.redeemed = true
   *   return true
   * })
   * ```
   *
   * `req.session` then shows the result, and what other requests have stored. What this request has changed in it and
   * not saved is kept, and saved at the end of the request as always; the function does not see it. A new session is
   * stored with the values that the function sets. After `req.session.destroy()`, and if another request has destroyed
   * the session, the outcome is `gone`.
   *
   * @param change receives a copy of the stored data, without `cookie`. It changes that copy or returns a new object,
   * which becomes the data; any other return value (a primitive, an array, a part of the data) is only returned to the
   * caller. It must be synchronous and free of side effects: after a conflict it is called again.
   * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`;
   * INVALID_ARGUMENT without `session({ store: new PgsqlStore(...) })`
   */
  update<Value = void>(change: (data: ShownData<Data>) => Value): Promise<SessionUpdate<Value>>
  /**
   * Returns the sessions with the custom field of this one, the last seen first, for a "where you're logged in" page.
   * They contain no ids, and no `cookie` in their data. See `SaveHandler.devices`.
   *
   * @throws INVALID_ARGUMENT if the session has no custom field; otherwise the errors of `SaveHandler.devices`
   */
  devices(): Promise<Devices<ShownData<Data>>>
  /**
   * Ends the session with this handle, which must have the custom field of this one: no handle ends a session of
   * another user. The session of the request may be ended, too.
   *
   * @returns false if the user has no such session
   * @throws INVALID_ARGUMENT if the session has no custom field; otherwise the errors of `SaveHandler.endDevice`
   */
  endDevice(handle: string): Promise<boolean>
  /** Returns dates, addresses and counters as last read or written; undefined if the session is not stored yet. */
  info(): SessionInfo | undefined
  /**
   * When the session ends at the latest (`maxLifetime`), by the database's clock: "you will be signed out at …". null
   * without `maxLifetime`, and if the session is not stored yet.
   */
  readonly endsAt: Date | null
  /**
   * Records that the user has just authenticated, for example with a password. Call it at the login, and whenever the
   * user has confirmed the password again. The time is stored with the session, also if it is regenerated in between.
   * It stays with the user: a session that is regenerated later keeps it if its custom field is set to the same value.
   */
  authenticated(): void
  /**
   * Returns true if the user has authenticated in this session within the last `seconds`: for actions that need a
   * recent password. The clocks of the processes must agree; a time more than a minute ahead does not count.
   *
   * @throws INVALID_ARGUMENT
   */
  authenticatedWithin(seconds: number): boolean
  /**
   * Saves the session, and ends the oldest other sessions with its custom field, so that `max` are left with this one:
   * "at most three devices". See `SaveHandler.limitByField`.
   *
   * @returns the number of sessions that ended
   * @throws INVALID_ARGUMENT if the session has no custom field; otherwise the errors of the save and of `limitByField`
   */
  limit(max: number): Promise<number>
  /**
   * Ends all other sessions with the custom field of this one: "log out everywhere else", for example after a change of
   * the password. See `SaveHandler.destroyByField`.
   *
   * @returns the number of sessions that ended
   * @throws INVALID_ARGUMENT if the session has no custom field; otherwise the errors of `destroyByField`
   */
  endOthers(): Promise<number>
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
export function pgsqlSession<Data = SessionData>(request: RequestWithSession): CurrentSession<Data> {
  const state = stateOf(request)
  return {
    async update(change) {
      const { session, sessionStore }: FullRequest = request
      if (typeof sessionStore?.updateSession !== 'function') {
        throw invalid(
          'Cannot update the session: the request has not passed through session({ store: new PgsqlStore(...) }).',
        )
      }
      if (typeof session !== 'object' || session === null) return { outcome: 'gone', value: undefined }
      return sessionStore.updateSession(session as Stored, change as (data: Stored) => never)
    },
    async devices() {
      const { field, sessionStore, id } = ownerOf(request)
      const devices = await sessionStore.handler.devices(field, { current: id })
      for (const { data } of devices as unknown as Devices<Stored>) {
        delete data.cookie
        delete data[AUTHENTICATED]
      }
      return devices as unknown as Devices<ShownData<Data>>
    },
    async endDevice(handle) {
      const { field, sessionStore } = ownerOf(request)
      return sessionStore.handler.endDevice(field, handle)
    },
    info() {
      const record = recordOf(request)
      if (record === undefined) return undefined
      const { data: _, ...info } = record
      return info
    },
    get endsAt() {
      return recordOf(request)?.endsAt ?? null
    },
    authenticated() {
      state.authenticated = Date.now()
      state.isAuthenticationStored = false
      recordAfterResponse(request)
    },
    authenticatedWithin(seconds) {
      return isWithin(state.authenticated ?? authenticatedAt(linkIn(request)?.withheld ?? {}), seconds)
    },
    async limit(max) {
      const { field, sessionStore, id } = ownerOf(request)
      await saved(request)
      return sessionStore.handler.limitByField(field, max, { keep: id })
    },
    async endOthers() {
      const { field, sessionStore, id } = ownerOf(request)
      return sessionStore.handler.destroyByField(field, { except: id })
    },
    getField() {
      return fieldOf(request)
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

function recordOf(request: RequestWithSession): SessionRecord<Stored> | undefined {
  return linkIn(request)?.copy.record
}

function linkIn({ session }: RequestWithSession): SessionLink | undefined {
  return typeof session === 'object' && session !== null ? links.get(session) : undefined
}

function fieldOf(request: RequestWithSession): string | null {
  const { custom } = stateOf(request)
  return custom === undefined ? (recordOf(request)?.custom ?? null) : custom
}

/** Returns whose session it is. @throws INVALID_ARGUMENT if it has no custom field */
function ownerOf(request: FullRequest) {
  const { sessionStore, sessionID: id } = request
  const field = fieldOf(request)
  if (sessionStore?.handler === undefined || id === undefined) {
    throw invalid('The request has not passed through session({ store: new PgsqlStore(...) }).')
  }
  if (field === null) {
    throw invalid('The session has no custom field, which tells whose it is. Call setField first.')
  }
  return { field, sessionStore, id }
}

/** Saves the session of a request. */
function saved({ session }: RequestWithSession): Promise<void> {
  const { save } = (session ?? {}) as { save?: (callback: (error?: unknown) => void) => void }
  if (save === undefined) return Promise.resolve()
  return new Promise((resolve, reject) => {
    save.call(session, (error) => (error ? reject(error) : resolve()))
  })
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
