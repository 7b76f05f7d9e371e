import { afterEach, expect, test, vi } from 'vitest'
import { eventually, until } from '../support/wait.ts'
import { describeHandler, errorOf, expireAgo, type Kit, id as newId } from './kit.ts'

const rows = async (kit: Kit, table = 'php_session'): Promise<number> =>
  (await kit.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${table}`))[0]?.n ?? -1

/** Makes the next garbage collection check the row. */
const schedule = (kit: Kit, id: string, table = 'php_session') =>
  kit.query(`UPDATE ${table} SET sess_sweep = 0 WHERE sess_id = $1`, [id])

/** Changes the clock of this machine as the process sees it. */
function shiftMachineClock(seconds: number): void {
  const { now } = Date
  vi.spyOn(Date, 'now').mockImplementation(() => now() + seconds * 1000)
}
afterEach(() => {
  vi.restoreAllMocks()
})

describeHandler('An expired session', (kit) => {
  test('is absent for every operation', async () => {
    const sessions = kit.open()
    const id = newId()
    const user = newId()
    await sessions.write(id, { a: 1 }, { custom: user })
    await expireAgo(kit, id, 1)
    expect(await sessions.read(id)).toBeUndefined()
    expect(await sessions.info(id)).toBeUndefined()
    expect(await sessions.getField(id)).toBeUndefined()
    expect(await sessions.getErrors(id)).toBeUndefined()
    expect(await sessions.validateId(id)).toBe(false)
    expect(await sessions.list({ field: user })).toHaveLength(0)
    expect(await sessions.count({ field: user })).toBe(0)
    expect(await sessions.findByField(user)).toEqual([])
    expect(await sessions.touch(id)).toBe(false)
    expect(await sessions.setField(id, 'x')).toBe(false)
    expect(await sessions.addError(id)).toBe(false)
    expect((await sessions.write(id, { a: 2 }, { base: 'existing' })).outcome).toBe('gone')
    expect(await sessions.list({ field: user, active: false })).toHaveLength(1)
    expect(await sessions.destroyByField(user)).toBe(0)
    expect((await sessions.write(id, { b: 1 }, { base: null })).session?.data).toEqual({ b: 1 })
  })
})

describeHandler('Garbage collection', (kit) => {
  test('removes sessions that expired more than a minute ago, and returns their number', async () => {
    const sessions = kit.open({ table: 'gc1' })
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((id) => sessions.write(id, { id })))
    await expireAgo(kit, 'a', 100, 'gc1')
    await expireAgo(kit, 'b', 100_000, 'gc1')
    await expireAgo(kit, 'c', 30, 'gc1')
    await expireAgo(kit, 'd', -100, 'gc1')
    // Its sess_sweep is in the future: it is not checked.
    await kit.query('UPDATE gc1 SET sess_expire = 1000 WHERE sess_id = $1', ['e'])
    for (const id of ['a', 'b', 'c', 'd']) await schedule(kit, id, 'gc1')
    expect(await sessions.gc()).toBe(2)
    expect(await sessions.gc()).toBe(0)
    const left = await kit.query(
      'SELECT sess_id, sess_sweep > extract(epoch FROM clock_timestamp()) AS later FROM gc1 ORDER BY 1',
    )
    // Rows that are not removed yet are rescheduled.
    expect(left).toEqual(['c', 'd', 'e'].map((sess_id) => ({ sess_id, later: true })))
    await schedule(kit, 'e', 'gc1')
    expect(await sessions.gc()).toBe(1)
  })

  test('removes exactly the sessions that countDue counts', async () => {
    for (const keepExpired of [false, true]) {
      const table = `counted_${keepExpired}`
      const sessions = kit.open({ table, keepExpired })
      const ids = Array.from({ length: 8 }, (_, n) => `id${n}`)
      for (const id of ids) await sessions.write(id, { id })
      for (const id of ids.slice(0, 6)) await expireAgo(kit, id, 600, table)
      for (const id of ids.slice(0, 3)) await schedule(kit, id, table)
      // id3 expired less than a minute ago. id4 and id5 expired ten minutes ago, but are scheduled for the next hour.
      await expireAgo(kit, 'id3', 30, table)
      await schedule(kit, 'id3', table)
      expect(await sessions.countDue()).toMatchObject([{ count: 3, exact: true, error: undefined }])
      expect(await sessions.sweep()).toMatchObject([{ removed: 3, ended: 'done', error: undefined }])
      expect(await sessions.countDue()).toMatchObject([{ count: 0, exact: true }])
      expect(await rows(kit, table)).toBe(keepExpired ? 8 : 5)
    }
    const many = kit.open({ table: 'counted_many' })
    await many.open()
    await kit.query(
      `INSERT INTO counted_many (sess_id, sess_expire) SELECT 'row' || n, 1000 FROM generate_series(1, 12000) n`,
    )
    expect(await many.countDue({ timeLimit: 10 })).toMatchObject([{ count: 10_000, exact: false }])
    await kit.query('DROP INDEX counted_many_sess_sweep_idx')
    const withoutIndex = kit.open({ table: 'counted_many', createTable: false })
    await kit.query("DELETE FROM counted_many WHERE sess_id > 'row2'")
    const [{ count = 0, exact } = {}] = await withoutIndex.countDue({ timeLimit: 10 })
    expect(exact).toBe(true)
    expect(await withoutIndex.gc()).toBe(count)
    for (const timeLimit of [0, -1, Number.NaN, 1e9]) {
      expect(await errorOf(many.countDue({ timeLimit }))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
  })

  test('checks the rows of other writers', async () => {
    const sessions = kit.open({ table: 'gc2' })
    await sessions.open()
    await kit.query(
      `INSERT INTO gc2 (sess_id, sess_data, sess_expire) VALUES ('old', 'x', 1000), ('new', 'x', 4000000000), ('never', 'x', NULL), ('php', 'x', 9223372036854775807)`,
    )
    expect(await sessions.gc()).toBe(1)
    expect(await kit.query('SELECT sess_id, sess_sweep > 0 AS filed FROM gc2 ORDER BY 1')).toEqual([
      { sess_id: 'never', filed: null },
      { sess_id: 'new', filed: true },
      { sess_id: 'php', filed: true },
    ])
    await kit.query("UPDATE gc2 SET sess_data = '{}'")
    for (const id of ['never', 'php']) {
      expect(await sessions.touch(id, { lifetime: 100 })).toBe(true)
      const base = await sessions.read(id)
      expect(await sessions.touch(id, { lifetime: 100, base })).toBe(true)
      expect((await sessions.write(id, { a: 1 }, { base })).outcome).toBe('updated')
    }
  })

  test('scans a table without the index on sess_sweep', async () => {
    const sessions = kit.open({ table: 'gc3', createTable: false })
    await kit.open({ table: 'gc3' }).open()
    await kit.query('DROP INDEX gc3_sess_sweep_idx')
    await kit.query(
      `INSERT INTO gc3 (sess_id, sess_data, sess_expire) SELECT 'row' || n, 'x', CASE WHEN n % 3 = 0 THEN 4000000000 ELSE 1000 END FROM generate_series(1, 12000) n`,
    )
    expect(await sessions.gc()).toBe(8000)
    expect(await rows(kit, 'gc3')).toBe(4000)
    expect(await sessions.gc()).toBe(0)
  })

  test('by several processes at once removes every expired session once', async () => {
    const handlers = Array.from({ length: 5 }, () => kit.open({ table: 'gc4' }))
    await handlers[0]?.open()
    await kit.query(
      `INSERT INTO gc4 (sess_id, sess_expire) SELECT 'row' || n, 1000 FROM generate_series(1, 10000) n`,
    )
    const swept = await Promise.all(handlers.map((handler) => handler.gc()))
    expect(swept.reduce((sum, count) => sum + count)).toBe(10_000)
    expect(await rows(kit, 'gc4')).toBe(0)
  })

  test.each([90, -90])(
    'removes nothing if the clocks differ by more than a minute (%s seconds), and logs it also after other errors',
    async (seconds) => {
      if (kit.server.kind === 'pglite') return // Its clock is the process's.
      const table = `gc_clock_${seconds > 0 ? 'ahead' : 'behind'}`
      const logged: unknown[] = []
      const log = (_: string, error?: unknown) => logged.push((error as { code?: string }).code)
      const logger = { debug() {}, info() {}, warn: log, error: log }
      const sessions = kit.open({ table, gcInterval: -1, createTable: false, logger })
      await errorOf(sessions.read('a'))
      await until(() => logged.length === 1, 'the first error')
      const writer = kit.open({ table })
      await writer.write('a', {})
      await expireAgo(kit, 'a', 5000, table)
      await schedule(kit, 'a', table)
      shiftMachineClock(seconds)
      expect(await errorOf(writer.gc())).toMatchObject({ code: 'CLOCK_IMPLAUSIBLE' })
      await sessions.read('b')
      await until(() => logged.length === 2, 'the second error')
      expect(logged).toEqual(['TABLE_MISSING', 'CLOCK_IMPLAUSIBLE'])
      expect(await rows(kit, table)).toBe(1)
    },
  )

  test.each([true, false])(
    'removes what has expired by both clocks, the database’s and the process’s (index: %s)',
    async (indexed) => {
      if (kit.server.kind === 'pglite') return // Its clock is the process's.
      const table = `gc_both_${indexed}`
      const sessions = kit.open({ table })
      for (const id of ['younger', 'older']) await sessions.write(id, {})
      if (!indexed) await kit.query(`DROP INDEX ${table}_sess_sweep_idx`)
      const reopened = kit.open({ table, createTable: false })
      // The process's clock is right, and the database's 45 seconds fast.
      shiftMachineClock(-45)
      await expireAgo(kit, 'younger', 90, table)
      await expireAgo(kit, 'older', 200, table)
      for (const id of ['younger', 'older']) await schedule(kit, id, table)
      expect(await reopened.countDue()).toMatchObject([{ count: 1, exact: true }])
      expect(await reopened.sweep()).toMatchObject([{ removed: 1, ended: 'done' }])
      expect(await kit.query(`SELECT sess_id FROM ${table}`)).toEqual([{ sess_id: 'younger' }])
      vi.restoreAllMocks()
      await schedule(kit, 'younger', table)
      expect(await reopened.gc()).toBe(1)
    },
  )

  test('runs after every access if gcInterval is negative', async () => {
    const sessions = kit.open({ table: 'gc5', gcInterval: -1 })
    await sessions.write('a', {})
    await sessions.write('b', {})
    await expireAgo(kit, 'a', 100, 'gc5')
    await schedule(kit, 'a', 'gc5')
    await sessions.read('b')
    await until(async () => (await rows(kit, 'gc5')) === 1, 'the collection', 10_000)
    // The event is written in the background.
    await eventually(async () => expect(await rows(kit, 'gc5_event')).toBe(1))
    // It stops: its own statements are not an access.
    await until(() => sessions.status().pending === 0, 'rest')
    const calls = sessions.status().servers[0]?.calls
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(sessions.status().servers[0]?.calls).toBe(calls)
  })

  test('runs at gcInterval, and never if that is 0', async () => {
    const never = kit.open({ table: 'gc6', gcInterval: 0 })
    await never.write('a', {})
    await expireAgo(kit, 'a', 100, 'gc6')
    await schedule(kit, 'a', 'gc6')
    await never.read('x')
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(await rows(kit, 'gc6')).toBe(1)
    const often = kit.open({ table: 'gc6', gcInterval: 0.2 })
    await often.read('x')
    await until(async () => (await rows(kit, 'gc6')) === 0, 'the collection', 10_000)
  })

  test('that fails in the background emits an event, or logs once without a listener, and never throws', async () => {
    const messages: unknown[] = []
    const log = (message: string, error?: unknown) => messages.push(message, error)
    const logger = { debug: log, info: log, warn: log, error: log }
    const sessions = kit.open({ table: 'gc7', gcInterval: -1, logger, createTable: false })
    for (let n = 0; n < 3; n++) await errorOf(sessions.read('x'))
    await until(() => messages.length > 0, 'a message', 10_000)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(messages).toHaveLength(2)
    expect(messages[1]).toMatchObject({ code: 'TABLE_MISSING' })
    const events: unknown[] = []
    sessions.on('error', (error) => events.push(error))
    await errorOf(sessions.read('x'))
    await until(() => events.length > 0, 'an event', 10_000)
    expect(messages).toHaveLength(2)
  })
})
