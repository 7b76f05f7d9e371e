import express, { type NextFunction, type Request, type Response } from 'express'
import session from 'express-session'
import { PgsqlStore } from '../../src/adapters/express.ts'
import { listen } from '../express/site.ts'
import { type AdapterDriver, describeGuarantees } from './guarantees.ts'

const driver: AdapterDriver = {
  name: 'express-session',
  async start(options, pause) {
    const store = new PgsqlStore(options)
    const app = express()
    app.set('env', 'test')
    app.use(session({ store, secret: 'secret', resave: false, saveUninitialized: false }))
    app.get('/read', (req, res) => {
      const { cookie: _, ...data } = req.session
      res.json(data)
    })
    // At the end of a request express-session has begun the answer when it saves: who must know saves explicitly.
    const save = (req: Request, res: Response, next: NextFunction): void => {
      req.session.save((error) => (error ? next(error) : res.end()))
    }
    app.post('/set', async (req, res, next) => {
      const { key, value, wait } = req.query
      await pause(wait as string | undefined)
      req.session[String(key)] = value
      save(req, res, next)
    })
    app.post('/delete', async (req, res, next) => {
      const { key, wait } = req.query
      await pause(wait as string | undefined)
      delete req.session[String(key)]
      save(req, res, next)
    })
    app.post('/sign-in', (req, res, next) => {
      req.session.regenerate((error) => {
        if (error) return next(error)
        req.session.user = String(req.query.user)
        save(req, res, next)
      })
    })
    app.post('/sign-out', (req, res, next) => {
      req.session.destroy((error) => (error ? next(error) : res.end()))
    })
    const { url, close } = await listen(app)
    return {
      url,
      handler: store.handler,
      async stop() {
        await close()
        await store.close()
      },
    }
  },
}

describeGuarantees(driver)
