import { lstatSync, unlinkSync } from 'node:fs'
import { connect, type Server } from 'node:net'
import { keepServing } from '../listen.ts'

export interface SocketOptions {
  readonly path: string
  /** Permissions of the file. */
  readonly mode: number
}

/**
 * Starts listening on a socket of the file system. Replaces one that no process serves, as an earlier gateway leaves it
 * when it is killed.
 *
 * @throws if the path is in use by another process, or is another file
 */
export async function listenOnSocket(server: Server, { path, mode }: SocketOptions): Promise<void> {
  try {
    await bind(server, path, mode)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error
    if (!lstatSync(path).isSocket()) throw new Error(`--socket ${path}: there is a file that is no socket`)
    if (await isServed(path)) throw new Error(`--socket ${path}: another process listens there`)
    unlinkSync(path)
    await bind(server, path, mode)
  }
}

function bind(server: Server, path: string, mode: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    // The file is made at once, with these permissions: between it and a chmod, others could connect.
    const before = process.umask(0o777 & ~mode)
    try {
      server.listen(path, () => {
        server.off('error', reject)
        keepServing(server)
        resolve()
      })
    } finally {
      process.umask(before)
    }
  })
}

function isServed(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => socket.destroy())
    socket.once('connect', () => socket.destroy())
  })
}
