import { afterEach, beforeAll, expect, test } from 'vitest'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { optionsFor, type Site, startSite } from './site.ts'

describeOnEveryServer('Express', (server) => {
  let database: FreshDatabase
  let site: Site
  beforeAll(async () => {
    database = await server.freshDatabase()
  })
  afterEach(() => site.close())

  test('a session is kept from one request to the next, and ends with the sign-out', async () => {
    site = await startSite(optionsFor(database), (app) => {
      app.get('/visit', (req, res) => {
        req.session.visits = Number(req.session.visits ?? 0) + 1
        res.send(String(req.session.visits))
      })
      app.get('/out', (req, res, next) => {
        req.session.destroy((error) => (error ? next(error) : res.send('out')))
      })
    })
    const browser = site.browser()
    expect(await browser.text('/visit')).toBe('1')
    expect(await browser.text('/visit')).toBe('2')
    expect(await browser.text('/out')).toBe('out')
    expect(await browser.text('/visit')).toBe('1')
  })
})
