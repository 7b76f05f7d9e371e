import type { SaveHandler } from '../save-handler.ts'
import { type BoundSession, BoundSessions } from './web/bound-sessions.ts'
import type { RequestLike, SessionCookie } from './web/signed-cookie.ts'
import { createSessions as createWebSessions, type SessionsOptions } from './web.ts'

/**
 * Sessions for h3 2 and 1, and with them for Nitro and Nuxt. The session is a row, not a sealed cookie: it may be of any
 * size, overlapping requests keep each other's changes, and a logout ends it.
 *
 * ```js
 * import { H3 } from 'h3'
 * import { createSessions } from 'session-pgsql/h3'
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET })
 *
 * const app = new H3().use(sessions.middleware).get('/', async (event) => {
 *   const session = await sessions.session(event)
 *   session.set('visits', (session.get('visits') ?? 0) + 1)
 *   return `Visit ${session.get('visits')}`
 * })
 * ```
 *
 * docs/h3.md has the files for Nitro and Nuxt.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { SessionUpdate } from './shared/update-row.ts'
export type { BoundSession } from './web/bound-sessions.ts'
export type { CookieOptions } from './web/signed-cookie.ts'
export type { SessionsOptions } from './web.ts'

/** The part of an event of h3 2 that the adapter uses. */
export interface H3Event {
  readonly req: RequestLike & { readonly ip?: string | undefined }
  readonly res: { readonly headers: HeadersToAppend; readonly errHeaders: HeadersToAppend }
}

/** The part of an event of h3 1 that the adapter uses, for Nuxt 4 and Nitro 2. */
export interface H3EventOfVersion1 {
  readonly headers: RequestLike['headers']
  readonly node: {
    readonly req: {
      readonly socket: { readonly remoteAddress?: string | undefined; readonly encrypted?: boolean }
    }
    readonly res: { appendHeader(name: string, value: string): unknown }
  }
}

interface HeadersToAppend {
  append(name: string, value: string): void
}

export interface H3Sessions<Data extends object> {
  /** The save handler, for `gc()`, `destroyByField()` and so on. */
  readonly handler: SaveHandler<Data>
  /**
   * Returns the session of a request, the same one each time. A request without a validly signed cookie, or whose
   * session does not exist, gets a new session with a new id. It is stored when something is set.
   *
   * @param details `address`: the client's address. Default: the socket's; behind a proxy pass
   * `getRequestIP(event, { xForwardedFor: true })`
   * @throws the errors of `SaveHandler.read`: an outage is an error, not a new session
   */
  session(
    event: H3Event | H3EventOfVersion1,
    details?: { address?: string | undefined },
  ): Promise<BoundSession<Data>>
  /** Commits the session of a request if it was opened: for a middleware, or for Nitro's hook `beforeResponse`. */
  commit(event: H3Event | H3EventOfVersion1): Promise<void>
  /**
   * The middleware of h3 2 and Nitro 3 that commits the session after the handler. If the handler throws, nothing is
   * committed.
   */
  readonly middleware: (event: H3Event, next: () => unknown) => Promise<unknown>
  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void>
}

/**
 * @param options as for `session-pgsql/web`
 * @throws INVALID_OPTION
 */
export function createSessions<Data extends object = Record<string, unknown>>(
  options: SessionsOptions<Data>,
): H3Sessions<Data> {
  const sessions = createWebSessions<Data>(options)
  const open = new BoundSessions<Data>()
  return {
    handler: sessions.handler,
    close: () => sessions.close(),
    session: (event, details) => {
      const { request, address, setCookie } =
        'res' in event && 'headers' in event.res ? ofVersion2(event) : ofVersion1(event as H3EventOfVersion1)
      return open.open(event, {
        read: () => sessions.session(request, { address: details?.address ?? address }),
        setCookie,
      })
    },
    commit: (event) => open.commit(event),
    middleware: async (event, next) => {
      const response = await next()
      await open.commit(event)
      return response
    },
  }
}

interface Exchange {
  readonly request: RequestLike
  readonly address: string | undefined
  setCookie(cookie: SessionCookie): void
}

function ofVersion2({ req, res }: H3Event): Exchange {
  return {
    request: req,
    address: req.ip,
    setCookie({ header }) {
      res.headers.append('set-cookie', header)
      // h3 sends only these headers with an error that the handler throws, and with a Response of status 400 or more.
      res.errHeaders.append('set-cookie', header)
    },
  }
}

function ofVersion1({ headers, node }: H3EventOfVersion1): Exchange {
  const { remoteAddress, encrypted = false } = node.req.socket
  return {
    request: { url: encrypted ? 'https:' : 'http:', headers },
    address: remoteAddress,
    setCookie: ({ header }) => void node.res.appendHeader('set-cookie', header),
  }
}
