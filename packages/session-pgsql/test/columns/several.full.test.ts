import { describe, expect, test } from 'vitest'
import type { SaveHandlerOptions } from '../../src/index.ts'
import { type Data, severalServers } from '../servers/kit.ts'
import { eventually, until } from '../support/wait.ts'

const columns = {
  user_id: { type: 'bigint', value: (data: Data) => data.user as number | undefined, index: true },
  total: {
    type: 'integer',
    value: ({ a = 0, b = 0 }: Data) => (a as number) + (b as number),
  },
} as const

describe('own columns, with several servers', () => {
  const { server, servers, handlerOf, idsRanked, isDown, proxyTo } = severalServers()

  let tables = 0
  /** The tables of one test, and its save handlers: with the functions, and without. */
  async function site() {
    const table = `owned${tables++}`
    const open = (options: SaveHandlerOptions<Data> = {}, ports: (number | undefined)[] = []) =>
      handlerOf({ table, columns, ...options }, ports)
    const openWithout = (ports: (number | undefined)[] = []) => open({ columns: undefined }, ports)
    const stored = async (name: string, id: string) => {
      const [row] = await server(name).query(
        `SELECT sess_data::json AS data, user_id::int AS user_id, total, sess_filled AS filled FROM ${table}
         WHERE sess_id = $1`,
        [id],
      )
      return row
    }
    const waiting = async (): Promise<number> => {
      let sum = 0
      for (const one of servers.slice(0, 3)) {
        sum += (await one.query(`SELECT 1 FROM ${table} WHERE sess_home IS NOT NULL`)).length
      }
      return sum
    }
    const moved = () => eventually(async () => expect(await waiting()).toBe(0))
    const creator = open()
    await creator.open()
    await creator.close()
    return { table, open, openWithout, stored, moved, waiting }
  }

  const FILLED = 'total,user_id'

  test('follow the data to the fallback server and back', async () => {
    const { open, stored, moved } = await site()
    const sessions = open()
    const [written, loggedOut, touched, created, replaced] = idsRanked(['a', 'b'], 5) as [
      ...[string, string, string, string, string],
    ]
    const records = new Map(
      await Promise.all(
        [written, loggedOut, touched, replaced].map(
          async (id) => [id, (await sessions.write(id, { user: 1, a: 1 }, { base: null })).session] as const,
        ),
      ),
    )
    await server('a').kill9()
    await sessions.write(written, { user: 2, a: 5 }, { base: records.get(written) })
    await sessions.write(loggedOut, { a: 1 }, { base: records.get(loggedOut) })
    await sessions.touch(touched, { base: records.get(touched) })
    await sessions.write(created, { user: 3, b: 2 }, { base: null })
    await sessions.write(replaced, { user: 4 })
    const expected: [string, object][] = [
      [written, { user_id: 2, total: 5, filled: FILLED }],
      [loggedOut, { user_id: null, total: 1, filled: FILLED }],
      [touched, { user_id: 1, total: 1, filled: FILLED }],
      [created, { user_id: 3, total: 2, filled: FILLED }],
      [replaced, { user_id: 4, total: 0, filled: FILLED }],
    ]
    for (const [id, row] of expected) expect(await stored('b', id)).toMatchObject(row)
    await server('a').start()
    await moved()
    for (const [id, row] of expected) {
      expect(await stored('a', id)).toMatchObject(row)
      expect(await stored('b', id)).toBeUndefined()
    }
    expect(await sessions.destroyWhere({ user_id: 3 })).toBe(1)
    expect(await sessions.count({ where: { user_id: null } })).toBe(1)
  })

  test('are computed from the merged data when both servers changed a session', async () => {
    const { open, stored, moved } = await site()
    const toA = await proxyTo('a')
    const [cut, whole] = [open({}, [toA.port]), open()]
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    await whole.write(id, { user: 1 }, { base: null })
    const base = await cut.read(id)
    await toA.refuse()
    toA.drop()
    await cut.write(id, { user: 1, a: 10 }, { base })
    await whole.write(id, { user: 1, b: 1 }, { base: await whole.read(id) })
    await moved()
    expect(await stored('a', id)).toEqual({
      data: { user: 1, a: 10, b: 1 },
      ...{ user_id: 1, total: 11, filled: FILLED },
    })
  })

  test('a process without the functions does not merge: it leaves the row to one that has them', async () => {
    const { open, openWithout, stored, moved, waiting } = await site()
    const toA = await proxyTo('a')
    const cut = open({}, [toA.port])
    const [id, other] = idsRanked(['a', 'b'], 2) as [string, string]
    await cut.write(id, { user: 1 }, { base: null })
    const base = await cut.read(id)
    const without = openWithout()
    const seen = await without.read(id)
    await toA.refuse()
    toA.drop()
    await cut.write(id, { user: 2, a: 10 }, { base })
    await cut.write(other, { user: 3 }, { base: null })
    await without.write(id, { user: 1, b: 1 }, { base: seen })
    // It moves what needs no merge, with the columns.
    expect((await without.read(other))?.data).toEqual({ user: 3 })
    expect(await stored('a', other)).toMatchObject({ user_id: 3, filled: FILLED })
    // It finds the row, and tries to move it: in the scan that counts it, or at the latest in the next one.
    const b = () => without.status().servers[1]
    await until(() => b()?.homecoming?.waiting === 1, 'a scan to find the row')
    const calls = b()?.calls ?? 0
    await until(() => (b()?.calls ?? 0) >= calls + 6, 'another scan')
    for (let round = 0; round < 3; round++) {
      expect((await without.read(id))?.data).toEqual({ user: 1, b: 1 })
      expect(await waiting()).toBe(1)
    }
    expect(await stored('b', id)).toMatchObject({ user_id: 2, total: 10, filled: FILLED })
    expect(await stored('a', id)).toMatchObject({ user_id: 1, total: 0, filled: null })
    await toA.resume()
    await moved()
    expect(await stored('a', id)).toEqual({
      data: { user: 2, a: 10, b: 1 },
      ...{ user_id: 2, total: 11, filled: FILLED },
    })
  })

  test('a process without the functions that brings a row up to date with what it has read leaves it unfilled', async () => {
    const { open, openWithout, stored, moved } = await site()
    const toA = await proxyTo('a')
    const [cut, cutWithout, whole] = [open({}, [toA.port]), openWithout([toA.port]), open()]
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    await whole.write(id, { user: 1 }, { base: null })
    const earlier = await cut.read(id)
    await whole.write(id, { user: 1, a: 5 }, { base: await whole.read(id) })
    const later = await cutWithout.read(id)
    await toA.refuse()
    toA.drop()
    await cut.write(id, { user: 2 }, { base: earlier })
    expect(await stored('b', id)).toMatchObject({ user_id: 2, total: 0, filled: FILLED })
    expect(await cutWithout.touch(id, { base: later })).toBe(true)
    expect(await stored('b', id)).toMatchObject({ data: { user: 2, a: 5 }, filled: null })
    await toA.resume()
    await moved()
    expect(await stored('a', id)).toMatchObject({ data: { user: 2, a: 5 } })
    expect(await whole.fillColumns({ all: true })).toBe(1)
    expect(await stored('a', id)).toMatchObject({ user_id: 2, total: 5, filled: FILLED })
  })

  test('what a process without the functions wrote to the fallback server is computed at failback, or stays unfilled', async () => {
    const { open, openWithout, stored, moved } = await site()
    const [withFunctions, without] = [open(), openWithout()]
    const [left, filled] = idsRanked(['a', 'b'], 2) as [string, string]
    for (const id of [left, filled]) await withFunctions.write(id, { user: 1, a: 1 }, { base: null })
    await withFunctions.close()
    for (const id of [left, filled]) {
      const base = await without.read(id)
      await server('a').kill9()
      await without.write(id, { user: 2, a: 2 }, { base })
      expect(await stored('b', id)).toMatchObject({ filled: null })
      if (id === left) {
        await server('a').start()
        await moved()
        expect(await stored('a', id)).toMatchObject({ data: { user: 2, a: 2 }, filled: null })
      }
    }
    await without.close()
    const later = open()
    await server('a').start()
    await moved()
    expect(await stored('a', filled)).toMatchObject({ user_id: 2, total: 2, filled: FILLED })
    await expect(later.destroyWhere({ user_id: 2 })).rejects.toThrow('Destroyed 1 sessions, but 1 may match')
    expect(await later.fillColumns()).toBe(1)
    expect(await later.destroyWhere({ user_id: 2 })).toBe(1)
  })

  test('destroyWhere names the servers that could not be reached', async () => {
    const { open } = await site()
    const sessions = open()
    const ids = ['a', 'b', 'c'].flatMap((name) => idsRanked([name], 2))
    for (const id of ids) await sessions.write(id, { user: 7 }, { base: null })
    await server('c').kill9()
    await expect(sessions.destroyWhere({ user_id: 7 })).rejects.toThrow(/Destroyed 4 sessions.*servers: c/)
    await server('c').start()
    await eventually(async () => expect(isDown(sessions, 'c')).toBe(false))
    expect(await sessions.destroyWhere({ user_id: 7 })).toBe(2)
    for (const id of ids) expect(await sessions.read(id)).toBeUndefined()
  })
})
