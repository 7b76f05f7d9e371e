import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { isKnownHost, plainAddress } from '../addresses.ts'
import { HttpError } from './responses.ts'

/** Checks where a request comes from. */

export interface OriginOptions {
  /** Host names that browsers may use, besides loopback names and IP addresses. */
  readonly names: readonly string[]
  /** Whether a proxy sets X-Forwarded-For and X-Forwarded-Proto. */
  readonly trustProxy: boolean
  /** False: the console is for this machine only. */
  readonly hasPasswords: boolean
}

/**
 * Rejects requests with an unknown host name, to prevent DNS rebinding: an attacker's name that resolves to this
 * machine would make the attacker's page same-origin. Such an attack needs a name, so IP addresses are accepted.
 *
 * @throws 421; 403 for a request through a proxy while there are no passwords
 */
export function checkHost(request: IncomingMessage, { names, hasPasswords }: OriginOptions): void {
  if (!isKnownHost(request.headers.host, names)) {
    throw new HttpError(
      421,
      'The console does not accept this host name. To allow it, start the console with --name and the name in the address bar.',
    )
  }
  const { forwarded, 'x-forwarded-for': forwardedFor } = request.headers
  if (!hasPasswords && (forwarded !== undefined || forwardedFor !== undefined)) {
    throw new HttpError(
      403,
      'The request came through a proxy, but a console without passwords serves this machine only. Start the console with --password-file and --trust-proxy.',
    )
  }
}

/**
 * Rejects requests of another site's page. Browsers send `Origin` or `Sec-Fetch-Site`; a client that sends neither is
 * not a browser, and the CSRF token decides.
 *
 * @throws 403
 */
export function checkSameOrigin(request: IncomingMessage, { names }: OriginOptions): void {
  const { origin, host = '', 'sec-fetch-site': site } = request.headers
  const sameOrigin = origin === undefined || isSameOrigin(origin, host, names)
  if (!sameOrigin || (site !== undefined && site !== 'same-origin' && site !== 'none')) {
    throw new HttpError(
      403,
      'The request came from a page of another site. Only pages of the console may send it.',
    )
  }
}

function isSameOrigin(origin: string, host: string, names: readonly string[]): boolean {
  if (!URL.canParse(origin)) return false
  const url = new URL(origin)
  return url.host === host.toLowerCase() || names.includes(url.hostname)
}

/** Returns the client's IP address, for the audit log and the limit on failed sign-ins. */
export function addressOf(request: IncomingMessage, { trustProxy }: OriginOptions): string {
  const { 'x-forwarded-for': forwarded } = request.headers
  // The trusted proxy appends the last address. The client can forge those before it.
  const last = trustProxy ? [forwarded ?? []].flat().join(',').split(',').at(-1)?.trim() : undefined
  return plainAddress(last !== undefined && isIP(last) !== 0 ? last : request.socket.remoteAddress)
}
