import { H3, type H3Event, HTTPError, serve } from 'h3'
import { afterEach, expect, test } from 'vitest'
import { createSessions, type H3Sessions } from '../../src/adapters/h3.ts'
import { Browser } from '../../src/testing/browser.ts'
import { optionsFor } from '../express/site.ts'
import { describeOnEveryKind } from '../support/servers.ts'

describeOnEveryKind('The sessions of h3', (server) => {
  const stops: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
  })

  async function start(
    routes: (sessions: H3Sessions<Record<string, unknown>>) => Record<string, (event: H3Event) => unknown>,
  ): Promise<{ sessions: H3Sessions<Record<string, unknown>>; browser: Browser }> {
    const sessions = createSessions({
      ...optionsFor(await server.freshDatabase()),
      secret: 'a secret for the tests',
    })
    const app = new H3({ silent: true }).use(sessions.middleware)
    for (const [path, handler] of Object.entries(routes(sessions))) app.get(path, handler)
    const listening = serve(app, { port: 0, hostname: '127.0.0.1', silent: true, gracefulShutdown: false })
    await listening.ready()
    stops.push(async () => {
      await listening.close(true)
      await sessions.close()
    })
    return { sessions, browser: new Browser((listening.url as string).replace(/\/$/, '')) }
  }

  test('all handlers of a request share one session, and the middleware commits it with the address', async () => {
    const { sessions, browser } = await start((sessions) => ({
      '/set': async (event) => {
        const [one, other] = await Promise.all([sessions.session(event), sessions.session(event)])
        one.set('user', 'ada')
        return { same: one === other }
      },
      '/read': async (event) => (await sessions.session(event)).data,
      '/none': () => 'no session',
    }))
    expect((await browser.send('GET', '/none')).text).toBe('no session')
    expect(await sessions.handler.list()).toEqual([])
    expect(JSON.parse((await browser.send('GET', '/set')).text)).toEqual({ same: true })
    expect(JSON.parse((await browser.send('GET', '/read')).text)).toEqual({ user: 'ada' })
    expect(await sessions.handler.list()).toMatchObject([{ addressCreated: '127.0.0.1' }])
  })

  test('an error after a commit keeps the cookie, and without one nothing is stored', async () => {
    const { sessions, browser } = await start((sessions) => ({
      '/thrown': async (event) => {
        ;(await sessions.session(event)).set('user', 'ada')
        throw new HTTPError({ status: 403 })
      },
      '/committed': async (event) => {
        const session = await sessions.session(event)
        session.set('attempts', 1)
        await session.commit()
        throw new HTTPError({ status: 403 })
      },
      '/response': async (event) => {
        ;(await sessions.session(event)).set('attempts', 1)
        return new Response('no', { status: 403 })
      },
      '/read': async (event) => (await sessions.session(event)).data,
    }))
    expect((await browser.send('GET', '/thrown')).status).toBe(403)
    expect(await sessions.handler.list()).toEqual([])
    for (const path of ['/committed', '/response']) {
      const visitor = browser.clone()
      expect((await visitor.send('GET', path)).status).toBe(403)
      expect(JSON.parse((await visitor.send('GET', '/read')).text)).toEqual({ attempts: 1 })
    }
  })

  test('a request whose read has failed may try again', async () => {
    const { browser } = await start((sessions) => ({
      '/set': async (event) => {
        ;(await sessions.session(event)).set('user', 'ada')
      },
      '/read': async (event) => {
        const { handler } = sessions
        const read = handler.read
        handler.read = () => Promise.reject(new Error('unreachable'))
        const failed = await sessions.session(event).catch((error: Error) => error.message)
        handler.read = read
        return { failed, data: (await sessions.session(event)).data }
      },
    }))
    await browser.send('GET', '/set')
    expect(JSON.parse((await browser.send('GET', '/read')).text)).toEqual({
      failed: 'unreachable',
      data: { user: 'ada' },
    })
  })
})
