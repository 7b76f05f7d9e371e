import { createCookie, createSession } from 'react-router'
import { expect, test, vi } from 'vitest'
import {
  createPgsqlSessionStorage,
  type PgsqlSessionStorageOptions,
} from '../../src/adapters/react-router.ts'
import { SaveHandler } from '../../src/index.ts'
import { describeHandler, errorOf } from '../handler/kit.ts'
import { describeGuarantees, startExample } from './guarantees.ts'

interface Visitor {
  user: string
  visits: number
  cart: string[]
}

/** The tests of each version of React Router. */
export function describeReactRouter(version: string): void {
  describeGuarantees({
    name: version,
    lifetime: 86400,
    cannot: { activity: 'A loader that commits nothing moves no expiry' },
    start: (options, pause) => startExample('react-router', options, pause),
  })

  describeHandler(version, (kit) => {
    const cookie = () => createCookie('own', { secrets: ['secret'], maxAge: 1000 })
    const openStorage = () => {
      const handler = kit.open({ shortCircuit: true })
      const storage = createPgsqlSessionStorage<Visitor, { error: string }>({ handler, cookie: cookie() })
      const idOf = async (header: string): Promise<string> => (await cookie().parse(header)) as string
      return { handler, storage, idOf }
    }

    test('returns a session without id if the row is missing', async () => {
      const { handler, storage } = openStorage()
      const chosen = await cookie().serialize('chosen')
      const session = await storage.getSession(chosen)
      expect([session.id, session.data]).toEqual(['', {}])
      session.set('user', 'ada')
      const again = await storage.getSession(await storage.commitSession(session))
      expect(again.id).not.toBe('chosen')
      expect(again.get('user')).toBe('ada')
      expect(await handler.read('chosen')).toBeUndefined()
      expect((await handler.info(again.id))?.name).toBe('own')
    })

    test('the cookie is HttpOnly, SameSite=Lax, signed with secrets, and Secure except in development', async () => {
      const commit = async (cookie: PgsqlSessionStorageOptions['cookie'], mode: string | undefined) => {
        vi.stubEnv('NODE_ENV', mode)
        const storage = createPgsqlSessionStorage({ handler: kit.open({ shortCircuit: true }), cookie })
        vi.unstubAllEnvs()
        const session = await storage.getSession()
        session.set('user', 'ada')
        const header = await storage.commitSession(session)
        expect((await storage.getSession(header)).get('user')).toBe('ada')
        return header
      }
      for (const mode of ['production', 'staging', undefined]) {
        expect(await commit(undefined, mode)).toMatch(
          /^__session=[^;.]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/,
        )
      }
      for (const mode of ['development', 'test']) {
        expect(await commit({ name: 'own' }, mode)).toMatch(/^own=[^;.]+; Path=\/; HttpOnly; SameSite=Lax$/)
      }
      expect(await commit({ secrets: ['secret'] }, 'production')).toMatch(/^__session=[^;.]+\.[^;]+; /)
      expect(await commit({ secure: undefined, httpOnly: undefined } as object, 'production')).toMatch(
        /HttpOnly; Secure/,
      )
      expect(await commit({ secure: false, httpOnly: false }, 'production')).not.toMatch(/HttpOnly|Secure/)
      expect(await commit({ secure: true }, 'development')).toMatch(/Secure/)
      // Browsers reject the names of these prefixes without Secure.
      expect(await commit({ name: '__Host-session' }, 'development')).toMatch(/HttpOnly; Secure/)
      // A cookie of the application stays as it is.
      expect(await commit(createCookie('own'), 'production')).not.toMatch(/HttpOnly|Secure/)
    })

    test('a late commit does not restore a destroyed session, and sets no cookie', async () => {
      const { handler, storage, idOf } = openStorage()
      const first = await storage.getSession()
      first.set('user', 'ada')
      const header = await storage.commitSession(first)
      const late = await storage.getSession(header)
      const cleared = await storage.destroySession(await storage.getSession(header))
      expect(cleared).toMatch(/^own=; .*Expires=Thu, 01 Jan 1970/)
      late.set('user', 'eve')
      expect(await storage.commitSession(late)).toBe('')
      expect(await handler.read(await idOf(header))).toBeUndefined()
      // Also not with a Session that the application has created.
      const made = createSession<Visitor>({ user: 'eve', visits: 0, cart: [] }, await idOf(header))
      expect(await storage.commitSession(made)).toBe('')
      expect(await handler.read(await idOf(header))).toBeUndefined()
    })

    test('destroys a session that is not stored without an error', async () => {
      const { handler, storage } = openStorage()
      const { calls } = handler.status().servers[0] ?? {}
      expect(await storage.destroySession(await storage.getSession())).toMatch(/^own=;/)
      expect(handler.status().servers[0]?.calls).toBe(calls)
    })

    test('commits one Session twice and then destroys it', async () => {
      const { handler, storage, idOf } = openStorage()
      const session = await storage.getSession()
      session.set('cart', ['apple'])
      const header = await storage.commitSession(session)
      session.set('user', 'ada')
      expect(await idOf(await storage.commitSession(session))).toBe(await idOf(header))
      expect((await storage.getSession(header)).data).toEqual({ user: 'ada', cart: ['apple'] })
      await storage.destroySession(session)
      expect(await handler.read(await idOf(header))).toBeUndefined()
    })

    test('a flash message is shown once, also if another request commits', async () => {
      const { storage } = openStorage()
      const first = await storage.getSession()
      first.flash('error', 'wrong password')
      const header = await storage.commitSession(first)
      const [showing, other] = [await storage.getSession(header), await storage.getSession(header)]
      expect(showing.get('error')).toBe('wrong password')
      other.set('cart', ['pear'])
      await storage.commitSession(showing)
      await storage.commitSession(other)
      // This request's object still has the message: a commit must not restore what another has deleted.
      other.set('user', 'ada')
      await storage.commitSession(other)
      expect((await storage.getSession(header)).data).toEqual({ user: 'ada', cart: ['pear'] })
    })

    test('writes a change at any depth', async () => {
      const { storage } = openStorage()
      const first = await storage.getSession()
      first.set('cart', ['apple'])
      const header = await storage.commitSession(first)
      const session = await storage.getSession(header)
      session.get('cart')?.push('pear')
      await storage.commitSession(session)
      expect((await storage.getSession(header)).get('cart')).toEqual(['apple', 'pear'])
    })

    const count = (data: { visits?: number }): number => {
      data.visits = (data.visits ?? 0) + 1
      return data.visits
    }

    test('an update is stored at once and shown, and leaves to the commit what the request has set', async () => {
      const { handler, storage, idOf } = openStorage()
      const first = await storage.getSession()
      first.set('cart', ['apple'])
      first.flash('error', 'once')
      const header = await storage.commitSession(first)
      const session = await storage.getSession(header)
      const cart = session.get('cart')
      cart?.push('pear')
      session.set('user', 'ada')
      expect(session.get('error')).toBe('once')
      const updated = await storage.updateSession(session, (data) => {
        expect(data).toEqual({ cart: ['apple'], __flash_error__: 'once' })
        data.cart?.push('plum')
        return count(data)
      })
      expect(updated).toEqual({ outcome: 'updated', value: 1 })
      expect((await handler.read(session.id))?.data).toEqual({
        cart: ['apple', 'plum'],
        visits: 1,
        __flash_error__: 'once',
      })
      expect(session.get('visits')).toBe(1)
      cart?.push('last')
      await storage.commitSession(session)
      const { cart: kept, ...others } = (await storage.getSession(header)).data
      expect(others).toEqual({ user: 'ada', visits: 1 })
      expect(kept?.toSorted()).toEqual(['apple', 'last', 'pear', 'plum'])
      expect(await handler.info(await idOf(header))).toMatchObject({ accesses: 2 })
    })

    test('an update stores a new session, which the commit gives its cookie, and is gone after a destroy', async () => {
      const { handler, storage, idOf } = openStorage()
      const session = await storage.getSession()
      expect(await storage.updateSession(session, () => 7)).toEqual({ outcome: 'skipped', value: 7 })
      expect(await storage.updateSession(session, count)).toEqual({ outcome: 'created', value: 1 })
      session.set('user', 'ada')
      const header = await storage.commitSession(session)
      expect((await storage.getSession(header)).data).toEqual({ visits: 1, user: 'ada' })
      const late = await storage.getSession(header)
      await storage.destroySession(await storage.getSession(header))
      expect(await storage.updateSession(late, count)).toEqual({ outcome: 'gone', value: undefined })
      expect(await handler.read(await idOf(header))).toBeUndefined()
    })

    test('an update does not make a session shorter that a commit has made longer, and not longer either', async () => {
      const { handler, storage, idOf } = openStorage()
      const header = await storage.commitSession(await storage.getSession(), { maxAge: 50_000 })
      const left = async (): Promise<number> =>
        (Number((await handler.info(await idOf(header)))?.expires) - Date.now()) / 1000
      const before = await left()
      for (let n = 0; n < 3; n++) await storage.updateSession(await storage.getSession(header), count)
      expect(Math.abs((await left()) - before)).toBeLessThan(60)
    })

    test('the row lives as long as the cookie', async () => {
      const { handler, storage, idOf } = openStorage()
      const livesFor = async (options?: { maxAge?: number; expires?: Date }) => {
        const header = await storage.commitSession(await storage.getSession(), options)
        const { expires } = (await handler.info(await idOf(header))) ?? {}
        return ((expires?.getTime() ?? 0) - Date.now()) / 1000
      }
      // A tenth is added, so that not every request needs a write.
      expect(await livesFor()).toBeGreaterThan(1090)
      expect(await livesFor()).toBeLessThan(1110)
      expect(await livesFor({ maxAge: 5000 })).toBeGreaterThan(5450)
      expect(await livesFor({ expires: new Date(Date.now() + 20_000_000) })).toBeGreaterThan(21_000)
    })

    test('an outage is an error', async () => {
      const { storage } = openStorage()
      const session = await storage.getSession()
      session.set('user', 'ada')
      const header = await storage.commitSession(session)
      await kit.query('ALTER TABLE php_session RENAME COLUMN sess_data TO away')
      try {
        expect(await errorOf(storage.getSession(header))).toHaveProperty('name', 'SessionPgsqlError')
        session.set('user', 'bob')
        expect(await errorOf(storage.commitSession(session))).toHaveProperty('name', 'SessionPgsqlError')
      } finally {
        await kit.query('ALTER TABLE php_session RENAME COLUMN away TO sess_data')
      }
      await storage.commitSession(session)
      expect((await storage.getSession(header)).get('user')).toBe('bob')
    })
  })

  test(`${version}: rejects options of a shared handler`, () => {
    const handler = new SaveHandler({ db: 'pglite:' })
    expect(() => createPgsqlSessionStorage({ handler, table: 'other' } as never)).toThrow(/option table/)
    expect(() => createPgsqlSessionStorage({ handler: {} } as never)).toThrow(/option handler/)
  })
}
