import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import pgsqlDriver from 'session-pgsql/unstorage'
import { createStorage, prefixStorage } from 'unstorage'

/** Seconds that a user stays logged in. */
const SIGNED_IN = 86_400

/**
 * A notice board: `PUT /key` with a text (and `?ttl=` in seconds), `GET /key`, `GET /` for all keys, `DELETE
 * /key`. All users read, logged-in users write: `POST /sign-in?user=`, `POST /sign-out`, `POST /me`. In Nitro and
 * Nuxt the configuration names the driver: `storage: { board: { driver: 'session-pgsql/unstorage' } }`.
 *
 * unstorage replaces an item as a whole, and a set in progress during its removal restores it. So the item of a
 * login is set once and removed once. Requests write to other items, so that none of them can restore it.
 *
 * @param {import('session-pgsql').SaveHandlerOptions} options of the save handler
 * @param {(wait: string | undefined) => Promise<void>} [pause] called with the parameter `wait`: tests hold the request there
 */
export async function createSite(options, pause = async () => {}, port = 0) {
  const driver = pgsqlDriver({ ...options, base: 'board' })
  const storage = createStorage({ driver })
  const notes = prefixStorage(storage, 'notes')
  const signedIn = prefixStorage(storage, 'signed-in')

  async function handle({ method, url, headers }, body) {
    const { pathname, searchParams: query } = new URL(url, 'http://localhost')
    const key = decodeURIComponent(pathname.slice(1))
    const token = /(?:^|; )token=(\w+)/.exec(headers.cookie ?? '')?.[1]
    const user = token === undefined ? null : await signedIn.getItem(token)
    switch (`${method} ${pathname}`) {
      case 'GET /':
        return { text: (await notes.getKeys()).sort().join('\n') }
      case 'POST /sign-in': {
        // A new token each time: an attacker who knows an old one is not logged in.
        const fresh = randomBytes(24).toString('hex')
        await signedIn.setItem(fresh, query.get('user'), { ttl: SIGNED_IN })
        return { cookie: `token=${fresh}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${SIGNED_IN}` }
      }
      case 'POST /sign-out':
        if (token !== undefined) await signedIn.removeItem(token)
        return { cookie: 'token=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0' }
      case 'POST /me':
        return user === null ? { status: 401 } : { text: String(user) }
    }
    if (method === 'GET') {
      const text = await notes.getItem(key)
      return text === null ? { status: 404 } : { text: String(text) }
    }
    if (user === null) return { status: 401 }
    await pause(query.get('wait') ?? undefined)
    if (method === 'PUT') await notes.setItem(key, body, { ttl: Number(query.get('ttl') ?? 0) })
    else await notes.removeItem(key)
    return {}
  }

  const server = createServer(async (incoming, outgoing) => {
    try {
      const chunks = await incoming.toArray()
      const { status = 200, text = '', cookie } = await handle(incoming, Buffer.concat(chunks).toString())
      outgoing.writeHead(status, cookie === undefined ? {} : { 'set-cookie': cookie }).end(text)
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
