import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { rank } from '../../src/servers/placement.ts'
import { createCompanionStatement } from '../../src/table/definition.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { promote, startStandby } from '../support/standby.ts'
import { until, within } from '../support/wait.ts'

/** Events of several servers and of a group, read by a process that had no part in them. */
describe('the journal of several servers', () => {
  const names = ['a', 'b']
  let servers: PostgresServer[]
  const open: SaveHandler[] = []

  beforeAll(async () => {
    servers = await Promise.all(names.map(() => startPostgres({ version: '18', settings: { fsync: 'off' } })))
  })
  afterEach(async () => {
    for (const server of servers) if (!server.running) await server.start()
    await Promise.all(open.splice(0).map((handler) => handler.close()))
  })
  afterAll(() => Promise.all((servers ?? []).map((server) => server.remove())))

  function handlerOf(options: SaveHandlerOptions, from = names, of = servers): SaveHandler {
    const db = of.map(({ host, port }, index) => {
      return `host=${host} port=${port} dbname=postgres user=postgres name=${from[index]}`
    })
    const handler = new SaveHandler({ db, gcInterval: 0, ...options })
    handler.on('error', () => {})
    open.push(handler)
    return handler
  }

  function idsOf(name: string, count: number): string[] {
    const placed = names.map((one) => ({ name: one, weight: 1 }))
    const all = Array.from({ length: count * 10 }, (_, n) => `id-${n}`)
    return all.filter((id) => rank(id, placed)[0]?.name === name).slice(0, count)
  }

  const kinds = async (sessions: SaveHandler, kind: string) =>
    (await sessions.journal()).filter((entry) => entry.kind === kind)

  test('has one entry for a failover however long it lasts, and the failbacks; a server that is down contributes none', async () => {
    const table = 'moved'
    const sessions = handlerOf({ table })
    const ids = idsOf('a', 5)
    for (const id of ids) await sessions.write(id, { old: 1 })
    const other = handlerOf({ table, createTable: false })
    expect(await other.journal()).toEqual([])

    await servers[0]?.kill9()
    for (const id of ids) await sessions.write(id, { new: 1 })
    const failovers = await until(async () => {
      const entries = await kinds(other, 'failover')
      return entries.length > 0 ? entries : undefined
    }, 'the failover')
    expect(failovers).toMatchObject([{ from: 'a', to: 'b', server: 'b', own: false }])
    expect(await kinds(other, 'broughtHome')).toEqual([])

    await servers[0]?.start()
    const failbacks = await until(async () => {
      const entries = await kinds(other, 'broughtHome')
      return entries.length > 0 ? entries : undefined
    }, 'the failback')
    await sessions.close()
    await other.close()
    const late = handlerOf({ table, createTable: false })
    const all = await kinds(late, 'broughtHome')
    expect(all.length).toBeGreaterThanOrEqual(failbacks.length)
    const sum = all.reduce(
      (count, entry) =>
        count + (entry.kind === 'broughtHome' ? entry.brought + entry.merged + entry.dropped : 0),
      0,
    )
    expect(sum).toBe(ids.length)
    for (const entry of all) expect(entry).toMatchObject({ from: 'b', to: 'a', server: 'a' })
    expect(await kinds(late, 'failover')).toHaveLength(1)
  })

  test('writes the entry of a sweep to the server that was swept', async () => {
    const table = 'swept'
    const sessions = handlerOf({ table })
    await sessions.open()
    await servers[1]?.query(
      `INSERT INTO ${table} (sess_id, sess_data, sess_expire) SELECT 'old' || n, '{}', 1 FROM generate_series(1, 3) n`,
    )
    expect(await sessions.gc()).toBe(3)
    const [entry] = await until(async () => {
      const entries = await sessions.journal()
      return entries.length === 1 ? entries : undefined
    }, 'the sweep')
    expect(entry).toMatchObject({ kind: 'gc', server: 'b', removed: 3 })
    expect(await servers[0]?.query('SELECT 1 FROM swept_event')).toEqual([])
  })

  test('a journal table that is missing or foreign causes no error in the log of PostgreSQL', async () => {
    const [server] = servers as [PostgresServer, PostgresServer]
    const table = 'missed'
    await handlerOf({ table }, ['a'], [server]).open()
    await server.query('DROP TABLE missed_event')
    await server.query('CREATE ROLE looker LOGIN')
    await server.query('GRANT SELECT, INSERT, UPDATE, DELETE ON missed TO looker')
    const messages: unknown[] = []
    const debug = (_: string, error?: unknown) => messages.push((error as Error).message)
    const logger = { debug, info() {}, warn() {}, error() {} }
    const db = `host=${server.host} port=${server.port} dbname=postgres user=looker`
    const before = server.log().length
    for (const [createTable, statement] of [
      [false, 'SELECT 1'],
      [true, 'SELECT 1'],
      [true, 'CREATE TABLE missed_event (event_id text)'],
      [true, `DROP TABLE missed_event; ${createCompanionStatement({ schema: 'public', table }, 'event')}`],
    ] as const) {
      await server.query(statement)
      const sessions = handlerOf({ db, table, createTable, logger })
      await server.query(`INSERT INTO missed (sess_id, sess_data, sess_expire) VALUES ('old', '{}', 1)`)
      expect(await sessions.gc()).toBe(1)
      expect(await sessions.journal()).toEqual([])
      await sessions.close()
    }
    expect(messages).toHaveLength(4)
    expect(server.log().slice(before)).not.toMatch(/ERROR/)
    expect(server.log()).toMatch(/ready to accept connections/)
  })

  test('close() does not wait for the journal of a server that hangs', async () => {
    const table = 'hung'
    const sessions = handlerOf({ table, operationTimeout: 120 }, ['b'], servers.slice(1))
    await sessions.open()
    // The second sweep is still to be written at close().
    for (const id of ['one', 'two']) {
      await servers[1]?.query(`INSERT INTO ${table} (sess_id, sess_data, sess_expire) VALUES ($1, '{}', 1)`, [
        id,
      ])
      expect(await sessions.gc()).toBe(1)
      await until(async () => (await sessions.journal()).length === 1, 'the first entry')
    }
    servers[1]?.pause()
    try {
      await within(sessions.close(), 20_000, 'close()')
    } finally {
      servers[1]?.resume()
    }
  })

  test('writes the entry of a promotion to the new primary', async () => {
    const first = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    const second = await startStandby(first)
    try {
      const db = `host=${first.host},${second.host} port=${first.port},${second.port} dbname=postgres user=postgres target_session_attrs=read-write name=group`
      const sessions = handlerOf({ db })
      await sessions.write('walker', { step: 0 })
      await until(
        () => second.query("SELECT 1 FROM php_session WHERE sess_id = 'walker'").then(({ length }) => length),
        'the standby to have it',
      )
      await promote(second)
      const [here, there] = [first, second].map(({ host, port }) => `${host}:${port}`)
      const late = handlerOf({ db: `host=${second.host} port=${second.port} dbname=postgres user=postgres` })
      const entry = await until(async () => (await kinds(late, 'promoted'))[0], 'the promotion')
      expect(entry).toMatchObject({ from: here, to: there, timeline: 2, own: false })
      expect(entry.server).toBe(late.status().servers[0]?.name)
      expect(await kinds(sessions, 'promoted')).toEqual([{ ...entry, server: 'group', own: true }])
      await Promise.all([sessions.close(), late.close()])
    } finally {
      await Promise.all([first.remove(), second.remove()])
    }
  })
})
