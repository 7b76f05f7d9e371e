import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { runHere } from '../cli/command-line.ts'
import type { Data } from '../handler/kit.ts'
import { pgbouncerMissing, startPgbouncer } from '../support/pgbouncer.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { promote, startStandby } from '../support/standby.ts'
import { eventually } from '../support/wait.ts'
import { type Listening, listening as listenWith, TO_LISTENERS } from './listening.ts'

const open: SaveHandler<Data>[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((handler) => handler.close()))
})

function handlerOf(db: SaveHandlerOptions['db'], options: SaveHandlerOptions<Data> = {}): SaveHandler<Data> {
  const handler = new SaveHandler<Data>({ db, announce: true, gcInterval: 0, ...options })
  open.push(handler)
  return handler
}

const listening = (
  db: SaveHandlerOptions['db'],
  options: SaveHandlerOptions<Data> = {},
): Promise<Listening> => listenWith(handlerOf(db, options))

describe('Announcements on a server that fails', () => {
  let server: PostgresServer
  beforeAll(async () => {
    // 64: the smallest queue, 512 KB.
    server = await startPostgres({ version: '18', settings: { fsync: 'off', max_notify_queue_pages: '64' } })
  })
  afterAll(() => server.remove())

  test('a logout succeeds while the notification queue is full; the other processes learn that they missed it', async () => {
    const own = await listening(server.conninfo(), { operationTimeout: 10 })
    const other = await listening(server.conninfo())
    const { handler } = own
    for (const id of ['one', 'two', 'three', 'four', 'five'])
      await handler.write(id, {}, { custom: 'u', base: null })
    const blocker = new pg.Client(server.url())
    await blocker.connect()
    try {
      // A listener in a transaction keeps everything in the queue.
      await blocker.query('LISTEN blocked')
      await blocker.query('BEGIN')
      await blocker.query('SELECT 1')
      const fill = async (): Promise<void> => {
        for (;;) await server.query("SELECT pg_notify('blocked', repeat('x', 7900) || gen_random_uuid())")
      }
      await expect(fill()).rejects.toMatchObject({ code: '54000' })

      expect(await handler.destroy('one')).toBe(true)
      expect(await handler.limitByField('u', 2)).toBe(2)
      await server.query(
        'UPDATE php_session SET sess_expire = 1, sess_sweep = 0 WHERE sess_id = (SELECT min(sess_id) FROM php_session)',
      )
      expect(await handler.gc()).toBe(1)
      expect(await handler.destroyByField('u')).toBe(1)
      expect(await server.query('SELECT FROM php_session')).toEqual([])
      expect(own.missed).toHaveLength(4)
      expect([own.errors, own.ended]).toEqual([[], []])
    } finally {
      await blocker.end()
    }
    // The next check, here that of a new connection, tells the others.
    await handler.reset()
    await eventually(() => expect(other.missed).toHaveLength(1))
    expect(other.ended).toEqual([])
  })

  test('a logout succeeds if the role may not execute pg_notify', async () => {
    await server.query('CREATE ROLE silent LOGIN')
    await server.query('GRANT SELECT, INSERT, UPDATE, DELETE ON php_session TO silent')
    await server.query('REVOKE EXECUTE ON FUNCTION pg_notify FROM PUBLIC')
    try {
      const handler = handlerOf(server.conninfo().replace('user=postgres', 'user=silent'), {
        createTable: false,
      })
      const missed: string[] = []
      await handler.write('silent', {}, { base: null })
      handler.on('error', () => {})
      handler.on('missed', ({ server: name }) => missed.push(name))
      expect(await handler.destroy('silent')).toBe(true)
      expect(missed).toHaveLength(1)
    } finally {
      await server.query('GRANT EXECUTE ON FUNCTION pg_notify TO PUBLIC')
    }
  })

  test('a listener connects again after the server was restarted, emits missed, and receives what follows', async () => {
    const { handler, ended, missed } = await listening(server.conninfo())
    await server.restart()
    await eventually(() => expect(missed).toHaveLength(1))
    await handler.write('again', {}, { base: null })
    await handler.destroy('again')
    await eventually(() => expect(ended).toHaveLength(1))
  })

  test('a process that cannot reach the server at the start reports one error, and later emits missed', async () => {
    await server.stop()
    const handler = handlerOf(server.conninfo(), { operationTimeout: 2 })
    const [errors, missed]: [Error[], string[]] = [[], []]
    handler.on('error', (error) => errors.push(error))
    handler.on('missed', ({ server: name }) => missed.push(name))
    await eventually(() => expect(errors).toMatchObject([{ code: 'SERVER_DOWN' }]))
    await server.start()
    await eventually(() => expect(missed).toHaveLength(1))
    expect(errors).toHaveLength(1)
  })

  test('an operator ends sessions with the command, and processes that listen learn of it', async () => {
    const { handler, of } = await listening(server.conninfo())
    await handler.write('by-command', {}, { base: null })
    const { code } = await runHere(['destroy', 'by-command', '--db', server.conninfo()])
    expect(code).toBe(0)
    await eventually(() => expect(of('by-command')).toMatchObject([{ reason: 'destroyed' }]))
    expect(await server.query(TO_LISTENERS)).toHaveLength(1)
  })

  test('a process that only listens can end', async () => {
    const module = join(import.meta.dirname, '../../src/index.ts')
    const source = `
      import { SaveHandler } from ${JSON.stringify(module)}
      const handler = new SaveHandler({ db: ${JSON.stringify(server.conninfo())}, announce: true })
      handler.on('ended', () => {})
      await handler.open()
      console.log('listening')`
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '-e', source],
      { timeout: 50_000, cwd: import.meta.dirname },
    )
    expect(stdout).toBe('listening\n')
  }, 60_000)
})

test.skipIf(pgbouncerMissing !== undefined)(
  'open() reports an error through PgBouncer in transaction mode, which delivers nothing, and logouts work',
  async () => {
    const server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    const bouncer = await startPgbouncer(server)
    try {
      const { handler, errors, ended, missed } = await listening(bouncer.url('postgres'), {
        operationTimeout: 2,
      })
      expect(errors).toMatchObject([{ message: expect.stringContaining('PgBouncer') }])
      await handler.write('one', {}, { base: null })
      expect(await handler.destroy('one')).toBe(true)
      expect([ended, missed]).toEqual([[], []])
      const direct = await listening(server.conninfo())
      await handler.write('two', {}, { base: null })
      await handler.destroy('two')
      await eventually(() => expect(direct.ended).toMatchObject([{ id: 'two' }]))
    } finally {
      await Promise.all(open.splice(0).map((one) => one.close()))
      await bouncer.stop()
      await server.remove()
    }
  },
)

test('after a promotion the process listens to the new primary, and emits missed', async () => {
  const first = await startPostgres({ version: '18', settings: { fsync: 'off' } })
  const second = await startStandby(first)
  try {
    const db = `host=${first.host},${second.host} port=${first.port},${second.port} dbname=postgres user=postgres target_session_attrs=read-write`
    const { handler, ended, missed } = await listening(db)
    await handler.write('id', {}, { base: null })
    // Not stopped: it still accepts connections and writes.
    await promote(second)
    await eventually(() => expect(missed).toHaveLength(1))
    await handler.write('id', {})
    expect(await handler.destroy('id')).toBe(true)
    await eventually(() => expect(ended).toMatchObject([{ id: 'id' }]))
    expect(await second.query(TO_LISTENERS)).toHaveLength(1)
  } finally {
    await Promise.all(open.splice(0).map((one) => one.close()))
    await first.remove()
    await second.remove()
  }
})

describe('Announcements of several servers', () => {
  const servers: PostgresServer[] = []
  beforeAll(async () => {
    const settings = { fsync: 'off' }
    servers.push(...(await Promise.all([1, 2].map(() => startPostgres({ version: '18', settings })))))
  })
  afterAll(() => Promise.all(servers.map((server) => server.remove())))
  const db = (): string[] => servers.map((server, index) => `${server.conninfo()} name=${'ab'[index]}`)

  test('a process receives those of each server, also of sessions that leave a tombstone', async () => {
    const { handler, ended } = await listening(db())
    const servers = new Set<string>()
    handler.on('ended', ({ server }) => servers.add(server))
    const ids = Array.from({ length: 20 }, (_, n) => `id-${n}`)
    for (const id of ids) await handler.write(id, {}, { custom: 'u', base: null })
    expect(await handler.destroy('id-0')).toBe(true)
    await eventually(() => expect(ended).toEqual([{ id: 'id-0', custom: 'u', reason: 'destroyed' }]))
    expect(await handler.limitByField('u', 10, { keep: 'id-19' })).toBe(9)
    await eventually(() => expect(ended.filter(({ reason }) => reason === 'limited')).toHaveLength(9))
    expect(await handler.destroyByField('u')).toBe(10)
    await eventually(() => expect(new Set(ended.map(({ id }) => id))).toEqual(new Set(ids)))
    expect([...servers].sort()).toEqual(['a', 'b'])
  })

  test('a session that ends on its fallback server is announced there, and the end is not announced again as expired', async () => {
    const { handler, ended, missed } = await listening(db())
    const ids = Array.from({ length: 10 }, (_, n) => `down-${n}`)
    for (const id of ids) await handler.write(id, {}, { base: null })
    await servers[0]?.stop('immediate')
    await Promise.all(ids.map((id) => handler.destroy(id)))
    await eventually(() => expect(new Set(ended.map(({ id }) => id))).toEqual(new Set(ids)))
    await servers[0]?.start()
    await eventually(() => expect(missed).toContain('a'))
    for (const server of servers)
      await server.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_destroyed IS NOT NULL')
    await handler.gc()
    expect(ended.map(({ reason }) => reason)).not.toContain('expired')
  })
})
