import { betterAuth, type SecondaryStorage } from 'better-auth'
import { memoryAdapter } from 'better-auth/adapters/memory'
import pg from 'pg'
import { afterEach, describe, expect, expectTypeOf, test, vi } from 'vitest'
import {
  type PgsqlSecondaryStorage,
  pgsqlSecondaryStorage,
  type SecondaryStorageOptions,
} from '../../src/adapters/better-auth.ts'
import { Browser } from '../../src/testing/browser.ts'
import { type Data, describeHandler, errorOf } from '../handler/kit.ts'
import { startProxy } from '../support/proxy.ts'
import { describeOnEveryKind } from '../support/servers.ts'
import { eventually, until } from '../support/wait.ts'
import { describeGuarantees } from './guarantees.ts'
import { keyValueDriver, strangeKeys } from './key-value.ts'

describeGuarantees(
  keyValueDriver('better-auth', (options) => {
    const storage = pgsqlSecondaryStorage(options as SecondaryStorageOptions)
    return {
      handler: storage.handler,
      get: storage.get,
      set: storage.set,
      remove: storage.delete,
      close: storage.close,
    }
  }),
)

describeHandler('better-auth', (kit) => {
  const opened: PgsqlSecondaryStorage[] = []
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((storage) => storage.close()))
  })
  /** A storage as in another process, with its own connections and queues. */
  const openStorage = (options: SecondaryStorageOptions = {}) => {
    const db = kit.database().db
    const storage = pgsqlSecondaryStorage({
      db,
      gcInterval: 0,
      operationTimeout: 30,
      poolSize: 5,
      ...options,
    })
    opened.push(storage)
    return storage
  }
  const openStorages = (count: number) => Array.from({ length: count }, () => openStorage())
  const left = async (storage: PgsqlSecondaryStorage, key: string) =>
    (((await storage.handler.info(key))?.expires?.getTime() ?? 0) - Date.now()) / 1000

  test('returns values unchanged', async () => {
    const storage = openStorage()
    for (const value of ['text', '', '{"a":1}', 'a\0b\ud800']) {
      const key = `verification:Ада Lovelace <${kit.id()}@example.org>`
      expect(await storage.get(key)).toBeNull()
      await storage.set(key, value)
      expect(await storage.get(key)).toBe(value)
      await storage.set(key, 'other')
      expect(await storage.get(key)).toBe('other')
      await storage.delete(key)
      await storage.delete(key)
      expect(await storage.get(key)).toBeNull()
    }
  })

  test('takes every key, and keeps similar ones apart', async () => {
    for (const options of [{}, { idPattern: 'php' } as const]) {
      const storage = openStorage(options)
      for (const key of [...strangeKeys(kit.id()), 'x'.repeat(3_000_000)]) {
        expect(await storage.get(key)).toBeNull()
        expect(await storage.increment(key, 100)).toBe(1)
        expect(await storage.increment(key, 100)).toBe(2)
        await storage.set(key, 'value', 100)
        expect(await storage.get(key)).toBe('value')
        expect(await storage.getAndDelete(key)).toBe('value')
        await storage.set(key, 'value', 100)
        await storage.delete(key)
        expect(await storage.get(key)).toBeNull()
      }
      const keys = strangeKeys(kit.id())
      await Promise.all(keys.map((key, index) => storage.set(key, String(index))))
      expect(await Promise.all(keys.map((key) => storage.get(key)))).toEqual(
        keys.map((_, index) => String(index)),
      )
      await Promise.all(keys.map((key) => storage.delete(key)))
    }
  })

  test('a ttl is in seconds and exact', async () => {
    const storage = openStorage()
    const key = kit.id()
    await storage.set(key, 'x', 1000)
    expect(await left(storage, key)).toSatisfy((seconds: number) => seconds > 980 && seconds < 1002)
    await storage.set(key, 'x')
    expect(await left(storage, key)).toBeGreaterThan(1e8)
    await storage.set(key, 'x', 0.05)
    await eventually(async () => expect(await storage.get(key)).toBeNull())
    expect(await storage.getAndDelete(key)).toBeNull()
    expect(await storage.increment(key, 100)).toBe(1)
  })

  test('maxLifetime ends sessions, counted from their creation, and no other value', async () => {
    const storage = openStorage({ maxLifetime: 1000 })
    const set = async (ago: number) => {
      const token = kit.id()
      const createdAt = new Date(Date.now() - ago * 1000)
      await storage.set(token, JSON.stringify({ session: { token, userId: 'u', createdAt }, user: {} }), 5000)
      return token
    }
    expect(await left(storage, await set(0))).toBeLessThanOrEqual(1001)
    expect(await left(storage, await set(900))).toBeLessThanOrEqual(101)
    expect(await storage.get(await set(900))).not.toBeNull()
    expect(await storage.get(await set(1001))).toBeNull()
    const list = `active-sessions-${kit.id()}`
    await storage.set(list, JSON.stringify([{ token: 'a', expiresAt: Date.now() + 5e6 }]), 5000)
    expect(await left(storage, list)).toBeGreaterThan(4900)
  })

  test('getAndDelete returns a value to exactly one of 100 callers', async () => {
    const storages = openStorages(4)
    const [storage] = storages as [PgsqlSecondaryStorage]
    for (let round = 0; round < 5; round++) {
      const key = kit.id()
      await storage.set(key, `value ${round}`, 100)
      const given = await Promise.all(
        Array.from({ length: 25 }, () => storages.map((each) => each.getAndDelete(key))).flat(),
      )
      expect(given.filter((value) => value !== null)).toEqual([`value ${round}`])
      expect(await storage.get(key)).toBeNull()
      // The key can be used again.
      await storage.set(key, 'new', 100)
      expect(await storage.get(key)).toBe('new')
      expect(await storage.getAndDelete(key)).toBe('new')
      expect(await storage.getAndDelete(key)).toBeNull()
    }
  })

  test('a value that is set during getAndDelete is either returned or stored', async () => {
    const [one, two] = openStorages(2) as [PgsqlSecondaryStorage, PgsqlSecondaryStorage]
    for (let round = 0; round < 20; round++) {
      const key = kit.id()
      await one.set(key, 'old')
      const [taken] = await Promise.all([one.getAndDelete(key), two.set(key, 'new')])
      expect([taken, await one.get(key)]).toSatisfy(
        ([given, kept]) => (given === 'old' && kept === 'new') || (given === 'new' && kept === null),
      )
    }
  })

  test('increment counts each of 100 callers', async () => {
    const storages = openStorages(4)
    const key = kit.id()
    const sums = await Promise.all(
      Array.from({ length: 25 }, () => storages.map((each) => each.increment(key, 1000))).flat(),
    )
    expect(sums.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
    expect(await storages[0]?.get(key)).toBe('100')
    expect(await storages[0]?.getAndDelete(key)).toBe('100')
    expect(await storages[1]?.increment(key, 1000)).toBe(1)
  })

  test('the ttl of increment starts at the first call', async () => {
    const storage = openStorage()
    const key = kit.id()
    await storage.increment(key, 1000)
    const until = (await storage.handler.read(key))?.data.until
    expect(await storage.increment(key, 5000)).toBe(2)
    expect((await storage.handler.read(key))?.data.until).toBe(until)
    expect(await left(storage, key)).toBeLessThan(1003)
    // After the ttl the count starts again.
    await storage.set(key, '7', 0.05)
    await eventually(async () => expect(await storage.get(key)).toBeNull())
    expect(await storage.increment(key, 1000)).toBe(1)
    await storage.set(key, '7', 1000)
    expect(await storage.increment(key, 5000)).toBe(8)
  })

  describe('better-auth’s sessions', () => {
    const WEEK = 604_800
    const inAWeek = () => Date.now() + WEEK * 1000
    /** A session as better-auth stores it under its token. */
    const sessionOf = (token: string, userId: string, { name = 'Ada', updatedAt = new Date() } = {}) =>
      JSON.stringify({
        session: { token, userId, createdAt: new Date(), expiresAt: new Date(inAWeek()) },
        user: { id: userId, name, updatedAt },
      })
    const listOf = (...tokens: string[]) =>
      JSON.stringify(tokens.map((token, index) => ({ token, expiresAt: inAWeek() + index })))
    const tokensIn = async (storage: PgsqlSecondaryStorage, key: string) =>
      (JSON.parse((await storage.get(key)) ?? '[]') as { token: string }[]).map(({ token }) => token).sort()

    test('a deleted session stays deleted, even if a request sets it again', async () => {
      const [one, other] = openStorages(2) as [PgsqlSecondaryStorage, PgsqlSecondaryStorage]
      const [token, user] = [kit.id(), kit.id()]
      await one.set(token, sessionOf(token, user), WEEK)
      const late = (await other.get(token)) as string
      await one.delete(token)
      await one.delete(token)
      for (const storage of [one, other, openStorage()]) {
        expect(await storage.get(token)).toBeNull()
        await storage.set(token, late, WEEK)
        await storage.delete(token)
        await storage.set(token, sessionOf(token, user, { name: 'Countess' }), WEEK)
        expect(await storage.get(token)).toBeNull()
        expect(await storage.getAndDelete(token)).toBeNull()
      }
    })

    test('a set and a delete at the same time end the session', async () => {
      const [one, other] = openStorages(2) as [PgsqlSecondaryStorage, PgsqlSecondaryStorage]
      for (let round = 0; round < 20; round++) {
        const [token, user] = [kit.id(), kit.id()]
        const value = sessionOf(token, user)
        await one.set(token, value, WEEK)
        await Promise.all([one.delete(token), other.set(token, value, WEEK), one.set(token, value, WEEK)])
        expect(await other.get(token)).toBeNull()
      }
    })

    test('a list keeps what parallel logins add, and loses what is deleted', async () => {
      const storages = openStorages(4)
      const [storage, other] = storages as [PgsqlSecondaryStorage, PgsqlSecondaryStorage]
      const key = `active-sessions-${kit.id()}`
      const user = key.slice('active-sessions-'.length)
      const tokens = Array.from({ length: 12 }, () => kit.id()).sort()
      const login = async (each: PgsqlSecondaryStorage, token: string) => {
        const before = await tokensIn(each, key)
        await each.set(key, listOf(...before, token), WEEK)
        await each.set(token, sessionOf(token, user), WEEK)
      }
      const storageFor = (index: number) => storages[index % 4] as PgsqlSecondaryStorage
      await Promise.all(tokens.map((token, index) => login(storageFor(index), token)))
      expect(await tokensIn(storage, key)).toEqual(tokens)

      // As better-auth logs out: it sets the list without the token, then deletes the session.
      const [gone, added] = [tokens.shift() as string, kit.id()]
      const late = (await other.get(key)) as string
      await Promise.all([
        (async () => {
          await storage.set(key, listOf(...tokens), WEEK)
          await storage.delete(gone)
        })(),
        login(other, added),
      ])
      expect(await tokensIn(storage, key)).toEqual([...tokens, added].sort())
      // A request that has read the list before.
      await other.set(key, late, WEEK)
      expect(await tokensIn(storage, key)).toEqual([...tokens, added].sort())
    })

    test('the logout of the last session does not remove a session that is added at the same time', async () => {
      const storage = openStorage()
      const [first, second, user] = [kit.id(), kit.id(), kit.id()]
      const key = `active-sessions-${user}`
      await storage.set(key, listOf(first), WEEK)
      await storage.set(first, sessionOf(first, user), WEEK)
      await storage.set(key, listOf(first, second), WEEK)
      await storage.delete(key)
      await storage.delete(first)
      expect(await tokensIn(storage, key)).toEqual([second])
      await storage.set(second, sessionOf(second, user), WEEK)
      await storage.delete(key)
      await storage.delete(second)
      expect(await storage.get(key)).toBeNull()
    })

    test('drops what has expired from a list', async () => {
      const storage = openStorage()
      const key = `active-sessions-${kit.id()}`
      await storage.set(key, JSON.stringify([{ token: 'old', expiresAt: Date.now() - 1 }]), WEEK)
      await storage.set(key, listOf('new'), WEEK)
      expect(await tokensIn(storage, key)).toEqual(['new'])
      expect(await left(storage, key)).toBeLessThan(WEEK + 5)
    })

    test('keeps the newer user of two overlapping sets', async () => {
      const storage = openStorage()
      const [token, user] = [kit.id(), kit.id()]
      const [old, recent] = [new Date(Date.now() - 5000), new Date()]
      await storage.set(token, sessionOf(token, user, { updatedAt: old }), WEEK)
      await storage.set(token, sessionOf(token, user, { name: 'Countess', updatedAt: recent }), WEEK)
      // A request that had read the old user extends the session.
      const late = JSON.parse(sessionOf(token, user, { updatedAt: old }))
      late.session.activeOrganizationId = 'org'
      await storage.set(token, JSON.stringify(late), WEEK)
      expect(JSON.parse((await storage.get(token)) as string)).toMatchObject({
        session: { activeOrganizationId: 'org' },
        user: { name: 'Countess' },
      })
    })

    test('a revocation of all sessions is never moved back', async () => {
      const [one, other] = openStorages(2) as [PgsqlSecondaryStorage, PgsqlSecondaryStorage]
      const key = `revoked-sessions-before-${kit.id()}`
      await Promise.all([one.set(key, '1700000000005', WEEK), other.set(key, '1700000000001', WEEK)])
      expect(await one.get(key)).toBe('1700000000005')
    })

    test('other values under such keys are stored as they are', async () => {
      const storage = openStorage()
      for (const key of [`active-sessions-${kit.id()}`, `revoked-sessions-before-${kit.id()}`, kit.id()]) {
        for (const value of ['', 'text', '{', '[1]', '{"session":null}', '{"session":{"token":"other"}}']) {
          await storage.set(key, value, WEEK)
          expect(await storage.get(key)).toBe(value)
        }
        await storage.delete(key)
        expect(await storage.get(key)).toBeNull()
        await storage.set(key, 'again', WEEK)
        expect(await storage.get(key)).toBe('again')
      }
    })
  })

  test('an outage is an error, and ends', async () => {
    const storage = openStorage()
    const key = kit.id()
    await storage.set(key, 'kept')
    await kit.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')
    try {
      for (const error of await Promise.all(
        [storage.get(key), storage.getAndDelete(key), storage.increment(key, 1)].map((one) => errorOf(one)),
      )) {
        expect(error).toHaveProperty('name', 'SessionPgsqlError')
      }
    } finally {
      await kit.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')
    }
    expect(await storage.get(key)).toBe('kept')
  })
})

describeOnEveryKind('better-auth in two processes', (server) => {
  test('lists every session of eight parallel logins, and none of those that log out', async () => {
    const { db } = await server.freshDatabase()
    const users = { user: [], session: [], account: [], verification: [] }
    const storages = [1, 2].map(() => pgsqlSecondaryStorage({ db, gcInterval: 0, operationTimeout: 15 }))
    const auths = storages.map((secondaryStorage) =>
      betterAuth({
        baseURL: 'http://localhost',
        secret: 'a secret of a test, and of nothing else',
        database: memoryAdapter(users),
        secondaryStorage,
        emailAndPassword: { enabled: true },
        rateLimit: { enabled: false },
        telemetry: { enabled: false },
      }),
    )
    const send = async (index: number, path: string, body?: object, cookie = '') => {
      const auth = auths[index % 2] as (typeof auths)[0]
      const response = await auth.handler(
        new Request(`http://localhost/api/auth/${path}`, {
          method: body === undefined ? 'GET' : 'POST',
          headers: { cookie, origin: 'http://localhost', 'content-type': 'application/json' },
          ...(body && { body: JSON.stringify(body) }),
        }),
      )
      expect(response.status).toBe(200)
      const [set = ''] = response.headers.getSetCookie()
      return { cookie: set.split(';')[0] as string, body: JSON.parse(await response.text()) }
    }
    try {
      const account = { name: 'Ada', email: 'ada@example.org', password: 'a long password' }
      const { cookie } = await send(0, 'sign-up/email', account)
      const logins = await Promise.all(
        Array.from({ length: 8 }, (_, index) => send(index, 'sign-in/email', account)),
      )
      const listed = async () => (await send(1, 'list-sessions', undefined, cookie)).body.length
      expect(await listed()).toBe(9)
      await Promise.all(logins.slice(0, 5).map((login, index) => send(index, 'sign-out', {}, login.cookie)))
      expect(await listed()).toBe(4)
      for (const [index, login] of logins.entries()) {
        const session = (await send(index, 'get-session', undefined, login.cookie)).body
        expect(session === null).toBe(index < 5)
      }
      await send(0, 'revoke-other-sessions', {}, cookie)
      expect(await listed()).toBe(1)
    } finally {
      await Promise.all(storages.map((storage) => storage.close()))
    }
  })
})

describeOnEveryKind('The better-auth example', (server) => {
  test('signs up, in and out over HTTP, and keeps its sessions after a restart', async () => {
    const database = await server.freshDatabase()
    const { createSite, emptyUsers } = await import(
      new URL('../../../../examples/better-auth/site.js', import.meta.url).pathname
    )
    const users = emptyUsers()
    const start = () =>
      createSite({ db: database.db, gcInterval: 0, operationTimeout: 15 }, undefined, 0, users)
    let site = await start()
    let cookie = ''
    const send = async (path: string, body?: object, as = cookie) => {
      const response = await fetch(`${site.url}/api/auth/${path}`, {
        method: body === undefined ? 'GET' : 'POST',
        headers: { cookie: as, origin: site.url, 'content-type': 'application/json' },
        ...(body && { body: JSON.stringify(body) }),
      })
      const [setCookie] = response.headers.getSetCookie()
      return { status: response.status, setCookie, text: await response.text() }
    }
    const account = { name: 'Ada', email: 'ada@example.org', password: 'a long password' }
    expect((await send('sign-up/email', account)).status).toBe(200)
    const { status, setCookie } = await send('sign-in/email', account)
    expect(status).toBe(200)
    cookie = setCookie?.split(';')[0] as string
    const session = async (as?: string) => JSON.parse((await send('get-session', undefined, as)).text)
    expect((await session())?.user.email).toBe('ada@example.org')
    expect(await session('')).toBeNull()
    // The path is a part of the rate limit's key.
    for (const path of ['x'.repeat(600), 'x'.repeat(6000), '%00', '%ED%A0%80']) {
      expect([path.length, (await send(path)).status]).toEqual([path.length, 404])
    }
    expect((await site.handler.list({ name: 'better-auth' })).length).toBeGreaterThan(1)
    await site.stop()
    site = await start()
    expect((await session())?.user.email).toBe('ada@example.org')
    await database.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')
    expect((await send('get-session')).status).toBe(500)
    await database.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')
    expect((await session())?.user.email).toBe('ada@example.org')
    expect((await send('sign-out', {})).status).toBe(200)
    expect(await session()).toBeNull()
    await site.stop()
  })

  if (server.kind === 'pglite') return

  test('a logout during the write of its session ends it; an outage is an error, and ends', async () => {
    const database = await server.freshDatabase()
    const direct = new URL(database.db as string)
    const proxy = await startProxy({ host: direct.hostname, port: Number(direct.port) })
    const { createSite } = await import(
      new URL('../../../../examples/better-auth/site.js', import.meta.url).pathname
    )
    const url = new URL(direct)
    url.host = `${proxy.host}:${proxy.port}`
    const site = await createSite({
      db: { connectionString: url.href },
      gcInterval: 0,
      operationTimeout: 15,
    })
    const browser = new Browser(site.url)
    const user = async (one: Browser) => {
      const { status, text } = await one.send('GET', '/api/auth/get-session')
      return status === 200 ? (JSON.parse(text)?.user.email ?? null) : status
    }
    try {
      await browser.send('POST', '/api/auth/sign-up/email', {
        name: 'Ada',
        email: 'ada@example.org',
        password: 'a long password',
      })
      // better-auth's rate limit: three sign-ins in ten seconds.
      const devices = Array.from({ length: 3 }, () => new Browser(site.url))
      const answers = await Promise.all(
        devices.map((device) =>
          device.send('POST', '/api/auth/sign-in/email', {
            email: 'ada@example.org',
            password: 'a long password',
          }),
        ),
      )
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
      const seen = await Promise.all([browser, ...devices].flatMap((one) => [user(one), user(one)]))
      expect(new Set(seen)).toEqual(new Set(['ada@example.org']))

      const [before, late] = [browser.clone(), browser.clone()]
      // The key of a session is its token: the part of the cookie before the signature.
      const [token] = decodeURIComponent(browser.cookies.get('better-auth.session_token') ?? '').split(
        '.',
      ) as [string]
      const [reads, writes] = [vi.spyOn(site.handler, 'read'), vi.spyOn(site.handler, 'write')]
      const called = ({ mock }: { mock: { calls: readonly (readonly unknown[])[] } }, what: string) =>
        until(() => mock.calls.some(([key]) => key === token), what)
      const holder = new pg.Client({ connectionString: direct.href })
      await holder.connect()
      try {
        await holder.query('BEGIN')
        await holder.query('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [token])
        // This request has read the session and writes it with the user's new name; the logout comes after this write.
        const slow = late.send('POST', '/api/auth/update-user', { name: 'Countess' })
        await called(writes, 'the session to be written')
        reads.mockClear()
        const out = browser.send('POST', '/api/auth/sign-out', {})
        await called(reads, 'the logout to read its session')
        await holder.query('COMMIT')
        expect((await slow).status).toBe(200)
        expect((await out).status).toBe(200)
      } finally {
        await holder.end()
      }
      expect(await user(before)).toBeNull()
      expect(await user(late)).toBeNull()
      expect(await user(devices[0] as Browser)).toBe('ada@example.org')

      await proxy.refuse()
      proxy.drop()
      expect(await user(devices[0] as Browser)).toBe(500)
      await proxy.resume()
      await eventually(async () => expect(await user(devices[0] as Browser)).toBe('ada@example.org'))
    } finally {
      await site.stop()
      await proxy.stop()
    }
  })
})

test('fits the SecondaryStorage of better-auth', () => {
  expectTypeOf<PgsqlSecondaryStorage>().toExtend<SecondaryStorage>()
  expect(() => pgsqlSecondaryStorage({ db: 'pglite:', tabel: 'x' } as never)).toThrow(/did you mean "table"/)
})

describeOnEveryKind('better-auth with sessions in a table of its own', (server) => {
  test('storeSessionInDatabase keeps their users logged in when the secondary storage is added', async () => {
    const { db } = await server.freshDatabase()
    const tables = { user: [], session: [] as { token: string }[], account: [], verification: [] }
    const common = {
      baseURL: 'http://localhost',
      secret: 'a secret of a test, and of nothing else',
      database: memoryAdapter(tables),
      emailAndPassword: { enabled: true },
      rateLimit: { enabled: false },
      telemetry: { enabled: false },
    }
    const send = async (
      auth: { handler(request: Request): Promise<Response> },
      path: string,
      body?: object,
      cookie = '',
    ) =>
      auth.handler(
        new Request(`http://localhost/api/auth/${path}`, {
          method: body === undefined ? 'GET' : 'POST',
          headers: { cookie, origin: 'http://localhost', 'content-type': 'application/json' },
          ...(body && { body: JSON.stringify(body) }),
        }),
      )
    const account = { name: 'Ada', email: 'ada@example.org', password: 'a long password' }
    const signedUp = await send(betterAuth(common), 'sign-up/email', account)
    const cookie = signedUp.headers.getSetCookie()[0]?.split(';')[0] as string
    expect(tables.session).toHaveLength(1)

    const secondaryStorage = pgsqlSecondaryStorage({ db, gcInterval: 0, operationTimeout: 15 })
    try {
      const userOf = async (auth: Parameters<typeof send>[0]) =>
        ((await (await send(auth, 'get-session', undefined, cookie)).json()) as Data | null)?.user.name
      expect(await userOf(betterAuth({ ...common, secondaryStorage }))).toBeUndefined()
      const both = betterAuth({ ...common, secondaryStorage, session: { storeSessionInDatabase: true } })
      expect(await userOf(both)).toBe('Ada')
      expect((await send(both, 'sign-out', {}, cookie)).status).toBe(200)
      expect(await userOf(both)).toBeUndefined()
    } finally {
      await secondaryStorage.close()
    }
  })
})
