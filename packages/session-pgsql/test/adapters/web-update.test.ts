import { expect, test } from 'vitest'
import { createSessions, type Sessions, type WebSession } from '../../src/adapters/web.ts'
import { type Data, describeHandler, errorOf, type Handler } from '../handler/kit.ts'

describeHandler('An update of a WebSession', (kit) => {
  const open = (options: { grace?: number } = {}): { handler: Handler; sessions: Sessions<Data> } => {
    const handler = kit.open({ shortCircuit: true })
    return {
      handler,
      sessions: createSessions<Data>({ secret: 'a secret for the tests', handler, ...options }),
    }
  }
  const load = (sessions: Sessions<Data>, cookie = ''): Promise<WebSession<Data>> =>
    sessions.session(new Request('http://example.org/', { headers: { cookie } }))
  /** Commits a session and returns the cookie that the browser has then. */
  const commit = async (session: WebSession<Data>, before = ''): Promise<string> =>
    (await session.commit())?.header.split(';')[0] ?? before
  const stored = async (sessions: Sessions<Data>, cookie: string): Promise<Data> =>
    (await load(sessions, cookie)).data
  const signedIn = async (sessions: Sessions<Data>, data: Data): Promise<string> => {
    const session = await load(sessions)
    for (const [key, value] of Object.entries(data)) session.set(key, value)
    return commit(session)
  }
  const count = (data: Data): number => {
    data.n = (data.n ?? 0) + 1
    return data.n
  }

  test('is stored at once and shown, and leaves to the commit what the request has set', async () => {
    const { handler, sessions } = open()
    const cookie = await signedIn(sessions, { n: 1, old: 1, cart: ['x'] })
    const session = await load(sessions, cookie)
    session.set('before', true)
    session.get('cart').push('ours')
    session.delete('old')
    expect(
      await session.update((data) => {
        expect(data).toEqual({ n: 1, old: 1, cart: ['x'] })
        data.cart.push('theirs')
        return count(data)
      }),
    ).toEqual({ outcome: 'updated', value: 2 })
    expect(session.get('n')).toBe(2)
    expect(await stored(sessions, cookie)).toEqual({ n: 2, old: 1, cart: ['x', 'theirs'] })
    session.set('after', session.get('n'))
    expect(await session.commit()).toBeUndefined()
    const data = await stored(sessions, cookie)
    expect(data).toEqual({ n: 2, before: true, after: 2, cart: expect.any(Array) })
    expect(data.cart.toSorted()).toEqual(['ours', 'theirs', 'x'])
    expect(await handler.info(session.id as string)).toMatchObject({ accesses: 2 })
  })

  test('undoes nothing of other requests, and they nothing of it', async () => {
    const { sessions } = open()
    const cookie = await signedIn(sessions, { n: 0, flash: 1 })
    const requests = await Promise.all(Array.from({ length: 20 }, () => load(sessions, cookie)))
    await Promise.all(
      requests.map(async (session, index) => {
        session.set(`before${index}`, 1)
        if (index === 7) session.delete('flash')
        await session.update(count)
        session.set(`after${index}`, 1)
        await session.commit()
      }),
    )
    const data = await stored(sessions, cookie)
    expect(data.n).toBe(20)
    expect(Object.keys(data)).toHaveLength(41)
  })

  test('stores a new session, whose cookie the commit sets, and none if the function sets nothing', async () => {
    const { handler, sessions } = open()
    const before = await handler.count()
    const empty = await load(sessions)
    expect(await empty.update(() => 7)).toEqual({ outcome: 'skipped', value: 7 })
    expect(await empty.commit()).toBeUndefined()
    expect(await handler.count()).toBe(before)
    const session = await load(sessions)
    session.set('color', 'blue')
    expect(await session.update(count)).toEqual({ outcome: 'created', value: 1 })
    expect((await handler.read(session.id as string))?.data).toEqual({ n: 1 })
    expect(await session.update(count)).toEqual({ outcome: 'updated', value: 2 })
    const cookie = await commit(session)
    expect(cookie).toMatch(/^sid=/)
    expect(await stored(sessions, cookie)).toEqual({ n: 2, color: 'blue' })
  })

  test('is gone after a destroy by another request, and starts another session after its own', async () => {
    const { handler, sessions } = open()
    const cookie = await signedIn(sessions, { n: 5 })
    const [late, own, ending] = await Promise.all([1, 2, 3].map(() => load(sessions, cookie)))
    ending?.destroy()
    await ending?.commit()
    expect(await late?.update(count)).toEqual({ outcome: 'gone', value: undefined })
    own?.destroy()
    expect(await own?.update(count)).toEqual({ outcome: 'created', value: 1 })
    expect(await stored(sessions, await commit(own as WebSession<Data>))).toEqual({ n: 1 })

    const before = await handler.count()
    const session = await load(sessions)
    await session.update((data) => {
      // While the update is in progress.
      session.destroy()
      return count(data)
    })
    expect((await session.commit())?.header).toMatch(/Max-Age=0/)
    expect(await handler.count()).toBe(before)
  })

  test('leaves the field to the commit, and keeps reserved keys', async () => {
    const { handler, sessions } = open()
    const session = await load(sessions, await signedIn(sessions, { n: 1 }))
    const user = kit.id()
    session.field = user
    await session.update((data) => ({ ...data, n: 2, $session: { ended: true } }))
    expect(await handler.info(session.id as string)).toMatchObject({ custom: null })
    await session.commit()
    expect(await handler.findByField(user)).toMatchObject([{ data: { n: 2 } }])
  })

  test('rejects with the error of the function, and stores nothing', async () => {
    const { sessions } = open()
    const cookie = await signedIn(sessions, { n: 1 })
    const session = await load(sessions, cookie)
    const own = new Error('sold out')
    const failing = session.update((data) => {
      data.n = 5
      throw own
    })
    expect(await errorOf(failing)).toBe(own)
    expect(session.get('n')).toBe(1)
    expect(await errorOf(session.update(7 as never))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  test('before a change of the id by its own request moves with the session', async () => {
    const { sessions } = open()
    const cookie = await signedIn(sessions, { n: 1 })
    const session = await load(sessions, cookie)
    await session.update(count)
    session.regenerate()
    await session.update(count)
    const next = await commit(session)
    expect(next).not.toBe(cookie)
    expect(await stored(sessions, next)).toEqual({ n: 3 })
    await session.update(count)
    expect(await stored(sessions, next)).toEqual({ n: 4 })
  })

  test('counts once under the new id, whenever another request changes the id', async () => {
    const { handler, sessions } = open()
    for (let round = 0; round < 12; round++) {
      const cookie = await signedIn(sessions, { n: 0, list: [] })
      const requests = await Promise.all(Array.from({ length: 6 }, () => load(sessions, cookie)))
      const changing = await load(sessions, cookie)
      changing.regenerate()
      changing.set('user', 'ada')
      // The delay between them differs in each round.
      const wait = async (steps: number): Promise<void> => {
        for (let step = 0; step < steps; step++) await handler.read('none')
      }
      const values: unknown[] = []
      const [next] = await Promise.all([
        wait(round % 4).then(() => commit(changing)),
        ...requests.map(async (session, index) => {
          await wait((index * round) % 7)
          session.get('list').push({ pushed: index })
          session.set(`k${index}`, 1)
          values.push((await session.update(count)).value)
          await session.commit()
        }),
      ])
      const data = await stored(sessions, next)
      expect(data.n).toBe(6)
      expect(values.toSorted()).toEqual([1, 2, 3, 4, 5, 6])
      expect(Object.keys(data)).toHaveLength(9)
      expect(data.list.map(({ pushed }: Data) => pushed).toSorted()).toEqual([0, 1, 2, 3, 4, 5])
    }
  })

  test('of a request that began before the change of the id shows and changes the session under its new id', async () => {
    const { sessions } = open()
    const cookie = await signedIn(sessions, { n: 1 })
    const [inProgress, changing] = await Promise.all([load(sessions, cookie), load(sessions, cookie)])
    changing.regenerate()
    changing.set('user', 'ada')
    const next = await commit(changing)
    const late = await load(sessions, cookie)
    inProgress.set('color', 'blue')
    expect(await inProgress.update(count)).toEqual({ outcome: 'updated', value: 2 })
    expect(inProgress.data).toEqual({ n: 2, color: 'blue', user: 'ada' })
    expect(await inProgress.commit()).toBeUndefined()
    expect(await stored(sessions, next)).toEqual({ n: 2, color: 'blue', user: 'ada' })
    // A request that began with the old id afterwards changes nothing in the session.
    expect(await late.update(count)).toEqual({ outcome: 'updated', value: 2 })
    expect(await stored(sessions, next)).toEqual({ n: 2, color: 'blue', user: 'ada' })
  })
})
