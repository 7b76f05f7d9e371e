import { createServer } from 'node:http'
import { createStaticHandler } from 'react-router'
import { createPgsqlSessionStorage } from 'session-pgsql/react-router'
import { edited } from 'session-pgsql/testing'

/**
 * Data routes of React Router, run on the server. In framework mode the loaders and actions are the same, and React
 * Router's own server replaces the code around them.
 *
 * @param {import('session-pgsql').SaveHandlerOptions} options of the save handler
 * @param {(wait: string | undefined) => Promise<void>} [pause] called with the parameter `wait`: tests hold the request there
 */
export async function createSite(options, pause = async () => {}, port = 0) {
  const storage = createPgsqlSessionStorage({
    ...options,
    cookie: {
      name: '__session',
      // For an example on your own machine. A real site needs a secret.
      secrets: ['an example has no secrets'],
      // This example has no TLS. Leave it out on a real site.
      secure: false,
      maxAge: 86_400,
    },
  })
  const { getSession, commitSession, destroySession, updateSession } = storage
  const sessionOf = (request) => getSession(request.headers.get('cookie'))
  const saved = async (session, body = null) =>
    new Response(body, { headers: { 'set-cookie': await commitSession(session) } })
  const queryOf = (request) => Object.fromEntries(new URL(request.url).searchParams)

  const { queryRoute } = createStaticHandler([
    {
      path: '/',
      async loader({ request }) {
        const session = await sessionOf(request)
        session.set('visits', (session.get('visits') ?? 0) + 1)
        return saved(session, `Visit ${session.get('visits')}.\n`)
      },
    },
    { path: '/read', loader: async ({ request }) => Response.json((await sessionOf(request)).data) },
    {
      path: '/set',
      async action({ request }) {
        const session = await sessionOf(request)
        const { key, value, wait } = queryOf(request)
        await pause(wait)
        session.set(key, value)
        return saved(session)
      },
    },
    {
      path: '/delete',
      async action({ request }) {
        const session = await sessionOf(request)
        const { key, wait } = queryOf(request)
        await pause(wait)
        session.unset(key)
        return saved(session)
      },
    },
    {
      path: '/edit',
      async action({ request }) {
        const session = await sessionOf(request)
        const { key, path, value, wait } = queryOf(request)
        await pause(wait)
        session.set(key, edited(session.get(key), path, value))
        return saved(session)
      },
    },
    {
      path: '/count',
      async action({ request }) {
        const session = await sessionOf(request)
        const { key, also, wait } = queryOf(request)
        await pause(wait)
        session.set(also, '1')
        // Atomic: of overlapping requests, each gets a number of its own.
        const { value } = await updateSession(session, (data) => {
          data[key] = Number(data[key] ?? 0) + 1
          return data[key]
        })
        return saved(session, String(value))
      },
    },
    {
      path: '/sign-in',
      async action({ request }) {
        // A new session at the login: an attacker who knows the old id is not logged in.
        await destroySession(await sessionOf(request))
        const session = await getSession()
        session.set('user', queryOf(request).user)
        return saved(session)
      },
    },
    {
      path: '/sign-out',
      action: async ({ request }) =>
        new Response(null, { headers: { 'set-cookie': await destroySession(await sessionOf(request)) } }),
    },
  ])

  const server = createServer(async (incoming, outgoing) => {
    try {
      const url = `http://${incoming.headers.host}${incoming.url}`
      const { cookie = '' } = incoming.headers
      const response = await queryRoute(new Request(url, { method: incoming.method, headers: { cookie } }))
      outgoing.writeHead(response.status, [...response.headers].flat()).end(await response.text())
    } catch (thrown) {
      // React Router throws some responses, such as a 404.
      const status = thrown instanceof Response ? thrown.status : (thrown.status ?? 500)
      outgoing.writeHead(status).end(`${thrown.code ?? status}\n`)
    }
  })
  await new Promise((listening) => server.listen(port, '127.0.0.1', listening))
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    handler: storage.handler,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      await storage.close()
    },
  }
}
