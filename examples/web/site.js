import { createServer } from 'node:http'
import { Readable } from 'node:stream'
import { createHandle } from './handle.js'

/**
 * The site of handle.js behind Node's server, for which the code below converts requests and responses.
 *
 * @param {Partial<import('session-pgsql/web').SessionsOptions>} options of the sessions and their save handler
 * @param {(wait: string | undefined) => Promise<void>} [pause] called with the parameter `wait`: tests hold the request there
 */
export async function createSite(options, pause = async () => {}, port = 0) {
  const { handle, sessions } = createHandle(options, pause, (_, socket) => socket.remoteAddress)

  const server = createServer(async (incoming, outgoing) => {
    try {
      const url = `http://${incoming.headers.host}${incoming.url}`
      const { method } = incoming
      const body = method === 'GET' || method === 'HEAD' ? null : Readable.toWeb(incoming)
      const headers = new Headers(incoming.headers)
      const response = await handle(
        new Request(url, { method, headers, body, duplex: 'half' }),
        incoming.socket,
      )
      outgoing.writeHead(response.status, [...response.headers].flat()).end(await response.text())
    } catch (error) {
      outgoing.writeHead(500).end(`${error.code}: the session is unavailable.\n`)
    }
  })
  await new Promise((listening) => server.listen(port, '127.0.0.1', listening))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    handler: sessions.handler,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      await sessions.close()
    },
  }
}
