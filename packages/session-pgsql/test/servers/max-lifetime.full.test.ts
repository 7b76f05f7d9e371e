import { describe, expect, test } from 'vitest'
import { faketimeMissing } from '../support/postgres.ts'
import { eventually } from '../support/wait.ts'
import { severalServers } from './kit.ts'

const LIMITED = { maxLifetime: 1000, gcMaxlifetime: 600 } as const

/** The end of a session, while its home server is down and after it is back. The clock of `a` is 40 seconds fast. */
describe.skipIf(faketimeMissing !== undefined)('maxLifetime with several servers', () => {
  const { server, handlerOf, idsRanked, places, fallbackRows } = severalServers()

  const row = async (name: string, id: string) => {
    const [row] = await server(name).query<{ left: number; age: number }>(
      `SELECT (sess_expire - extract(epoch FROM clock_timestamp()))::float8 AS left,
        (extract(epoch FROM clock_timestamp()) - sess_began)::float8 AS age FROM php_session WHERE sess_id = $1`,
      [id],
    )
    return row ?? { left: Number.NaN, age: Number.NaN }
  }
  const age = (name: string, seconds: number) =>
    server(name).query('UPDATE php_session SET sess_began = sess_began - $1', [seconds])

  function expectAbout(seconds: number, expected: number): void {
    expect(Math.abs(seconds - expected)).toBeLessThan(6)
  }

  test('a session ends when it would have ended on its home server, on whatever server it is', async () => {
    const a = server('a')
    a.shiftClock(40)
    await a.restart()
    const sessions = handlerOf(LIMITED)
    await sessions.open()
    const [written, touched, merged, ended] = idsRanked(['a', 'b'], 4) as [string, string, string, string]
    const ids = [written, touched, merged, ended]
    for (const id of ids) await sessions.write(id, { n: 1 }, { base: null })
    await age('a', 700)
    const records = await Promise.all(ids.map((id) => sessions.read(id)))
    const other = await sessions.read(merged)
    await a.kill9()
    for (const [at, id] of ids.entries()) {
      const base = records[at]
      const written = id === touched ? sessions.touch(id, { base }) : sessions.write(id, { n: 2 }, { base })
      await written
      const { left, age } = await row('b', id)
      expectAbout(age, 700)
      expectAbout(left, 300)
    }
    await server('b').query('UPDATE php_session SET sess_began = sess_began - 301 WHERE sess_id = $1', [
      ended,
    ])
    expect(await sessions.read(ended)).toBeUndefined()
    expect(await sessions.read(written)).toBeDefined()
    await a.start()
    // Both sides have changed it.
    await sessions.write(merged, { n: 1, m: 1 }, { base: other }).catch(() => {})
    await eventually(async () => {
      expect(await fallbackRows()).toBe(0)
      for (const id of [written, touched, merged]) expect(await places(id)).toEqual(['a'])
    })
    for (const id of [written, touched, merged]) {
      const { left, age } = await row('a', id)
      expectAbout(age, 700)
      expectAbout(left, 300)
      expect(left).toBeLessThan(306)
    }
    await age('a', 301)
    expect(await sessions.read(written)).toBeUndefined()
  })

  test('a session that continues under an id of another server ends when the first would have ended', async () => {
    const a = server('a')
    a.shiftClock(40)
    await a.restart()
    const sessions = handlerOf(LIMITED)
    await sessions.open()
    const [first] = idsRanked(['a'], 1) as [string]
    const [next] = idsRanked(['b', 'a'], 1) as [string]
    const [standIn] = idsRanked(['b', 'c'], 1) as [string]
    await sessions.write(first, {}, { base: null })
    await age('a', 700)
    const since = await sessions.read(first)
    await sessions.read(next)
    await sessions.write(next, {}, { base: null, since })
    expectAbout((await row('b', next)).left, 300)
    await server('b').kill9()
    await sessions.write(standIn, {}, { base: null, since })
    expectAbout((await row('c', standIn)).left, 300)
    await server('b').start()
    await eventually(async () => expect(await places(standIn)).toEqual(['b']))
    expectAbout((await row('b', standIn)).left, 300)
  })

  test('limits and the end of all sessions reach every server', async () => {
    const sessions = handlerOf(LIMITED)
    await sessions.open()
    const ids = ['a', 'b', 'c'].flatMap((name) => idsRanked([name], 2))
    for (const [at, id] of ids.entries()) {
      await sessions.write(id, {}, { base: null, custom: 'limited' })
      for (const name of ['a', 'b', 'c']) {
        const shift = `UPDATE php_session SET sess_began = sess_began - 10 WHERE sess_custom = 'limited'`
        if (at < ids.length - 1) await server(name).query(shift)
      }
    }
    const alive = async () => (await sessions.findByField('limited')).map(({ id }) => id).toSorted()
    expect(await sessions.limitByField('limited', 3, { keep: ids[0] })).toBe(3)
    expect(await alive()).toEqual([ids[0], ids[4], ids[5]].toSorted())
    expect(await sessions.destroyByField('limited', { except: ids[4] })).toBe(2)
    expect(await sessions.destroyAll()).toBeGreaterThanOrEqual(1)
    expect(await sessions.count()).toBe(0)
  })
})
