import { createRequire } from 'node:module'
import express from 'express'
import session from 'express-session'
import { afterEach, expect, test } from 'vitest'
import { PgsqlStore, pgsqlSession, recordErrors } from '../../src/adapters/express.ts'
import { describeOnEveryKind } from '../support/servers.ts'
import { Browser, listen, optionsFor } from './site.ts'

const require = createRequire(import.meta.url)

const versions: Record<string, typeof express> = { 'Express 5': express, 'Express 4': require('express4') }

describeOnEveryKind('versions', (server) => {
  const closing: { close(): Promise<void> }[] = []
  afterEach(async () => {
    for (const one of closing.splice(0)) await one.close()
  })

  for (const [version, create] of Object.entries(versions)) {
    test(`${version}: signs in, records an error and signs out`, async () => {
      expect(require(`${version === 'Express 4' ? 'express4' : 'express'}/package.json`).version).toMatch(
        version.slice(-1),
      )
      const store = new PgsqlStore(optionsFor(await server.freshDatabase()))
      const app = create()
      app.set('env', 'test')
      app.set('trust proxy', true)
      app.use(session({ store, secret: 's', resave: false, saveUninitialized: false }))
      app.get('/in', (req, res, next) => {
        req.session.regenerate((error) => {
          if (error) return next(error)
          req.session.user = 'alice'
          pgsqlSession(req).setField('alice')
          res.send('in')
        })
      })
      app.get('/', (req, res) => {
        res.send(String(req.session.user))
      })
      app.get('/fail', () => {
        throw new Error('failed')
      })
      app.get('/out', (req, res, next) => {
        req.session.destroy((error) => (error ? next(error) : res.send('out')))
      })
      app.use(recordErrors())
      const site = await listen(app)
      closing.push(site, store)
      const browser = new Browser(site.url)
      await browser.get('/in', { 'x-forwarded-for': '203.0.113.9' })
      expect(await browser.text('/')).toBe('alice')
      expect(await browser.get('/fail')).toMatchObject({ status: 500 })
      expect(await store.handler.info(browser.id())).toMatchObject({
        custom: 'alice',
        errors: 1,
        errorMessage: 'failed',
        addressCreated: '203.0.113.9',
      })
      expect(await browser.text('/out')).toBe('out')
      expect(await browser.text('/')).toBe('undefined')
    })
  }
})
