import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { isKnownHost, plainAddress } from '../addresses.ts'
import { Refusal } from './answers.ts'

/** Where a request comes from, and whether it may. */

export interface OriginOptions {
  /** Host names by which the console is reached, besides those of this machine and bare addresses. */
  readonly names: readonly string[]
  /** Whether a proxy in front sets X-Forwarded-For and X-Forwarded-Proto. */
  readonly trustProxy: boolean
  /** Whether there is a password. */
  readonly guarded: boolean
}

/**
 * Refuses what was meant for another host: a name that somebody else has made to lead here (DNS rebinding) would
 * let his page ask us as if it were ours. Such an attack needs a name; bare addresses are let through.
 */
export function checkHost(request: IncomingMessage, { names, guarded }: OriginOptions): void {
  if (!isKnownHost(request.headers.host, names)) {
    throw new Refusal(
      421,
      'The console does not know itself under this name. Start it with --name and the name in the address bar.',
    )
  }
  const { forwarded, 'x-forwarded-for': forwardedFor } = request.headers
  if (!guarded && (forwarded !== undefined || forwardedFor !== undefined)) {
    throw new Refusal(
      403,
      'This came through a proxy, and the console has no password: whoever reaches the proxy would be an operator. Start it with --password-file and --trust-proxy.',
    )
  }
}

/**
 * Refuses a change that another site's page asks for. Browsers say where a request comes from, in one of two
 * ways; who says neither is no browser, and has the token or not.
 */
export function checkSameOrigin(request: IncomingMessage, { names }: OriginOptions): void {
  const { origin, host = '', 'sec-fetch-site': site } = request.headers
  const fromHere = origin === undefined || isSame(origin, host, names)
  if (!fromHere || (site !== undefined && site !== 'same-origin' && site !== 'none')) {
    throw new Refusal(403, 'This was asked by a page that is not the console.')
  }
}

function isSame(origin: string, host: string, names: readonly string[]): boolean {
  const its = URL.canParse(origin) ? new URL(origin) : undefined
  if (its === undefined) return false
  return its.host === host.toLowerCase() || names.includes(its.hostname)
}

/** The client's address: for the log, and for counting failures. */
export function addressOf(request: IncomingMessage, { trustProxy }: OriginOptions): string {
  const { 'x-forwarded-for': forwarded } = request.headers
  // The last one is what our own proxy has seen; those before it are what the client claims.
  const seen = trustProxy ? [forwarded ?? []].flat().join(',').split(',').at(-1)?.trim() : undefined
  return plainAddress(seen !== undefined && isIP(seen) !== 0 ? seen : request.socket.remoteAddress)
}

/** The address of the request as the browser has it, as far as that matters for cookies. */
export function urlOf(request: IncomingMessage): string {
  const scheme = (request.socket as TLSSocket).encrypted ? 'https' : 'http'
  return `${scheme}://${request.headers.host}/`
}
