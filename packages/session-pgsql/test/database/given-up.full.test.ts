import { chmodSync, chownSync, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { identity } from '../support/cache.ts'
import { type Pgbouncer, pgbouncerMissing, startPgbouncer } from '../support/pgbouncer.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'
import { usePostgres } from '../support/servers.ts'
import { startStandby, synchronous } from '../support/standby.ts'
import { hasOpenssl, makeCertificates } from '../support/tls-server.ts'
import { eventually, sleep, until, within } from '../support/wait.ts'

type Data = { n: number }
type Handler = SaveHandler<Data>

const POOL_SIZE = 5

/** Callers that repeat operations, whether these fail or not. */
function startCallers(handler: Handler, count: number) {
  let stopped = false
  let done = 0
  const errors: (Error & { code: string })[] = []
  const call = async (id: string): Promise<void> => {
    for (let n = 0; !stopped; n++) {
      try {
        if (n % 2 === 0) await handler.write(id, { n })
        else await handler.read(id)
        done++
      } catch (error) {
        errors.push(error as Error & { code: string })
      }
    }
  }
  const all = Array.from({ length: count }, (_, which) => call(`caller-${which}`))
  return {
    errors,
    get done() {
      return done
    },
    async stop() {
      stopped = true
      await Promise.all(all)
    },
  }
}

/**
 * Polls the number of the library's backends until `stop`, which returns the largest.
 *
 * @param names the application names that are counted
 */
function watchBackends(
  server: PostgresServer,
  names: readonly string[] = ['session_pgsql', 'pool-of-the-caller'],
) {
  let most = 0
  let stopped = false
  const polling = (async () => {
    const client = new pg.Client(server.url())
    await client.connect()
    while (!stopped) {
      const { rows } = await client.query(
        `SELECT count(*)::int AS count FROM pg_stat_activity
          WHERE backend_type = 'client backend' AND application_name = ANY ($1)`,
        [names],
      )
      most = Math.max(most, rows[0].count)
      await sleep(20)
    }
    await client.end()
  })()
  return {
    async stop() {
      stopped = true
      await polling
      return most
    },
  }
}

/** Locks the table, as an ALTER TABLE does; resolves to a function that unlocks it. */
async function lockTable(url: string): Promise<() => Promise<void>> {
  const client = new pg.Client(url)
  await client.connect()
  await client.query('BEGIN')
  await client.query('LOCK TABLE php_session')
  return () => client.end()
}

describe('A call that is given up', () => {
  const server = usePostgres({ version: '18', settings: { fsync: 'off', max_connections: '60' } })
  const closing: (() => Promise<unknown>)[] = []
  let pgbouncer: Pgbouncer | undefined
  beforeAll(async () => {
    if (pgbouncerMissing === undefined) pgbouncer = await startPgbouncer(server(), 2 * POOL_SIZE)
  })
  afterAll(() => pgbouncer?.stop())
  afterEach(async () => {
    for (const close of closing.splice(0)) await close()
  })

  function open(options: SaveHandlerOptions<Data>): Handler {
    const handler = new SaveHandler<Data>({ gcInterval: 0, logger: false, ...options })
    closing.push(() => handler.close())
    return handler
  }

  function callersPool(options: pg.PoolConfig = {}): pg.Pool {
    const pool = new pg.Pool({
      host: server().host,
      port: server().port,
      user: 'postgres',
      max: POOL_SIZE,
      application_name: 'pool-of-the-caller',
      ...options,
    })
    closing.push(() => pool.end())
    return pool
  }

  test.for<[string, () => SaveHandlerOptions<Data>['db'], number]>([
    ['TCP', () => server().url(), 4 * POOL_SIZE],
    ['a Unix socket', () => `host=${server().folder} port=${server().port} user=postgres`, 4 * POOL_SIZE],
    ['pools of the caller', () => callersPool(), 4 * POOL_SIZE],
    ['PgBouncer', () => pgbouncer?.url('postgres') as string, 2 * POOL_SIZE],
  ])(
    'never holds more than poolSize backends while the table is locked, and works again afterwards: %s',
    async ([place, db, most], context) => {
      if (place === 'PgBouncer' && pgbouncerMissing !== undefined) return context.skip(pgbouncerMissing)
      const handlers = Array.from({ length: 4 }, () =>
        open({ db: db(), poolSize: POOL_SIZE, operationTimeout: 1 }),
      )
      // Creates the table; the others have too little time for that on a busy machine.
      const creator = open({ db: server().url(), operationTimeout: 30 })
      await creator.open()
      await creator.close()
      const backends = watchBackends(server())
      const callers = handlers.map((handler) => startCallers(handler, 16))
      const progress = async (of: 'done' | 'errors', count: number, timeoutMs?: number): Promise<void> => {
        const counts = () => callers.map((one) => (of === 'done' ? one.done : one.errors.length))
        const before = counts()
        const hasHappened = () => counts().every((now, which) => now >= (before[which] as number) + count)
        await until(hasHappened, `${count} more ${of} of each handler`, timeoutMs)
      }
      await progress('done', 100)
      const unlock = await lockTable(server().url())
      await progress('errors', 64)
      await unlock()
      // Measured: less than a second.
      await progress('done', 16, 5000)
      for (const one of callers) await one.stop()
      expect(await backends.stop()).toBeLessThanOrEqual(most)
      const codes = new Set(callers.flatMap(({ errors }) => errors.map(({ code }) => code)))
      expect([...codes].filter((code) => code !== 'TIMEOUT' && code !== 'AMBIGUOUS')).toEqual([])
    },
  )

  test('no handler holds more than poolSize backends during a lock of 30 seconds, and each works within a second of the unlock, with pools of their own and of the caller', async () => {
    const names = [1, 2, 3, 4].map((which) => `handler-${which}`)
    const handlers = names.map((name, n) =>
      open(
        n % 2 === 0
          ? { db: `${server().url()}?application_name=${name}`, poolSize: POOL_SIZE }
          : { db: callersPool({ application_name: name }) },
      ),
    )
    for (const handler of handlers) await handler.open()
    const backends = names.map((name) => watchBackends(server(), [name]))
    const callers = handlers.map((handler) => startCallers(handler, 16))
    const times: number[] = []
    // The time is nominal: a busy machine may take longer once, but not three times. The later locks only have to be
    // longer than operationTimeout, so that calls are given up.
    for (const seconds of [30, 8, 8]) {
      const errors = callers.map((one) => one.errors.length)
      const unlock = await lockTable(server().url())
      await sleep(seconds * 1000)
      expect(callers.every((one, which) => one.errors.length > (errors[which] as number))).toBe(true)
      const before = callers.map((one) => one.done)
      const unlocking = performance.now()
      await unlock()
      await until(
        () => callers.every((one, which) => one.done > (before[which] as number)),
        'a success of each handler',
      )
      times.push(Math.round(performance.now() - unlocking))
      if ((times.at(-1) as number) < 1000) break
    }
    for (const one of callers) await one.stop()
    for (const one of backends) {
      const most = await one.stop()
      expect(most).toBeGreaterThan(0)
      expect(most).toBeLessThanOrEqual(POOL_SIZE)
    }
    // Measured: about 100 ms.
    expect(Math.min(...times), `milliseconds after each unlock: ${times}`).toBeLessThan(1000)
    const codes = new Set(callers.flatMap(({ errors }) => errors.map(({ code }) => code)))
    expect([...codes].filter((code) => code !== 'TIMEOUT' && code !== 'AMBIGUOUS')).toEqual([])
  })

  test('leaves its connection in the pool, usable for statements and transactions', async () => {
    const pool = callersPool()
    const connected: unknown[] = []
    pool.on('connect', (client) => connected.push(client))
    const handler = open({ db: pool, operationTimeout: 1 })
    await handler.write('id', { n: 0 })
    const unlock = await lockTable(server().url())
    // A list with a time limit is a transaction.
    for (const call of [() => handler.read('id'), () => handler.count()]) {
      await expect(call()).rejects.toMatchObject({ code: 'TIMEOUT' })
      await until(() => pool.idleCount === pool.totalCount, 'the connection to be free')
    }
    await unlock()
    for (let n = 1; n < 20; n++) await handler.write('id', { n })
    expect(await handler.count()).toBeGreaterThan(0)
    expect(connected).toHaveLength(1)
  })

  test('does not delay close()', async () => {
    const proxy = await startProxy(server())
    closing.push(() => proxy.stop())
    const url = `postgresql://postgres@127.0.0.1:${proxy.port}/postgres`
    const handler = open({ db: url, operationTimeout: 1 })
    await handler.open()
    proxy.silence()
    await expect(handler.read('id')).rejects.toMatchObject({ code: 'TIMEOUT' })
    await within(handler.close(), 500, 'close()')
  })

  test('keeps its place in the pool while the cancel request is not delivered, but not for good', async () => {
    const proxy = await startProxy(server())
    closing.push(() => proxy.stop())
    const pool = callersPool({ port: proxy.port, max: 1, connectionTimeoutMillis: 1500 })
    const handler = open({ db: pool, operationTimeout: 1 })
    await eventually(() => handler.open())
    proxy.silence()
    await expect(handler.read('id')).rejects.toMatchObject({ code: 'TIMEOUT', outcomeUnknown: true })
    await expect(handler.read('id')).rejects.toMatchObject({ code: 'TIMEOUT', outcomeUnknown: false })
    expect(pool).toMatchObject({ totalCount: 1, idleCount: 0 })
    await until(() => pool.totalCount === 0, 'the connection to be closed')
    proxy.drop()
    await proxy.resume()
    await eventually(async () => expect(await handler.read('another')).toBeUndefined())
  })

  test('was not sent if it has waited for a connection only, also if the process was busy at its deadline', async () => {
    const pool = callersPool({ max: 1 })
    const handler = open({ db: pool, operationTimeout: 1 })
    await handler.open()
    const client = await pool.connect()
    // Node runs timers of one duration together: those of the call are due in another order than they were set.
    setTimeout(() => {}, 1000)
    const reading = handler.read('id')
    setTimeout(() => {
      const until = performance.now() + 100
      while (performance.now() < until);
    }, 950)
    try {
      await expect(reading).rejects.toMatchObject({ code: 'TIMEOUT', outcomeUnknown: false })
    } finally {
      client.release()
    }
  })

  test('may have committed if it waits for a synchronous standby: the outcome is unknown', async () => {
    const primary = server()
    const standby = await startStandby(primary)
    await synchronous(primary)
    closing.push(async () => {
      await primary.configure('RESET synchronous_standby_names')
      await standby.remove()
    })
    const handler = open({ db: primary.url(), poolSize: 2, operationTimeout: 1 })
    await handler.write('standby', { n: 1 })
    standby.pause()
    const backends = watchBackends(primary)
    for (let n = 2; n < 8; n++) {
      await expect(handler.write('standby', { n })).rejects.toMatchObject({
        code: 'TIMEOUT',
        outcomeUnknown: true,
      })
    }
    expect(await backends.stop()).toBeLessThanOrEqual(2)
    await until(
      async () =>
        (await primary.query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length === 0,
      'no commit waits',
    )
    // The cancel ended the waiting, not the transaction.
    expect((await handler.read('standby'))?.data).toEqual({ n: 7 })
    standby.resume()
    await until(
      () =>
        handler.write('standby', { n: 8 }).then(
          () => true,
          () => false,
        ),
      'commits to be acknowledged again',
    )
  })
})

describe.skipIf(!hasOpenssl)('A call that is given up over TLS', () => {
  const folder = mkdtempSync(join(tmpdir(), 'session-pgsql-'))
  const files = hasOpenssl ? makeCertificates(folder, 'DNS:localhost') : undefined
  afterAll(() => rmSync(folder, { recursive: true }))
  let server: PostgresServer
  beforeAll(async () => {
    server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    for (const name of ['server.crt', 'server.key']) {
      const path = join(server.dataDir, name)
      copyFileSync(join(folder, name), path)
      chmodSync(path, 0o600)
      if (identity !== undefined) chownSync(path, identity.uid, identity.gid)
    }
    await server.configure('SET ssl = on')
  })
  afterAll(() => server?.remove())

  test.each(['postgres', 'direct'])(
    'sends the cancel request over TLS too, to a server whose name is verified (sslnegotiation=%s)',
    async (negotiation) => {
      const before = server.log().split(CANCELED).length
      const proxy = await startRecorder(server.port)
      const handler = new SaveHandler<Data>({
        db: `host=localhost port=${proxy.port} user=postgres dbname=postgres sslmode=verify-full sslrootcert=${files?.ca} sslnegotiation=${negotiation}`,
        poolSize: 1,
        operationTimeout: 1,
        gcInterval: 0,
      })
      let unlock: (() => Promise<void>) | undefined
      try {
        // A busy machine may take longer to connect for the first time.
        await eventually(() => handler.write('id', { n: 1 }))
        unlock = await lockTable(server.url())
        await expect(handler.read('id')).rejects.toMatchObject({ code: 'TIMEOUT' })
        await until(() => server.log().split(CANCELED).length > before, 'the statement to be canceled', 5000)
        expect(proxy.starts.length).toBeGreaterThan(1)
        expect(proxy.starts.filter((start) => start.readInt32BE(4) === CANCEL_REQUEST)).toEqual([])
      } finally {
        await unlock?.()
        await handler.close()
        await proxy.stop()
      }
    },
  )
})

const CANCELED = 'canceling statement due to user request'

/** The code of a cancel request that is not encrypted. */
const CANCEL_REQUEST = 80877102

/** A proxy that records the first packet of each connection. */
async function startRecorder(port: number) {
  const starts: Buffer[] = []
  const recorder = createServer((client) => {
    const upstream = connect(port, '127.0.0.1')
    client.once('data', (start: Buffer) => starts.push(start))
    client.pipe(upstream).pipe(client)
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.on('error', () => {})
      socket.on('close', () => other.destroy())
    }
  })
  await new Promise<void>((resolve) => recorder.listen(0, '127.0.0.1', resolve))
  return {
    starts,
    port: (recorder.address() as AddressInfo).port,
    stop: () => new Promise((resolve) => recorder.close(resolve)),
  }
}
