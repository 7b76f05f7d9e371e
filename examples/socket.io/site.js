import { once } from 'node:events'
import { createServer } from 'node:http'
import express from 'express'
import expressSession from 'express-session'
import { PgsqlStore, pgsqlSession } from 'session-pgsql/express'
import { createSockets } from './sockets.js'

/** A small site with express-session and socket.io. @param options the store's options: `{ db }` */
export async function createSite(options, port = 0) {
  const store = new PgsqlStore({ ...options, announce: true })
  const session = expressSession({
    store,
    // For an example on your own machine. A real site needs a secret.
    secret: 'an example, on your own machine only',
    cookie: { maxAge: 60 * 60 * 1000, sameSite: 'lax' },
    resave: false,
    saveUninitialized: false,
  })
  const app = express()
  const server = createServer(app)
  const io = createSockets(server, session, store.handler)
  app.use(session)

  app.get('/read', (req, res) => {
    const { cookie, ...data } = req.session
    res.json(data)
  })
  app.post('/set', (req, res) => {
    req.session[req.query.key] = req.query.value
    res.send('done\n')
  })
  app.post('/sign-in', (req, res, next) => {
    // A new id at the login: an attacker who knows the old id is not logged in. Sockets of the old id close.
    req.session.regenerate((error) => {
      if (error) return next(error)
      req.session.user = req.query.user
      pgsqlSession(req).setField(req.query.user)
      res.send('done\n')
    })
  })
  app.post('/sign-out', (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.send('done\n')))
  })
  app.post('/sign-out-everywhere', async (req, res) => {
    await store.handler.destroyByField(req.session.user)
    res.send('done\n')
  })

  // Resolves when this process learns of sessions that end.
  await store.handler.open()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    handler: store.handler,
    async stop() {
      await io.close()
      await store.close()
    },
  }
}
