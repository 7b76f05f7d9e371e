import { expect, expectTypeOf, test, vi } from 'vitest'
import {
  createSessions,
  type SessionCookie,
  type Sessions,
  type SessionsOptions,
  type WebSession,
} from '../../src/adapters/web.ts'
import { SaveHandler } from '../../src/index.ts'
import { type Data, describeHandler, errorOf, expireAgo, type Handler } from '../handler/kit.ts'
import { describeGuarantees, type SiteOptions, startExample, WEB_SESSIONS } from './guarantees.ts'

describeGuarantees({
  ...WEB_SESSIONS,
  name: 'session-pgsql/web',
  start: (options, pause) => startExample('web', options, pause),
})

describeGuarantees({
  name: 'session-pgsql/web without grace',
  lifetime: 86400,
  only: ['new-id', 'new-id-again', 'new-id-slow', 'sign-out', 'ended-id'],
  start: (options, pause) => startExample('web', { ...options, grace: 0 } as SiteOptions, pause),
})

const SECRET = 'a secret for the tests'

interface UserData {
  user: string
  cart: string[]
  [key: string]: unknown
}

/** Keeps the session's cookie as a browser does. */
class Jar {
  readonly sessions: Sessions<UserData>
  cookie: string
  header: string | undefined

  constructor(sessions: Sessions<UserData>, cookie = '') {
    this.sessions = sessions
    this.cookie = cookie
  }

  open(): Promise<WebSession<UserData>> {
    return this.sessions.session(request('https://example.org/', { cookie: this.cookie }))
  }

  async commit(session: WebSession<UserData>): Promise<string | undefined> {
    this.header = (await session.commit())?.header
    if (this.header !== undefined) this.cookie = this.header.split(';')[0] as string
    return this.header
  }

  async visit(change: (session: WebSession<UserData>) => void = () => {}): Promise<Data> {
    const session = await this.open()
    change(session)
    await this.commit(session)
    return session.data
  }

  clone(): Jar {
    return new Jar(this.sessions, this.cookie)
  }
}

function request(url: string, headers: Record<string, string> = {}): Request {
  return new Request(url, { headers })
}

describeHandler('Sessions for Request and Response', (kit) => {
  const over = (handler: Handler, options: Partial<SessionsOptions<UserData>> = {}) =>
    createSessions<UserData>({ secret: SECRET, handler, ...options } as SessionsOptions<UserData>)
  const openJar = (options: Partial<SessionsOptions<UserData>> = {}) => {
    const handler = kit.open({ shortCircuit: true })
    return { handler, jar: new Jar(over(handler, options)) }
  }

  test('the cookie is signed, HttpOnly, SameSite=Lax, and Secure for a request over TLS', async () => {
    const { handler } = openJar()
    const give = async (url: string, options: Partial<SessionsOptions<UserData>> = {}, headers = {}) => {
      const session = await over(handler, options).session(request(url, headers))
      session.set('user', 'ada')
      return (await session.commit())?.header
    }
    expect(await give('https://example.org/')).toMatch(
      /^sid=[\w-]{32}\.[0-9a-z]+\.[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=95040; Secure$/,
    )
    expect(await give('http://example.org/')).not.toContain('Secure')
    const behindProxy = { 'x-forwarded-proto': 'https, http' }
    expect(await give('http://example.org/', {}, behindProxy)).not.toContain('Secure')
    expect(await give('http://example.org/', { trustProxy: true }, behindProxy)).toContain('; Secure')
    expect(
      await give('https://example.org/', { trustProxy: true }, { 'x-forwarded-proto': 'http' }),
    ).not.toContain('Secure')
    expect(
      await give('http://example.org/', {
        name: 'own',
        cookie: { path: '/a', domain: 'example.org', sameSite: 'None', maxAge: null },
      }),
    ).toMatch(/^own=[^;]+; Path=\/a; Domain=example\.org; HttpOnly; SameSite=None; Secure$/)
    expect(await give('http://example.org/', { cookie: { maxAge: 60, secure: true } })).toMatch(
      /Max-Age=60; Secure$/,
    )
  })

  test('the cookie as text is the header, and its parts are plain data', async () => {
    const { handler } = openJar()
    const session = await over(handler).session(request('https://example.org/'))
    session.set('user', 'ada')
    const cookie = await session.commit()
    const headers = new Headers()
    headers.append('set-cookie', cookie as unknown as string)
    expect(headers.get('set-cookie')).toBe(cookie?.header)
    expect(`${cookie}`).toBe(cookie?.header)
    expect(Object.keys(cookie ?? {})).toEqual(['header', 'name', 'value', 'attributes'])
  })

  test('ignores a cookie without a valid signature', async () => {
    const { handler, jar } = openJar()
    await jar.visit((session) => session.set('user', 'ada'))
    const [, id, time, signature] = /^sid=([^.]+)\.([^.]+)\.([^.]+)$/.exec(jar.cookie) ?? []
    const other = new Jar(over(handler, { secret: 'another secret for them' }))
    await other.visit((session) => session.set('user', 'eve'))
    for (const cookie of [
      `sid=${id}`,
      `sid=${id}.${signature}`,
      `sid=${id}.${time}.`,
      `sid=${id}.${time}.${signature}x`,
      `sid=${id}.${time}.${signature?.slice(1)}`,
      `sid=${id}.${time}0.${signature}`,
      `sid=${id}x.${time}.${signature}`,
      `sod=${id}.${time}.${signature}`,
      `sid=.${time}.${signature}`,
      'sid=',
      'sid',
      other.cookie,
    ]) {
      expect(await new Jar(jar.sessions, cookie).visit()).toEqual({})
    }
    // A cookie that a subdomain has set does not hide the valid one.
    const both = new Jar(jar.sessions, `sid=foreign; ${other.cookie}; ${jar.cookie}`)
    expect(await both.visit()).toEqual({ user: 'ada' })
    // The signature covers the cookie's name.
    const renamed = new Jar(over(handler, { name: 'sod' }), jar.cookie.replace('sid', 'sod'))
    expect(await renamed.visit()).toEqual({})
  })

  test('of several signed cookies, uses the first that has a session', async () => {
    const { jar } = openJar()
    const ended = jar.clone()
    await ended.visit((session) => session.set('user', 'eve'))
    const signed = ended.cookie
    await ended.visit((session) => session.destroy())
    const moved = jar.clone()
    await moved.visit((session) => session.set('user', 'bob'))
    const old = moved.cookie
    await new Jar(over(openJar().handler, { grace: 0 }), old).visit((session) => session.regenerate())
    await jar.visit((session) => session.set('user', 'ada'))
    const all = new Jar(jar.sessions, [signed, old, jar.cookie, signed].join('; '))
    expect(await all.visit()).toEqual({ user: 'ada' })
    await all.visit((session) => session.set('cart', ['apple']))
    expect(await jar.visit()).toEqual({ user: 'ada', cart: ['apple'] })
  })

  test('verifies at most eight cookies', async () => {
    const { jar } = openJar()
    await jar.visit((session) => session.set('user', 'ada'))
    const forged = `sid=${'x'.repeat(32)}.0.${'y'.repeat(43)}`
    const after = (count: number, cookie: string) =>
      new Jar(jar.sessions, [...Array.from({ length: count }, () => cookie), jar.cookie].join('; ')).visit()
    expect(await after(7, forged)).toEqual({ user: 'ada' })
    expect(await after(8, forged)).toEqual({})
    expect(await after(20, 'sid=foreign')).toEqual({ user: 'ada' })
    expect(await after(20, 'other=x')).toEqual({ user: 'ada' })
  })

  test('warns once if the cookie is not Secure behind a proxy that ends TLS', async () => {
    const { handler } = openJar()
    const warnings: string[] = []
    const emitted = vi
      .spyOn(process, 'emitWarning')
      .mockImplementation((text) => void warnings.push(String(text)))
    try {
      const visit = async (options: Partial<SessionsOptions<UserData>>, url: string, headers = {}) => {
        const sessions = over(handler, options)
        for (let count = 0; count < 2; count++) {
          const session = await sessions.session(request(url, headers))
          session.set('user', 'ada')
          await session.commit()
        }
        return warnings.splice(0)
      }
      const proxied = { 'x-forwarded-proto': 'https' }
      expect(await visit({}, 'http://example.org/', proxied)).toEqual([
        'session_pgsql: The cookie sid is not Secure, although X-Forwarded-Proto says https. Set trustProxy: true if a proxy sets this header itself, or cookie: { secure: true }.',
      ])
      expect(await visit({}, 'http://example.org/', { forwarded: 'for=1.2.3.4;proto=https' })).toHaveLength(1)
      expect(await visit({}, 'http://example.org/')).toEqual([])
      expect(await visit({}, 'https://example.org/', proxied)).toEqual([])
      expect(await visit({ trustProxy: true }, 'http://example.org/', proxied)).toEqual([])
      for (const secure of [true, false]) {
        expect(await visit({ cookie: { secure } }, 'http://example.org/', proxied)).toEqual([])
      }
    } finally {
      emitted.mockRestore()
    }
  })

  test('commit returns the name, value and attributes of the cookie besides the header', async () => {
    const { handler } = openJar()
    const options = {
      name: 'id',
      cookie: { path: '/app', domain: 'example.org', sameSite: 'Strict' },
    } as const
    const session = await over(handler, options).session(request('https://example.org/app'))
    session.set('user', 'ada')
    const cookie = await session.commit()
    const attributes = {
      path: '/app',
      domain: 'example.org',
      httpOnly: true,
      sameSite: 'strict',
      secure: true,
    }
    expect(cookie).toMatchObject({ name: 'id', attributes: { ...attributes, maxAge: 95_040 } })
    expect(cookie?.header).toBe(
      `id=${cookie?.value}; Path=/app; Domain=example.org; HttpOnly; SameSite=Strict; Max-Age=95040; Secure`,
    )
    expect(encodeURIComponent(cookie?.value ?? '%')).toBe(cookie?.value)
    session.destroy()
    expect(await session.commit()).toMatchObject({
      name: 'id',
      value: '',
      attributes: { ...attributes, maxAge: 0 },
    })
    const untilClosed = await over(handler, { cookie: { maxAge: null } }).session(
      request('http://localhost/'),
    )
    untilClosed.set('user', 'ada')
    const { attributes: unlimited } = (await untilClosed.commit()) as SessionCookie
    expect(unlimited).toEqual({ path: '/', httpOnly: true, sameSite: 'lax', secure: false })
  })

  test('a cookie with the prefix __Host- or __Secure- is always Secure', async () => {
    const { handler } = openJar()
    for (const name of ['__Host-sid', '__Secure-sid']) {
      const session = await over(handler, { name }).session(request('http://example.org/'))
      session.set('user', 'ada')
      expect((await session.commit())?.header).toMatch(/; Secure$/)
    }
  })

  test('accepts an older secret, and signs its cookie with the current one', async () => {
    const { handler, jar } = openJar()
    await jar.visit((session) => session.set('user', 'ada'))
    const newer = 'a newer secret for the tests'
    const rotated = new Jar(over(handler, { secret: [newer, SECRET] }), jar.cookie)
    expect(await rotated.visit()).toEqual({ user: 'ada' })
    expect(rotated.header).toBeDefined()
    const later = new Jar(over(handler, { secret: newer }), rotated.cookie)
    expect(await later.visit()).toEqual({ user: 'ada' })
    expect(later.header).toBeUndefined()
    expect(await new Jar(over(handler, { secret: newer }), jar.cookie).visit()).toEqual({})
  })

  test('does not use a signed id that is not stored', async () => {
    const { handler, jar } = openJar()
    await jar.visit((session) => session.set('user', 'ada'))
    const [listed] = (await handler.list({ order: '-created', limit: 10_000 })).filter(({ id }) =>
      jar.cookie.includes(id),
    )
    await handler.destroy(listed?.id as string)
    expect(await jar.visit()).toEqual({})
    expect(jar.header).toBeUndefined()
    await jar.visit((session) => session.set('user', 'bob'))
    expect(jar.cookie).not.toContain(listed?.id as string)
    expect(await handler.read(listed?.id as string)).toBeUndefined()
  })

  test('stores a session when something is set, not before', async () => {
    const { handler, jar } = openJar()
    const before = await handler.count()
    await jar.visit()
    await jar.visit((session) => session.regenerate())
    await jar.visit((session) => session.destroy())
    await jar.visit((session) => session.get('user'))
    expect(jar.header).toBeUndefined()
    expect(await handler.count()).toBe(before)
    await jar.visit((session) => session.set('user', 'ada'))
    expect(await handler.count()).toBe(before + 1)
  })

  test('stores the field and the address with the session', async () => {
    const { handler, jar } = openJar()
    const session = await jar.sessions.session(request('http://example.org/'), { address: '203.0.113.7' })
    const user = kit.id()
    session.set('user', user)
    session.field = user
    await jar.commit(session)
    const [found] = await handler.findByField(user)
    expect(found).toMatchObject({ name: 'sid', addressCreated: '203.0.113.7', data: { user } })
    expect((await jar.open()).field).toBe(user)
    // The field stays with a new id.
    await jar.visit((next) => next.regenerate())
    expect((await jar.open()).field).toBe(user)
    await handler.destroyByField(user)
    expect(await jar.visit()).toEqual({})
  })

  test('writes a change at any depth', async () => {
    const { jar } = openJar()
    await jar.visit((session) => session.set('cart', ['apple']))
    await jar.visit((session) => session.get('cart')?.push('pear'))
    expect(await jar.visit()).toEqual({ cart: ['apple', 'pear'] })
    await jar.visit((session) => session.delete('cart'))
    expect(await jar.visit()).toEqual({})
  })

  test('a repeated commit writes only new changes', async () => {
    const { handler, jar } = openJar()
    const session = await jar.open()
    session.set('user', 'ada')
    await jar.commit(session)
    const other = await jar.open()
    other.set('left', 1)
    await other.commit()
    session.set('right', 2)
    expect(await session.commit()).toBeUndefined()
    session.set('third', 3)
    await session.commit()
    expect(await jar.visit()).toEqual({ user: 'ada', left: 1, right: 2, third: 3 })
    expect((await handler.info(session.id as string))?.accesses).toBe(2)
  })

  test('property names of objects are valid keys, and the reserved key is not', async () => {
    const { jar } = openJar()
    await jar.visit((session) => {
      expect(session.get('constructor' as string)).toBeUndefined()
      session.set('__proto__', 'x')
      session.set('constructor' as string, 'y')
      expect(() => session.set('$session', {})).toThrow(/reserved/)
      expect(() => session.delete('$session')).toThrow(/reserved/)
      expect(session.get('$session')).toBeUndefined()
    })
    const session = await jar.open()
    expect([session.get('__proto__' as string), session.get('constructor')]).toEqual(['x', 'y'])
  })

  test('a cookie is renewed when a tenth of its age has passed', async () => {
    const { handler, jar } = openJar({ cookie: { maxAge: 20 } })
    await jar.visit((session) => session.set('user', 'ada'))
    await jar.visit()
    expect(jar.header).toBeUndefined()
    // The cookie contains the time of its signature.
    const later = new Jar(over(handler, { cookie: { maxAge: 1e-3 } }), jar.cookie)
    expect(await later.visit()).toEqual({ user: 'ada' })
    expect(later.header).toMatch(/^sid=/)
  })

  test('after regenerate the new id has all data, and the old id for a short time the earlier data', async () => {
    const { handler, jar } = openJar()
    await jar.visit((session) => session.set('cart', ['apple']))
    const old = jar.clone()
    const before = (await jar.open()).id as string
    await jar.visit((session) => {
      session.regenerate()
      session.set('user', 'ada')
    })
    expect(jar.header).toBeDefined()
    expect((await jar.open()).id).not.toBe(before)
    expect(await jar.visit()).toEqual({ cart: ['apple'], user: 'ada' })
    expect(await old.visit()).toEqual({ cart: ['apple'] })
    // A new request with the old id changes nothing in the session and gets no cookie.
    await old.visit((session) => session.set('user', 'eve'))
    expect(old.header).toBeUndefined()
    expect(await jar.visit()).toEqual({ cart: ['apple'], user: 'ada' })
    // The grace period is stored in the row's data: extending the row's expiry does not extend it.
    const { data = {} } = (await handler.read(before)) ?? {}
    const ids = Object.keys(data.$session.next)
    await handler.write(before, { ...data, $session: { next: { [ids[0] as string]: Date.now() - 1 } } })
    expect(await old.visit()).toEqual({})
    expect(await jar.visit()).toEqual({ cart: ['apple'], user: 'ada' })
  })

  test('with a grace of 0 the old id has no session', async () => {
    const { handler, jar } = openJar({ grace: 0 })
    const user = kit.id()
    await jar.visit((session) => {
      session.set('cart', ['apple'])
      session.field = user
    })
    const old = jar.clone()
    const before = (await jar.open()).id as string
    await jar.visit((session) => session.regenerate())
    expect(await old.visit()).toEqual({})
    expect(await jar.visit()).toEqual({ cart: ['apple'] })
    // The row tells requests in progress the new id, and has nothing else.
    expect(Object.keys((await handler.read(before))?.data ?? {})).toEqual(['$session'])
    expect(await handler.findByField(user)).toHaveLength(1)
    // A new request with the old id starts a new session.
    await old.visit((session) => session.set('user', 'eve'))
    expect(await old.visit()).toEqual({ user: 'eve' })
    expect(await jar.visit()).toEqual({ cart: ['apple'] })
  })

  test('with a grace of 0 requests in progress still change the session under its new id', async () => {
    const { jar } = openJar({ grace: 0 })
    await jar.visit((session) => session.set('cart', ['apple']))
    const inProgress = jar.clone()
    const session = await inProgress.open()
    await jar.visit((current) => current.regenerate())
    session.set('user', 'ada')
    expect(await inProgress.commit(session)).toBeUndefined()
    expect(await jar.visit()).toEqual({ cart: ['apple'], user: 'ada' })
  })

  test('applies the changes of a request in progress to the session under its new id', async () => {
    const { jar } = openJar()
    await jar.visit((session) => {
      session.set('cart', ['apple'])
      session.set('flash', 'hello')
    })
    const inProgress = jar.clone()
    const session = await inProgress.open()
    const idle = await jar.clone().open()
    await jar.visit((current) => {
      current.regenerate()
      current.set('user', 'ada')
    })
    session.set('cart', ['apple', 'pear'])
    session.delete('flash')
    // A cookie would replace the browser's new id.
    expect(await inProgress.commit(session)).toBeUndefined()
    expect(await idle.commit()).toBeUndefined()
    expect(await jar.visit()).toEqual({ cart: ['apple', 'pear'], user: 'ada' })
  })

  test('keeps all changes that overlap a change of the id', async () => {
    const { jar } = openJar()
    for (let round = 0; round < 5; round++) {
      await jar.visit((session) => session.set(`round${round}`, 1))
      const sessions = await Promise.all(Array.from({ length: 8 }, () => jar.open()))
      for (const [index, session] of sessions.entries()) {
        session.set(`k${round}-${index}`, 1)
        if (index === 4) session.regenerate()
      }
      const committed = await Promise.all(sessions.map((session) => session.commit()))
      const cookies = committed.filter((cookie) => cookie !== undefined)
      expect(cookies).toHaveLength(1)
      jar.cookie = cookies[0]?.header.split(';')[0] as string
      const keys = sessions.map((_, index) => `k${round}-${index}`)
      expect(Object.keys(await jar.visit())).toEqual(expect.arrayContaining(keys))
    }
  })

  test.each([10, 0])(
    'a sign-out during a change of the id ends the session under both ids (grace %i)',
    async (grace) => {
      const { handler } = openJar()
      for (let round = 0; round < 12; round++) {
        const jar = new Jar(over(handler, { grace }))
        const user = kit.id()
        await jar.visit((session) => session.set('user', user))
        const [leaving, changing] = await Promise.all([jar.open(), jar.open()])
        leaving.destroy()
        changing.regenerate()
        changing.set('late', 1)
        // The delay between the two differs in each round.
        const wait = async (steps: number) => {
          for (let step = 0; step < steps; step++) await handler.read('none')
        }
        const [cookie] = await Promise.all([
          wait(round % 4).then(() => changing.commit()),
          wait(Math.floor(round / 3)).then(() => leaving.commit()),
        ])
        expect(await jar.visit()).toEqual({})
        if (cookie !== undefined)
          expect(await new Jar(jar.sessions, cookie.header.split(';')[0]).visit()).toEqual({})
        const left = await kit.query('SELECT 1 FROM php_session WHERE strpos(sess_data, $1) > 0', [user])
        expect(left).toEqual([])
      }
    },
  )

  test('with a grace of 0, the sign-out of a request from before the change of the id ends the session', async () => {
    const { jar } = openJar({ grace: 0 })
    await jar.visit((session) => session.set('user', 'ada'))
    const leaving = await jar.open()
    leaving.destroy()
    await jar.visit((session) => session.regenerate())
    await leaving.commit()
    expect(await jar.visit()).toEqual({})
  })

  test('a sign-out with either id after a change of the id ends the session under both', async () => {
    for (const by of ['old', 'new']) {
      const { jar } = openJar()
      const user = kit.id()
      await jar.visit((session) => session.set('user', user))
      const old = jar.clone()
      await jar.visit((session) => session.regenerate())
      await (by === 'old' ? old : jar).visit((session) => session.destroy())
      expect(await jar.visit()).toEqual({})
      expect(await old.visit()).toEqual({})
      expect(await kit.query('SELECT 1 FROM php_session WHERE strpos(sess_data, $1) > 0', [user])).toEqual([])
    }
  })

  test('does not restore a destroyed session, and starts another in the same request', async () => {
    const { handler, jar } = openJar()
    await jar.visit((session) => session.set('user', 'ada'))
    const late = await jar.open()
    const moving = await jar.open()
    const id = late.id as string
    await jar.visit((session) => session.destroy())
    expect(jar.header).toMatch(/^sid=; Path=\/; HttpOnly; SameSite=Lax; Max-Age=0; Secure$/)
    const gone: string[] = []
    handler.on('gone', (event) => gone.push(event.id))
    late.set('user', 'eve')
    expect(await late.commit()).toBeUndefined()
    moving.regenerate()
    moving.set('user', 'eve')
    expect(await moving.commit()).toBeUndefined()
    expect(gone).toEqual([id, id])
    expect(await handler.read(id)).toBeUndefined()
    const next = await jar.visit((session) => {
      session.set('user', 'ada')
      session.destroy()
      session.set('user', 'bob')
    })
    expect(next).toEqual({ user: 'bob' })
    expect(await jar.visit()).toEqual({ user: 'bob' })
  })

  test('a request with an expired session gets a new one', async () => {
    const { jar } = openJar()
    await jar.visit((session) => session.set('user', 'ada'))
    await expireAgo(kit, (await jar.open()).id as string, 100)
    expect(await jar.visit()).toEqual({})
  })

  test('an outage is an error, and a commit can be repeated', async () => {
    const { jar } = openJar()
    await jar.visit((session) => session.set('cart', ['apple']))
    const session = await jar.open()
    session.regenerate()
    session.set('user', 'ada')
    await kit.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')
    try {
      expect(await errorOf(jar.open())).toHaveProperty('name', 'SessionPgsqlError')
      expect(await errorOf(session.commit())).toHaveProperty('name', 'SessionPgsqlError')
    } finally {
      await kit.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')
    }
    expect(await jar.commit(session)).toBeDefined()
    expect(await jar.visit()).toEqual({ cart: ['apple'], user: 'ada' })
  })

  test('data that is not an object is an error', async () => {
    const { handler, jar } = openJar()
    await jar.visit((session) => session.set('user', 'ada'))
    await handler.write((await jar.open()).id as string, ['x'] as unknown as Data)
    expect(await errorOf(jar.open())).toHaveProperty('code', 'UNDECODABLE')
  })
})

test('rejects invalid options', () => {
  const handler = new SaveHandler({ db: 'pglite:' })
  const make = (options: object) => () => createSessions({ handler, secret: SECRET, ...options })
  for (const options of [
    { secret: undefined },
    { secret: 'short' },
    { secret: [] },
    { secret: [SECRET, ''] },
    { name: 'a b' },
    { name: '' },
    { grace: -1 },
    { gcMaxlifetime: 0 },
    { handler: {} },
    { table: 'other' },
    { cookie: { path: '/; Secure' } },
    { cookie: { sameSite: 'lax' } },
    { cookie: { sameSite: 'None', secure: false } },
    { cookie: { maxAge: 0 } },
    { name: '__Host-sid', cookie: { domain: 'example.org' } },
    { name: '__Host-sid', cookie: { path: '/app' } },
    { name: '__Host-sid', cookie: { secure: false } },
    { name: '__Secure-sid', cookie: { secure: false } },
  ]) {
    expect(make(options), JSON.stringify(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(/^[^']*option/) }),
    )
  }
})

test('keeps the type of the data', () => {
  const sessions = createSessions<{ user: string; visits: number }>({ secret: SECRET, db: 'pglite:' })
  const session = {} as Awaited<ReturnType<typeof sessions.session>>
  expectTypeOf(session.get<'visits'>).returns.toEqualTypeOf<number | undefined>()
  expectTypeOf(session.set<'user'>).parameters.toEqualTypeOf<['user', string]>()
  expectTypeOf(sessions.handler).toEqualTypeOf<SaveHandler<{ user: string; visits: number }>>()
  // The web's Request fits.
  expectTypeOf<Request>().toExtend<Parameters<typeof sessions.session>[0]>()
})
