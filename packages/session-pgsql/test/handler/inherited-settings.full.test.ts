import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { describeOnEveryServer, type FreshDatabase, usePostgres } from '../support/servers.ts'
import { type Data, errorOf, expireAgo, type Handler, id as newId } from './kit.ts'
import { expectUsable } from './table-kit.ts'

/** With a backslash, for standard_conforming_strings. */
const TABLE = 'a\\b'

/**
 * Settings that a connection inherits from its role, its database or the server. The timeouts are longer than a statement
 * takes on a busy machine.
 */
const SETTINGS: [name: string, value: string, since?: number][] = [
  ['default_transaction_isolation', 'repeatable read'],
  ['default_transaction_isolation', 'serializable'],
  ['default_transaction_deferrable', 'on'],
  ['quote_all_identifiers', 'on'],
  ['extra_float_digits', '-15'],
  ['jit_above_cost', '0'],
  ['plan_cache_mode', 'force_custom_plan'],
  ['enable_nestloop', 'off'],
  ['enable_indexscan', 'off'],
  ['standard_conforming_strings', 'off'],
  ['transform_null_equals', 'on'],
  ['array_nulls', 'off'],
  ['bytea_output', 'escape'],
  ['DateStyle', 'SQL, DMY'],
  ['IntervalStyle', 'sql_standard'],
  ['TimeZone', 'Asia/Kathmandu'],
  ['client_encoding', 'LATIN1'],
  ['row_security', 'off'],
  ['lock_timeout', '1ms'],
  ['statement_timeout', '10s'],
  ['idle_in_transaction_session_timeout', '2s'],
  ['transaction_timeout', '2s', 170_000],
]

/** Milliseconds for which a transaction is idle: longer than the timeouts of idle and of long transactions. */
const IDLE = 2200

/**
 * Calls every kind of operation, with several processes' worth of concurrency.
 *
 * @param idle milliseconds for which the transaction that holds the row lock is idle
 */
async function exercise(
  open: (options?: SaveHandlerOptions<Data>) => Handler,
  query: FreshDatabase['query'],
  idle = 0,
) {
  const [one, other] = [open(), open()]
  await expectUsable(one)

  const id = newId()
  await one.write(id, { n: 0, text: 'é \\ \' "' })
  await Promise.all(
    [one, other].flatMap((sessions) =>
      Array.from({ length: 8 }, async (_, index) => {
        for (let round = 0; round < 4; round++) {
          await sessions.update(id, (data) => void data.n++)
          const base = await sessions.read(id)
          const key = `${sessions === one ? 'one' : 'other'}${index}`
          expect((await sessions.write(id, { ...base?.data, [key]: round }, { base })).outcome).not.toBe(
            'gone',
          )
          expect(await sessions.touch(id)).toBe(true)
          expect(await sessions.addError(id)).toBe(true)
        }
      }),
    ),
  )
  const session = await one.read(id)
  expect(session?.data).toMatchObject({ n: 64, text: 'é \\ \' "', one0: 3, other7: 3 })
  expect(session?.errors).toBe(64)
  expect(Math.abs((session?.created?.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)

  // Loses every compare-and-swap, so that it finally runs while the row is locked.
  let rounds = 0
  const conflict = async (ours: Data): Promise<Data> => {
    if (++rounds <= 2) await other.write(id, { round: rounds })
    else await sleep(idle)
    return ours
  }
  const base = await other.read(id)
  await other.write(id, { round: 0 })
  const slow = open({ conflict })
  expect((await slow.write(id, { mine: 1 }, { base })).session?.data).toEqual({ mine: 1 })
  expect(rounds).toBe(3)

  const owners = Array.from({ length: 8 }, (_, index) => one.tryLock(id, `owner${index}`, 30))
  expect((await Promise.all(owners)).filter(Boolean)).toHaveLength(1)

  await expireAgo({ query }, id, 100, `"${TABLE}"`)
  await query(`UPDATE "${TABLE}" SET sess_sweep = 0`)
  expect((await one.countDue({ timeLimit: 10 }))[0]).toMatchObject({ count: 1, error: undefined })
  const [statistics] = await one.statistics(await one.statistics())
  expect(statistics?.error).toBeUndefined()
  expect(Math.abs((statistics?.table?.at.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
  expect(statistics?.table?.tableBytes).toBeGreaterThanOrEqual(8192)
  const swept = await Promise.all([one.gc(), other.gc()])
  expect(swept[0] + swept[1]).toBe(1)
  // Closing waits for the events that are being written.
  await Promise.all([one.close(), other.close()])
  const [event] = (await slow.journal({ seconds: 600 })).slice(-1)
  expect(event).toMatchObject({ kind: 'gc', removed: 1 })
  expect(Math.abs((event?.at.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
}

type Work = (open: (options?: SaveHandlerOptions<Data>) => Handler) => Promise<void>

/** Calls `work`, during which no handler may report an error, and removes its tables. */
async function usingHandlers(url: string, query: FreshDatabase['query'], work: Work): Promise<void> {
  const opened: Handler[] = []
  const reported: unknown[] = []
  try {
    await work((options) => {
      const sessions = new SaveHandler<Data>({
        ...{ db: url, table: `"${TABLE}"`, gcInterval: 0, operationTimeout: 15, ...options },
      })
      sessions.on('error', (error) => reported.push(error))
      opened.push(sessions)
      return sessions
    })
  } finally {
    await Promise.all(opened.map((sessions) => sessions.close()))
    await query(`DROP TABLE IF EXISTS "${TABLE}", "${TABLE}_lock", "${TABLE}_event"`)
  }
  expect(reported).toEqual([])
}

describeOnEveryServer(
  'Settings of the role, the database and the server',
  (server) => {
    const role = `settings_${randomBytes(6).toString('hex')}`
    let database: FreshDatabase
    let version = 0
    const query: FreshDatabase['query'] = (sql, parameters) => database.query(sql, parameters)
    const url = (): string => Object.assign(new URL(database.db as string), { username: role }).href

    beforeAll(async () => {
      database = await server.freshDatabase()
      await query(`CREATE ROLE ${role} LOGIN`)
      await query(`GRANT ALL ON SCHEMA public TO ${role}`)
      const [row] = await query<{ v: number }>(`SELECT current_setting('server_version_num')::int AS v`)
      version = row?.v ?? 0
    })
    afterAll(async () => {
      await query(`DROP OWNED BY ${role}`)
      await query(`DROP ROLE ${role}`)
    })

    const using = (work: Work): Promise<void> => usingHandlers(url(), query, work)

    describe.each(['ROLE', 'DATABASE'] as const)('ALTER %s', (where) => {
      const target = (): string =>
        where === 'ROLE' ? `ROLE ${role}` : `DATABASE ${new URL(database.db as string).pathname.slice(1)}`

      test.each(SETTINGS)('SET %s = %s changes nothing', async (name, value, since = 0) => {
        if (version < since) return
        await query(`ALTER ${target()} SET ${name} = ${name === 'DateStyle' ? value : `'${value}'`}`)
        try {
          await using((open) => exercise(open, query, /idle|transaction_timeout/.test(name) ? IDLE : 0))
        } finally {
          await query(`ALTER ${target()} RESET ${name}`)
        }
      })
    })

    /** Returns a client with an open transaction that has locked the table. */
    async function lockTable(mode: string): Promise<pg.Client> {
      const client = new pg.Client(database.db as string)
      await client.connect()
      await client.query(`BEGIN; LOCK TABLE "${TABLE}" IN ${mode} MODE`)
      return client
    }

    test('statement_timeout ends a statement that waits for longer', async () => {
      await using(async (open) => {
        await open().open()
        await query(`ALTER ROLE ${role} SET statement_timeout = '200ms'`)
        const lock = await lockTable('ACCESS EXCLUSIVE')
        try {
          const sessions = open({ createTable: false })
          const start = performance.now()
          expect(await errorOf(sessions.read(newId()))).toMatchObject({ code: 'TIMEOUT', sqlState: '57014' })
          expect(performance.now() - start).toBeLessThan(10_000)
        } finally {
          await lock.end()
          await query(`ALTER ROLE ${role} RESET statement_timeout`)
        }
      })
    })

    test('default_transaction_read_only allows reads, and makes writes reject with its SQLSTATE', async () => {
      await using(async (open) => {
        const id = newId()
        await open().write(id, { a: 1 })
        await query(`ALTER ROLE ${role} SET default_transaction_read_only = on`)
        try {
          const sessions = open()
          const base = await sessions.read(id)
          expect(base?.data).toEqual({ a: 1 })
          expect(await sessions.list()).toHaveLength(1)
          const readOnly = {
            code: 'DATABASE',
            sqlState: '25006',
            message: expect.stringContaining('read-only'),
          }
          expect(await errorOf(sessions.write(id, { a: 2 }, { base }))).toMatchObject(readOnly)
          expect(await errorOf(sessions.write(newId(), {}))).toMatchObject(readOnly)
          expect(await errorOf(sessions.touch(id))).toMatchObject(readOnly)
          expect(await errorOf(sessions.destroy(id))).toMatchObject(readOnly)
        } finally {
          await query(`ALTER ROLE ${role} RESET default_transaction_read_only`)
        }
      })
    })
  },
  ['postgres'],
)

describe('Settings of the whole server', () => {
  const server = usePostgres({ version: '18', settings: { fsync: 'off' } })
  // node-postgres sets client_encoding for each connection.
  const settings = new Map(SETTINGS.map(([name, value]) => [name, value]))
  settings.delete('client_encoding')

  test.each(['repeatable read', 'serializable'])(
    'change nothing, all at once, with %s',
    async (isolation) => {
      settings.set('default_transaction_isolation', isolation)
      const query: FreshDatabase['query'] = (sql, parameters) => server().query(sql, parameters)
      await server().configure(
        ...[...settings].map(
          ([name, value]) => `SET ${name} = ${name === 'DateStyle' ? value : `'${value}'`}`,
        ),
      )
      await usingHandlers(server().url('postgres'), query, (open) => exercise(open, query, IDLE))
    },
  )
})
