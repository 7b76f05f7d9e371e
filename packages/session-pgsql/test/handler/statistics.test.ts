import { describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import type { TableStatistics } from '../../src/session/statistics.ts'
import { freePort } from '../support/connect.ts'
import { eventually } from '../support/wait.ts'
import { describeHandler, errorOf, type Handler } from './kit.ts'

async function only(sessions: Handler): Promise<TableStatistics> {
  const [server] = await sessions.statistics()
  if (server?.table === undefined) throw server?.error
  return server.table
}

describeHandler('Statistics', (kit) => {
  test('count every row of a small table', async () => {
    const table = 'counted'
    const sessions = kit.open({ table })
    expect(await only(sessions)).toMatchObject({ exact: true, sessions: 0, names: [], unswept: 0 })
    await kit.query(`
        INSERT INTO ${table} (sess_id, sess_name, sess_data, sess_expire, sess_counter, sess_error, sess_warning, sess_destroyed)
        SELECT 'row' || n, CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN 'a' ELSE 'b' END, '{}',
          extract(epoch FROM now())::bigint + CASE WHEN n < 10 THEN 1800 WHEN n < 12 THEN 3600 * 23.5 WHEN n < 15 THEN 3600 * 24.5
            WHEN n < 19 THEN -1800 ELSE -8000 END, n, n % 2, 2, CASE WHEN n = 0 THEN 1 END
        FROM generate_series(0, 29) n`)
    await kit.query(`INSERT INTO ${table} (sess_id, sess_data) VALUES ('forever', '{}')`)
    const found = await only(sessions)
    expect(found).toMatchObject({
      exact: true,
      standby: false,
      sessions: 15,
      unswept: 11,
      errors: 15,
      warnings: 60,
      notices: 0,
      integerDates: false,
      sweepIndex: true,
    })
    expect(found).toMatchObject({ sampled: 1, scale: 1 })
    const sums = { sessions: 5, errors: 5, warnings: 20, created: new Array(10).fill(0), written: null }
    expect(found.names).toEqual([
      { name: 'a', ...sums, accesses: 145 },
      { name: 'b', ...sums, accesses: 155 },
      { name: null, ...sums, accesses: 135 },
    ])
    expect(found.expiring).toEqual([9, ...new Array(22).fill(0), 2])
    expect(found.version).toMatch(/^\d+/)
    expect(found.tableBytes).toBeGreaterThan(0)
    expect(found.indexBytes).toBeGreaterThan(0)
    expect(Math.abs(found.at.getTime() - Date.now())).toBeLessThan(60_000)
  })

  test('count the rows created in each of the last seconds, by name', async () => {
    const table = 'created'
    const sessions = kit.open({ table })
    await sessions.open()
    const insert = async (name: string, ago: number): Promise<number> => {
      const [row] = await kit.query(`
          INSERT INTO ${table} (sess_id, sess_name, sess_data, sess_created, sess_expire)
          SELECT md5(random()::text), '${name}', '{}', now - ${ago}, now + 1000
          FROM (SELECT ceil(extract(epoch FROM clock_timestamp()))::bigint AS now) clock
          RETURNING sess_created::float8 AS created`)
      return Number(row?.created)
    }
    const seconds = [await insert('a', 0), await insert('a', 4), await insert('a', 4)]
    await insert('a', 60)
    // By the wrong clock of another writer.
    await insert('b', -1000)
    // A tombstone, as a destroy with several servers leaves it.
    await insert('d', 0)
    await kit.query(`UPDATE ${table} SET sess_name = NULL, sess_destroyed = 1 WHERE sess_name = 'd'`)
    await sessions.write('fresh', {}, { name: 'c' })
    await sessions.write('fresh', { n: 1 }, { name: 'c' })
    const { at, names } = await only(sessions)
    const expected = new Array(10).fill(0)
    for (const second of seconds) {
      const age = Math.ceil(at.getTime() / 1000) - second
      if (age < expected.length) expected[age]++
    }
    const of = (name: string) => names.find((one) => one.name === name)
    expect(of('a')).toMatchObject({ sessions: 4, created: expected })
    expect(of('b')).toMatchObject({ sessions: 1, created: new Array(10).fill(0) })
    expect(of('c')).toMatchObject({ sessions: 1, accesses: 2 })
    expect(of('c')?.created.reduce((sum, count) => sum + count)).toBe(1)
    expect(names.find(({ name }) => name === null)?.created).toEqual(new Array(10).fill(0))
  })

  test('count the sessions written since earlier statistics, by name', async () => {
    const sessions = kit.open({ table: 'written' })
    const ids = Array.from({ length: 6 }, () => kit.id())
    for (const id of ids) await sessions.write(id, {}, { name: 'a' })
    await sessions.write(kit.id(), {}, { name: 'b' })
    const before = await sessions.statistics()
    const written = async () => {
      const [server] = await sessions.statistics(before)
      return server?.table?.names.map((one) => [one.name, one.written])
    }
    expect(await written()).toEqual([
      ['a', 0],
      ['b', 0],
    ])
    const [touched, changed, failed, ended] = ids as [string, string, string, string]
    for (let n = 0; n < 3; n++) await sessions.touch(touched)
    await sessions.write(changed, { n: 1 })
    await sessions.addError(failed, 'error', 'oh')
    await sessions.destroy(ended)
    await sessions.write(kit.id(), {}, { name: 'a' })
    expect(await written()).toEqual([
      ['a', 4],
      ['b', 0],
    ])
    expect((await only(sessions)).names[0]?.written).toBeNull()
  })

  test('contain at most thirty names with rows, those without sessions last', async () => {
    const table = 'many_names'
    const sessions = kit.open({ table })
    await sessions.open()
    await kit.query(`
        INSERT INTO ${table} (sess_id, sess_name, sess_data, sess_counter, sess_expire)
        SELECT 'row' || n, 'site' || n % 20, '{}', 1, CASE WHEN n % 20 = 7 THEN 1 ELSE 4000000000 END
        FROM generate_series(1, 60) n`)
    const few = (await only(sessions)).names
    expect(few).toHaveLength(20)
    expect(few.at(-1)).toMatchObject({ name: 'site7', sessions: 0, accesses: 3 })
    await kit.query(`
        INSERT INTO ${table} (sess_id, sess_name, sess_data) SELECT 'more' || n, 'more' || n, '{}' FROM generate_series(1, 20) n`)
    const found = await only(sessions)
    expect(found.names).toHaveLength(30)
    expect(found.names.slice(0, 19).every(({ sessions }) => sessions === 3)).toBe(true)
    expect(found.sessions).toBe(77)
  })

  test('count inserted, updated and deleted rows', async () => {
    const sessions = kit.open({ table: 'moving' })
    const before = await only(sessions)
    const id = kit.id()
    await sessions.write(id, { n: 1 })
    await sessions.touch(id)
    await sessions.destroy(id)
    await eventually(async () => {
      const after = await only(sessions)
      expect(after.inserted - before.inserted).toBe(1)
      expect(after.updated - before.updated).toBe(1)
      expect(after.deleted - before.deleted).toBe(1)
    })
  })

  test('estimate a large table from a sample', async () => {
    const table = 'large'
    const sessions = kit.open({ table })
    await sessions.open()
    // About one row a page, so that a large table is created quickly.
    await kit.query(`ALTER TABLE ${table} ALTER COLUMN sess_data SET STORAGE PLAIN`)
    await kit.query(`
        INSERT INTO ${table} (sess_id, sess_name, sess_data, sess_expire, sess_counter, sess_error)
        SELECT md5(n::text), CASE WHEN n % 4 = 0 THEN 'rare' ELSE 'often' END, repeat('x', 4000),
          extract(epoch FROM now())::bigint + CASE WHEN n % 2 = 0 THEN 1000 ELSE -1000 END, 10, 1
        FROM generate_series(1, 6000) n`)
    const found = await only(sessions)
    expect(found.exact).toBe(false)
    // PostgreSQL's own counts, by which the sample is scaled, may change between two estimates.
    for (const estimate of [found, await only(sessions)]) {
      expect(estimate.sessions).toBeGreaterThan(2400)
      expect(estimate.sessions).toBeLessThan(3600)
    }
    expect(found.names.map(({ name }) => name).sort()).toEqual(['often', 'rare'])
    // Each row of the sample represents the same number of rows.
    expect(found.sampled).toBeLessThan(0.2)
    expect(found.scale * found.sampled).toBeGreaterThan(0.5)
    expect(found.scale * found.sampled).toBeLessThan(2)
    // The estimates are rounded to whole numbers. Each row has 10 accesses and 1 error.
    for (const { accesses, errors } of found.names) {
      const rows = Math.round(errors / found.scale)
      expect(Math.abs(errors - rows * found.scale)).toBeLessThan(0.6)
      expect(Math.abs(accesses - rows * 10 * found.scale)).toBeLessThan(0.6)
    }
    const errors = found.names.reduce((sum, name) => sum + name.errors, 0)
    expect(errors / found.errors).toBeCloseTo(1, 2)
    expect(found.errors).toBeGreaterThan(4800)
    expect(found.errors).toBeLessThan(7200)
  })

  test('read the same pages while a large table grows', async () => {
    const table = 'growing'
    const sessions = kit.open({ table })
    await sessions.open()
    await kit.query(`ALTER TABLE ${table} ALTER COLUMN sess_data SET STORAGE PLAIN`)
    const add = (from: number, to: number, error: number) =>
      kit.query(`
          INSERT INTO ${table} (sess_id, sess_data, sess_error)
          SELECT n::text, repeat('x', 7000), ${error} FROM generate_series(${from}, ${to}) n`)
    await add(1, 4300, 1)
    const before = await only(sessions)
    await add(4301, 4800, 0)
    const after = await only(sessions)
    expect(after.tableBytes).toBeGreaterThan(before.tableBytes)
    expect(after.sampled).toBe(before.sampled)
    expect(Math.round(after.errors / after.scale)).toBe(Math.round(before.errors / before.scale))
  })

  test('the gc event has the number of removed sessions', async () => {
    const table = 'swept'
    const sessions = kit.open({ table })
    await sessions.open()
    await kit.query(`INSERT INTO ${table} (sess_id, sess_data, sess_expire) VALUES ('old', '{}', 1)`)
    const told: unknown[] = []
    sessions.on('gc', (event) => told.push(event))
    expect(await sessions.gc()).toBe(1)
    expect(told).toMatchObject([{ removed: 1, server: sessions.status().servers[0]?.name }])
  })

  test('list and count find one session by its id', async () => {
    const sessions = kit.open({ table: 'by_id' })
    await sessions.write('one', { n: 1 })
    await sessions.write('one-more', { n: 1 })
    const found = await sessions.list({ id: 'one', text: true })
    expect(found).toMatchObject([{ id: 'one', text: '{"n":1}' }])
    expect(await sessions.count({ id: 'unknown' })).toBe(0)
  })
})

describeHandler(
  'A query with a time limit',
  (kit) => {
    test('is canceled by PostgreSQL, and the connection remains usable', async () => {
      const table = 'limited'
      const sessions = kit.open({ table })
      await sessions.open()
      await kit.query(
        `INSERT INTO ${table} (sess_id, sess_data) SELECT n::text, '{}' FROM generate_series(1, 200000) n`,
      )
      const options = { active: 'any', order: 'modified', timeLimit: 0.001 } as const
      expect(await errorOf(sessions.list(options))).toMatchObject({ code: 'TIMEOUT', sqlState: '57014' })
      expect(await errorOf(sessions.count(options))).toMatchObject({ code: 'TIMEOUT', sqlState: '57014' })
      const running = await kit.query(
        "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%limited%' AND pid <> pg_backend_pid()",
      )
      expect(running).toEqual([])
      expect(await sessions.count({ active: 'any', timeLimit: 30 })).toBe(200_000)
      const limits = await Promise.all(
        [0, -1, Number.NaN].map((timeLimit) => errorOf(sessions.count({ timeLimit }))),
      )
      expect(limits.map(({ code }) => code)).toEqual(new Array(3).fill('INVALID_ARGUMENT'))
    })

    test('of the statistics needs only the privileges that sessions need', async () => {
      const table = 'unprivileged'
      await kit.open({ table }).open()
      const user = `guest_${table}`
      await kit.query(`CREATE ROLE ${user} LOGIN`)
      try {
        await kit.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO ${user}`)
        const url = new URL(kit.database().db as string)
        url.username = user
        const sessions = kit.open({ table, db: url.href })
        expect(await only(sessions)).toMatchObject({ sessions: 0, exact: true })
      } finally {
        await kit.query(`DROP OWNED BY ${user}`)
        await kit.query(`DROP ROLE ${user}`)
      }
    })
  },
  'postgres only',
)

describe('Statistics of a server that is down', () => {
  test('contain its error', async () => {
    const sessions = new SaveHandler({ db: `host=127.0.0.1 port=${await freePort()}`, gcInterval: 0 })
    try {
      expect(await sessions.statistics()).toMatchObject([
        { table: undefined, error: { code: 'SERVER_DOWN' } },
      ])
    } finally {
      await sessions.close()
    }
  })
})
