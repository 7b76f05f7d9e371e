// With the extension: Next.js has no `exports`, so Node finds the module under no other name if the application keeps
// this package out of its bundle.
import { cookies, headers } from 'next/headers.js'
import type { SaveHandler } from '../save-handler.ts'
import { type BoundSession, BoundSessions } from './web/bound-sessions.ts'
import type { RequestLike } from './web/signed-cookie.ts'
import type { WebSession } from './web/web-session.ts'
import { createSessions as createWebSessions, type Sessions, type SessionsOptions } from './web.ts'

/**
 * Sessions for the App Router of Next.js.
 *
 * ```js
 * // lib/sessions.js
 * import { createSessions } from 'session-pgsql/next'
 * export const sessions = createSessions({ secret: process.env.SESSION_SECRET })
 *
 * // In a route handler or a server action
 * const session = await sessions.session()
 * session.set('visits', (session.get('visits') ?? 0) + 1)
 * await session.commit()
 *
 * // In a server component
 * const { data } = await sessions.read()
 * ```
 *
 * docs/next.md has the configuration, and `proxy.js`, which keeps users logged in if they only read pages.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { SessionUpdate } from './shared/update-row.ts'
export type { BoundSession } from './web/bound-sessions.ts'
export type { CookieOptions } from './web/signed-cookie.ts'
export type { SessionsOptions } from './web.ts'

/** A session where no cookie can be set. */
export type ReadonlySession<Data extends object> = Readonly<
  Pick<WebSession<Data>, 'id' | 'field' | 'data' | 'get'>
>

export interface NextSessions<Data extends object> {
  /** The save handler, for `gc()`, `destroyByField()` and so on. */
  readonly handler: SaveHandler<Data>
  /**
   * Returns the session of the current request, for a route handler, a server action or `proxy.js`: the same one each
   * time. A request without a validly signed cookie, or whose session does not exist, gets a new session with a new id. It
   * is stored when something is set and committed.
   *
   * @param details `address`: the client's address, which Next.js does not tell
   * @throws the errors of `SaveHandler.read`: an outage is an error, not a new session; INVALID_OPTION
   */
  session(details?: { address?: string | undefined }): Promise<BoundSession<Data>>
  /** Returns the session of the current request for a server component, where Next.js allows no cookie to be set. */
  read(): Promise<ReadonlySession<Data>>
  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void>
}

/**
 * Checks the options with the first use, because `next build` loads the application's modules where no secret is set.
 *
 * @param options as for `session-pgsql/web`; the cookie is `Secure` if Next.js reports that the request came over https
 */
export function createSessions<Data extends object = Record<string, unknown>>(
  options: SessionsOptions<Data>,
): NextSessions<Data> {
  let created: Sessions<Data> | undefined
  const sessions = (): Sessions<Data> => {
    created ??= createWebSessions<Data>(options)
    return created
  }
  const open = new BoundSessions<Data>()

  async function session(details?: { address?: string | undefined }): Promise<BoundSession<Data>> {
    return open.open(await headers(), {
      read: async () => sessions().session(await currentRequest(), details),
      async setCookie({ name, value, attributes }) {
        const jar = await cookies()
        jar.set(name, value, attributes)
      },
    })
  }

  return {
    get handler() {
      return sessions().handler
    },
    session,
    read: () => session(),
    close: async () => created?.close(),
  }
}

async function currentRequest(): Promise<RequestLike> {
  const [received, jar] = await Promise.all([headers(), cookies()])
  return {
    // Next.js sets this header itself if no proxy has. A client that sends it changes only its own cookie.
    url: `${received.get('x-forwarded-proto')?.split(',')[0]?.trim() ?? 'http'}:`,
    headers: {
      get: (header) => {
        if (header !== 'cookie') return received.get(header)
        // The jar has what this request has set. The header has all cookies of one name, the jar only the last.
        const set = jar.getAll().map(({ name, value }) => `${name}=${value}`)
        return [...set, received.get(header) ?? ''].join('; ')
      },
    },
  }
}
