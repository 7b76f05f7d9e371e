import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile, rm } from 'node:fs/promises'
import { type ClientRequest, request } from 'node:http'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { describeOnEveryKind, type FreshDatabase } from '../../../session-pgsql/test/support/servers.ts'
import { networkOf } from '../../src/addresses.ts'
import { AttemptLimiter } from '../../src/console/attempt-limiter.ts'
import { ask, Browser, consoles, OPERATOR, READER, type Started, tokenOf } from './kit.ts'

const passwords = { operator: OPERATOR, reader: READER }

describeOnEveryKind(
  'access to the console',
  (server) => {
    const start = consoles()
    let database: FreshDatabase
    beforeAll(async () => {
      database = await server.freshDatabase()
    })

    test('serves only the holder of the printed token without a password, and stores no sign-in', async () => {
      const { browser, port, url, sessions } = await start(database)
      const stranger = new Browser(port)
      for (const path of ['overview', 'live', 'sessions', 'audit']) {
        expect([path, (await stranger.get(`/api/${path}`)).status]).toEqual([path, 401])
      }
      expect(await stranger.me()).toEqual({ signedIn: false, signInWith: 'token' })
      // Guesses of other processes of this machine do not lock out the operator.
      for (let n = 0; n < 7; n++) expect((await stranger.signIn(`guess ${n}`)).status).toBe(401)
      expect((await stranger.signIn(tokenOf(url) as string)).status).toBe(204)
      const one = browser()
      expect(await one.me()).toMatchObject({ signedIn: true, role: 'operator', signInWith: 'token' })
      expect((await one.post('/api/gc', {})).status).toBe(200)
      expect((await one.post('/api/gc', {}, { 'x-csrf-token': 'x' })).status).toBe(403)
      expect(await sessions.count()).toBe(0)
      const another = await start(database)
      expect(tokenOf(another.url)).not.toBe(tokenOf(url))
      const tables = await database.query("SELECT 1 FROM pg_class WHERE relname LIKE '%console%'")
      expect(tables).toEqual([])
    })

    test('requires a sign-in with a password, and refuses the cookie after the sign-out', async () => {
      const { browser } = await start(database, { passwords })
      const one = browser()
      expect(await one.me()).toEqual({ signedIn: false, signInWith: 'password' })
      const paths = [
        'overview',
        'history',
        'live',
        'sessions',
        'session?id=x',
        'count?field=x',
        'gc',
        'audit',
      ]
      const before = await Promise.all(paths.map((path) => one.get(`/api/${path}`)))
      expect(before.map(({ status }) => status)).toEqual(paths.map(() => 401))
      for (const path of ['session/data', 'end', 'gc', 'sign-out']) {
        expect((await one.post(`/api/${path}`, {})).status).toBe(401)
      }
      const signedIn = await one.signIn(OPERATOR)
      expect(signedIn.status).toBe(204)
      expect(signedIn.headers['set-cookie']?.[0]).toMatch(
        /^session-pgsql-console-\d+=operator[^;]+; Path=\/; HttpOnly; SameSite=Strict$/,
      )
      expect(await one.me()).toMatchObject({ signedIn: true, role: 'operator' })
      expect((await one.get('/api/overview')).status).toBe(200)
      const { cookie } = one
      expect((await one.post('/api/sign-out', {})).status).toBe(204)
      one.cookie = cookie
      expect((await one.get('/api/overview')).status).toBe(401)
    })

    test('gives a new id at each sign-in and invalidates the previous one', async () => {
      const { browser } = await start(database, { passwords })
      const one = browser()
      await one.signIn(OPERATOR)
      const before = one.cookie
      await one.signIn(OPERATOR)
      expect(one.cookie).not.toBe(before)
      one.cookie = before
      expect((await one.get('/api/overview')).status).toBe(401)
    })

    test('accepts a cookie in another console with the same passwords, and refuses it after a password has changed', async () => {
      const first = await start(database, { passwords })
      const one = first.browser()
      await one.signIn(OPERATOR)
      const [again, other] = await Promise.all([
        start(database, { passwords }),
        start(database, { passwords: { ...passwords, operator: 'another' } }),
      ])
      const cookie = one.cookie as string
      // Behind a load balancer both have the same name.
      const host = `127.0.0.1:${first.port}`
      const statusOf = async ({ port }: Started, cookie: string) =>
        (await ask(port, '/api/overview', { headers: { cookie, host } })).status
      expect(await statusOf(again, cookie)).toBe(200)
      expect(await statusOf(other, cookie)).toBe(401)
      const forged = cookie.replace(/.$/, (last) => (last === 'A' ? 'B' : 'A'))
      expect(await statusOf(again, forged)).toBe(401)
    })

    test('lets a reader list sessions without data and whole ids, and lets a reader change nothing', async () => {
      const { browser, sessions } = await start(database, { passwords })
      const id = 'abcdefghSECRETSECRETSECRET'
      await sessions.write(id, { secret: 'of the session' }, { custom: 'ada' })
      await sessions.write('another', {})
      const reader = browser()
      expect((await reader.signIn(READER)).status).toBe(204)
      expect(await reader.me()).toMatchObject({ role: 'reader' })
      const list = await reader.get('/api/sessions?by=field&q=ada')
      expect(list.json.sessions).toMatchObject([{ id: 'abcdefgh…', field: 'ada' }])
      const all = await reader.get('/api/sessions?limit=1')
      expect(all.text + Buffer.from(all.json.next, 'base64url').toString()).not.toContain('SECRET')
      expect((await reader.get(`/api/sessions?limit=1&after=${all.json.next}`)).status).toBe(200)
      const detail = await reader.get(`/api/session?id=${encodeURIComponent('abcdefgh…')}`)
      expect(detail.json).toMatchObject({ id: 'abcdefgh…', field: 'ada' })
      // A reader cannot guess the rest of the id character by character.
      expect((await reader.get('/api/sessions?by=id&q=abcdefgh')).json.sessions).toHaveLength(1)
      expect((await reader.get('/api/sessions?by=id&q=abcdefghS')).json.sessions).toHaveLength(0)
      expect((await reader.get(`/api/session?id=${encodeURIComponent('abcdefghS…')}`)).status).not.toBe(200)
      const refused = [
        await reader.post('/api/session/data', { id }),
        await reader.post('/api/end', { ids: [id] }),
        await reader.post('/api/end', { field: 'ada', count: 1 }),
        await reader.post('/api/gc', {}),
      ]
      expect(refused.map(({ status }) => status)).toEqual([403, 403, 403, 403])
      expect(await sessions.read(id)).toBeDefined()
    })

    test('refuses every change that another site requests', async () => {
      const { browser, port, sessions } = await start(database, { passwords })
      const operator = browser()
      await operator.signIn(OPERATOR)
      const id = sessions.createId()
      await sessions.write(id, {})
      const end = { ids: [id] }
      const attempts = [
        await operator.post('/api/end', end, { 'x-csrf-token': '' }),
        await operator.post('/api/end', end, { 'x-csrf-token': 'x'.repeat(32) }),
        await operator.post('/api/end', end, { origin: 'https://evil.example' }),
        await operator.post('/api/end', end, { origin: `http://127.0.0.1:${port + 1}` }),
        await operator.post('/api/end', end, { origin: 'null' }),
        await operator.post('/api/end', end, { 'sec-fetch-site': 'cross-site' }),
        await operator.post('/api/end', end, { 'sec-fetch-site': 'same-site' }),
        await operator.post('/api/end', JSON.stringify(end), { 'content-type': 'text/plain' }),
        await operator.get(`/api/end?ids=${id}`),
      ]
      expect(attempts.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403, 403, 403, 415, 405])
      expect(await sessions.read(id)).toBeDefined()
      expect((await operator.post('/api/end', end)).json).toEqual({ ended: 1 })
      const preflight = await ask(port, '/api/end', {
        method: 'OPTIONS',
        headers: { origin: 'https://evil.example' },
      })
      expect(preflight.status).toBe(405)
      expect(Object.keys(preflight.headers).filter((name) => name.startsWith('access-control'))).toEqual([])
      // Another site cannot sign in its visitors either.
      expect((await browser().signIn(OPERATOR, { origin: 'https://evil.example' })).status).toBe(403)
    })

    test('refuses unknown host names (DNS rebinding), and proxies while there is no password', async () => {
      const { port } = await start(database, { names: ['console.example.com'] })
      const hosts: [string, number][] = [
        ['evil.example', 421],
        [`evil.example:${port}`, 421],
        ['localhost.evil.example', 421],
        ['127.0.0.1.evil.example', 421],
        ['evil.example@localhost', 421],
        ['localhost/x', 421],
        ['localhost', 200],
        [`LOCALHOST:${port}`, 200],
        [`127.0.0.1:${port}`, 200],
        ['[::1]:80', 200],
        ['console.example.com', 200],
      ]
      for (const [host, status] of hosts) {
        expect([host, (await ask(port, '/api/me', { headers: { host } })).status]).toEqual([host, status])
      }
      // Without a password the console is for this machine only.
      const proxied = await ask(port, '/api/me', { headers: { 'x-forwarded-for': '203.0.113.7' } })
      expect(proxied.status).toBe(403)
    })

    test('refuses even the right password after five failures, also of parallel attempts', async () => {
      const { browser } = await start(database, { passwords, trustProxy: true })
      const from = (address: string) => ({ 'x-forwarded-for': `198.51.100.99, ${address}` })
      const guesses = await Promise.all(
        Array.from({ length: 20 }, (_, n) => browser().signIn(`guess ${n}`, from('203.0.113.1'))),
      )
      const statuses = guesses.map(({ status }) => status)
      expect(statuses.filter((status) => status === 401)).toHaveLength(5)
      const refused = guesses.filter(({ status }) => status === 429)
      expect(refused).toHaveLength(15)
      expect(Number(refused[0]?.headers['retry-after'])).toBeGreaterThan(200)
      expect((await browser().signIn(OPERATOR, from('203.0.113.1'))).status).toBe(429)
      const operator = browser()
      expect((await operator.signIn(OPERATOR, from('203.0.113.2'))).status).toBe(204)
      const audit = await operator.get('/api/audit?limit=1000')
      const failed = audit.json.entries.filter(({ act }: { act: string }) => act === 'sign-in-failed')
      expect(failed.map(({ address }: { address: string }) => address)).toEqual(
        new Array(5).fill('203.0.113.1'),
      )
      // Behind a TLS proxy the cookie is Secure.
      const reply = await browser().signIn(OPERATOR, { ...from('203.0.113.2'), 'x-forwarded-proto': 'https' })
      expect(reply.headers['set-cookie']?.[0]).toMatch(/^__Host-.*; Secure$/)
    })

    test('lets a user who knows the reader password guess the operator password no faster than others', async () => {
      const { browser } = await start(database, { passwords, metrics: true })
      const statuses: number[] = []
      for (let n = 0; n < 4; n++) {
        statuses.push((await browser().signIn(`guess ${n}`)).status)
        const bearer = (password: string) =>
          browser().get('/metrics', { authorization: `Bearer ${password}` })
        statuses.push((await bearer(`other guess ${n}`)).status)
        expect((await bearer(READER)).status).toBe(200)
      }
      expect(statuses).toEqual([401, 401, 401, 401, 401, 429, 429, 429])
      // The right password is not tried any more either.
      expect((await browser().signIn(OPERATOR)).status).toBe(429)
      // Guesses through /metrics are in the audit log like the others, also those that were compared with one role only.
      const reader = browser()
      await reader.signIn(READER)
      const { entries } = (await reader.get('/api/audit?limit=1000')).json
      const failed = entries.filter(({ act }: { act: string }) => act === 'sign-in-failed')
      expect(failed.map(({ what }: { what: string }) => what)).toEqual([
        '',
        ...new Array(4).fill(['/metrics', '']).flat(),
      ])
    })

    test('records a wrong password that was compared with one role while the other is throttled', async () => {
      const { browser } = await start(database, { passwords })
      // Has a browser that is known as the reader's, so that only the operator's attempts of this address are used up.
      const reader = browser()
      await reader.signIn(READER)
      await reader.post('/api/sign-out', {})
      for (let n = 0; n < 5; n++) expect((await browser().signIn(`guess ${n}`)).status).toBe(401)
      expect((await browser().signIn('guess 5')).status).toBe(429)
      expect((await reader.signIn('guess 6')).status).toBe(429)
      expect((await reader.signIn(READER)).status).toBe(204)
      const { entries } = (await reader.get('/api/audit?limit=1000')).json
      expect(entries.filter(({ act }: { act: string }) => act === 'sign-in-failed')).toHaveLength(6)
    })

    test('does not count the sign-ins of readers as guesses of the operator password', async () => {
      const { browser } = await start(database, { passwords })
      for (let n = 0; n < 6; n++) expect((await browser().signIn(READER)).status).toBe(204)
      expect((await browser().signIn(OPERATOR)).status).toBe(204)
    })

    test('lets an operator sign in again with a known browser during guesses from the same address', async () => {
      const { browser } = await start(database, { passwords })
      const operator = browser()
      await operator.signIn(OPERATOR)
      await operator.post('/api/sign-out', {})
      operator.cookie = undefined
      const reader = browser()
      await reader.signIn(READER)
      for (let n = 0; n < 5; n++) await browser().signIn(`guess ${n}`)
      expect((await browser().signIn(OPERATOR)).status).toBe(429)
      expect((await operator.signIn(OPERATOR)).status).toBe(204)
      // The browser of a reader is not known as an operator's, whatever it sends.
      const [[, pair = ''] = []] = reader.known
      const [name = '', value] = pair.split('=')
      reader.known.set('forged', `${name.replace('reader', 'operator')}=${value}`)
      expect((await reader.signIn(OPERATOR)).status).toBe(429)
      // A known browser cannot guess without limit either.
      const statuses: number[] = []
      for (let n = 0; n < 5; n++) statuses.push((await operator.signIn(`guess ${n}`)).status)
      expect(statuses).toEqual([429, 429, 429, 429, 429])
      expect((await operator.signIn(OPERATOR)).status).toBe(429)
    })

    test('stores nothing about its users in the application’s table, and no token in its own', async () => {
      const { browser } = await start(database, { passwords, handler: { table: 'application' } })
      const operator = browser()
      await operator.signIn(OPERATOR)
      expect(await database.query('SELECT 1 FROM application')).toEqual([])
      const own = JSON.stringify(await database.query('SELECT * FROM application_console'))
      const parts = /=(\w+)\.([\w-]+)\.([\w-]+)$/.exec(operator.cookie ?? '')?.slice(1) ?? []
      expect(parts).toHaveLength(3)
      for (const secret of [...parts.slice(1), OPERATOR, READER, operator.token as string]) {
        expect(own).not.toContain(secret)
      }
    })

    test('does not make a reader an operator who can write the session table, or even the console’s own', async () => {
      const { browser, sessions } = await start(database, { passwords, handler: { table: 'written' } })
      const [operator, reader] = [browser(), browser()]
      await operator.signIn(OPERATOR)
      await reader.signIn(READER)
      const [, token = '', signature = ''] = /reader\.([\w-]+)\.([\w-]+)$/.exec(reader.cookie ?? '') ?? []
      const end = Math.floor(Date.now() / 1000) + 3600
      const hash = createHash('sha256').update(token).digest('base64url')
      const attempt = async (): Promise<number> => {
        const attacker = browser()
        attacker.cookie = reader.cookie?.replace('=reader.', '=operator.')
        return (await attacker.post('/api/gc', {})).status
      }
      expect(await attempt()).toBe(401)
      // A PHP site through the gateway can write any session of the application.
      for (const id of ['operator', token, hash]) {
        await sessions.write(id, {
          role: 'operator',
          csrfToken: 'x',
          until: Date.now() * 2,
          signedIn: { [hash]: end },
        })
      }
      expect(await attempt()).toBe(401)
      // Another program with the console's database role.
      await database.query(
        `UPDATE written_console SET sess_data = jsonb_set(sess_data::jsonb, '{signedIn,${hash}}', '${end}')::text
         WHERE sess_id = 'operator'`,
      )
      expect(await attempt()).toBe(401)
      expect((await reader.get('/api/overview')).status).toBe(200)
      expect((await operator.get('/api/overview')).status).toBe(200)
      expect(signature).toHaveLength(43)
    })

    test('keeps one row for each role in its own table, however often users sign in', async () => {
      const { browser } = await start(database, { passwords, handler: { table: 'often' } })
      for (let n = 0; n < 60; n++)
        expect((await browser().signIn(n % 2 === 0 ? OPERATOR : READER)).status).toBe(204)
      const rows = await database.query('SELECT sess_id FROM often_console ORDER BY sess_id')
      expect(rows).toEqual([{ sess_id: 'operator' }, { sess_id: 'reader' }])
    })

    test('leaves operators live streams that readers cannot take', async () => {
      const { browser, port } = await start(database, { passwords })
      const [operator, reader] = [browser(), browser()]
      await operator.signIn(OPERATOR)
      await reader.signIn(READER)
      const streams: ClientRequest[] = []
      const open = async ({ cookie = '' }: Browser): Promise<number | undefined> => {
        const stream = request({
          port,
          path: '/api/live',
          headers: { cookie, host: `127.0.0.1:${port}` },
          agent: false,
        })
        streams.push(stream.end())
        stream.on('error', () => {})
        const [response] = await once(stream, 'response')
        return response.statusCode
      }
      const statuses = await Promise.all(Array.from({ length: 60 }, () => open(reader)))
      expect(statuses.filter((status) => status === 200)).toHaveLength(50)
      expect(await open(operator)).toBe(200)
      for (const stream of streams) stream.destroy()
    })

    test('ends the live stream of a user who signs out in another browser window', async () => {
      const { browser, port } = await start(database, { passwords })
      const reader = browser()
      await reader.signIn(READER)
      const headers = { cookie: reader.cookie, host: `127.0.0.1:${port}` }
      const stream = request({ port, path: '/api/live', headers, agent: false }).end()
      const [response] = await once(stream, 'response')
      const ended = once(response.resume(), 'end')
      expect((await reader.post('/api/sign-out', {})).status).toBe(204)
      await ended
    })

    test('records actions in an audit log that survives a restart and holds no whole ids and no secrets', async () => {
      const first = await start(database, { passwords })
      const one = first.browser()
      await one.signIn('wrong')
      await one.signIn(OPERATOR)
      const id = 'longlonglonglongSECRET'
      await first.sessions.write(id, { secret: 'xyzzy' }, { custom: 'bob' })
      expect((await one.post('/api/session/data', { id })).json).toMatchObject({ data: { secret: 'xyzzy' } })
      expect((await one.post('/api/end', { ids: [id] })).json).toEqual({ ended: 1 })
      expect((await one.post('/api/end', { field: 'bob', count: 0 })).json).toEqual({ ended: 0 })
      await one.post('/api/gc', {})
      await one.post('/api/sign-out', {})
      const text = await readFile(first.auditFile, 'utf8')
      const second = await start(database, { auditFile: first.auditFile })
      const { json } = await second.browser().get('/api/audit')
      expect(json.entries.map(({ act, what }: Record<string, string>) => [act, what]).reverse()).toEqual([
        ['sign-in-failed', ''],
        ['sign-in', ''],
        ['look', 'longlong…'],
        ['end', 'longlong…'],
        ['end-field', 'bob'],
        ['gc', ''],
        ['sign-out', ''],
        ['sign-in', ''],
      ])
      for (const secret of ['SECRET', 'xyzzy', OPERATOR, 'wrong']) expect(text).not.toContain(secret)
    })

    test('shows no data and ends no session if the audit log cannot be written', async () => {
      const { browser, folder, sessions, log } = await start(database)
      const one = browser()
      await one.me()
      // The disk or the folder is gone.
      await rm(folder, { recursive: true })
      const id = sessions.createId()
      await sessions.write(id, { secret: 1 })
      const view = await one.post('/api/session/data', { id })
      expect(view.status).toBe(500)
      expect(view.text).not.toContain('secret')
      expect((await one.post('/api/end', { ids: [id] })).status).toBe(500)
      expect(await sessions.read(id)).toBeDefined()
      expect(log.join()).toContain(join(folder, 'audit.jsonl'))
      // It cannot be written from the start.
      const unwritable = await start(database, { auditFile: '/dev/null/audit.jsonl' })
      expect((await unwritable.browser().signIn(tokenOf(unwritable.url) as string)).status).toBe(500)
      expect(unwritable.log.join()).toContain('/dev/null/audit.jsonl')
    })
  },
  ['postgres'],
)

test('exempts known browsers and networks with an earlier sign-in from the total limit of failed attempts', () => {
  const attempts = new AttemptLimiter()
  const from = (address: string) => ({ network: networkOf(address), device: undefined })
  expect(attempts.begin(from('192.0.2.1'), 0)).toBeUndefined()
  attempts.succeeded(from('192.0.2.1'))
  for (let n = 0; n < 100; n++) expect(attempts.begin(from(`10.0.0.${n}`), 1)).toBeUndefined()
  expect(attempts.begin(from('10.0.1.1'), 2)).toBe(299)
  expect(attempts.begin(from('192.0.2.1'), 2)).toBeUndefined()
  expect(attempts.begin({ ...from('10.0.1.1'), device: 'known' }, 2)).toBeUndefined()
  expect(attempts.begin(from('10.0.1.1'), 301.5)).toBeUndefined()
  // All addresses of an IPv6 /64 count as one client.
  for (let n = 0; n < 5; n++) expect(attempts.begin(from(`2001:db8::${n}`), 1000)).toBeUndefined()
  expect(attempts.begin(from('2001:db8:0:0:ffff::1'), 1000)).toBe(300)
  expect(attempts.begin(from('2001:db8:0:1::1'), 1000)).toBeUndefined()
})

test('limits a known browser by itself', () => {
  const attempts = new AttemptLimiter()
  const network = '192.0.2.1'
  for (let n = 0; n < 5; n++) expect(attempts.begin({ network, device: 'one' }, 0)).toBeUndefined()
  expect(attempts.begin({ network, device: 'one' }, 0)).toBe(300)
  expect(attempts.begin({ network, device: 'other' }, 0)).toBeUndefined()
  expect(attempts.begin({ network, device: undefined }, 0)).toBeUndefined()
})
