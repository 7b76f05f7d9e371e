import express from 'express'
import session, { type SessionOptions, type Store } from 'express-session'
import { Browser, listen } from '../express/site.ts'

/** A site with a login, which runs on any session store. */
export interface SignedInSite {
  readonly url: string
  browser(): Browser
  close(): Promise<void>
}

export async function startSignedInSite(
  store: Store,
  cookie: NonNullable<SessionOptions['cookie']> = {},
): Promise<SignedInSite> {
  const app = express()
  app.set('env', 'test')
  app.use(session({ store, secret: 'secret', resave: false, saveUninitialized: false, cookie }))
  app.get('/sign-in', (req, res) => {
    req.session.user = String(req.query.user)
    // As passport stores it.
    req.session.passport = { user: 4711 }
    if (req.query.short !== undefined) req.session.cookie.maxAge = 120_000
    if (req.query.closing !== undefined) req.session.cookie.expires = null
    res.send('welcome')
  })
  app.get('/user', (req, res) => {
    res.send(req.session.user ?? 'nobody')
  })
  app.get('/set/:key/:value', (req, res) => {
    req.session[req.params.key] = req.params.value
    res.send('set')
  })
  app.get('/get/:key', (req, res) => {
    res.send(String(req.session[req.params.key]))
  })
  app.get('/cookie', (req, res) => {
    res.json(req.session.cookie)
  })
  app.get('/sign-out', (req, res) => {
    req.session.destroy(() => res.send('bye'))
  })
  const { url, close } = await listen(app)
  return { url, close, browser: () => new Browser(url) }
}
