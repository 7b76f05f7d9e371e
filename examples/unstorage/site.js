import { createServer } from 'node:http'
import pgsqlDriver from 'session-pgsql/unstorage'
import { createStorage } from 'unstorage'

/**
 * A notice board: `PUT /key` with a text (and `?ttl=` in seconds), `GET /key`, `GET /` for all keys, `DELETE
 * /key`. In Nitro and Nuxt the driver is mounted by a server plugin: `useStorage().mount('notes', pgsqlDriver())`.
 *
 * @param {import('session-pgsql').SaveHandlerOptions} options for the save handler
 */
export async function createSite(options, _pause, port = 0) {
  const driver = pgsqlDriver({ ...options, base: 'notes' })
  const storage = createStorage({ driver })

  async function answer({ method, url }, body) {
    const { pathname, searchParams } = new URL(url, 'http://localhost')
    const key = decodeURIComponent(pathname.slice(1))
    if (key === '') return (await storage.getKeys()).sort().join('\n')
    if (method === 'PUT') {
      await storage.setItem(key, body, { ttl: Number(searchParams.get('ttl') ?? 0) })
      return ''
    }
    if (method === 'DELETE') {
      await storage.removeItem(key)
      return ''
    }
    return storage.getItem(key)
  }

  const server = createServer(async (incoming, outgoing) => {
    try {
      const chunks = await incoming.toArray()
      const text = await answer(incoming, Buffer.concat(chunks).toString())
      outgoing.writeHead(text === null ? 404 : 200).end(text === null ? '' : String(text))
    } catch (error) {
      outgoing.writeHead(500).end(`${error.code}\n`)
    }
  })
  await new Promise((listening) => server.listen(port, '127.0.0.1', listening))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    handler: driver.getInstance(),
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      await storage.dispose()
    },
  }
}
