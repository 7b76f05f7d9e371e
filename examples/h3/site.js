import { getQuery, H3, serve } from 'h3'
import { createSessions } from 'session-pgsql/h3'
import { edited } from 'session-pgsql/testing'

/**
 * A small site with h3.
 *
 * @param {Partial<import('session-pgsql/h3').SessionsOptions>} options of the sessions and their save handler
 * @param {(wait: string | undefined) => Promise<void>} [pause] called with the parameter `wait`, to let requests overlap.
 * Default: waits for so many milliseconds
 */
export async function createSite(options, pause = sleep, port = 0) {
  const sessions = createSessions({
    ...options,
    // For an example on your own machine. A real site needs a secret.
    secret: 'an example has no secrets',
  })

  /** Returns what a route needs, after the pause. */
  async function begin(event) {
    const session = await sessions.session(event)
    const query = getQuery(event)
    await pause(query.wait)
    return { session, ...query }
  }

  const app = new H3({ silent: true })
  app.use(sessions.middleware)
  app.get('/', async (event) => {
    const session = await sessions.session(event)
    session.set('visits', (session.get('visits') ?? 0) + 1)
    return `Visit ${session.get('visits')}.\n`
  })
  app.get('/read', async (event) => (await sessions.session(event)).data)
  app.post('/set', async (event) => {
    const { session, key, value } = await begin(event)
    session.set(key, value)
    return 'done\n'
  })
  app.post('/delete', async (event) => {
    const { session, key } = await begin(event)
    session.delete(key)
    return 'done\n'
  })
  app.post('/edit', async (event) => {
    const { session, key, path, value } = await begin(event)
    session.set(key, edited(session.get(key), path, value))
    return 'done\n'
  })
  app.post('/count', async (event) => {
    const { session, key, also } = await begin(event)
    session.set(also, '1')
    // Atomic: of overlapping requests, each gets a number of its own.
    const { value } = await session.update((data) => {
      data[key] = Number(data[key] ?? 0) + 1
      return data[key]
    })
    return String(value)
  })
  app.post('/sign-in', async (event) => {
    const { session, user } = await begin(event)
    // A new id at the login: an attacker who knows the old id is not logged in.
    session.regenerate()
    session.set('user', user)
    session.field = user
    return 'done\n'
  })
  app.post('/sign-out', async (event) => {
    const { session } = await begin(event)
    session.destroy()
    return 'done\n'
  })

  const server = serve(app, { port, hostname: '127.0.0.1', silent: true, gracefulShutdown: false })
  await server.ready()
  return {
    url: server.url.replace(/\/$/, ''),
    handler: sessions.handler,
    async stop() {
      await server.close(true)
      await sessions.close()
    },
  }
}

function sleep(milliseconds = 0) {
  return new Promise((done) => setTimeout(done, Number(milliseconds)))
}
