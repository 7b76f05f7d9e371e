import { createServer } from 'node:http'
import { betterAuth } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import { toNodeHandler } from 'better-auth/node'
import { pgsqlSecondaryStorage } from 'session-pgsql/better-auth'

/**
 * better-auth's own routes under `/api/auth`, such as `POST /api/auth/sign-up/email`. The sessions are in
 * PostgreSQL. The users of this example are in memory: a real site needs a database for them.
 *
 * @param {import('session-pgsql').SaveHandlerOptions} options of the save handler
 */
export async function createSite(options, _pause, port = 0, users = emptyUsers()) {
  const storage = pgsqlSecondaryStorage(options)
  const server = createServer()
  await new Promise((listening) => server.listen(port, '127.0.0.1', listening))
  const url = `http://127.0.0.1:${server.address().port}`
  const auth = betterAuth({
    baseURL: url,
    // For an example on your own machine. A real site needs a secret.
    secret: 'an example has no secrets, and this is not one',
    database: memoryAdapter(users),
    secondaryStorage: storage,
    emailAndPassword: { enabled: true },
    rateLimit: { enabled: true, window: 60, max: 100 },
    telemetry: { enabled: false },
  })
  const handle = toNodeHandler(auth)
  server.on('request', async (incoming, outgoing) => {
    try {
      await handle(incoming, outgoing)
    } catch {
      // better-auth does not handle an error of its rate limit's storage. Without this the request would hang.
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
