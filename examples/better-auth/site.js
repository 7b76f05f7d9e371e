import { createServer } from 'node:http'
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { toNodeHandler } from 'better-auth/node'
import { pgsqlSecondaryStorage } from 'session-pgsql/better-auth'

/**
 * better-auth's own routes under `/api/auth`, such as `POST /api/auth/sign-up/email`. Its sessions lie in
 * PostgreSQL; its users, for an example, in memory: a real site gives it a database for them.
 *
 * @param {import('session-pgsql').SaveHandlerOptions} options for the save handler
 */
export async function createSite(options, _pause, port = 0, users = emptyUsers()) {
  const storage = pgsqlSecondaryStorage(options)
  const server = createServer()
  await new Promise((listening) => server.listen(port, '127.0.0.1', listening))
  const url = `http://127.0.0.1:${server.address().port}`
  const auth = betterAuth({
    baseURL: url,
    // An example on your own machine; a real site has a secret of its own.
    secret: 'an example has no secrets, and this is not one',
    database: memoryAdapter(users),
    secondaryStorage: storage,
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: true, window: 60, max: 100 },
    telemetry: { enabled: false },
  })
  const answer = toNodeHandler(auth)
  server.on('request', async (incoming, outgoing) => {
    try {
      await answer(incoming, outgoing)
    } catch {
      // better-auth lets an error of its rate limit's storage through: without this the request would hang.
      outgoing.writeHead(500).end()
    }
  })
  return {
    url,
    handler: storage.handler,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve))
      server.closeAllConnections()
      await closed
      await storage.close()
    },
  }
}

export function emptyUsers() {
  return { user: [], session: [], account: [], verification: [] }
}
