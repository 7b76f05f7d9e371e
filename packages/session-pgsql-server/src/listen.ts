import type { AddressInfo, Server } from 'node:net'

/**
 * Starts listening.
 *
 * @param port 0: any free port
 * @returns the port
 * @throws if the port is not available
 */
export function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      keepServing(server)
      resolve((server.address() as AddressInfo).port)
    })
  })
}

/** A connection that cannot be accepted, for example for lack of file descriptors, does not affect the others. */
export function keepServing(server: Server): void {
  server.on('error', () => {})
}
