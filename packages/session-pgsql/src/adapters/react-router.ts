import {
  type Cookie,
  type CookieOptions,
  createCookie,
  createSession,
  createSessionStorage,
  isCookie,
  type Session,
  type SessionData,
  type SessionIdStorageStrategy,
  type SessionStorage,
} from 'react-router'
import type { SaveHandler } from '../save-handler.ts'
import type { SessionRecord } from '../session/record.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { endOf, ownOrShared } from './shared/open-handler.ts'
import type { SessionView, Stored } from './shared/session-data.ts'
import type { SessionUpdate } from './shared/update-row.ts'
import { WorkingCopy } from './shared/working-copy.ts'

/**
 * Sessions for React Router 7 and 8. Use it instead of `createSessionStorage`:
 *
 * ```js
 * import { createPgsqlSessionStorage } from 'session-pgsql/react-router'
 * export const { getSession, commitSession, destroySession } = createPgsqlSessionStorage({
 *   cookie: { secrets: [process.env.SESSION_SECRET] },
 * })
 * ```
 *
 * Each session remembers the row that it was read from: overlapping requests keep each other's changes, and a
 * destroyed session is not written back. `commitSession` then returns an empty header, which browsers ignore, so
 * that a newer cookie stays. A session whose row is missing has no id: an id that an attacker has chosen is never
 * used.
 *
 * Limitations of React Router's contract: it cannot change the id of a session. At the login, create a new one:
 * `const fresh = await getSession()`, set the data to keep, `await destroySession(old)`, and commit `fresh`.
 * Changes of requests in progress with the old id are lost. `commitSession` returns a cookie each time, so the
 * response of a slow request may replace a newer cookie.
 */

export type { SessionUpdate } from './shared/update-row.ts'

/** The options of a storage that shares a save handler with others. */
export interface SharedHandlerOptions {
  /**
   * The save handler. The storage does not close it. Set its option `shortCircuit: true`, or every commit writes.
   */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of any data
  handler: SaveHandler<any>
}

/**
 * The cookie, and all options of a save handler or a `handler` to share. Defaults that differ: `shortCircuit`
 * true, `gcMaxlifetime` (for cookies without `maxAge` or `expires`) 86400. `name` is the cookie's.
 */
export type PgsqlSessionStorageOptions<Data = SessionData> = {
  /**
   * As for `createSessionStorage`: a cookie, or its options. Options that are unset: `name` '__session', `httpOnly`
   * true, `sameSite` 'lax', `path` '/', and `secure` true, except if NODE_ENV is 'development' or 'test', because not
   * every browser keeps a secure cookie of http://localhost. The cookie is signed if `secrets` are set.
   */
  cookie?: SessionIdStorageStrategy['cookie']
} & ((Omit<SaveHandlerOptions<Data>, 'name'> & { handler?: undefined }) | SharedHandlerOptions)

export interface PgsqlSessionStorage<Data = SessionData, FlashData = Data>
  extends SessionStorage<Data, FlashData> {
  /**
   * Applies a function to the stored session at once, such that no change of another request comes in between: for
   * counters, stock, one-time tokens, and "exactly one of these requests may". Overlapping updates of one session all
   * take effect, in any number of processes.
   *
   * ```ts
   * const { value: granted } = await updateSession(session, (data) => {
   *   if (data.redeemed) return false
   *   data.redeemed = true
   *   return true
   * })
   * ```
   *
   * The session then shows the result, and what other requests have stored. What this request has changed in it and not
   * committed is kept, for `commitSession`; the function does not see it. A new session is stored with the values that
   * the function sets, and needs `commitSession` for its cookie. If another request has destroyed the session, the
   * outcome is `gone`.
   *
   * @param change receives a copy of the stored data, in which a flash message `x` is named `__flash_x__`. It changes that
   * copy or returns a new object, which becomes the data; any other return value (a primitive, an array, a part of the
   * data) is only returned to the caller. It must be synchronous and free of side effects: after a conflict it is called
   * again.
   * @throws the error of the function, and then stores nothing; otherwise the errors of `SaveHandler.update`
   */
  updateSession<Value = void>(
    session: Session<Data, FlashData>,
    change: (data: Partial<Data>) => Value,
  ): Promise<SessionUpdate<Value>>
  /** The save handler, for `gc()`, `status()` and so on. */
  readonly handler: SaveHandler<Data>
  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void>
}

const DEFAULTS = { gcMaxlifetime: 86_400, shortCircuit: true } as const

/** @throws INVALID_OPTION */
export function createPgsqlSessionStorage<Data = SessionData, FlashData = Data>(
  options: PgsqlSessionStorageOptions<Data> = {},
): PgsqlSessionStorage<Data, FlashData> {
  const { cookie: given, handler: shared, ...rest } = options
  const cookie = isCookie(given) ? given : sessionCookie(given)
  const { handler, maxLifetime, close } = ownOrShared<Data>(shared, rest, DEFAULTS)
  const sessions = handler as unknown as SaveHandler<Stored>
  const defaultLifetime =
    shared === undefined ? (handler.status().settings.gcMaxlifetime as number) : DEFAULTS.gcMaxlifetime
  /** By Session. A new session has none until its first commit. */
  const copies = new WeakMap<object, WorkingCopy>()

  // React Router's own storage removes the cookie and warns about unsafe ones. It reads and writes by id, without
  // the Session, so it does neither here.
  const base = createSessionStorage<Data, FlashData>({
    cookie,
    createData: unused,
    readData: unused,
    updateData: unused,
    async deleteData(id) {
      // React Router 7 calls this for a new session, too, whose id is empty.
      if (id !== '') await sessions.destroy(id)
    },
  })

  function copyOf(session: Session<Data, FlashData>): WorkingCopy {
    let copy = copies.get(session)
    if (copy === undefined) {
      const { id } = session
      // With an id, but not from `getSession`: the application has created the Session itself.
      copy =
        id === ''
          ? new WorkingCopy(sessions, sessions.createId(), null)
          : new WorkingCopy(sessions, id, 'existing')
      copies.set(session, copy)
    }
    return copy
  }

  function lifetimeUntil(expires: Date | undefined): number {
    return expires === undefined ? defaultLifetime : Math.max(0, (expires.getTime() - Date.now()) / 1000)
  }

  return {
    handler,
    close,
    async getSession(header, parseOptions) {
      const id: unknown = header ? await cookie.parse(header, parseOptions) : null
      const record = typeof id === 'string' && id !== '' ? await sessions.read(id) : undefined
      if (record === undefined) return createSession<Data, FlashData>({} as Data, '')
      const copy = new WorkingCopy(sessions, record.id, record)
      // Not the record's own data: the application may change it at any depth.
      const data = sessions.snapshot(record.data) as Data
      const session = createSession<Data, FlashData>(data, record.id)
      copies.set(session, copy)
      return session
    },
    async commitSession(session, serializeOptions) {
      const copy = copyOf(session)
      const lifetime = lifetimeUntil(expiryOf(serializeOptions) ?? cookie.expires)
      const outcome = await copy.write(session.data as Stored, { lifetime, name: cookie.name })
      if (outcome === 'gone') return ''
      const end = endOf(copy.record, maxLifetime)
      const expires = expiryOf(serializeOptions) ?? cookie.expires
      if (expires === undefined || expires.getTime() <= end)
        return cookie.serialize(copy.id, serializeOptions)
      // The cookie does not outlive the session.
      const maxAge = Math.max(0, Math.floor((end - Date.now()) / 1000))
      return cookie.serialize(copy.id, { ...serializeOptions, maxAge, expires: new Date(end) })
    },
    async updateSession(session, change) {
      const copy = copyOf(session)
      const lifetime = Math.max(lifetimeUntil(cookie.expires), committedLifetime(copy.record))
      return copy.update(change as (data: Stored) => never, viewOfSession(session), {
        lifetime,
        name: cookie.name,
      })
    },
    async destroySession(session, serializeOptions) {
      const header = await base.destroySession(session, serializeOptions)
      // A session that this request has created has an id that its Session does not know.
      const copy = copies.get(session)
      if (copy !== undefined && copy.id !== session.id) await sessions.destroy(copy.id)
      return header
    },
  }
}

/** React Router's own default has neither `HttpOnly` nor `Secure`. */
function sessionCookie(options: (CookieOptions & { name?: string }) | undefined): Cookie {
  const { name = '__session', httpOnly = true, secure = isSecure(name), ...others } = options ?? {}
  return createCookie(name, { ...others, httpOnly, secure })
}

/** A storage does not see the requests, so it cannot know whether the site has TLS. */
function isSecure(name: string): boolean {
  return /^__(?:Host|Secure)-/.test(name) || !['development', 'test'].includes(process.env.NODE_ENV ?? '')
}

function expiryOf(options: { maxAge?: number; expires?: Date } | undefined): Date | undefined {
  if (options?.maxAge != null) return new Date(Date.now() + options.maxAge * 1000)
  return options?.expires ?? undefined
}

/**
 * Returns the seconds that the last commit gave to the session: its cookie may live longer than others, and an update
 * sends none.
 */
function committedLifetime(record: SessionRecord<Stored> | undefined): number {
  if (record?.expires == null) return 0
  const left = (record.expires.getTime() - Date.now() - record.clockAhead) / 1000
  // The store adds a tenth to what it is given. It must not add it with every update.
  return Math.max(0, left / 1.1)
}

function viewOfSession<Data, FlashData>(session: Session<Data, FlashData>): SessionView {
  const any = session as unknown as Session<Stored>
  return {
    data: () => any.data as Stored,
    isHidden: () => false,
    get: (key) => any.get(key),
    set: (key, value) => any.set(key, value),
    delete: (key) => any.unset(key),
  }
}

function unused(): Promise<never> {
  return Promise.reject(new Error('Unexpected call: sessions are read and written through their Session.'))
}
