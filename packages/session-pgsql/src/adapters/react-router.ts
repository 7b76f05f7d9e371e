import {
  createCookie,
  createSession,
  createSessionStorage,
  isCookie,
  type Session,
  type SessionData,
  type SessionIdStorageStrategy,
  type SessionStorage,
} from 'react-router'
import { SessionPgsqlError } from '../errors.ts'
import type { SaveHandler } from '../save-handler.ts'
import type { SessionRecord } from '../session/record.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { ownOrShared } from './shared/own-handler.ts'

/**
 * Sessions of React Router 7 and 8, in the place of its `createSessionStorage`:
 *
 * ```js
 * import { createPgsqlSessionStorage } from 'session-pgsql/react-router'
 * export const { getSession, commitSession, destroySession } = createPgsqlSessionStorage({
 *   cookie: { name: '__session', secrets: [process.env.SESSION_SECRET], httpOnly: true, sameSite: 'lax' },
 * })
 * ```
 *
 * Each session remembers the row that it was read from: requests that overlap do not undo each other's
 * changes, and what was destroyed meanwhile is not written back (`commitSession` then gives an empty header,
 * which browsers ignore: it takes no newer cookie away). A session whose row is missing has no id, so that an
 * id that somebody else chose is never adopted.
 *
 * What React Router's contract cannot do: change the id of a session. At sign-in, begin a new one:
 * `const fresh = await getSession()`, set what is to be kept, `await destroySession(old)`, and commit `fresh`.
 * Requests that were under way with the old id are then too late. And `commitSession` gives a cookie each time:
 * the answer of a slow request may overwrite a newer one.
 */

/** For a storage over a save handler that others use too. */
export interface SharedHandlerOptions {
  /** The save handler. It is not closed here. It wants `shortCircuit: true`, which a save handler has not by itself. */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  handler: SaveHandler<any>
}

/**
 * The cookie, and all options of a save handler, with other defaults for two of them: `shortCircuit` true,
 * `gcMaxlifetime` (for cookies without `maxAge` or `expires`) 86400; or a `handler` to share. `name` is the
 * cookie's.
 */
export type PgsqlSessionStorageOptions<Data = SessionData> = {
  /** As for `createSessionStorage`: a cookie, or its options. @default named '__session', and not signed */
  cookie?: SessionIdStorageStrategy['cookie']
} & ((Omit<SaveHandlerOptions<Data>, 'name'> & { handler?: undefined }) | SharedHandlerOptions)

export interface PgsqlSessionStorage<Data = SessionData, FlashData = Data>
  extends SessionStorage<Data, FlashData> {
  /** What the sessions go through: for `gc()`, `status()` and the like. */
  readonly handler: SaveHandler<Data>
  /** Waits for what is under way and closes the connections; a shared handler stays open. */
  close(): Promise<void>
}

type Stored = Record<string, unknown>

/** What ties a Session to its row. */
interface Link {
  id: string
  /** As it was last read or written; null: it is new; `existing`: somebody made a Session of an id by hand. */
  base: SessionRecord<Stored> | null | 'existing'
  /** What the data looked like then, where that is not the base's. */
  seen: Stored | undefined
  isCounted: boolean
  /** The last commit under way. Never rejects. */
  tail: Promise<unknown>
}

const DEFAULTS = { gcMaxlifetime: 86_400, shortCircuit: true } as const

/** @throws INVALID_OPTION */
export function createPgsqlSessionStorage<Data = SessionData, FlashData = Data>(
  options: PgsqlSessionStorageOptions<Data> = {},
): PgsqlSessionStorage<Data, FlashData> {
  const { cookie: given, handler: shared, ...rest } = options
  const cookie = isCookie(given) ? given : createCookie(given?.name ?? '__session', given)
  const { handler, close } = ownOrShared<Data>(shared, rest, DEFAULTS)
  const sessions = handler as unknown as SaveHandler<Stored>
  const fallback =
    shared === undefined ? (handler.status().settings.gcMaxlifetime as number) : DEFAULTS.gcMaxlifetime
  const links = new WeakMap<object, Link>()

  // The host's own makes its warnings and takes the cookie away; the rest goes by the Session, which it does not pass on.
  const host = createSessionStorage<Data, FlashData>({
    cookie,
    createData: notUsed,
    readData: notUsed,
    updateData: notUsed,
    async deleteData(id) {
      // React Router 7 asks for it with the empty id of a new session.
      if (id !== '') await sessions.destroy(id)
    },
  })

  async function commit(session: Session<Data, FlashData>, link: Link, lifetime: number): Promise<boolean> {
    const isNew = link.base === null
    // A second try, after an error, finds what the first has made.
    if (isNew && link.id === '') link.id = sessions.createId()
    const result = await sessions.write(link.id, session.data as Stored, {
      base: link.base,
      seen: link.seen,
      lifetime,
      name: cookie.name,
      access: !link.isCounted,
    })
    if (result.session === undefined) return false
    link.isCounted ||= result.outcome !== 'skipped'
    link.base = result.session
    // What others have written is not in the Session: the next commit must not take that for a deletion.
    link.seen = result.sent
    return true
  }

  return {
    handler,
    close,
    async getSession(header, parseOptions) {
      const id: unknown = header ? await cookie.parse(header, parseOptions) : null
      const record = typeof id === 'string' && id !== '' ? await sessions.read(id) : undefined
      if (record !== undefined && !isObject(record.data)) {
        throw new SessionPgsqlError(
          'UNDECODABLE',
          'The stored data of this session is not an object with keys. Was it written by something else?',
        )
      }
      // A copy: what the application changes deep inside shall not change what it started from.
      const data = record === undefined ? {} : sessions.snapshot(record.data)
      const session = createSession<Data, FlashData>(data as Data, record?.id ?? '')
      links.set(session, newLink(record?.id ?? '', record ?? null))
      return session
    },
    async commitSession(session, serializeOptions) {
      const { id } = session
      const link = links.get(session) ?? newLink(id, id === '' ? null : 'existing')
      links.set(session, link)
      const expires = expiryOf(serializeOptions) ?? cookie.expires
      const lifetime = expires === undefined ? fallback : Math.max(0, (expires.getTime() - Date.now()) / 1000)
      const done = link.tail.then(() => commit(session, link, lifetime))
      link.tail = done.catch(() => {})
      return (await done) ? cookie.serialize(link.id, serializeOptions) : ''
    },
    async destroySession(session, serializeOptions) {
      const link = links.get(session)
      await link?.tail
      const header = await host.destroySession(session, serializeOptions)
      // Committed in this request, it has an id that the Session does not know of.
      if (link !== undefined && link.id !== '' && link.id !== session.id) await sessions.destroy(link.id)
      return header
    },
  }
}

function newLink(id: string, base: Link['base']): Link {
  return { id, base, seen: undefined, isCounted: false, tail: Promise.resolve() }
}

function expiryOf(options: { maxAge?: number; expires?: Date } | undefined): Date | undefined {
  if (options?.maxAge != null) return new Date(Date.now() + options.maxAge * 1000)
  return options?.expires ?? undefined
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function notUsed(): Promise<never> {
  return Promise.reject(new Error('Sessions are read and written by their Session, not by their id.'))
}
