/**
 * Returns the client's address as the framework knows it: `ip`, which honours the framework's setting for trusted
 * proxies, else the socket's.
 */
export function addressOf(request: unknown): string | undefined {
  const { ip, socket } = (request ?? {}) as { ip?: unknown; socket?: { remoteAddress?: unknown } }
  const address = ip || socket?.remoteAddress
  return typeof address === 'string' && address !== '' ? address : undefined
}
