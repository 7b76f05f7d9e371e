import { isIP } from 'node:net'

/** Network addresses and host names, as servers compare them. */

/** Returns the network to which failures of an address are counted: of IPv6, the first 64 bits, which one client has. */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const [head = '', tail] = address.split('::')
  const groups = head === '' ? [] : head.split(':')
  const rest = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros =
    tail === undefined ? [] : new Array<string>(Math.max(0, 8 - groups.length - rest.length)).fill('0')
  return [...groups, ...zeros, ...rest].slice(0, 4).join(':')
}

/** Returns an IPv4 address as such, which a socket for both families shows as `::ffff:192.0.2.1`. */
export function plainAddress(address: string | undefined): string {
  return (address ?? '').replace(/^::ffff:(?=\d+\.)/, '')
}

/**
 * Returns true if a request's header Host names this machine, a bare address, or one of `names`. Another name may be one
 * that a web page has made to lead here (DNS rebinding), to read the answer as its own.
 */
export function isKnownHost(host: string | undefined, names: readonly string[] = []): boolean {
  const name = hostNameOf(host ?? '')
  if (name === '') return false
  const isOurs = name === 'localhost' || name.endsWith('.localhost')
  return isOurs || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0 || names.includes(name)
}

function hostNameOf(host: string): string {
  const url = `http://${host}/`
  return /[/?#@\\]/.test(host) || !URL.canParse(url) ? '' : new URL(url).hostname.replace(/\.$/, '')
}
