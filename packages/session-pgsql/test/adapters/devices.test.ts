import { createHash } from 'node:crypto'
import express from 'express'
import session from 'express-session'
import { afterEach, expect, test } from 'vitest'
import { PgsqlStore, pgsqlSession } from '../../src/adapters/express.ts'
import { createSessions } from '../../src/adapters/web.ts'
import type { Device } from '../../src/index.ts'
import { Browser } from '../../src/testing/browser.ts'
import { listen } from '../express/site.ts'
import { type Data, describeHandler, errorOf, id as newId } from '../handler/kit.ts'
import { type SiteOptions, startExample } from './guarantees.ts'

/** A site with the routes of a "where you're signed in" page. Each adapter has one. */
interface Site {
  readonly url: string
  close(): Promise<void>
}

type Shown = Pick<Device<Data>, 'handle' | 'isCurrent' | 'data' | 'lastAddress'>

describeHandler('Devices', (kit) => {
  const closing: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })

  const sites: Record<string, () => Promise<Site>> = {
    express: async () => {
      const app = express()
      const store = new PgsqlStore({ handler: kit.open({ name: 'connect.sid' }) as never })
      app.use(session({ store, secret: 'x', resave: false, saveUninitialized: false }))
      app.post('/in/:user/:agent', (req, res, next) => {
        req.session.regenerate((error) => {
          if (error) return next(error)
          Object.assign(req.session, { agent: req.params.agent })
          pgsqlSession(req).authenticated()
          pgsqlSession(req).setField(req.params.user)
          res.end()
        })
      })
      app.get('/devices', async (req, res) => void res.json(await pgsqlSession(req).devices()))
      app.post('/end/:handle', async (req, res) => {
        res.json(await pgsqlSession(req).endDevice(req.params.handle))
      })
      return listen(app)
    },
    web: async () => {
      const sessions = createSessions({ handler: kit.open() as never, secret: 'a secret for the tests' })
      const app = express()
      app.use(async (req, res) => {
        const headers = { cookie: req.headers.cookie ?? '' }
        const current = await sessions.session(new Request(`http://h${req.url}`, { headers }), {
          address: req.ip,
        })
        const [, action, first, agent] = req.path.split('/') as string[]
        let body: unknown = null
        if (action === 'in') {
          current.set('before', true)
          await current.commit()
          current.regenerate()
          current.set('agent', agent)
          current.field = first as string
          current.authenticated()
        } else if (action === 'devices') {
          body = await current.devices()
        } else {
          body = await current.endDevice(first as string)
        }
        const cookie = await current.commit()
        if (cookie !== undefined) res.setHeader('set-cookie', cookie.header)
        res.json(body)
      })
      return listen(app)
    },
  }

  for (const [name, start] of Object.entries(sites)) {
    async function signedIn(): Promise<{ browsers: Browser[]; user: string }> {
      const site = await start()
      closing.push(() => site.close())
      const user = newId()
      const browsers = ['Firefox', 'Safari'].map(() => new Browser(site.url))
      await browsers[0]?.send('POST', `/in/${user}/Firefox`)
      await browsers[1]?.send('POST', `/in/${user}/Safari`)
      return { browsers, user }
    }

    const shownTo = async (browser: Browser): Promise<Shown[]> =>
      JSON.parse((await browser.send('GET', '/devices')).text)

    test(`${name}: both devices of a user are shown, this one is marked, and no id is in the answer`, async () => {
      const { browsers, user } = await signedIn()
      const [here] = browsers as [Browser]
      const devices = await shownTo(here)
      expect(devices.map(({ data }) => data.agent).sort()).toEqual(['Firefox', 'Safari'])
      expect(devices.filter(({ isCurrent }) => isCurrent).map(({ data }) => data.agent)).toEqual(['Firefox'])
      expect(devices.map(({ lastAddress }) => lastAddress)).toEqual([
        expect.stringContaining('127.0.0.1'),
        expect.stringContaining('127.0.0.1'),
      ])
      for (const { data } of devices) {
        expect(Object.keys(data).filter((key) => key === 'cookie' || key.startsWith('$'))).toEqual([])
      }
      const rows = await kit.query<{ sess_id: string }>(
        'SELECT sess_id FROM php_session WHERE sess_custom = $1 OR strpos(sess_data, $1) > 0',
        [user],
      )
      expect(rows.length).toBeGreaterThanOrEqual(2)
      for (const { sess_id } of rows) expect(JSON.stringify(devices)).not.toContain(sess_id)
    })

    test(`${name}: a handle ends the session, once, and cannot be used to sign in`, async () => {
      const { browsers } = await signedIn()
      const [here, there] = browsers as [Browser, Browser]
      const other = (await shownTo(here)).find(({ isCurrent }) => !isCurrent) as Shown
      const handler = kit.open()
      expect(await handler.read(other.handle)).toBeUndefined()
      expect(await handler.read(`h1:${other.handle}`)).toBeUndefined()
      expect((await here.send('POST', `/end/${other.handle}`)).text).toBe('true')
      expect((await there.send('GET', '/devices')).status).toBe(500)
      expect((await here.send('POST', `/end/${other.handle}`)).text).toBe('false')
      expect((await shownTo(here)).map(({ isCurrent }) => isCurrent)).toEqual([true])
    })

    test(`${name}: the handle of another user's session ends nothing`, async () => {
      const [one, two] = [await signedIn(), await signedIn()]
      const [mine, theirs] = [one.browsers[0] as Browser, two.browsers[0] as Browser]
      for (const { handle } of await shownTo(theirs)) {
        expect((await mine.send('POST', `/end/${handle}`)).text).toBe('false')
      }
      expect(await shownTo(theirs)).toHaveLength(2)
    })

    test(`${name}: a device can end itself`, async () => {
      const { browsers } = await signedIn()
      const [here, there] = browsers as [Browser, Browser]
      const own = (await shownTo(here)).find(({ isCurrent }) => isCurrent) as Shown
      const before = here.clone()
      expect((await here.send('POST', `/end/${own.handle}`)).text).toBe('true')
      expect((await before.send('GET', '/devices')).status).toBe(500)
      expect(await shownTo(there)).toHaveLength(1)
    })
  }

  test.each(['plain', 'hashed'] as const)(
    'web, ids %s: a session whose id has just changed is one device, and ends under both ids',
    async (ids) => {
      const table = `devices_${ids}`
      const sessions = createSessions({
        handler: kit.open({ ids, table }) as never,
        secret: 'a secret for the tests',
      })
      const user = newId()
      const open = (cookie = '') => sessions.session(new Request('http://h/', { headers: { cookie } }))
      const cookieOf = (cookie: { header: string } | undefined) => cookie?.header.split(';')[0] as string
      const first = await open()
      first.field = user
      first.set('a', 1)
      const cookies = [cookieOf(await first.commit())]
      for (let change = 0; change < 2; change++) {
        const again = await open(cookies.at(-1))
        again.regenerate()
        cookies.push(cookieOf(await again.commit()))
      }
      expect(await kit.query(`SELECT 1 FROM ${table} WHERE sess_custom = $1`, [user])).toHaveLength(3)
      for (const cookie of cookies) {
        expect(await (await open(cookie)).devices()).toMatchObject([{ isCurrent: true, data: { a: 1 } }])
      }
      const other = await open()
      other.field = user
      const [device] = await other.devices()
      expect(device?.isCurrent).toBe(false)
      expect(await other.endDevice(device?.handle as string)).toBe(true)
      for (const cookie of cookies) expect((await open(cookie)).id).toBeUndefined()
    },
  )

  test('the handler: the handle is the same for a plain and for a hashed id', async () => {
    const sessions = kit.open()
    const [user, id] = [newId(), newId()]
    await sessions.write(id, { n: 1 }, { custom: user, address: '192.0.2.1' })
    const hash = createHash('sha256').update(id).digest('base64url')
    expect(await sessions.devices(user, { current: id })).toMatchObject([
      { handle: hash, isCurrent: true, firstAddress: '192.0.2.1', data: { n: 1 } },
    ])
    await kit.query('UPDATE php_session SET sess_id = $1 WHERE sess_id = $2', [`h1:${hash}`, id])
    expect(await sessions.devices(user, { current: id })).toMatchObject([{ handle: hash, isCurrent: true }])
    expect(await sessions.endDevice(user, hash)).toBe(true)
    expect(await sessions.devices(user)).toEqual([])
  })

  test('the web example shows browser, system, address and dates, and ends a device', async () => {
    const { db } = kit.database()
    const site = await startExample('web', { db, gcInterval: 0 } as SiteOptions, async () => {})
    closing.push(() => site.stop())
    const user = newId()
    const signIn = async (agent: string) => {
      const answer = await fetch(`${site.url}/sign-in?user=${user}`, {
        method: 'POST',
        headers: { 'user-agent': agent },
      })
      return answer.headers.get('set-cookie')?.split(';')[0] as string
    }
    const ask = async (cookie: string, path: string, method = 'GET') =>
      (await fetch(`${site.url}${path}`, { method, headers: { cookie } })).text()
    const agents = {
      firefox: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
      safari:
        'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15',
    }
    const [here, there] = [await signIn(agents.firefox), await signIn(agents.safari)]
    const devices: Record<string, unknown>[] = JSON.parse(await ask(here, '/devices'))
    const common = {
      handle: expect.stringMatching(/^[\w-]{43}$/),
      firstSeen: expect.any(String),
      lastSeen: expect.any(String),
      lastAddress: '127.0.0.1',
    }
    expect(devices.map(({ browser, os, isCurrent }) => [browser, os, isCurrent]).sort()).toEqual([
      ['Firefox', 'Linux', true],
      ['Safari', 'macOS', false],
    ])
    for (const device of devices) expect(device).toMatchObject(common)
    const other = devices.find(({ isCurrent }) => !isCurrent)
    expect(await ask(here, `/end-device?handle=${other?.handle}`, 'POST')).toBe('true')
    expect(await ask(there, '/read')).toBe('{}')
    expect(JSON.parse(await ask(here, '/read'))).toMatchObject({ user })
  })

  test('a session without a custom field has no devices', async () => {
    const sessions = createSessions({ handler: kit.open() as never, secret: 'a secret for the tests' })
    const current = await sessions.session(new Request('http://h/'))
    expect(await errorOf(current.devices())).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await errorOf(current.endDevice('x'))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})
