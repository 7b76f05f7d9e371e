import type { SaveHandler } from '../save-handler.ts'
import type { Logger } from '../settings/settings.ts'
import { type AdapterOptions, invalidOption, openHandler } from './shared/open-handler.ts'
import type { Stored } from './web/id-changes.ts'
import { type CookieOptions, type RequestLike, SignedCookie } from './web/signed-cookie.ts'
import { openSession, type WebSession } from './web/web-session.ts'

/**
 * Sessions for the web's `Request` and `Response`, without a framework.
 *
 * ```js
 * import { createSessions } from 'session-pgsql/web'
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET })
 *
 * async function handle(request) {
 *   const session = await sessions.session(request)
 *   session.set('visits', (session.get('visits') ?? 0) + 1)
 *   const cookie = await session.commit()
 *   return new Response('hello', { headers: cookie ? { 'set-cookie': cookie.header } : {} })
 * }
 * ```
 *
 * docs/web.md has SvelteKit's hook, and the options to set behind a proxy that terminates TLS.
 */

export type { SharedHandlerOptions } from './shared/open-handler.ts'
export type { SessionUpdate } from './shared/update-row.ts'
export type { CookieOptions, RequestLike, SessionCookie } from './web/signed-cookie.ts'
export type { WebSession } from './web/web-session.ts'

/** The options that concern the cookie and the ids. */
export interface OwnOptions {
  /**
   * The key that signs the cookie: at least 16 characters, the same in every process. To rotate it, pass an array:
   * the first key signs, all keys are accepted, and a cookie signed with an older one is renewed.
   */
  secret: string | readonly string[]
  /** The cookie's attributes. `HttpOnly` is always set. */
  cookie?: CookieOptions | undefined
  /** Use `X-Forwarded-Proto` for `Secure`. Set it only behind a proxy that overwrites that header. @default false */
  trustProxy?: boolean | undefined
  /**
   * Seconds after `regenerate` in which new requests with the old id still get the session. Requests that began before
   * may always finish.
   * @default 10
   */
  grace?: number | undefined
}

/**
 * All options of a save handler, or a `handler` to share. Defaults that differ: `shortCircuit` true, `name` (the
 * cookie's) 'sid', `gcMaxlifetime` 86400.
 */
export type SessionsOptions<Data = Record<string, unknown>> = OwnOptions & AdapterOptions<Data>

export interface Sessions<Data extends object> {
  /** The save handler, for `gc()`, `destroyByField()` and so on. */
  readonly handler: SaveHandler<Data>
  /**
   * Returns the session of a request. A request without a validly signed cookie, or whose session does not exist,
   * gets a new session with a new id. It is stored when something is set.
   *
   * @param details `address`: the client's address, which a `Request` does not have
   * @throws the errors of `SaveHandler.read`: an outage is an error, not a new session
   */
  session(request: RequestLike, details?: { address?: string | undefined }): Promise<WebSession<Data>>
  /** Waits for operations in progress and closes the connections. A shared handler stays open. */
  close(): Promise<void>
}

/** @throws INVALID_OPTION */
export function createSessions<Data extends object = Record<string, unknown>>(
  options: SessionsOptions<Data>,
): Sessions<Data> {
  const { secret, cookie, trustProxy, grace = 10, ...rest } = options
  if (!(grace >= 0 && grace <= 3600)) {
    throw invalidOption(`option grace: expected seconds from 0 to 3600; received ${grace}`)
  }
  const { handler, name, lifetime, maxLifetime, close } = openHandler<Data>(
    rest as AdapterOptions<Data>,
    'sid',
  )
  const warn = warnerOf((rest as { logger?: Logger | false }).logger)
  const signed = new SignedCookie({ ...cookie, name, secret, trustProxy, lifetime, warn })
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
        maxLifetime,
        grace,
      }),
  }
}

/** A shared handler does not tell its logger. */
function warnerOf(logger: Logger | false | undefined): (message: string) => void {
  if (logger === false) return () => {}
  if (logger !== undefined) return (message) => logger.warn(message)
  return (message) => process.emitWarning(`session_pgsql: ${message}`)
}
