import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'
import type { OriginOptions } from './origin.ts'

/** The console's cookies. */

const NAME = 'session-pgsql-console'

/** Seconds for which a browser keeps a cookie that outlasts it: half a year. */
const LONG = 180 * 86_400

/**
 * Returns a cookie's name. It has the port, because browsers send a host's cookies to all its ports, and two consoles of
 * one machine must not sign each other's users out. Over TLS no other host of the domain can set it (`__Host-`).
 */
function nameOf(request: IncomingMessage, what: string, origin: OriginOptions): string {
  const [, port] = /:(\d+)$/.exec(request.headers.host ?? '') ?? []
  const parts = [NAME, ...(port === undefined ? [] : [port]), ...(what === '' ? [] : [what])]
  return `${isSecure(request, origin) ? '__Host-' : ''}${parts.join('-')}`
}

/** @param what tells cookies of the console apart; empty for the user's */
export function readCookie(
  request: IncomingMessage,
  what: string,
  origin: OriginOptions,
): string | undefined {
  const prefix = `${nameOf(request, what, origin)}=`
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim())
  return pairs.find((pair) => pair.startsWith(prefix))?.slice(prefix.length)
}

/**
 * Returns the value of a header Set-Cookie.
 *
 * @param value undefined removes the cookie
 * @param options `lasts`: whether the cookie outlasts the browser's session
 */
export function setCookie(
  request: IncomingMessage,
  what: string,
  value: string | undefined,
  origin: OriginOptions,
  { lasts = false }: { readonly lasts?: boolean } = {},
): string {
  const age = value === undefined ? '; Max-Age=0' : lasts ? `; Max-Age=${LONG}` : ''
  const secure = isSecure(request, origin) ? '; Secure' : ''
  return `${nameOf(request, what, origin)}=${value ?? ''}; Path=/; HttpOnly; SameSite=Strict${secure}${age}`
}

/** Returns true if the browser has sent the request over TLS, also to a proxy. */
function isSecure(request: IncomingMessage, { trustProxy }: OriginOptions): boolean {
  if ((request.socket as TLSSocket).encrypted) return true
  const [proto = ''] = [request.headers['x-forwarded-proto'] ?? ''].flat().join(',').split(',').slice(-1)
  return trustProxy && proto.trim().toLowerCase() === 'https'
}
