import type { Socket } from 'node:net'

/** Most connections that have not sent the password and a first command. A client of PHP does so at once. */
export const MAX_PENDING = 64

/**
 * Connections that may not be clients, TLS handshakes included. They have a quota of their own, so that connections that
 * say nothing take no place of a client's. When it is full, a new connection closes the oldest.
 */
export class PendingConnections {
  readonly #sockets = new Map<unknown, Socket>()
  readonly #onEvict: (address: string | undefined) => void

  /** @param onEvict called with the address of a connection that was closed for a new one */
  constructor(onEvict: (address: string | undefined) => void) {
    this.#onEvict = onEvict
  }

  /** Adds a connection that was accepted, before its TLS handshake. */
  add(socket: Socket): void {
    const peer = peerOf(socket)
    this.#sockets.set(peer, socket)
    socket.once('close', () => this.#sockets.delete(peer))
    if (this.#sockets.size <= MAX_PENDING) return
    for (const [oldest, silent] of this.#sockets) {
      this.#sockets.delete(oldest)
      this.#onEvict(silent.remoteAddress)
      silent.destroy()
      return
    }
  }

  /** Removes a connection that is a client's. @param socket after the TLS handshake another one than `add` was given */
  admit(socket: Socket): void {
    this.#sockets.delete(peerOf(socket))
  }
}

/** Identifies a connection by its peer, which is the same before and after the TLS handshake. */
function peerOf(socket: Socket): unknown {
  return socket.remotePort === undefined ? socket : `${socket.remoteAddress} ${socket.remotePort}`
}
