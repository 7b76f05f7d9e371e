import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, expect, test } from 'vitest'
import type { ConflictFunction, SaveHandler, SaveHandlerOptions, SessionRecord } from '../../src/index.ts'
import { queryNow } from '../support/query-now.ts'
import { eventually } from '../support/wait.ts'
import { type Data, severalServers } from './kit.ts'

/** Several entries of `db`: real independent servers with real faults. */
describe('sessions sharded over three servers', () => {
  const { servers, server, handlerOf, idsOf, idOf, places, isDown, proxyTo, startAgain } = severalServers()

  test('stores each session on its home server, and every method of the handler finds it there', async () => {
    const sessions = handlerOf()
    await sessions.open()
    const ids = ['a', 'b', 'c'].flatMap((name) => idsOf(name, 5))
    const records = await Promise.all(
      ids.map(async (id, n) => (await sessions.write(id, { n }, { base: null, custom: 'sharded' })).session),
    )
    for (const [index, id] of ids.entries()) {
      expect(await places(id)).toEqual([['a', 'b', 'c'][Math.floor(index / 5)]])
    }
    expect((await sessions.write(ids[0] as string, { n: 'new' }, { base: records[0] })).outcome).toBe(
      'updated',
    )
    expect((await sessions.read(ids[0] as string))?.data).toEqual({ n: 'new' })
    expect(await sessions.count({ field: 'sharded' })).toBe(15)
    const seen: string[] = []
    for (let after: string | undefined, page = 0; page === 0 || after !== undefined; page++) {
      const listed = await sessions.list({ field: 'sharded', limit: 4, order: 'id', after })
      expect(listed.length).toBeLessThanOrEqual(4)
      seen.push(...listed.map(({ id }) => id))
      after = listed.next
    }
    expect(seen).toEqual([...ids].sort())
    expect(await sessions.destroy(ids[1] as string)).toBe(true)
    expect(await sessions.read(ids[1] as string)).toBeUndefined()
    expect(await sessions.validateId(ids[1] as string)).toBe(false)
    expect((await sessions.findByField('sharded')).length).toBe(14)
    expect(await sessions.destroyByField('sharded')).toBe(14)
    expect(await sessions.count({ field: 'sharded' })).toBe(0)
    expect(sessions.status().servers.map(({ share }) => share)).toEqual([1 / 3, 1 / 3, 1 / 3])
  })

  test.each([
    ['the home server', 40, 7],
    ['the fallback server', 7, 40],
  ])('a failback counts on from the greater version, which %s has', async (_, atHome, atFallback) => {
    const toA = await proxyTo('a')
    const sessions = handlerOf({}, [toA.port])
    const id = idOf('a')
    const base = (await sessions.write(id, { n: 1 }, { base: null })).session
    await toA.refuse()
    toA.drop()
    await sessions.write(id, { n: 2 }, { base })
    const fallback = (await places(id)).find((name) => name !== 'a') as string
    const set = 'UPDATE php_session SET sess_version = $1 WHERE sess_id = $2'
    await server('a').query(set, [atHome, id])
    await server(fallback).query(set, [atFallback, id])
    await toA.resume()
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    const [row] = await server('a').query(
      'SELECT sess_version::int AS version FROM php_session WHERE sess_id = $1',
      [id],
    )
    expect(row).toEqual({ version: 41 })
    expect((await sessions.write(id, { n: 3 }, { base })).outcome).toBe('merged')
  })

  test('continues on the fallback server within the same request when a server dies, and moves its rows back later', async () => {
    const sessions = handlerOf()
    const down: string[] = []
    sessions.on('serverDown', ({ server }) => down.push(server))
    const ids = idsOf('a', 20)
    const [touched, written, destroyed, ...others] = ids as [string, string, string, ...string[]]
    const records = new Map(
      await Promise.all(
        ids.map(async (id) => [id, (await sessions.write(id, { old: 1 }, { base: null })).session] as const),
      ),
    )
    await server('a').kill9()

    // Concurrently, and none fails.
    const results = await Promise.all(
      others.map((id, n) =>
        sessions.write(id, { old: 1, n }, { base: records.get(id), errors: { errors: 1 } }),
      ),
    )
    expect(results.map(({ outcome }) => outcome)).toEqual(others.map(() => 'updated'))
    expect(down).toEqual(['a'])
    expect(isDown(sessions, 'a')).toBe(true)
    const again = await sessions.write(
      written,
      { old: 1, twice: 1 },
      { base: (await sessions.write(written, { old: 1, once: 1 }, { base: records.get(written) })).session },
    )
    expect(again.outcome).toBe('updated')
    expect(await sessions.touch(touched, { base: records.get(touched), custom: 'me' })).toBe(true)
    expect((await sessions.read(touched))?.custom).toBe('me')
    await sessions.destroy(destroyed)
    expect(await sessions.read(destroyed)).toBeUndefined()
    const fresh = idOf('a')
    expect((await sessions.write(fresh, { fresh: true }, { base: null })).outcome).toBe('created')
    expect((await sessions.read(fresh))?.data).toEqual({ fresh: true })
    // A session that the fallback server does not have reads as absent, as in session_pgsql.
    expect(await sessions.read(idOf('a'))).toBeUndefined()

    await startAgain(sessions, 'a')
    for (const [n, id] of others.entries()) {
      expect(await sessions.read(id)).toMatchObject({ data: { old: 1, n }, accesses: 2, errors: 1 })
      expect(await places(id)).toEqual(['a'])
    }
    expect((await sessions.read(written))?.data).toEqual({ old: 1, twice: 1 })
    expect(await sessions.read(touched)).toMatchObject({ data: { old: 1 }, custom: 'me', accesses: 2 })
    expect((await sessions.read(fresh))?.data).toEqual({ fresh: true })
    expect(await places(fresh)).toEqual(['a'])
    expect(await sessions.read(destroyed)).toBeUndefined()
    expect((await sessions.write(destroyed, { back: 1 }, { base: records.get(destroyed) })).outcome).toBe(
      'gone',
    )
    expect(
      sessions.status().servers.reduce((sum, { homecoming }) => sum + (homecoming?.brought ?? 0), 0),
    ).toBeGreaterThan(18)
  })

  test.each(['absent', 'error'] as const)(
    'updates that overlap continue on the fallback server from a record, with whenHomeIsDown: %s',
    async (whenHomeIsDown) => {
      const sessions = handlerOf({ whenHomeIsDown })
      const id = idOf('a')
      const gone = idOf('a')
      const { session: base } = await sessions.write(id, { n: 1 }, { base: null })
      const { session: old } = await sessions.write(gone, { n: 1 }, { base: null })
      await sessions.destroy(gone)
      await server('a').kill9()
      const add = (data: Data): void => {
        data.n = Number(data.n) + 1
      }
      const updates = Array.from({ length: 10 }, () => sessions.update(id, add, { base }))
      expect(new Set((await Promise.all(updates)).map(({ outcome }) => outcome))).toEqual(
        new Set(['updated']),
      )
      expect((await sessions.read(id))?.data).toEqual({ n: 11 })
      await startAgain(sessions, 'a')
      expect((await sessions.update(id, add, { base })).outcome).toBe('updated')
      expect(await sessions.read(id)).toMatchObject({ data: { n: 12 }, accesses: 12 })
      expect((await sessions.update(gone, add, { base: old })).outcome).toBe('gone')
    },
  )

  test.each(['write', 'update'])(
    'a request that read a later version than the row of the fallback server was made from loses nothing of it: %s',
    async (method) => {
      const sessions = handlerOf()
      const id = idOf('a')
      const { session: earlier } = await sessions.write(id, { n: 1 }, { base: null })
      const cart = ['x']
      const { session: later } = await sessions.write(
        id,
        { n: 1, cart, kept: 1 },
        { base: earlier, custom: 'ada' },
      )
      await server('a').kill9()
      await sessions.write(id, { n: 1, early: true }, { base: earlier, errors: { errors: 1 } })
      const { session } =
        method === 'write'
          ? await sessions.write(id, { n: 1, cart: [...cart, 'y'], kept: 1 }, { base: later })
          : await sessions.update(id, (data) => void (data.cart as string[]).push('y'), { base: later })
      const expected = {
        ...{ data: { n: 1, early: true, cart: ['x', 'y'], kept: 1 } },
        ...{ custom: 'ada', accesses: 4, errors: 1 },
      }
      expect(session).toMatchObject(expected)
      expect(await sessions.touch(id, { base: later })).toBe(true)
      await startAgain(sessions, 'a')
      expect(await sessions.read(id)).toMatchObject({ ...expected, accesses: 5 })
      expect(await places(id)).toEqual(['a'])
    },
  )

  /** What a process that does not reach home server `a` has read and written, and another one can move home. */
  async function writtenCutOff(last: Data) {
    const proxy = await proxyTo('a')
    const cutOff = handlerOf({}, [proxy.port])
    const others = handlerOf()
    const id = idOf('a')
    const { session: first } = await cutOff.write(id, { n: 1 }, { base: null })
    await proxy.refuse()
    proxy.drop()
    const { session: second } = await cutOff.write(id, { n: 1, k: 1 }, { base: first })
    const { session: third } = await cutOff.write(id, last, { base: second })
    const moveHome = () =>
      eventually(async () => {
        await others.read(id)
        expect(await places(id)).toEqual(['a'])
      })
    return { proxy, cutOff, others, id, first, second, third, moveHome }
  }

  describe.each(['write', 'update'] as const)(
    'a record of a row that another process has moved home meanwhile: %s',
    (method) => {
      const changeWith = (handler: SaveHandler<Data>, id: string, base: SessionRecord<Data> | undefined) =>
        method === 'write'
          ? handler.write(id, { ...base?.data, k: 2 }, { base })
          : handler.update(id, (data) => void Object.assign(data, { k: 2 }), { base })

      test.each(['one after the other', 'at once'])(
        'loses nothing although another row was made from an older record: %s',
        async (when) => {
          const written = await writtenCutOff({ n: 1, k: 1, m: 1 })
          const { proxy, cutOff, others, id, first, third } = written
          await written.moveHome()
          const early = cutOff.write(id, { n: 1, early: true }, { base: first })
          if (when === 'one after the other') await early
          const change = () => changeWith(cutOff, id, third)
          // Its record has what the row lacks, and nothing tells what the row has deleted.
          await expect(change()).rejects.toMatchObject({ code: 'SERVER_DOWN', outcomeUnknown: false })
          await early
          await proxy.resume()
          await eventually(async () => expect((await change()).session?.data).toMatchObject({ k: 2 }))
          const data = { n: 1, k: 2, m: 1, early: true }
          expect((await cutOff.read(id))?.data).toEqual(data)
          expect((await others.read(id))?.data).toEqual(data)
          expect(await places(id)).toEqual(['a'])
        },
      )

      test('adds what it has to a row that was made from an older record of the same row', async () => {
        const { proxy, cutOff, others, id, second, third, moveHome } = await writtenCutOff({ n: 1, m: 1 })
        await moveHome()
        await cutOff.write(id, { n: 1, k: 1, early: true }, { base: second })
        const { session } = await changeWith(cutOff, id, third)
        const data = { n: 1, k: 2, m: 1, early: true }
        expect(session?.data).toEqual(data)
        expect((await changeWith(cutOff, id, second)).session?.data).toEqual(data)
        await proxy.resume()
        await eventually(async () => {
          expect((await others.read(id))?.data).toEqual(data)
          expect(await places(id)).toEqual(['a'])
        })
      })
    },
  )

  test.each(['the same row', 'the home server'])(
    'a write that loses two rounds, and then its row to the home server, adds what it has to the next row, if that is of a record of %s',
    async (origin) => {
      const { proxy, cutOff, id, first, second, third, moveHome } = await writtenCutOff({ n: 1, m: 1 })
      let rounds = 0
      // Its type does not say so, but a promise is awaited: here for acting between two rounds.
      const conflict: object = async (ours: Data, theirs: Data) => {
        if (++rounds === 1) await cutOff.write(id, { n: 1, m: 1, l: 1 }, { base: third })
        if (rounds === 2) {
          await moveHome()
          const base = origin === 'the same row' ? second : first
          await cutOff.write(id, { ...base?.data, early: true }, { base })
        }
        return { ...theirs, ...ours }
      }
      const merging = handlerOf({ conflict: conflict as ConflictFunction<Data> }, [proxy.port])
      const writing = merging.write(id, { n: 1, k: 2 }, { base: second })
      const data = { n: 1, k: 2, m: 1, l: 1 }
      if (origin === 'the same row') {
        expect((await writing).session?.data).toEqual({ ...data, early: true })
      } else {
        await expect(writing).rejects.toMatchObject({ code: 'SERVER_DOWN', outcomeUnknown: false })
        await proxy.resume()
        await eventually(() => merging.write(id, { n: 1, k: 2 }, { base: second }))
      }
      await proxy.resume()
      await moveHome()
      expect((await cutOff.read(id))?.data).toEqual({ ...data, early: true })
    },
  )

  test('an update that loses two rounds applies its function under the row lock, at home and on the fallback server', async () => {
    const sessions = handlerOf()
    const id = idOf('a')
    /** Updates the session, which another program changes during the first two calls of the function. */
    async function contended(base?: SessionRecord<Data>) {
      const [place = ''] = await places(id)
      let calls = 0
      const { outcome, value } = await sessions.update(
        id,
        (data) => {
          if (++calls < 3)
            queryNow(
              server(place).url(),
              `UPDATE php_session SET sess_data = '{"n":${calls * 10}}' WHERE sess_id = '${id}'`,
            )
          data.n = Number(data.n) + 1
          return data.n
        },
        { base },
      )
      return [place, outcome, value, calls]
    }
    await sessions.write(id, { n: 0 }, { base: null })
    expect(await contended()).toEqual(['a', 'updated', 21, 3])
    const base = await sessions.read(id)
    await server('a').kill9()
    await sessions.write(id, { n: 22 }, { base })
    expect(await contended(await sessions.read(id))).toEqual([
      expect.stringMatching(/^[bc]$/),
      'updated',
      21,
      3,
    ])
    await startAgain(sessions, 'a')
    expect((await sessions.read(id))?.data).toEqual({ n: 21 })
  })

  test('with whenHomeIsDown: "error", rejects for a session that no fallback server has', async () => {
    const sessions = handlerOf({ whenHomeIsDown: 'error' })
    const id = idOf('b')
    const record = (await sessions.write(id, { a: 1 }, { base: null })).session
    await server('b').stop('fast')
    const asked: (() => Promise<unknown>)[] = [
      () => sessions.read(id),
      () => sessions.touch(id),
      () => sessions.setField(id, 'me'),
      () => sessions.addError(id),
      () => sessions.write(id, { a: 2 }, { base: 'existing' }),
    ]
    for (const ask of asked) await expect(ask()).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    await sessions.write(id, { a: 2 }, { base: record })
    for (const ask of asked.slice(0, 4)) expect(await ask()).toBeTruthy()
    expect((await sessions.read(id))?.data).toEqual({ a: 2 })
    await server('b').start()
    await eventually(async () => expect(await places(id)).toEqual(['b']))
    expect((await sessions.read(id))?.data).toEqual({ a: 2 })
  })

  test.each<[string, SaveHandlerOptions<Data>['conflict'], Data, string[]]>([
    ['overwrite', 'overwrite', { n: 2, ours: 1 }, []],
    ['error', 'error', { n: 2, ours: 1, theirs: 1 }, ['CONFLICT']],
    [
      'a function',
      (ours, theirs, base) => ({ sum: [ours, theirs, base].map((data) => data?.n) }),
      { sum: [2, 3, 1] },
      [],
    ],
    [
      'a function that fails',
      () => {
        throw new Error('no')
      },
      { n: 2, ours: 1, theirs: 1 },
      ['CONFLICT'],
    ],
  ])('failback resolves a conflict with the option `conflict`: %s', async (_, conflict, settled, codes) => {
    const proxy = await proxyTo('a')
    const sessions = handlerOf({ conflict }, [proxy.port])
    const errors: string[] = []
    sessions.on('error', (error) => errors.push((error as Error & { code: string }).code))
    const id = idOf('a')
    const { session } = await sessions.write(id, { n: 1 }, { base: null })
    await proxy.refuse()
    proxy.drop()
    await sessions.write(id, { n: 2, ours: 1 }, { base: session })
    // The change of a process that could reach the home server all the time.
    await server('a').query(`UPDATE php_session SET sess_data = '{"n":3,"theirs":1}' WHERE sess_id = $1`, [
      id,
    ])
    await proxy.resume()
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    expect((await sessions.read(id))?.data).toEqual(settled)
    expect(errors.filter((code) => code === 'CONFLICT')).toEqual(codes)
  })

  test('destroyByField names the servers that it could not reach', async () => {
    const sessions = handlerOf()
    const ids = ['a', 'b', 'c'].map(idOf)
    for (const id of ids) await sessions.write(id, {}, { base: null, custom: 'someone' })
    await server('b').kill9()
    await expect(sessions.destroyByField('someone')).rejects.toMatchObject({
      code: 'SERVER_DOWN',
      message: expect.stringMatching(/Destroyed 2 sessions.*: b\./),
    })
    await server('b').start()
    await eventually(async () => expect(await sessions.destroyByField('someone')).toBe(1))
  })

  test('reports a failover and a failback by events, on diagnostics channels and in status()', async () => {
    const sessions = handlerOf()
    const events: [string, object][] = []
    const published: [string, object][] = []
    const stops: (() => void)[] = []
    for (const name of ['serverDown', 'serverUp', 'failover', 'broughtHome'] as const) {
      sessions.on(name, (event: object) => events.push([name, event]))
      const onMessage = (message: unknown): void => {
        const { handler, ...about } = message as { handler: object }
        if (handler === sessions) published.push([name, about])
      }
      subscribe(`session-pgsql:${name}`, onMessage)
      stops.push(() => unsubscribe(`session-pgsql:${name}`, onMessage))
    }
    try {
      const id = idOf('b')
      const { session } = await sessions.write(id, { n: 1 }, { base: null })
      const statusOf = (name: string) => sessions.status().servers.find((one) => one.name === name)
      expect(statusOf('b')).toMatchObject({ health: 'up', errors: 0, lastError: undefined })
      const begun = Date.now()
      await server('b').kill9()
      await sessions.write(id, { n: 2 }, { base: session })
      expect(statusOf('b')).toMatchObject({ health: 'down', lastError: expect.any(String) })
      expect(statusOf('b')?.since.getTime()).toBeGreaterThanOrEqual(begun)
      expect(statusOf('b')?.errors).toBeGreaterThan(0)
      const [fallback] = (await places(id)).filter((name) => name !== 'b') as [string]
      await server('b').start()
      const started = Date.now()
      await eventually(async () => {
        expect(isDown(sessions, 'b')).toBe(false)
        expect(events.map(([name]) => name)).toContain('broughtHome')
      })
      expect(events).toEqual([
        ['serverDown', { server: 'b', error: expect.objectContaining({ code: expect.any(String) }) }],
        ['failover', { from: 'b', to: fallback }],
        ['serverUp', { server: 'b' }],
        ['broughtHome', { id, from: fallback, to: 'b', outcome: 'brought' }],
      ])
      // The channels publish the same events without the id.
      expect(published).toEqual(
        events.map(([name, event]) => {
          const { id: _, ...about } = event as { id?: string }
          return [name, about]
        }),
      )
      expect(statusOf('b')).toMatchObject({ health: 'up', lastError: expect.any(String) })
      // A probe may succeed before start() resolves.
      expect(statusOf('b')?.since.getTime()).toBeGreaterThan(started - 10_000)
      expect(statusOf('b')?.since.getTime()).toBeGreaterThan(begun)
    } finally {
      for (const stop of stops) stop()
    }
  })

  test('GC sweeps the other servers when one is down, and reports that one', async () => {
    const sessions = handlerOf()
    const errors: Error[] = []
    const swept: { server: string; removed: number }[] = []
    sessions.on('error', (error) => errors.push(error))
    sessions.on('gc', ({ server: name, removed }) => swept.push({ server: name, removed }))
    const ids = ['a', 'b', 'c'].flatMap((name) => idsOf(name, 2))
    for (const id of ids) await sessions.write(id, {}, { base: null })
    await sessions.gc()
    swept.length = 0
    for (const one of servers.slice(0, 3)) {
      await one.query('UPDATE php_session SET sess_expire = 1, sess_sweep = 0 WHERE sess_id = ANY($1)', [ids])
    }
    await server('b').kill9()
    expect(await sessions.gc()).toBe(4)
    expect(swept.sort((one, other) => one.server.localeCompare(other.server))).toEqual([
      { server: 'a', removed: 2 },
      { server: 'c', removed: 2 },
    ])
    expect(errors).toEqual([expect.objectContaining({ code: 'SERVER_DOWN' })])
    for (const [n, id] of ids.entries()) {
      if (n !== 2 && n !== 3) expect(await places(id)).toEqual([])
    }
    await server('b').start()
    expect(await eventually(() => sessions.gc())).toBe(2)
  })

  test('finds sessions on their former home server after a fourth was added, and moves them', async () => {
    const three = handlerOf()
    const ids = idsOf('d', 10, 4)
    for (const [n, id] of ids.entries()) await three.write(id, { n }, { base: null })
    const four = handlerOf({}, [], 4)
    for (const [n, id] of ids.slice(0, 9).entries()) {
      expect(await four.read(id)).toMatchObject({ data: { n }, accesses: 1 })
      expect(await places(id)).toEqual(['d'])
    }
    const last = ids[9] as string
    expect(await four.touch(last)).toBe(true)
    expect(await four.destroy(last)).toBe(true)
    expect(await four.read(last)).toBeUndefined()
  })

  test('finds the sessions of the only server after three were added at once', async () => {
    const ids = idsOf('a', 5, 4, 3)
    const one = handlerOf({}, [], 1)
    for (const [n, id] of ids.entries()) await one.write(id, { n }, { base: null })
    const four = handlerOf({}, [], 4)
    for (const [n, id] of ids.entries()) expect((await four.read(id))?.data).toEqual({ n })
  })

  test('rejects a list of servers in which every entry has weight=0', () => {
    expect(() => handlerOf({ db: ['host=h name=x weight=0', 'host=h name=y weight=0'] })).toThrow('weight=0')
  })

  test('failoverMode stores every session on the first server that is up', async () => {
    const sessions = handlerOf({ failoverMode: true })
    const ids = ['a', 'b', 'c'].map(idOf)
    for (const id of ids) await sessions.write(id, { v: 1 }, { base: null })
    for (const id of ids) expect(await places(id)).toEqual(['a'])
    await server('a').kill9()
    for (const id of ids) await sessions.write(id, { v: 2 })
    for (const id of ids) expect(await places(id)).toEqual(['b'])
    await server('a').start()
    await eventually(async () => {
      for (const id of ids) expect(await places(id)).toEqual(['a'])
    })
    for (const id of ids) expect((await sessions.read(id))?.data).toEqual({ v: 2 })
  })
})
