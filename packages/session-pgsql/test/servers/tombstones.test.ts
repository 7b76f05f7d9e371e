import { describe, expect, test } from 'vitest'
import { MAX_EXPIRY_GRACE } from '../../src/session/stored.ts'
import { eventually } from '../support/wait.ts'
import { severalServers } from './kit.ts'

/** What a destroy leaves behind, and for how long. */
describe('tombstones', () => {
  const { server, servers, handlerOf, idsOf, idsRanked, places, fallbackRows, isDown, startAgain } =
    severalServers()

  /** The number of tombstones of these ids on all servers. */
  async function tombstones(ids: readonly string[]): Promise<number> {
    const found = await Promise.all(
      servers
        .filter(({ running }) => running)
        .map((one) =>
          one
            .query('SELECT 1 FROM php_session WHERE sess_id = ANY($1) AND sess_destroyed IS NOT NULL', [ids])
            .catch(() => []),
        ),
    )
    return found.flat().length
  }

  test('the destroy of an id that no server has leaves nothing behind', async () => {
    const sessions = handlerOf()
    const ids = ['a', 'b', 'c'].flatMap((name) => idsOf(name, 5))
    for (const id of ids) expect(await sessions.destroy(id)).toBe(false)
    expect(await tombstones(ids)).toBe(0)
  })

  test('the destroy of an id that no server has, while its home server is down, leaves nothing behind after failback', async () => {
    const sessions = handlerOf()
    await sessions.open()
    const ids = idsOf('a', 20)
    await server('a').kill9()
    await Promise.all(ids.map((id) => sessions.destroy(id)))
    expect(await tombstones(ids)).toBe(20)
    await startAgain(sessions, 'a')
    expect(await tombstones(ids)).toBe(0)
  })

  test('a second destroy does not prolong a tombstone', async () => {
    const sessions = handlerOf()
    const [id] = idsOf('a', 1) as [string]
    await sessions.write(id, { n: 1 })
    expect(await sessions.destroy(id)).toBe(true)
    await server('a').query('UPDATE php_session SET sess_sweep = 7 WHERE sess_id = $1', [id])
    expect(await sessions.destroy(id)).toBe(false)
    expect(await server('a').query('SELECT sess_sweep FROM php_session WHERE sess_id = $1', [id])).toEqual([
      { sess_sweep: '7' },
    ])
  })

  test('a tombstone lives as long as the longest lifetime in use, at home and after failback', async () => {
    const table = 'short_lived'
    const sessions = handlerOf({ table, gcMaxlifetime: 100 })
    await sessions.open()
    const kept = async (name: string, id: string): Promise<number> => {
      const [row] = await server(name).query<{ kept: number }>(
        `SELECT sess_sweep - extract(epoch FROM now())::float8 AS kept FROM ${table}
         WHERE sess_id = $1 AND sess_destroyed IS NOT NULL`,
        [id],
      )
      return row?.kept ?? Number.NaN
    }
    const [short, long] = idsRanked(['a', 'b'], 2) as [string, string]
    await sessions.write(short, {})
    await sessions.destroy(short)
    // The longest lifetime is known to the hour, which is GC's precision too.
    expect(await kept('a', short)).toBeGreaterThan(100)
    expect(await kept('a', short)).toBeLessThan(100 + MAX_EXPIRY_GRACE + 3600)

    await sessions.write(long, {}, { lifetime: 86_400 })
    // A new process with the same settings, such as a command.
    const other = handlerOf({ table, gcMaxlifetime: 100 })
    await other.open()
    const [again] = idsRanked(['a', 'b'], 1) as [string]
    await other.write(again, {}, { lifetime: 50 })
    expect(await other.destroy(again)).toBe(true)
    expect(await kept('a', again)).toBeGreaterThan(86_400)
    expect(await kept('a', again)).toBeLessThan(86_400 + MAX_EXPIRY_GRACE + 3600)

    await server('a').kill9()
    await sessions.destroy(long)
    expect(await kept('b', long)).toBeGreaterThan(100)
    await server('a').start()
    await eventually(async () => expect(await kept('a', long)).toBeGreaterThan(86_000))
    expect(await kept('a', long)).toBeLessThan(86_400 + MAX_EXPIRY_GRACE + 3600)

    await server('a').query(`UPDATE ${table} SET sess_sweep = 0 WHERE sess_id = ANY($1)`, [
      [short, again, long],
    ])
    expect(await sessions.gc()).toBe(3)
  })

  test('a session that was destroyed at home just before an outage, and written again from an old record, ends at failback', async () => {
    const [sessions, other] = [handlerOf(), handlerOf()]
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    await sessions.write(id, { n: 1 }, { base: null })
    const base = await other.read(id)
    expect(await sessions.destroy(id)).toBe(true)
    await server('a').kill9()
    // A documented limit: only the home server knows of the destroy.
    expect((await other.write(id, { n: 2 }, { base })).outcome).toBe('updated')
    await server('a').start()
    await eventually(async () => {
      expect([isDown(sessions, 'a'), isDown(other, 'a')]).toEqual([false, false])
      expect(await fallbackRows()).toBe(0)
    })
    for (const one of [sessions, other]) expect(await one.read(id)).toBeUndefined()
    expect((await other.write(id, { n: 3 }, { base })).outcome).toBe('gone')
    expect(await places(id)).toEqual(['a (tombstone)'])
  })

  test('a record that has expired is not written to a fallback server', async () => {
    const sessions = handlerOf()
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    await server('a').query(
      "INSERT INTO php_session (sess_id, sess_data, sess_expire) VALUES ($1, '{}', extract(epoch FROM now())::bigint + 100)",
      [id],
    )
    const base = await sessions.read(id)
    const { performance } = globalThis
    const now = performance.now.bind(performance)
    await server('a').kill9()
    // So much later that the record has expired, and the grace for requests in progress is over.
    performance.now = () => now() + 170_000
    try {
      expect((await sessions.write(id, { back: 1 }, { base })).outcome).toBe('gone')
    } finally {
      performance.now = now
    }
    expect(await places(id)).toEqual([])
  })
})
