import type { SaveHandler } from '../save-handler.ts'
import type { SaveHandlerOptions } from '../settings/settings.ts'
import { invalidOption, ownOrShared } from './shared/own-handler.ts'
import { type CookieOptions, type RequestLike, SignedCookie } from './web/signed-cookie.ts'
import { openSession, type Stored, type WebSession } from './web/web-session.ts'

/**
 * Sessions of anything that speaks the web's `Request` and `Response`, without a framework.
 *
 * ```js
 * import { createSessions } from 'session-pgsql/web'
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET })
 *
 * async function handle(request) {
 *   const session = await sessions.session(request)
 *   session.set('visits', (session.get('visits') ?? 0) + 1)
 *   const cookie = await session.commit()
 *   return new Response('hello', { headers: cookie ? { 'set-cookie': cookie } : {} })
 * }
 * ```
 *
 * SvelteKit's hook, and what to set where a proxy ends the TLS, is in docs/web.md.
 */

export type { CookieOptions, RequestLike } from './web/signed-cookie.ts'
export type { WebSession } from './web/web-session.ts'

/** What concerns the cookie and the ids. */
export interface OwnOptions {
  /**
   * What the cookie is signed with: at least 16 characters, the same in every process. An array rotates it:
   * the first signs, all are accepted, and who comes with an older one is given a cookie signed anew.
   */
  secret: string | readonly string[]
  /** The cookie's attributes. `HttpOnly` always is one of them. */
  cookie?: CookieOptions | undefined
  /** Go by `X-Forwarded-Proto` for `Secure`: only behind a proxy that sets it itself. @default false */
  trustProxy?: boolean | undefined
  /**
   * Seconds that the id before `regenerate` is still answered, for requests under way. 0: not at all, and what
   * they change is lost.
   * @default 10
   */
  grace?: number | undefined
}

/** For sessions over a save handler that others use too. */
export interface SharedHandlerOptions {
  /**
   * The save handler. It is not closed here. It wants `shortCircuit: true`, which a save handler has not by
   * itself, or every request writes.
   */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  handler: SaveHandler<any>
  /** The cookie's name, stored with new sessions. @default 'sid' */
  name?: string | undefined
  /** Seconds that a session lives after its last access. @default 86400 */
  gcMaxlifetime?: number | undefined
}

/**
 * All options of a save handler, with other defaults for three of them: `shortCircuit` true, `name` (the
 * cookie's) 'sid', `gcMaxlifetime` 86400; or a `handler` to share.
 */
export type SessionsOptions<Data = Record<string, unknown>> = OwnOptions &
  ((SaveHandlerOptions<Data> & { handler?: undefined }) | SharedHandlerOptions)

export interface Sessions<Data extends object> {
  /** What the sessions go through: for `gc()`, `destroyByField()` and the like. */
  readonly handler: SaveHandler<Data>
  /**
   * The session of a request. Without a cookie that was signed here, or with an id that is not in the table,
   * it is a new one under a new id, which is stored when something is set.
   *
   * @param details `address`: the client's, which a `Request` does not know
   * @throws what `read` throws: an outage is an error, not a new session
   */
  session(request: RequestLike, details?: { address?: string | undefined }): Promise<WebSession<Data>>
  /** Waits for what is under way and closes the connections; a shared handler stays open. */
  close(): Promise<void>
}

const DEFAULTS = { name: 'sid', gcMaxlifetime: 86_400, shortCircuit: true } as const

/** @throws INVALID_OPTION */
export function createSessions<Data extends object = Record<string, unknown>>(
  options: SessionsOptions<Data>,
): Sessions<Data> {
  const { secret, cookie, trustProxy, grace = 10, handler: shared, ...rest } = options
  if (!(grace >= 0 && grace <= 3600)) throw invalidOption('option grace: expected seconds, from 0 to 3600')
  let settings = {
    name: rest.name ?? DEFAULTS.name,
    gcMaxlifetime: rest.gcMaxlifetime ?? DEFAULTS.gcMaxlifetime,
  }
  if (shared !== undefined) {
    delete rest.name
    delete rest.gcMaxlifetime
  }
  const { handler, close } = ownOrShared<Data>(shared, rest as SaveHandlerOptions<Data>, DEFAULTS)
  if (shared === undefined) settings = handler.status().settings as typeof settings
  const { name, gcMaxlifetime: lifetime } = settings
  if (typeof lifetime !== 'number' || !(lifetime > 0)) {
    throw invalidOption('option gcMaxlifetime: expected seconds, more than 0')
  }
  const signed = new SignedCookie({ ...cookie, name, secret, trustProxy, lifetime })
  return {
    handler,
    close,
    session: (request, { address } = {}) =>
      openSession<Data>({
        sessions: handler as unknown as SaveHandler<Stored>,
        cookie: signed,
        request,
        address,
        name,
        lifetime,
        grace,
      }),
  }
}
