import { serve } from '@hono/node-server'
import { useSession } from '@hono/session'
import { Hono } from 'hono'
import { pgsqlSessions, regenerateSession, updateSession } from 'session-pgsql/hono'
import { edited } from 'session-pgsql/testing'

/**
 * A small site with @hono/session.
 *
 * @param options the options of the sessions: `{ db }`
 * @param pause called with the parameter `wait`, to let requests overlap. Default: waits for so many milliseconds
 */
export async function createSite(options, pause = sleep, port = 0) {
  const sessions = pgsqlSessions(options)
  const app = new Hono()
  // For an example on your own machine. A real site needs a secret.
  app.use(sessions, useSession({ secret: 'an example, on your own machine only' }))

  app.get('/read', async (c) => c.json((await c.var.session.get()) ?? {}))
  app.post('/set', async (c) => {
    const { key, value, wait } = c.req.query()
    const data = await c.var.session.get()
    await pause(wait)
    await c.var.session.update({ ...data, [key]: value })
    return c.text('done\n')
  })
  app.post('/delete', async (c) => {
    const { key, wait } = c.req.query()
    const { [key]: _, ...others } = (await c.var.session.get()) ?? {}
    await pause(wait)
    await c.var.session.update(others)
    return c.text('done\n')
  })
  app.post('/edit', async (c) => {
    const { key, path, value, wait } = c.req.query()
    const data = await c.var.session.get()
    await pause(wait)
    await c.var.session.update({ ...data, [key]: edited(data?.[key], path, value) })
    return c.text('done\n')
  })
  app.post('/count', async (c) => {
    const { key, also, wait } = c.req.query()
    const data = await c.var.session.get()
    await pause(wait)
    // Atomic: of overlapping requests, each gets a number of its own.
    const { value } = await updateSession(c, (stored) => {
      stored[key] = Number(stored[key] ?? 0) + 1
      return stored[key]
    })
    await c.var.session.update({ ...data, [also]: '1' })
    return c.text(String(value))
  })
  app.post('/sign-in', async (c) => {
    const data = await c.var.session.get()
    // A new id at the login: an attacker who knows the old id is not logged in.
    await regenerateSession(c)
    await c.var.session.update({ ...data, user: c.req.query('user') })
    return c.text('done\n')
  })
  app.post('/sign-out', async (c) => {
    // Without this read @hono/session removes only the cookie.
    await c.var.session.get()
    c.var.session.delete()
    return c.text('done\n')
  })
  app.onError((error, c) => c.text(`${error.code ?? error.name}\n`, 500))

  const server = await new Promise((listening) => {
    const started = serve({ fetch: app.fetch, port, hostname: '127.0.0.1' }, () => listening(started))
  })
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    handler: sessions.handler,
    async stop() {
      server.closeAllConnections()
      await new Promise((closed) => server.close(closed))
      await sessions.close()
    },
  }
}

function sleep(milliseconds = 0) {
  return new Promise((done) => setTimeout(done, Number(milliseconds)))
}
