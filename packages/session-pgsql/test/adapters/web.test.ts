import { expect, expectTypeOf, test } from 'vitest'
import {
  createSessions,
  type Sessions,
  type SessionsOptions,
  type WebSession,
} from '../../src/adapters/web.ts'
import { SaveHandler } from '../../src/index.ts'
import { type Data, describeHandler, errorOf, expireAgo, type Handler } from '../handler/kit.ts'
import { describeGuarantees, type SiteOptions, startExample } from './guarantees.ts'

/** By default the id before the sign-in is answered for ten seconds more, for requests that are under way. */
const WITHIN_GRACE = 'Within the grace the old id is still answered'

describeGuarantees({
  name: 'session-pgsql/web',
  lifetime: 86400,
  offers: ['users'],
  cannot: { 'new-id': WITHIN_GRACE, 'new-id-slow': WITHIN_GRACE },
  start: (options, pause) => startExample('web', options, pause),
})

describeGuarantees({
  name: 'session-pgsql/web without grace',
  lifetime: 86400,
  only: ['new-id', 'new-id-slow', 'sign-out', 'ended-id'],
  start: (options, pause) => startExample('web', { ...options, grace: 0 } as SiteOptions, pause),
})

const SECRET = 'a secret for the tests'

interface Visitor {
  user: string
  cart: string[]
  [key: string]: unknown
}

/** Keeps the one cookie as a browser does. */
class Jar {
  readonly sessions: Sessions<Visitor>
  cookie: string
  header: string | undefined

  constructor(sessions: Sessions<Visitor>, cookie = '') {
    this.sessions = sessions
    this.cookie = cookie
  }

  open(): Promise<WebSession<Visitor>> {
    return this.sessions.session(request('https://example.org/', { cookie: this.cookie }))
  }

  async commit(session: WebSession<Visitor>): Promise<string | undefined> {
    this.header = await session.commit()
    if (this.header !== undefined) this.cookie = this.header.split(';')[0] as string
    return this.header
  }

  async visit(change: (session: WebSession<Visitor>) => void = () => {}): Promise<Data> {
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

describeHandler(
  'Sessions of the web',
  (kit) => {
    const over = (handler: Handler, options: Partial<SessionsOptions<Visitor>> = {}) =>
      createSessions<Visitor>({ secret: SECRET, handler, ...options } as SessionsOptions<Visitor>)
    const openJar = (options: Partial<SessionsOptions<Visitor>> = {}) => {
      const handler = kit.open({ shortCircuit: true })
      return { handler, jar: new Jar(over(handler, options)) }
    }

    test('a cookie is signed, HttpOnly, SameSite=Lax, and Secure where the request came by TLS', async () => {
      const { handler } = openJar()
      const give = async (url: string, options: Partial<SessionsOptions<Visitor>> = {}, headers = {}) => {
        const session = await over(handler, options).session(request(url, headers))
        session.set('user', 'ada')
        return session.commit()
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

    test('what was not signed here is no session, whatever it looks like', async () => {
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
      // One that was planted by a subdomain does not hide the real one.
      const both = new Jar(jar.sessions, `sid=planted; ${other.cookie}; ${jar.cookie}`)
      expect(await both.visit()).toEqual({ user: 'ada' })
      // Another name with the same secret is another cookie.
      const renamed = new Jar(over(handler, { name: 'sod' }), jar.cookie.replace('sid', 'sod'))
      expect(await renamed.visit()).toEqual({})
    })

    test('secrets rotate: an older one is accepted, and its cookie signed anew', async () => {
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

    test('an id that is signed and unknown is not adopted', async () => {
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

    test('a session is stored when something is set, and not before', async () => {
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

    test('the field and the address are stored with the session', async () => {
      const { handler, jar } = openJar()
      const session = await jar.sessions.session(request('http://example.org/'), { address: '203.0.113.7' })
      const user = kit.id()
      session.set('user', user)
      session.field = user
      await jar.commit(session)
      const [found] = await handler.findByField(user)
      expect(found).toMatchObject({ name: 'sid', addressCreated: '203.0.113.7', data: { user } })
      expect((await jar.open()).field).toBe(user)
      // A new id keeps it.
      await jar.visit((next) => next.regenerate())
      expect((await jar.open()).field).toBe(user)
      await handler.destroyByField(user)
      expect(await jar.visit()).toEqual({})
    })

    test('what is changed deep inside is written', async () => {
      const { jar } = openJar()
      await jar.visit((session) => session.set('cart', ['apple']))
      await jar.visit((session) => session.get('cart')?.push('pear'))
      expect(await jar.visit()).toEqual({ cart: ['apple', 'pear'] })
      await jar.visit((session) => session.delete('cart'))
      expect(await jar.visit()).toEqual({})
    })

    test('a commit may be repeated, and takes only what is new', async () => {
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

    test('keys that objects have by themselves are data, and our own key is not', async () => {
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
      // Its age is in it: signed then, it comes later.
      const later = new Jar(over(handler, { cookie: { maxAge: 1e-3 } }), jar.cookie)
      expect(await later.visit()).toEqual({ user: 'ada' })
      expect(later.header).toMatch(/^sid=/)
    })

    test('after regenerate the new id has all, and the old one shortly what it had before', async () => {
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
      // Who comes now with the old id changes nothing, and is given no cookie.
      await old.visit((session) => session.set('user', 'eve'))
      expect(old.header).toBeUndefined()
      expect(await jar.visit()).toEqual({ cart: ['apple'], user: 'ada' })
      // Nobody can keep it alive: the time is in the row, whatever its expiry is.
      const { data = {} } = (await handler.read(before)) ?? {}
      const ids = Object.keys(data.$session.next)
      await handler.write(before, { ...data, $session: { next: { [ids[0] as string]: Date.now() - 1 } } })
      expect(await old.visit()).toEqual({})
      expect(await jar.visit()).toEqual({ cart: ['apple'], user: 'ada' })
    })

    test('without grace the old id is worth nothing', async () => {
      const { handler, jar } = openJar({ grace: 0 })
      await jar.visit((session) => session.set('cart', ['apple']))
      const old = jar.clone()
      const before = (await jar.open()).id as string
      await jar.visit((session) => session.regenerate())
      expect(await old.visit()).toEqual({})
      expect(await handler.read(before)).toBeUndefined()
      expect(await jar.visit()).toEqual({ cart: ['apple'] })
    })

    test('what a request under way changes reaches the session under its new id', async () => {
      const { jar } = openJar()
      await jar.visit((session) => {
        session.set('cart', ['apple'])
        session.set('flash', 'hello')
      })
      const underWay = jar.clone()
      const session = await underWay.open()
      const idle = await jar.clone().open()
      await jar.visit((current) => {
        current.regenerate()
        current.set('user', 'ada')
      })
      session.set('cart', ['apple', 'pear'])
      session.delete('flash')
      // A cookie would take the new id away from the browser.
      expect(await underWay.commit(session)).toBeUndefined()
      expect(await idle.commit()).toBeUndefined()
      expect(await jar.visit()).toEqual({ cart: ['apple', 'pear'], user: 'ada' })
    })

    test('changes that overlap the change of the id are all there', async () => {
      const { jar } = openJar()
      for (let round = 0; round < 5; round++) {
        await jar.visit((session) => session.set(`round${round}`, 1))
        const sessions = await Promise.all(Array.from({ length: 8 }, () => jar.open()))
        for (const [index, session] of sessions.entries()) {
          session.set(`k${round}-${index}`, 1)
          if (index === 4) session.regenerate()
        }
        const headers = await Promise.all(sessions.map((session) => session.commit()))
        const given = headers.filter((header) => header !== undefined)
        expect(given).toHaveLength(1)
        jar.cookie = (given[0] as string).split(';')[0] as string
        const keys = sessions.map((_, index) => `k${round}-${index}`)
        expect(Object.keys(await jar.visit())).toEqual(expect.arrayContaining(keys))
      }
    })

    test('a sign-out while the id is changing ends it under both', async () => {
      const { handler } = openJar()
      for (let round = 0; round < 12; round++) {
        const jar = new Jar(over(handler))
        const user = kit.id()
        await jar.visit((session) => session.set('user', user))
        const [leaving, changing] = await Promise.all([jar.open(), jar.open()])
        leaving.destroy()
        changing.regenerate()
        changing.set('late', 1)
        // The one begins somewhat later than the other, by another step in each round.
        const wait = async (steps: number) => {
          for (let step = 0; step < steps; step++) await handler.read('nobody')
        }
        const [header] = await Promise.all([
          wait(round % 4).then(() => changing.commit()),
          wait(Math.floor(round / 3)).then(() => leaving.commit()),
        ])
        expect(await jar.visit()).toEqual({})
        if (header !== undefined)
          expect(await new Jar(jar.sessions, header.split(';')[0]).visit()).toEqual({})
        const left = await kit.query('SELECT 1 FROM php_session WHERE strpos(sess_data, $1) > 0', [user])
        expect(left).toEqual([])
      }
    })

    test('a sign-out after the change of the id, by whoever knows either, ends it under both', async () => {
      for (const by of ['old', 'new']) {
        const { jar } = openJar()
        const user = kit.id()
        await jar.visit((session) => session.set('user', user))
        const old = jar.clone()
        await jar.visit((session) => session.regenerate())
        await (by === 'old' ? old : jar).visit((session) => session.destroy())
        expect(await jar.visit()).toEqual({})
        expect(await old.visit()).toEqual({})
        expect(await kit.query('SELECT 1 FROM php_session WHERE strpos(sess_data, $1) > 0', [user])).toEqual(
          [],
        )
      }
    })

    test('a destroyed session does not come back, and another can begin in the same request', async () => {
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

    test('an expired session is a new one', async () => {
      const { jar } = openJar()
      await jar.visit((session) => session.set('user', 'ada'))
      await expireAgo(kit, (await jar.open()).id as string, 100)
      expect(await jar.visit()).toEqual({})
    })

    test('an outage is an error, and a commit may be tried again', async () => {
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

    test('data that is no object is an error', async () => {
      const { handler, jar } = openJar()
      await jar.visit((session) => session.set('user', 'ada'))
      await handler.write((await jar.open()).id as string, ['x'] as unknown as Data)
      expect(await errorOf(jar.open())).toHaveProperty('code', 'UNDECODABLE')
    })
  },
  'once',
)

test('options are checked', () => {
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
  ]) {
    expect(make(options), JSON.stringify(options)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringMatching(/^[^']*option/) }),
    )
  }
})

test('the type of the data is known throughout', () => {
  const sessions = createSessions<{ user: string; visits: number }>({ secret: SECRET, db: 'pglite:' })
  const session = {} as Awaited<ReturnType<typeof sessions.session>>
  expectTypeOf(session.get<'visits'>).returns.toEqualTypeOf<number | undefined>()
  expectTypeOf(session.set<'user'>).parameters.toEqualTypeOf<['user', string]>()
  expectTypeOf(sessions.handler).toEqualTypeOf<SaveHandler<{ user: string; visits: number }>>()
  // The web's own requests fit.
  expectTypeOf<Request>().toExtend<Parameters<typeof sessions.session>[0]>()
})
