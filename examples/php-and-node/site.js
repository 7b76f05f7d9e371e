import { randomBytes } from 'node:crypto'
import express from 'express'
import session from 'express-session'
import { PgsqlStore } from 'session-pgsql/express'
import { plainCookie } from './plain-cookie.js'

/** The values of `session.name` and `session.gc_maxlifetime` in php.ini. */
const name = 'PHPSESSID'
const gcMaxlifetime = 1440

/**
 * Node's half: an Express application that uses PHP's session. It needs the codec that `session.serialize_handler`
 * names, and PHP's cookie.
 *
 * @param {import('session-pgsql').SaveHandler} handler with the codec `php`
 * @param {string} phpUrl the page with the login
 */
export function createSite(handler, phpUrl) {
  const app = express()
  app.disable('x-powered-by')
  // For an example on your own machine. A real site needs a secret. It never leaves this process.
  const secret = 'an example has no secrets'
  app.use(plainCookie({ name, secret }))
  app.use(
    session({
      store: new PgsqlStore({ handler, name, gcMaxlifetime }),
      name,
      secret,
      resave: false,
      saveUninitialized: false,
      // Ids of sessions that Node creates must fit PHP's alphabet: no "_".
      genid: () => randomBytes(16).toString('hex'),
      cookie: { sameSite: 'lax' },
    }),
  )

  app.get('/', (req, res) => {
    const { user } = req.session
    if (user === undefined) return res.redirect(phpUrl)
    req.session.visits = (req.session.visits ?? 0) + 1
    // An array of PHP is an object here.
    req.session.cart.pen = 1
    res.send(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>PHP and Node</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem }</style>
<h1>This is Node ${process.versions.node.split('.')[0]}</h1>
<p>PHP says that you are <strong>${html(user)}</strong>. Visit <strong>${req.session.visits}</strong> of this page.</p>
<p><a href="${phpUrl}">Back to PHP</a>, or sign out here:</p>
<form method="post" action="/sign-out"><button>Sign out</button></form>`)
  })

  app.post('/sign-out', (req, res, next) => {
    req.session.destroy((error) => (error ? next(error) : res.redirect(phpUrl)))
  })
  return app
}

const html = (text) => String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
