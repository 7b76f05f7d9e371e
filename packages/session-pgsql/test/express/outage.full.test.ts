import { afterAll, beforeAll, expect, test } from 'vitest'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { describeOnEveryKind, type FreshDatabase } from '../support/servers.ts'
import { eventually } from '../support/wait.ts'
import { type Site, startSite } from './site.ts'

describeOnEveryKind('an outage', (server) => {
  if (server.kind === 'pglite') {
    // PGlite runs in this process: there is no connection that could be lost.
    test('cannot happen with PGlite', () => expect(server.name).toBe('PGlite'))
    return
  }
  let database: FreshDatabase
  let proxy: FaultyProxy
  let site: Site

  beforeAll(async () => {
    database = await server.freshDatabase()
    const url = new URL(database.db as string)
    proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
    url.hostname = proxy.host
    url.port = String(proxy.port)
    site = await startSite({ db: url.href, gcInterval: 0, operationTimeout: 2 }, (app) => {
      app.get('/in', (req, res) => {
        req.session.user = 'alice'
        res.send('in')
      })
      app.get('/', (req, res) => {
        res.json(req.session.user ?? 'nobody')
      })
      app.get('/save', (req, res) => {
        req.session.n = Math.random()
        req.session.save((error) => res.status(error ? 500 : 200).send(error?.code ?? 'saved'))
      })
      app.get('/out', (req, res) => {
        req.session.destroy((error) => res.status(error ? 500 : 200).send(error?.code ?? 'out'))
      })
    })
    await site.store.handler.open()
  })
  afterAll(async () => {
    await proxy?.resume()
    await site?.close()
    await proxy?.stop()
  })

  test('is an error, never a signed-out user, and ends when the server is back', async () => {
    const browser = site.browser()
    await browser.text('/in')
    const faults: [name: string, begin: () => void | Promise<void>][] = [
      [
        'refused',
        async () => {
          await proxy.refuse()
          proxy.drop()
        },
      ],
      ['hung', () => proxy.silence()],
      ['answers lost', () => proxy.holdServerReplies()],
    ]
    for (const [name, begin] of faults) {
      await begin()
      for (const path of ['/', '/save', '/out', '/']) {
        const { status, text } = await browser.get(path)
        expect(status, `${name}: ${path} ${text}`).toBe(500)
      }
      proxy.drop()
      await proxy.resume()
      // The sign-out whose reply was lost may have been applied.
      const signedOut = name === 'answers lost'
      await eventually(async () => {
        const { status, text } = await browser.get('/')
        expect(status, text).toBe(200)
        if (!signedOut) expect(text).toBe('"alice"')
      }, 60_000)
    }
  })

  test('leaves the sessions to later requests', async () => {
    const seen: string[] = []
    site.store.on('disconnect', () => seen.push('disconnect'))
    const browser = site.browser()
    await browser.text('/in')
    proxy.drop()
    await eventually(async () => expect(await browser.text('/')).toBe('"alice"'), 60_000)
    expect(await browser.text('/save')).toBe('saved')
    expect(seen).toEqual([])
  })
})
