import fastifyCookie from '@fastify/cookie'
import Fastify from 'fastify'
import { PgsqlStore, pgsqlSession } from 'session-pgsql/fastify'
import { edited } from 'session-pgsql/testing'

/**
 * A small site with @fastify/session.
 *
 * @param options the store's options: `{ db }`
 * @param pause called with the parameter `wait`, to let requests overlap. Default: waits for so many milliseconds
 */
export async function createSite(options, pause = sleep, port = 0) {
  const store = new PgsqlStore(options)
  const app = Fastify({ forceCloseConnections: true })
  app.register(fastifyCookie)
  // Instead of @fastify/session, with its options.
  app.register(pgsqlSession, {
    store,
    // For an example on your own machine. A real site needs a secret.
    secret: 'an example, on your own machine only',
    cookie: { secure: 'auto', maxAge: 60 * 60 * 1000, sameSite: 'lax' },
    saveUninitialized: false,
  })

  app.get('/read', async ({ session }) => {
    const { cookie, ...data } = session
    return data
  })
  app.post('/set', async ({ session, query }) => {
    await pause(query.wait)
    session.set(query.key, query.value)
    return 'done\n'
  })
  app.post('/delete', async ({ session, query }) => {
    await pause(query.wait)
    delete session[query.key]
    return 'done\n'
  })
  app.post('/edit', async ({ session, query }) => {
    await pause(query.wait)
    session[query.key] = edited(session[query.key], query.path, query.value)
    return 'done\n'
  })
  app.post('/count', async (request) => {
    const { key, also, wait } = request.query
    await pause(wait)
    request.session[also] = '1'
    // Atomic: of overlapping requests, each gets a number of its own.
    const { value } = await store.update(request, (data) => {
      data[key] = Number(data[key] ?? 0) + 1
      return data[key]
    })
    return String(value)
  })
  app.post('/sign-in', async (request) => {
    // A new id at the login: an attacker who knows the old id is not logged in.
    await request.session.regenerate()
    request.session.user = request.query.user
    return 'done\n'
  })
  app.post('/sign-out', async ({ session }) => {
    await session.destroy()
    return 'done\n'
  })

  return {
    url: await app.listen({ port, host: '127.0.0.1' }),
    handler: store.handler,
    // This closes the store, too.
    stop: () => app.close(),
  }
}

function sleep(milliseconds = 0) {
  return new Promise((done) => setTimeout(done, Number(milliseconds)))
}
