import { expect, test } from 'vitest'
import { describeOnEveryServer } from '../support/servers.ts'
import { optionsFor, startSite } from './site.ts'

describeOnEveryServer('count', (server) => {
  test('count', async () => {
    const database = await server.freshDatabase()
    const site = await startSite(optionsFor(database), (app) => {
      app.get('/in', (req, res) => { req.session['n'] = 1; res.send('in') })
      app.get('/', (req, res) => { res.send(String(req.session['n'])) })
    })
    const browsers = Array.from({ length: 100 }, () => site.browser())
    await Promise.all(browsers.map((b) => b.text('/in')))
    const before = site.calls()
    const t = performance.now()
    await Promise.all(browsers.map(async (b) => { for (let i = 0; i < 10; i++) expect(await b.text('/')).toBe('1') }))
    console.log('calls', site.calls() - before, performance.now() - t, site.store.handler.status().settings['shortCircuit'])
    await site.close()
  })
})
