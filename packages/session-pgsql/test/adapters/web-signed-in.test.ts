import { expect, test } from 'vitest'
import { createSessions, type WebSession } from '../../src/adapters/web.ts'
import { type Data, describeHandler, type Handler, id as newId } from '../handler/kit.ts'

const SECRET = 'a secret for the tests'

/** Keeps the session's cookie as a browser does. */
class Browser {
  readonly #sessions: ReturnType<typeof createSessions<Data>>
  cookie = ''
  header: string | undefined

  constructor(handler: Handler, options: { maxAge?: number } = {}) {
    this.#sessions = createSessions<Data>({ secret: SECRET, handler, cookie: options })
  }

  open(): Promise<WebSession<Data>> {
    return this.#sessions.session(new Request('https://example.org/', { headers: { cookie: this.cookie } }))
  }

  async commit(session: WebSession<Data>): Promise<void> {
    this.header = (await session.commit())?.header
    if (this.header !== undefined) this.cookie = this.header.split(';')[0] as string
  }

  async visit(change: (session: WebSession<Data>) => unknown = () => {}): Promise<WebSession<Data>> {
    const session = await this.open()
    await change(session)
    await this.commit(session)
    return session
  }

  /** The Max-Age of the last cookie. */
  get age(): number {
    return Number(/Max-Age=(\d+)/.exec(this.header ?? '')?.[1])
  }
}

describeHandler('A signed-in session of the web adapter', (kit) => {
  const open = (options = {}) => kit.open({ shortCircuit: true, ...options })

  const login = (user: string) => (session: WebSession<Data>) => {
    session.regenerate()
    session.field = user
    session.set('user', user)
  }

  const age = (id: string | undefined, seconds: number) =>
    kit.query(
      `UPDATE php_session SET sess_began = sess_began - $2, sess_data = regexp_replace(sess_data, '"t\\d+"', '"t' ||
        floor((extract(epoch FROM clock_timestamp()) - $2) * 1000)::bigint || '"', 'g') WHERE sess_id = $1`,
      [id, seconds],
    )

  test('tells its end, which its cookie does not outlive', async () => {
    const browser = new Browser(open({ maxLifetime: 7200 }))
    const { id } = await browser.visit((session) => {
      expect(session.endsAt).toBeNull()
      session.set('a', 1)
    })
    expect(browser.age).toBeLessThanOrEqual(7200)
    expect(browser.age).toBeGreaterThan(7100)
    await age(id, 7000)
    const later = await browser.visit((session) => session.regenerate())
    expect(browser.age).toBeLessThanOrEqual(201)
    expect((later.endsAt?.getTime() ?? 0) - Date.now()).toBeLessThanOrEqual(201_000)
    await age(later.id, 300)
    expect((await browser.open()).id).toBeUndefined()
  })

  test('regenerate carries its beginning along, unless it becomes the session of another user', async () => {
    const browser = new Browser(open({ maxLifetime: 7200 }))
    const ends = (session: WebSession<Data>) =>
      Math.round(((session.endsAt?.getTime() ?? 0) - Date.now()) / 1000 / 60)
    const visited = async (change: (session: WebSession<Data>) => unknown) =>
      ends(await browser.visit(change))
    const { id } = await browser.visit((session) => session.set('a', 1))
    await age(id, 3600)
    expect(await visited((session) => session.regenerate())).toBe(60)
    expect(await visited(login('ada'))).toBe(120)
    await age((await browser.open()).id, 3600)
    expect(await visited(login('ada'))).toBe(60)
    expect(await visited(login('bob'))).toBe(120)
  })

  test('knows when its user has authenticated: across merges, updates and ids of the same user', async () => {
    const browser = new Browser(open())
    const within = async (seconds = 60) => (await browser.open()).authenticatedWithin(seconds)
    const user = newId()
    expect(await within()).toBe(false)
    await browser.visit((session) => {
      login(user)(session)
      session.authenticated()
      expect(session.authenticatedWithin(1)).toBe(true)
      expect(session.data).toEqual({ user })
    })
    expect(await within()).toBe(true)
    await age((await browser.open()).id, 120)
    expect([await within(), await within(180)]).toEqual([false, true])
    const [one, two, three] = [await browser.open(), await browser.open(), await browser.open()]
    one.authenticated()
    two.set('b', 1)
    three.authenticated()
    await one.commit()
    await two.commit()
    await three.commit()
    await browser.visit((session) => session.update((data) => ({ ...data, c: 1 })))
    expect((await browser.open()).data).toEqual({ user, b: 1, c: 1 })
    expect(await within()).toBe(true)
    // A request in progress with the old id confirms the password while the id changes.
    await age((await browser.open()).id, 120)
    const late = await browser.open()
    await browser.visit((session) => session.regenerate())
    expect(await within()).toBe(false)
    late.authenticated()
    await late.commit()
    expect(await within()).toBe(true)
    await browser.visit(login(user))
    expect(await within()).toBe(true)
    await browser.visit(login(newId()))
    expect(await within()).toBe(false)
    await browser.visit((session) => {
      session.authenticated()
      session.destroy()
      session.set('a', 1)
    })
    expect(await within()).toBe(false)
    const session = await browser.open()
    for (const key of ['$authenticated', '$session']) {
      expect(() => session.set(key, { t1: true })).toThrow(/reserved/)
      expect(session.get(key)).toBeUndefined()
    }
    expect(() => session.authenticatedWithin(0)).toThrow(/seconds above 0/)
  })

  test('limit commits it, ends the oldest sessions of the user, and counts a changing id once', async () => {
    const handler = open()
    const user = newId()
    const browsers = Array.from({ length: 3 }, () => new Browser(handler))
    for (const browser of browsers) await age((await browser.visit(login(user))).id, 60)
    const [first, second, third] = browsers as [Browser, Browser, Browser]
    // Its old id is stored for ten more seconds.
    await first.visit(async (session) => {
      session.regenerate()
      expect(await session.limit(2)).toBe(1)
    })
    expect(first.header).toBeDefined()
    const alive = async (browser: Browser) => (await browser.open()).id !== undefined
    expect(await alive(first)).toBe(true)
    expect([await alive(second), await alive(third)].filter(Boolean)).toHaveLength(1)
    const fourth = new Browser(handler)
    await fourth.visit(login(user))
    expect(await (await fourth.open()).limit(1)).toBeGreaterThan(0)
    expect([await alive(first), await alive(second), await alive(third), await alive(fourth)]).toEqual([
      ...[false, false, false, true],
    ])
    const session = await new Browser(handler).open()
    await expect(session.limit(1)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('endOthers ends all other sessions of the user', async () => {
    const handler = open()
    const user = newId()
    const [one, two] = [new Browser(handler), new Browser(handler)]
    await one.visit(login(user))
    await two.visit(login(user))
    await two.visit(async (session) => {
      session.regenerate()
      expect(await session.endOthers()).toBe(1)
    })
    expect((await one.open()).id).toBeUndefined()
    expect((await two.open()).data).toEqual({ user })
    await expect((await one.open()).endOthers()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})
