import { describe, expect, test } from 'vitest'
import { SaveHandler, type SessionRecord } from '../../src/index.ts'
import { eventually, until } from '../support/wait.ts'
import { type Data, severalServers } from './kit.ts'

/** Operations that must find the session, by name. */
const operations: Record<string, (sessions: SaveHandler<Data>, id: string) => Promise<unknown>> = {
  read: (sessions, id) => sessions.read(id),
  touch: (sessions, id) => sessions.touch(id),
  setField: (sessions, id) => sessions.setField(id, 'field'),
  getField: (sessions, id) => sessions.getField(id),
  addError: (sessions, id) => sessions.addError(id),
  info: (sessions, id) => sessions.info(id),
  getErrors: (sessions, id) => sessions.getErrors(id),
  validateId: (sessions, id) => sessions.validateId(id),
  update: async (sessions, id) => (await sessions.update(id, (data) => data.n)).value,
  "write with base: 'existing'": async (sessions, id) =>
    (await sessions.write(id, { n: 2 }, { base: 'existing' })).session,
  destroy: (sessions, id) => sessions.destroy(id),
}

/** When several servers may answer that a session does not exist, and that it exists. */
describe('absent, with several servers', () => {
  const { server, servers, handlerOf, idsOf, idsRanked, places, fallbackRows, isDown, proxyTo } =
    severalServers()

  const callsOf = (sessions: SaveHandler<Data>, at: number): number =>
    sessions.status().servers[at]?.calls as number

  test.each(Object.entries(operations))(
    '%s finds a session that another process moves home after home was asked and before the fallback server is',
    async (_, operation) => {
      const [toA, toB] = [await proxyTo('a'), await proxyTo('b')]
      const [id] = idsRanked(['a', 'b'], 1) as [string]
      const late = handlerOf({}, [undefined, toB.port])
      const mover = handlerOf()
      const cut = handlerOf({}, [toA.port])
      await Promise.all([late, mover, cut].map((one) => one.open()))
      await toA.refuse()
      toA.drop()
      await cut.write(id, { n: 1 }, { base: null, custom: 'field' })
      expect(await places(id)).toEqual(['b'])

      const before = callsOf(late, 1)
      toB.silence()
      const found = operation(late, id)
      await until(() => callsOf(late, 1) > before, 'the fallback server to be asked')
      expect((await mover.read(id))?.data).toEqual({ n: 1 })
      await toB.resume()
      expect(await found).toBeTruthy()
    },
  )

  test('a write without a base replaces the session that a fallback server still has', async () => {
    const toA = await proxyTo('a')
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    const late = handlerOf()
    const cut = handlerOf({}, [toA.port])
    await Promise.all([late, cut].map((one) => one.open()))
    await toA.refuse()
    toA.drop()
    await cut.write(id, { n: 1, old: 1 }, { base: null })
    expect(await places(id)).toEqual(['b'])
    await late.write(id, { n: 2 })
    expect((await late.read(id))?.data).toEqual({ n: 2 })
    await toA.resume()
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    expect((await late.read(id))?.data).toEqual({ n: 2 })
  })

  test('a process that has seen a server down reads no destroyed session there when it is back', async () => {
    const toA = await proxyTo('a')
    const sessions = handlerOf({}, [toA.port])
    const ids = [...idsRanked(['a', 'b'], 20), ...idsRanked(['a', 'c'], 20)]
    await Promise.all(ids.map((id) => sessions.write(id, { n: 1 }, { base: null })))
    await toA.refuse()
    toA.drop()
    await Promise.all(ids.map((id) => sessions.destroy(id)))
    const read = new Promise<(SessionRecord<Data> | undefined)[]>((resolve) =>
      sessions.once('serverUp', () => resolve(Promise.all(ids.map((id) => sessions.read(id))))),
    )
    await toA.resume()
    expect((await read).filter((session) => session !== undefined)).toEqual([])
  })

  test('a process that starts when a server is back reads no session there that was destroyed meanwhile', async () => {
    const toA = await proxyTo('a')
    const sessions = handlerOf({}, [toA.port])
    const ids = idsRanked(['a', 'b'], 2)
    const records = await Promise.all(
      ids.map(async (id) => (await sessions.write(id, { n: 1 }, { base: null })).session),
    )
    await toA.refuse()
    toA.drop()
    await sessions.destroy(ids[0] as string)
    await sessions.write(ids[1] as string, { n: 2 }, { base: records[1] })
    await sessions.close()
    const fresh = handlerOf()
    const read = await Promise.all(ids.map((id) => fresh.read(id)))
    expect(read.map((session) => session?.data)).toEqual([undefined, { n: 2 }])
  })

  test('with whenHomeIsDown: "error", rejects for the sessions that an unreachable fallback server may have had, also in a new process', async () => {
    const toA = await proxyTo('a')
    const sessions = handlerOf({ whenHomeIsDown: 'error' }, [toA.port])
    const [created, destroyed, visitor] = idsRanked(['a', 'b'], 3) as [string, string, string]
    const [other] = idsRanked(['a', 'c'], 1) as [string]
    const [base, otherBase] = await Promise.all(
      [destroyed, other].map(async (id) => (await sessions.write(id, { n: 1 }, { base: null })).session),
    )
    await toA.refuse()
    toA.drop()
    await sessions.write(created, { n: 1 }, { base: null })
    await sessions.destroy(destroyed)
    await sessions.write(other, { n: 2 }, { base: otherBase })
    expect([await places(created), await places(other)]).toEqual([['b'], ['a', 'c']])

    // A rolling restart: a returns as b goes.
    await server('b').kill9()
    await toA.resume()
    await eventually(() => expect(isDown(sessions, 'a')).toBe(false))
    const error = { code: 'SERVER_DOWN', message: expect.stringMatching(/Cannot reach b,.* a,/) }
    for (const id of [created, destroyed]) {
      for (const [name, operation] of Object.entries(operations)) {
        if (name !== 'destroy') await expect(operation(sessions, id), name).rejects.toMatchObject(error)
      }
    }
    await expect(sessions.write(destroyed, { back: 1 }, { base })).rejects.toMatchObject(error)
    await expect(sessions.touch(destroyed, { base })).rejects.toMatchObject(error)
    expect((await sessions.read(other))?.data).toEqual({ n: 2 })
    expect((await sessions.write(visitor, { n: 1 }, { base: null })).outcome).toBe('created')

    const fresh = handlerOf({ whenHomeIsDown: 'error' })
    await fresh.open()
    for (const id of [created, destroyed]) await expect(fresh.read(id)).rejects.toMatchObject(error)
    const [unused] = idsRanked(['c', 'b'], 1) as [string]
    expect(await fresh.read(unused)).toBeUndefined()
    // With "absent", the home server is used.
    const lenient = handlerOf()
    await lenient.open()
    expect(await lenient.read(created)).toBeUndefined()
    expect((await lenient.read(destroyed))?.data).toEqual({ n: 1 })

    await server('b').start()
    for (const one of [sessions, fresh, lenient]) {
      await eventually(async () => expect((await one.read(created))?.data).toEqual({ n: 1 }))
      expect(await one.read(destroyed)).toBeUndefined()
    }
    expect((await sessions.write(destroyed, { back: 1 }, { base })).outcome).toBe('gone')
    await eventually(async () => expect(await fallbackRows()).toBe(0))
  })

  test('with two servers, a process that starts while the fallback server is unreachable does not know of the outage', async () => {
    const toA = await proxyTo('a')
    const sessions = handlerOf({ whenHomeIsDown: 'error' }, [toA.port], 2)
    const [id] = idsOf('a', 1, 2) as [string]
    const base = (await sessions.write(id, { n: 1 }, { base: null })).session
    await toA.refuse()
    toA.drop()
    await sessions.write(id, { n: 2 }, { base })
    await server('b').kill9()
    await toA.resume()
    await eventually(() => expect(isDown(sessions, 'a')).toBe(false))
    await expect(sessions.read(id)).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    // No third server has a note. A documented limit.
    const fresh = handlerOf({ whenHomeIsDown: 'error' }, [], 2)
    expect((await fresh.read(id))?.data).toEqual({ n: 1 })
    await server('b').start()
    await eventually(async () => expect((await fresh.read(id))?.data).toEqual({ n: 2 }))
  })

  test('a session that was destroyed at home stays destroyed although an unreachable fallback server has a later version of it', async () => {
    const toA = await proxyTo('a')
    const sessions = handlerOf({ whenHomeIsDown: 'error' }, [toA.port])
    const [changed, replaced] = idsRanked(['a', 'b'], 2) as [string, string]
    const base = (await sessions.write(changed, { n: 1 }, { base: null })).session
    await sessions.write(replaced, { n: 1 }, { base: null })
    await toA.refuse()
    toA.drop()
    await sessions.write(changed, { n: 2 }, { base })
    await sessions.destroy(replaced)
    await sessions.write(replaced, { n: 2 }, { base: null })
    await server('b').kill9()
    await toA.resume()
    await eventually(() => expect(isDown(sessions, 'a')).toBe(false))
    // Not an error: a logout must not depend on a second server.
    for (const id of [changed, replaced]) await sessions.destroy(id)
    await server('b').start()
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    for (const id of [changed, replaced]) {
      expect(await sessions.read(id)).toBeUndefined()
      expect(await places(id)).toEqual(['a (tombstone)'])
    }
  })

  test('continues with the newest version when the home server and two fallback servers go and return in turn', async () => {
    const [toA, toB] = [await proxyTo('a'), await proxyTo('b')]
    const sessions = handlerOf({}, [toA.port, toB.port])
    const [written, destroyed] = idsRanked(['a', 'b'], 2) as [string, string]
    for (const id of [written, destroyed]) await sessions.write(id, { n: 1 }, { base: null })
    await toA.refuse()
    toA.drop()
    for (const id of [written, destroyed]) await sessions.write(id, { n: 2 })
    await toB.refuse()
    toB.drop()
    await sessions.write(written, { n: 3 })
    await sessions.destroy(destroyed)
    await toB.resume()
    await eventually(() => expect(isDown(sessions, 'b')).toBe(false))
    expect((await sessions.read(written))?.data).toEqual({ n: 3 })
    expect(await sessions.read(destroyed)).toBeUndefined()
    await toA.resume()
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    expect((await sessions.read(written))?.data).toEqual({ n: 3 })
    expect(await sessions.read(destroyed)).toBeUndefined()
  })

  test('keeps both changes when two processes write a session to its fallback server at the same time', async () => {
    const [one, other] = [handlerOf(), handlerOf()]
    const ids = idsRanked(['a', 'b'], 30)
    const bases = await Promise.all(
      ids.map(async (id) => {
        await one.write(id, {}, { base: null })
        return Promise.all([one.read(id), other.read(id)])
      }),
    )
    await server('a').kill9()
    await Promise.all(
      ids.flatMap((id, n) => [
        one.write(id, { one: 1 }, { base: bases[n]?.[0] }),
        other.write(id, { other: 1 }, { base: bases[n]?.[1] }),
      ]),
    )
    for (const id of ids) expect((await one.read(id))?.data).toEqual({ one: 1, other: 1 })
    await server('a').start()
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    for (const id of ids) expect((await one.read(id))?.data).toEqual({ one: 1, other: 1 })
  })

  test('removes the notes of pending failbacks when nothing is left to move back', async () => {
    const notes = async (): Promise<number> => {
      const found = await Promise.all(
        servers
          .slice(0, 3)
          .map((one) => one.query("SELECT 1 FROM php_session WHERE sess_id LIKE 'failback %'")),
      )
      return found.flat().length
    }
    const toA = await proxyTo('a')
    const sessions = handlerOf({}, [toA.port])
    const ids = idsRanked(['a', 'b'], 3)
    for (const id of ids) await sessions.write(id, { n: 1 }, { base: null })
    await toA.refuse()
    toA.drop()
    for (const id of ids) await sessions.write(id, { n: 2 })
    expect(await notes()).toBe(1)
    expect((await sessions.list({ active: 'any', limit: 1000 })).map(({ id }) => id)).not.toContainEqual(
      expect.stringContaining('failback'),
    )
    await toA.resume()
    await eventually(async () => expect(await notes()).toBe(0))
    expect(await sessions.count()).toBeGreaterThan(0)
  })
})

describe('absent, with five servers', () => {
  const { server, handlerOf, idsOf, places } = severalServers(5)

  test.each(Object.entries(operations))(
    '%s finds a session on the last server in rank: all others are asked',
    async (name, operation) => {
      // As if the list of servers had been another one when the session was created.
      const before = new SaveHandler<Data>({ db: server('e').conninfo(), gcInterval: 0 })
      const [id] = idsOf('e', 1, 5, 4) as [string]
      await before.write(id, { n: 1 }, { custom: 'field' })
      await before.close()
      const [home, unknown] = [handlerOf({}, [], 5), `unknown-${name}`]
      expect(await places(id)).toEqual(['e'])
      expect(await operation(home, id)).toBeTruthy()
      expect(await places(id)).not.toContain('e')
      expect(await home.read(unknown)).toBeUndefined()
    },
  )
})
