import express from 'express'
import session from 'express-session'
import { SaveHandler } from 'session-pgsql'
import { PgsqlStore, pgsqlSession, recordErrors } from 'session-pgsql/express'
import { errorPage, homePage } from './pages.js'
import { Traffic } from './traffic.js'

/**
 * The site: everything that it does with sessions is what an Express application does with any store, but for
 * `pgsqlSession(req)` and the handler's own methods.
 *
 * @param {import('@electric-sql/pglite').PGlite} database
 * @param {(key: string) => Promise<void>} pause between reading and writing a note, so that two overlap
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
      // A demo on your own machine; a real site has a secret of its own.
      secret: 'demo',
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: 60 * 60 * 1000, sameSite: 'lax' },
    }),
  )

  app.get('/', async (req, res) => {
    req.session.visits = (req.session.visits ?? 0) + 1
    req.session.agent = req.get('user-agent')
    await saved(req)
    const { user, notes = {}, visits } = req.session
    res.send(
      homePage({
        id: req.sessionID,
        user,
        consoleUrl: app.locals.consoleUrl,
        busy: traffic.busy,
        visits,
        notes,
        info: await handler.info(req.sessionID),
        row: await rowOf(database, req.sessionID),
        devices: user === undefined ? [] : await handler.findByField(user),
      }),
    )
  })

  app.post('/sign-in', (req, res, next) => {
    const user = String(req.body.user ?? '')
      .trim()
      .slice(0, 40)
    if (user === '') return res.redirect('/')
    // A new id at the sign-in: whoever knew the old one does not get in.
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

  app.post('/sign-out-everywhere', async (req, res) => {
    if (req.session.user !== undefined) await handler.destroyByField(req.session.user)
    res.redirect('/')
  })

  /** Two of these at once overlap: each has read the session before the other has written. */
  app.post('/note/:key', async (req, res) => {
    await pause(req.params.key)
    req.session.notes = { ...req.session.notes, [req.params.key]: new Date().toISOString() }
    res.sendStatus(204)
  })

  /** Visitors that come to this very site, over HTTP like anybody: the console's charts move. */
  app.post('/traffic', (req, res) => {
    traffic.start(`http://127.0.0.1:${req.socket.localPort}`)
    res.redirect('/')
  })

  app.post('/fail', () => {
    throw new Error('The demo was asked to fail')
  })

  app.use(recordErrors())
  app.use((error, _req, res, _next) => {
    // Too late to say so: the answer had begun when its session could not be saved.
    if (res.headersSent) return res.destroy()
    res.status(500).send(errorPage(error.message))
  })
  return { app, handler, traffic }
}

function saved(req) {
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
