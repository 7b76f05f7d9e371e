import express from 'express'
import session from 'express-session'
import { SaveHandler } from 'session-pgsql'
import { PgsqlStore, pgsqlSession, recordErrors } from 'session-pgsql/express'
import { errorPage, homePage } from './pages.js'
import { Traffic } from './traffic.js'

/**
 * The site. It uses sessions as an Express application does with any store, except for `pgsqlSession(req)` and the
 * methods of the save handler.
 *
 * @param {import('@electric-sql/pglite').PGlite} database
 * @param {(key: string) => Promise<void>} pause called between reading and writing, so that two requests overlap
 */
export function createSite(database, pause = sleep) {
  const handler = new SaveHandler({ db: database, shortCircuit: true })
  const app = express()
  const traffic = new Traffic()
  app.disable('x-powered-by')
  app.use(express.urlencoded({ extended: false }))
  app.use(
    session({
      store: new PgsqlStore({ handler }),
      // For a demo on your own machine. A real site needs a secret.
      secret: 'demo',
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: 60 * 60 * 1000, sameSite: 'lax' },
    }),
  )

  app.get('/', async (req, res) => {
    req.session.visits = (req.session.visits ?? 0) + 1
    req.session.agent = req.get('user-agent')
    await save(req)
    const { user, notes = {}, visits } = req.session
    res.send(
      homePage({
        user,
        consoleUrl: app.locals.consoleUrl,
        busy: traffic.busy,
        visits,
        notes,
        info: await handler.info(req.sessionID),
        row: await rowOf(database, req.sessionID),
        devices: user === undefined ? [] : await pgsqlSession(req).devices(),
      }),
    )
  })

  app.post('/sign-in', (req, res, next) => {
    const user = String(req.body.user ?? '')
      .trim()
      .slice(0, 40)
    if (user === '') return res.redirect('/')
    // A new id at the login: an attacker who knows the old id is not logged in.
    req.session.regenerate((error) => {
      if (error) return next(error)
      req.session.user = user
      pgsqlSession(req).setField(user)
      res.redirect('/')
    })
  })

  app.post('/sign-out', (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.redirect('/')))
  })

  app.post('/devices/:handle/end', async (req, res) => {
    if (req.session.user !== undefined) await pgsqlSession(req).endDevice(req.params.handle)
    res.redirect('/')
  })

  app.post('/sign-out-everywhere', async (req, res) => {
    if (req.session.user !== undefined) await handler.destroyByField(req.session.user)
    res.redirect('/')
  })

  /** Two concurrent requests overlap: each reads the session before the other writes it. */
  app.post('/note/:key', async (req, res) => {
    await pause(req.params.key)
    req.session.notes = { ...req.session.notes, [req.params.key]: new Date().toISOString() }
    res.sendStatus(204)
  })

  /** Sends requests to this site over HTTP, so that the console's charts show traffic. */
  app.post('/traffic', (req, res) => {
    traffic.start(`http://127.0.0.1:${req.socket.localPort}`)
    res.redirect('/')
  })

  app.post('/fail', () => {
    throw new Error('This error was caused by the button')
  })

  app.use(recordErrors())
  app.use((error, _req, res, _next) => {
    // The session could not be saved after the response had begun: its status cannot change any more.
    if (res.headersSent) return res.destroy()
    res.status(500).send(errorPage(error.message))
  })
  return { app, handler, traffic }
}

function save(req) {
  return new Promise((resolve, reject) => {
    req.session.save((error) => (error ? reject(error) : resolve()))
  })
}

async function rowOf(database, id) {
  const { rows } = await database.query('SELECT * FROM php_session WHERE sess_id = $1', [id])
  return rows[0]
}

function sleep() {
  return new Promise((resolve) => setTimeout(resolve, 300))
}
