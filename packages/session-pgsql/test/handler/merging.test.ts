import { expect, test } from 'vitest'
import { type Data, describeHandler, id as newId } from './kit.ts'

describeHandler('Merging lists', (kit) => {
  /** Two requests read a session, and write one after the other. */
  async function overlap(stored: Data | undefined, first: Data, second: Data): Promise<Data | undefined> {
    const [theirs, ours] = [kit.open(), kit.open()]
    const id = newId()
    if (stored !== undefined) await theirs.write(id, stored)
    const [their, our] = await Promise.all([theirs.read(id), ours.read(id)])
    await theirs.write(id, first, { base: their ?? null })
    const { outcome, session } = await ours.write(id, second, { base: our ?? null })
    expect(outcome).toBe('merged')
    expect((await theirs.read(id))?.data).toEqual(session?.data)
    return session?.data
  }

  test.each<[string, Data | undefined, Data, Data, Data]>([
    ['two pushes', { l: ['x'] }, { l: ['x', 'a'] }, { l: ['x', 'b'] }, { l: ['x', 'a', 'b'] }],
    ['a list that both created', undefined, { flash: ['a'] }, { flash: ['b'] }, { flash: ['a', 'b'] }],
    ['a push and a shift', { l: ['x', 'y'] }, { l: ['x', 'y', 'a'] }, { l: ['y'] }, { l: ['y', 'a'] }],
    ['an emptied list and a push', { flash: ['x'] }, { flash: [] }, { flash: ['x', 'b'] }, { flash: ['b'] }],
    [
      'changes of two elements',
      {
        cart: [
          { id: 1, n: 1 },
          { id: 2, n: 1 },
        ],
      },
      {
        cart: [
          { id: 1, n: 5 },
          { id: 2, n: 1 },
        ],
      },
      {
        cart: [
          { id: 1, n: 1 },
          { id: 2, n: 7 },
        ],
      },
      {
        cart: [
          { id: 1, n: 5 },
          { id: 2, n: 7 },
        ],
      },
    ],
    [
      'a revoked role and a sort',
      { roles: ['viewer', 'admin', 'editor'] },
      { roles: ['viewer', 'editor'] },
      { roles: ['admin', 'editor', 'viewer'] },
      { roles: ['editor', 'viewer'] },
    ],
    [
      'a logout that deletes a list and a push onto it',
      { user: 1, permissions: ['a'] },
      { bye: true },
      { user: 1, permissions: ['a', 'admin'] },
      { bye: true },
    ],
    [
      'a logout that sets the user to null and a change in it',
      { user: { name: 'ada', seen: 1 } },
      { user: null },
      { user: { name: 'ada', seen: 2 } },
      { user: null },
    ],
  ])('keeps %s', async (_, stored, first, second, expected) => {
    expect(await overlap(stored, first, second)).toEqual(expected)
  })

  test('loses no push of many requests that all read the same session', async () => {
    const handlers = [kit.open(), kit.open(), kit.open()]
    const id = newId()
    const base = (await kit.open().write(id, { log: ['begin', 'admin'] })).session
    const pushed = Array.from({ length: 30 }, (_, n) => `push ${n}`)
    await Promise.all(
      pushed.map(async (push, n) => {
        const sessions = handlers[n % handlers.length]
        // Every fifth has taken something out as well: it stays out, whatever is merged with whatever.
        const log = n % 5 === 0 ? ['begin', push] : ['begin', 'admin', push]
        await sessions?.write(id, { log }, { base })
      }),
    )
    const log: string[] = (await handlers[0]?.read(id))?.data.log
    expect(log[0]).toBe('begin')
    expect(log.toSorted()).toEqual(['begin', ...pushed].toSorted())
  })

  test('merges what a request changed since its last write, not what it was merged with', async () => {
    const [theirs, ours] = [kit.open(), kit.open()]
    const id = newId()
    const base = (await theirs.write(id, { l: ['x'] })).session
    const their = await theirs.write(id, { l: ['x', 'a'] }, { base })
    const first = await ours.write(id, { l: ['x', 'b'] }, { base })
    expect(first.session?.data).toEqual({ l: ['x', 'a', 'b'] })
    await theirs.write(id, { l: ['a'] }, { base: their.session })
    // Our object does not have 'a': it never had, so it did not remove it.
    const second = await ours.write(id, { l: ['x', 'b', 'c'] }, { base: first.session, seen: first.sent })
    expect(second.session?.data).toEqual({ l: ['a', 'b', 'c'] })
  })
})

describeHandler('Two overlapping logins', (kit) => {
  const guest = { cart: ['x'] }
  const admin = { cart: ['x'], user: 1, su: true }
  const other = { cart: ['x', 'y'], user: 2 }

  async function logins({ shortCircuit = false, isQueued = false } = {}, isNew = false) {
    const ours = kit.open({ shortCircuit })
    const theirs = isQueued ? ours : kit.open()
    const id = newId()
    const base = isNew ? null : (await ours.write(id, guest)).session
    return { ours, theirs, id, base }
  }

  test.each([
    ['of a session that exists', false, false],
    ['of a new session', false, true],
    ['that wait in one queue', true, false],
    ['of a new session, in one queue', true, true],
  ])('leave nothing of the first user to the second %s', async (_, isQueued, isNew) => {
    const { ours, theirs, id, base } = await logins({ isQueued }, isNew)
    const [first, second] = await Promise.all([
      theirs.write(id, admin, { base, custom: '1' }),
      isQueued ? ours.write(id, other, { base, custom: '2' }) : undefined,
    ])
    const later = second ?? (await ours.write(id, other, { base, custom: '2' }))
    expect([first.outcome, later.outcome]).toEqual([isNew ? 'created' : 'updated', 'updated'])
    expect(await ours.read(id)).toMatchObject({ custom: '2' })
    expect((await ours.read(id))?.data).toEqual(other)
  })

  test('leave nothing to the second while the first writes again and again', async () => {
    const { ours, theirs, id, base } = await logins({})
    let their = (await theirs.write(id, admin, { base, custom: '1' })).session
    const writing = ours.write(id, other, { base, custom: '2' })
    for (let n = 0; n < 20; n++) {
      const { session } = await theirs.write(id, { ...admin, n }, { base: their })
      if (session?.custom === '2') break
      their = session
    }
    await writing
    expect((await ours.read(id))?.custom).toBe('2')
    expect((await ours.read(id))?.data).not.toHaveProperty('su')
  })

  test('are one if it is one user', async () => {
    const { ours, theirs, id, base } = await logins({})
    await theirs.write(id, { ...guest, user: 1, theirs: 1 }, { base, custom: '1' })
    const { outcome, session } = await ours.write(id, { ...guest, user: 1, ours: 1 }, { base, custom: '1' })
    expect(outcome).toBe('merged')
    expect(session?.data).toEqual({ ...guest, user: 1, theirs: 1, ours: 1 })
  })

  test('are none if one request keeps the field: its change is merged into the login', async () => {
    const { ours, theirs, id, base } = await logins({})
    await theirs.write(id, { ...guest, user: 1 }, { base, custom: '1' })
    const { session } = await ours.write(id, { cart: ['x', 'y'] }, { base })
    expect(session).toMatchObject({ custom: '1', data: { cart: ['x', 'y'], user: 1 } })
    // Set to what it is already.
    const again = await ours.write(id, { cart: ['x', 'z'] }, { base, custom: null })
    expect(again.session?.data).toMatchObject({ user: 1 })
  })

  test('leave nothing of the first user with shortCircuit, though the second changed the field alone', async () => {
    const { ours, theirs, id, base } = await logins({ shortCircuit: true })
    await theirs.write(id, admin, { base, custom: '1' })
    const { session } = await ours.write(id, guest, { base, custom: '2' })
    expect(session).toMatchObject({ custom: '2' })
    expect((await ours.read(id))?.data).toEqual(guest)
  })

  test('are decided by a function if there is one', async () => {
    const { theirs, id, base } = await logins({})
    const ours = kit.open({ conflict: (our, their) => ({ ...their, ...our }) })
    await theirs.write(id, admin, { base, custom: '1' })
    expect(await ours.write(id, other, { base, custom: '2' })).toMatchObject({
      outcome: 'merged',
      session: { data: { ...admin, ...other } },
    })
  })
})
