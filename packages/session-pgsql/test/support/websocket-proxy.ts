import { createServer } from 'node:http'
import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { createWebSocketStream, WebSocketServer } from 'ws'

/**
 * A WebSocket proxy on loopback, as Neon's wsproxy: each WebSocket leads to a TCP connection to the `address` of its
 * query string.
 */
export interface WebSocketProxy {
  /** For `neonConfig.wsProxy`. */
  readonly address: string
  /** How many WebSockets ever were. */
  readonly accepted: number
  /** Destroys the connections that are open now. */
  drop(): void
  stop(): Promise<void>
}

export async function startWebSocketProxy(): Promise<WebSocketProxy> {
  const http = createServer()
  const server = new WebSocketServer({ server: http })
  const open = new Set<Duplex>()
  let accepted = 0
  server.on('connection', (socket, request) => {
    accepted++
    const target = new URL(request.url ?? '', 'http://proxy').searchParams.get('address') ?? ''
    const [host, port] = target.split(':')
    const near = createWebSocketStream(socket)
    const far = connect(Number(port), host)
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        open.delete(one)
        other.destroy()
      })
    }
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const { port } = http.address() as { port: number }
  const drop = () => {
    for (const stream of open) stream.destroy()
  }
  return {
    address: `127.0.0.1:${port}/v1`,
    get accepted() {
      return accepted
    },
    drop,
    async stop() {
      drop()
      for (const client of server.clients) client.terminate()
      server.close()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}
