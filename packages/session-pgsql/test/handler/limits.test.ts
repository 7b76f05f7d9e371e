import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { sessionsBeyond } from '../../src/session/limit.ts'
import { until } from '../support/wait.ts'
import { describeHandler, errorOf, expireAgo, type Kit, id as newId } from './kit.ts'

const alive = async (sessions: ReturnType<Kit['open']>, user: string) =>
  (await sessions.findByField(user)).map(({ id }) => id).toSorted()

describeHandler('destroyByField and limitByField', (kit) => {
  /** Creates sessions of a user; the first is the oldest. */
  async function login(sessions: ReturnType<Kit['open']>, user: string, count: number): Promise<string[]> {
    const ids: string[] = []
    for (let at = 0; at < count; at++) {
      const id = newId()
      await sessions.write(id, { at }, { custom: user })
      await kit.query('UPDATE php_session SET sess_began = sess_began - $2 WHERE sess_id = $1', [
        id,
        10 * (count - at),
      ])
      ids.push(id)
    }
    return ids
  }

  test('destroyByField leaves the sessions in `except`', async () => {
    const sessions = kit.open()
    const user = newId()
    const [first, second, third, fourth] = (await login(sessions, user, 4)) as [
      string,
      string,
      string,
      string,
    ]
    expect(await sessions.destroyByField(user, { except: second })).toBe(3)
    expect(await alive(sessions, user)).toEqual([second])
    await sessions.write(fourth, {}, { custom: user })
    expect(await sessions.destroyByField(user, { except: [second, fourth, 'unknown'] })).toBe(0)
    expect(await sessions.destroyByField(user, { except: [] })).toBe(2)
    expect([await sessions.read(first), await sessions.read(third)]).toEqual([undefined, undefined])
    expect((await errorOf(sessions.destroyByField(user, { except: 1 as never }))).code).toBe(
      'INVALID_ARGUMENT',
    )
  })

  test('limitByField does not take a session that a request destroys meanwhile for one that a trigger keeps', async (context) => {
    const { db } = kit.database()
    if (typeof db !== 'string' || kit.server.kind !== 'postgres')
      return context.skip('needs a second connection')
    const sessions = kit.open()
    const user = newId()
    const [first] = (await login(sessions, user, 2)) as [string, string]
    const client = new pg.Client(db)
    await client.connect()
    try {
      await client.query('BEGIN')
      await client.query('DELETE FROM php_session WHERE sess_id = $1', [first])
      const limiting = sessions.limitByField(user, 1)
      const waiting =
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
      await until(async () => (await kit.query(waiting)).length > 0, 'limitByField to wait for the row')
      await client.query('COMMIT')
      expect(await limiting).toBe(0)
    } finally {
      await client.end()
    }
  })

  test('limitByField ends the oldest sessions beyond the limit', async () => {
    const sessions = kit.open()
    const [user, other] = [newId(), newId()]
    const ids = await login(sessions, user, 5)
    await login(sessions, other, 2)
    expect(await sessions.limitByField(user, 5)).toBe(0)
    expect(await sessions.limitByField(user, 3)).toBe(2)
    expect(await alive(sessions, user)).toEqual(ids.slice(2).toSorted())
    // The oldest stays, and takes a place.
    expect(await sessions.limitByField(user, 2, { keep: ids[2] })).toBe(1)
    expect(await alive(sessions, user)).toEqual([ids[2], ids[4]].toSorted())
    expect(await alive(sessions, other)).toHaveLength(2)
    for (const max of [0, -1, 1.5, Number.NaN]) {
      expect((await errorOf(sessions.limitByField(user, max))).code).toBe('INVALID_ARGUMENT')
    }
  })

  test('several ids in `keep` are one session', async () => {
    const sessions = kit.open()
    const user = newId()
    const ids = await login(sessions, user, 4)
    expect(await sessions.limitByField(user, 2, { keep: [ids[0] as string, ids[1] as string] })).toBe(1)
    expect(await alive(sessions, user)).toEqual([ids[0], ids[1], ids[3]].toSorted())
  })

  test('sessions that have just expired end first', async () => {
    const sessions = kit.open()
    const user = newId()
    const ids = await login(sessions, user, 3)
    const base = await sessions.read(ids[2] as string)
    await expireAgo(kit, ids[2] as string, 30)
    expect(await sessions.limitByField(user, 2)).toBe(0)
    expect((await sessions.write(ids[2] as string, { a: 1 }, { base })).outcome).toBe('gone')
    expect(await alive(sessions, user)).toEqual(ids.slice(0, 2).toSorted())
  })

  test('logins at the same time neither end each other nor stay beyond the limit', async () => {
    const processes = [kit.open(), kit.open()]
    const user = newId()
    const logins = Array.from({ length: 6 }, async (_, at) => {
      const sessions = processes[at % 2] as ReturnType<Kit['open']>
      const id = newId()
      await sessions.write(id, {}, { custom: user })
      await sessions.limitByField(user, 1, { keep: id })
    })
    await Promise.all(logins)
    expect(await alive(processes[0] as ReturnType<Kit['open']>, user)).toHaveLength(1)
  })

  test('destroyAll destroys what began before, of one name or of all', async () => {
    const sessions = kit.open()
    const user = newId()
    const name = `N${newId()}`
    const ids = await login(sessions, user, 2)
    await sessions.write(newId(), {}, { name, custom: user })
    const base = await sessions.read(ids[0] as string)
    await expireAgo(kit, ids[0] as string, 30)
    expect(await sessions.destroyAll({ name })).toBe(1)
    expect(await alive(sessions, user)).toEqual([ids[1]])
    expect(await sessions.destroyAll()).toBeGreaterThanOrEqual(1)
    expect((await sessions.write(ids[0] as string, {}, { base })).outcome).toBe('gone')
    expect(await sessions.count()).toBe(0)
  })
})

describe('sessionsBeyond', () => {
  const session = (id: string, age: number | null, generation: number | null = 1, isActive = true) => ({
    ...{ id, age, generation, isActive },
  })
  const ended = (...[sessions, max, keep = []]: [ReturnType<typeof session>[], number, string[]?]) =>
    sessionsBeyond(sessions, max, new Set(keep)).map(({ id }) => id)

  test('breaks ties by generation', () => {
    expect(ended([session('a', 5, 3), session('b', 5, 1), session('c', 5, 2)], 1)).toEqual(['c', 'b'])
  })

  test('a session whose beginning is unknown is the oldest', () => {
    expect(ended([session('a', null), session('b', 1e9)], 1)).toEqual(['a'])
  })

  test('a kept session that has ended takes no place', () => {
    expect(ended([session('a', 1), session('b', 2)], 2, ['gone'])).toEqual([])
    expect(ended([session('a', 1), session('b', 2)], 1, ['a'])).toEqual(['b'])
  })
})
