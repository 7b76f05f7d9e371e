import { expect, test } from 'vitest'
import type { JournalEntry } from '../../src/index.ts'
import { createCompanionStatement, grantJournalStatement } from '../../src/table/definition.ts'
import { until } from '../support/wait.ts'
import { describeHandler, errorOf, expireAgo, type Handler, type Kit } from './kit.ts'
import { dbOfAppUser } from './table-kit.ts'

/** Creates expired sessions, which the next sweep removes. */
async function expire(kit: Kit, sessions: Handler, table: string, count = 1): Promise<void> {
  for (let n = 0; n < count; n++) {
    const id = kit.id()
    await sessions.write(id, {})
    await expireAgo(kit, id, 100, table)
    await kit.query(`UPDATE ${table} SET sess_sweep = 0 WHERE sess_id = $1`, [id])
  }
}

const entriesOf = (sessions: Handler, count: number): Promise<JournalEntry[]> =>
  until(async () => {
    const entries = await sessions.journal()
    return entries.length === count ? entries : undefined
  }, `${count} entries`)

const storedEvents = (kit: Kit, table: string) =>
  kit.query<{ kind: string; about: string }>(
    `SELECT event_kind AS kind, event_about AS about FROM ${table}_event ORDER BY event_at`,
  )

const exists = async (kit: Kit, table: string): Promise<boolean> =>
  (await kit.query(`SELECT 1 FROM pg_class WHERE relname = '${table}_event'`)).length > 0

describeHandler('The journal', (kit) => {
  test('shows a sweep that removed sessions in every process', async () => {
    const table = 'recorded'
    const [sweeper, other] = [kit.open({ table }), kit.open({ table, createTable: false })]
    await expire(kit, sweeper, table, 2)
    expect(await other.journal()).toEqual([])
    expect(await sweeper.gc()).toBe(2)
    const [entry] = await entriesOf(other, 1)
    const [{ name: server } = {}] = other.status().servers
    expect(entry).toEqual({
      ...{ kind: 'gc', server, removed: 2, own: false },
      id: expect.any(String),
      at: expect.any(Date),
      seconds: expect.any(Number),
    })
    expect(Math.abs((entry?.at.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
    expect(await sweeper.journal()).toEqual([{ ...entry, own: true }])
  })

  test('has no event of a sweep that removed nothing, or of an idle store', async () => {
    const table = 'idle'
    const sessions = kit.open({ table, gcInterval: -1 })
    await sessions.write('a', {})
    expect(await sessions.gc()).toBe(0)
    expect(await sessions.read('a')).toBeDefined()
    await sessions.close()
    expect(await storedEvents(kit, table)).toEqual([])
  })

  test('of a table without one is created with the first event', async () => {
    const table = 'older'
    const sessions = kit.open({ table })
    await sessions.open()
    await kit.query('DROP TABLE older_event')
    const again = [kit.open({ table }), kit.open({ table })]
    await again[0]?.write('a', {})
    expect(await exists(kit, table)).toBe(false)
    expect(await sessions.journal()).toEqual([])
    for (const one of again) {
      await expire(kit, one, table)
      expect(await one.gc()).toBe(1)
    }
    expect(await entriesOf(sessions, 2)).toMatchObject([{ removed: 1 }, { removed: 1 }])
  })

  test('adds up events within a minute, and writes the rest at close', async () => {
    const table = 'summed'
    const sessions = kit.open({ table })
    await expire(kit, sessions, table)
    await sessions.gc()
    await entriesOf(sessions, 1)
    for (const count of [2, 3]) {
      await expire(kit, sessions, table, count)
      expect(await sessions.gc()).toBe(count)
    }
    expect(await storedEvents(kit, table)).toHaveLength(1)
    await sessions.close()
    const removed = (await storedEvents(kit, table)).map(({ about }) => JSON.parse(about).removed)
    expect(removed).toEqual([1, 5])
  })

  test('keeps at most 500 events of a kind, none older than 30 days', async () => {
    const table = 'bounded'
    const sessions = kit.open({ table })
    await sessions.open()
    const insert = (kind: string, count: number, day: number) =>
      kit.query(
        `INSERT INTO ${table}_event SELECT '${kind}' || n, extract(epoch FROM now()) - ${day} * 86400 - n, '${kind}', '{}'
           FROM generate_series(1, ${count}) n`,
      )
    await insert('gc', 600, 29)
    await insert('failover', 5, 29)
    await insert('promoted', 5, 31)
    await expire(kit, sessions, table)
    await sessions.gc()
    await entriesOf(sessions, 1)
    const counts = await kit.query(
      `SELECT event_kind AS kind, count(*)::int, max(event_at)::int - min(event_at)::int > 0 AS wide
         FROM ${table}_event GROUP BY 1 ORDER BY 1`,
    )
    expect(counts).toEqual([
      { kind: 'failover', count: 5, wide: true },
      { kind: 'gc', count: 500, wide: true },
    ])
    // The newest are kept.
    expect(await kit.query(`SELECT 1 FROM ${table}_event WHERE event_id IN ('gc1', 'gc499')`)).toHaveLength(2)
    const all = await sessions.journal({ seconds: 30 * 86_400 })
    expect(all).toHaveLength(505)
    expect(all.map(({ at }) => at.getTime())).toEqual(all.map(({ at }) => at.getTime()).sort((a, b) => a - b))
  })

  test('ignores events that are unknown to this version or malformed', async () => {
    const table = 'foreign'
    const sessions = kit.open({ table })
    await sessions.open()
    for (const [kind, about] of [
      ['landing', '{"on":"moon"}'],
      ['gc', 'removed 5'],
      ['gc', 'null'],
      ['failover', '{"from":"a"}'],
    ]) {
      await kit.query(`INSERT INTO ${table}_event VALUES ($1, extract(epoch FROM now()), $2, $3)`, [
        kit.id(),
        kind,
        about,
      ])
    }
    const [{ name: to } = {}] = sessions.status().servers
    expect(await sessions.journal()).toMatchObject([{ kind: 'failover', from: 'a', to, own: false }])
    for (const seconds of [-1, Number.NaN, 'day' as never]) {
      expect(await errorOf(sessions.journal({ seconds }))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
  })

  test('is not written if another table has its name or createTable is off, and sessions still work', async () => {
    const reasons: unknown[] = []
    const logger = {
      debug: (_: string, error?: unknown) => reasons.push((error as Error).message),
      info() {},
      warn() {},
      error() {},
    }
    const taken = kit.open({ table: 'taken', logger })
    await kit.query('CREATE TABLE taken_event (event_id int, event_at int)')
    await taken.open()
    const never = kit.open({ table: 'never', createTable: false, logger })
    await kit.open({ table: 'never' }).open()
    await kit.query('DROP TABLE never_event')
    for (const [table, sessions] of [
      ['taken', taken],
      ['never', never],
    ] as const) {
      await expire(kit, sessions, table)
      expect(await sessions.gc()).toBe(1)
      await until(() => reasons.length > 0, 'the reason to be logged')
      expect(reasons.splice(0)).toEqual([
        expect.stringContaining(table === 'taken' ? 'another table' : 'createTable is off'),
      ])
      expect(await sessions.journal()).toEqual([])
      await expire(kit, sessions, table)
      await sessions.close()
      expect(reasons.splice(0)).toEqual([])
    }
    expect(await kit.query('SELECT * FROM taken_event')).toEqual([])
    expect(await exists(kit, 'never')).toBe(false)
  })
})

describeHandler(
  'The journal of a database user who owns nothing',
  (kit) => {
    test('is not written without the privilege to create it, written if that is granted, and read with SELECT alone', async () => {
      const table = 'granted'
      await kit.open({ table }).open()
      await kit.query('DROP TABLE granted_event')
      const reasons: unknown[] = []
      const debug = (_: string, error?: unknown) => reasons.push((error as Error).message)
      const logger = { debug, info() {}, warn() {}, error() {} }
      const db = await dbOfAppUser(kit, table)
      const unprivileged = kit.open({ table, db, logger })
      const failed: unknown[] = []
      unprivileged.on('error', (error) => failed.push(error))
      await expire(kit, unprivileged, table)
      expect(await unprivileged.gc()).toBe(1)
      await until(() => reasons.length > 0, 'the reason to be logged')
      expect(reasons).toEqual([expect.stringContaining('may not create it')])
      expect(await unprivileged.journal()).toEqual([])
      expect(await exists(kit, table)).toBe(false)
      // Reading it does not make the session table open again.
      const before = unprivileged.status().servers[0]?.calls ?? 0
      await unprivileged.journal()
      await unprivileged.read('x')
      expect((unprivileged.status().servers[0]?.calls ?? 0) - before).toBe(2)
      expect(failed).toEqual([])

      const name = { schema: 'public', table }
      await kit.query(createCompanionStatement(name, 'event'))
      await kit.query(grantJournalStatement(name, 'app_user'))
      const allowed = kit.open({ table, db, logger })
      await expire(kit, allowed, table)
      expect(await allowed.gc()).toBe(1)
      await entriesOf(unprivileged, 1)
      expect(reasons).toHaveLength(1)

      await kit.query(`REVOKE INSERT, DELETE ON ${table}_event FROM app_user`)
      const reader = kit.open({ table, db, logger })
      expect(await reader.journal()).toHaveLength(1)
      await expire(kit, reader, table)
      expect(await reader.gc()).toBe(1)
      await until(() => reasons.length > 1, 'the reason to be logged')
      expect(await reader.journal()).toHaveLength(1)
      await kit.query(`REVOKE SELECT ON ${table}_event FROM app_user`)
      expect(await reader.journal()).toEqual([])
      expect(await reader.read('x')).toBeUndefined()
      expect(failed).toEqual([])
    })
  },
  'postgres only',
)
