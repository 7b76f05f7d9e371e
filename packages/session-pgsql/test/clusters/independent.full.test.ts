import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { rank } from '../../src/servers/placement.ts'
import { faketimeMissing, type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startWorker, type Worker } from '../support/processes.ts'
import { startProxy } from '../support/proxy.ts'
import { promote, rejoin, startStandby, synchronous } from '../support/standby.ts'
import { eventually, sleep } from '../support/wait.ts'
import { randomOf, Traffic } from './traffic.ts'
import type { ProcessInput, ProcessResult } from './workers/process.ts'

/*
 * Environment variables for longer runs than at every change:
 *   SESSION_PGSQL_AWAY_SECONDS=60   how long a server is down
 *   SESSION_PGSQL_WALK_SECONDS=600  how long the random walk of faults takes
 *   SESSION_PGSQL_WALK_SEED=7       the seed of the walk; a failed walk has it in its name
 */
const WALK = Number(process.env.SESSION_PGSQL_WALK_SECONDS ?? 30)
const SEED = Number(process.env.SESSION_PGSQL_WALK_SEED ?? Date.now() % 1_000_000)

/** Milliseconds for which a server is down. */
const DOWN = 1000 * Number(process.env.SESSION_PGSQL_AWAY_SECONDS ?? 3)

/** Seconds by which the clock of a server is fast when it returns. */
const FAST = 5

describe('three independent servers under traffic', () => {
  const names = ['a', 'b', 'c']
  const servers: PostgresServer[] = []
  const open: SaveHandler<Record<string, number>>[] = []
  const workers: Worker<ProcessResult>[] = []

  beforeAll(async () => {
    // The servers are killed, but the machine keeps running: fsync is not needed.
    servers.push(
      ...(await Promise.all(names.map(() => startPostgres({ version: '18', settings: { fsync: 'off' } })))),
    )
  })
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.kill()))
    await Promise.all(open.splice(0).map((handler) => handler.close()))
    for (const server of servers) if (!server.running) await server.start()
    // After the walk, one server has no synchronous standby, which its commits would wait for.
    const drop = 'SET synchronous_commit = local; DROP TABLE IF EXISTS php_session'
    for (const server of servers) await server.query(drop).catch(() => {})
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.remove()))
  })

  function handlerOf(
    hosts = servers.map(({ host, port }) => `host=${host} port=${port}`),
  ): SaveHandler<Record<string, number>> {
    const handler = new SaveHandler<Record<string, number>>({
      db: hosts.map((host, n) => `${host} dbname=postgres user=postgres name=${names[n]}`),
      gcInterval: 0,
    })
    handler.on('error', () => {})
    open.push(handler)
    return handler
  }

  /** Resolves when all servers are up and every row is on its home server. */
  async function settled(handlers: readonly SaveHandler<Record<string, number>>[]): Promise<void> {
    await eventually(async () => {
      for (const handler of handlers) {
        expect(handler.status().servers.map(({ health }) => health)).not.toContain('down')
      }
      for (const server of servers) {
        const [row] = await server.query<{ n: number }>(
          'SELECT count(*)::int AS n FROM php_session WHERE sess_home IS NOT NULL',
        )
        expect(row?.n).toBe(0)
      }
    }, 120_000)
  }

  async function expectEveryRowAtHome(traffic: Pick<Traffic, 'ids'>): Promise<void> {
    const found = await Promise.all(
      servers.map((server) =>
        server.query<{ sess_id: string }>(
          'SELECT sess_id FROM php_session WHERE sess_id = ANY($1) AND sess_destroyed IS NULL',
          [traffic.ids],
        ),
      ),
    )
    const placed = names.map((name) => ({ name, weight: 1 }))
    const misplaced = found.flatMap((rows, n) =>
      rows.filter(({ sess_id }) => rank(sess_id, placed)[0]?.name !== names[n]).map(({ sess_id }) => sess_id),
    )
    expect(misplaced).toEqual([])
  }

  const faults: Record<
    string,
    { begin(server: PostgresServer): Promise<void> | void; end(server: PostgresServer): Promise<void> | void }
  > = {
    'kill -9': { begin: (server) => server.kill9(), end: (server) => server.start() },
    'stop -m fast': { begin: (server) => server.stop('fast'), end: (server) => server.start() },
    SIGSTOP: { begin: (server) => server.pause(), end: (server) => server.resume() },
  }

  for (const [name, fault] of Object.entries(faults)) {
    test(`${name} of one server loses no acknowledged write, brings no destroyed session back, and leaves every row at home`, async () => {
      const handlers = [handlerOf(), handlerOf()]
      const traffic = new Traffic(handlers, 24, 7)
      await sleep(1000)
      const before = traffic.acknowledged
      traffic.trouble()
      await fault.begin(servers[1] as PostgresServer)
      // Started after the outage.
      handlers.push(handlerOf())
      await sleep(2000)
      // No request has waited longer than operationTimeout, and later requests do not wait.
      const slowest = traffic.slowest
      traffic.measure()
      const callsBefore = handlers[0]?.status().servers[1]?.calls ?? 0
      await sleep(DOWN - 2000)
      // It gets only probes, each of which takes 400 ms because it does not even refuse.
      const probes = (handlers[0]?.status().servers[1]?.calls ?? 0) - callsBefore
      if (name === 'SIGSTOP') expect(probes).toBeLessThanOrEqual(2 + (DOWN - 2000) / 200)
      const during = traffic.acknowledged
      await fault.end(servers[1] as PostgresServer)
      await traffic.calmAfter(() => settled(handlers))
      traffic.checked = 0
      await sleep(1000)
      expect(traffic.checked).toBeGreaterThan(10)
      await traffic.stop()
      await settled(handlers)
      await traffic.check(handlers[2] as SaveHandler<Record<string, number>>)
      expect(traffic.broken.join('; ')).toBe('')
      expect(during).toBeGreaterThan(before)
      // Only requests in progress at the fault fail, with these errors.
      expect(traffic.errors.filter(({ code }) => code !== 'AMBIGUOUS' && code !== 'SERVER_DOWN')).toEqual([])
      expect(traffic.errors.length).toBeLessThanOrEqual(24)
      expect(traffic.errorsInCalm).toEqual([])
      expect(slowest).toBeLessThan(5000)
      // No request used up its operationTimeout.
      expect(traffic.slowest).toBeLessThan(5000)
      await expectEveryRowAtHome(traffic)
    })
  }

  test(`four processes, one started after the outage and two killed during failback, lose nothing although the returning server's clock is ${FAST} s fast`, async (ctx) => {
    if (faketimeMissing !== undefined) ctx.skip(faketimeMissing)
    const db = servers.map((server, n) => `${server.conninfo()} name=${names[n]}`)
    const module = new URL('./workers/process.ts', import.meta.url)
    const start = async (input: Omit<ProcessInput, 'db'>): Promise<Worker<ProcessResult>> => {
      const worker = await startWorker<ProcessResult>(module, { db, ...input }, { timeoutMs: 100_000 })
      workers.push(worker)
      await worker.receive()
      return worker
    }
    const b = servers[1] as PostgresServer
    const here = handlerOf()
    const serving = await Promise.all([
      start({ callers: 12, seed: 100 }),
      start({ callers: 12, seed: 200 }),
      start({ callers: 0, seed: 1, diesAfter: 1 }),
      start({ callers: 0, seed: 2, diesAfter: 5 }),
    ])
    const dying = serving.splice(2)
    const deaths = dying.map(({ result }) =>
      result.then(
        () => 'has ended',
        (error: Error) => error.message,
      ),
    )
    let dead = 0
    for (const death of deaths) void death.then(() => dead++)
    const kept = new Map<string, number>()
    let outages = 0
    // Again, if the other processes have moved nearly all rows back before those that die have moved theirs.
    do {
      outages++
      await b.kill9()
      if (outages === 1) serving.push(await start({ callers: 12, seed: 300 }))
      // So many rows that failback takes longer than the killed processes live.
      const ids = Array.from({ length: 900 }, (_, n) => `kept-${outages}-${n}`)
      for (let n = 0; n < ids.length; n += 50) {
        const some = ids.slice(n, n + 50)
        await Promise.all(some.map((id, more) => here.write(id, { n: n + more }, { base: null })))
      }
      for (const [n, id] of ids.entries()) kept.set(id, n)
      b.shiftClock(FAST)
      await b.start()
      const [row] = await b.query<{ ahead: number }>(
        'SELECT extract(epoch FROM clock_timestamp())::float8 AS ahead',
      )
      expect((row?.ahead ?? 0) - Date.now() / 1000).toBeGreaterThan(FAST - 1)
      await Promise.race([Promise.all(deaths), settled([here])])
    } while (dead < dying.length)
    for (const death of deaths) expect(await death).toContain('SIGKILL')
    for (const one of serving) {
      one.send('calm')
      while ((await one.receive()) === 'settled?') {
        await settled([here])
        one.send('settled')
      }
    }
    await sleep(1500)
    for (const one of serving) one.send('stop')
    for (const one of serving) expect(await one.receive()).toBe('stopped')
    await settled([here])
    for (const one of serving) one.send('check')
    for (const result of await Promise.all(serving.map(({ result }) => result))) {
      expect(result.broken.join('; ')).toBe('')
      expect(result.acknowledged).toBeGreaterThan(50)
      expect(result.codes.filter((code) => code !== 'AMBIGUOUS' && code !== 'SERVER_DOWN')).toEqual([])
      // Each of its callers had at most one request in progress at each kill.
      expect(result.codes.length).toBeLessThanOrEqual(12 * outages)
      expect(result.codesInCalm).toEqual([])
      await expectEveryRowAtHome(result)
    }
    for (const [id, n] of kept) expect((await here.read(id))?.data).toEqual({ n })
    await expectEveryRowAtHome({ ids: [...kept.keys()] })
  })

  test(
    `survives a random walk of faults (${WALK} s, SESSION_PGSQL_WALK_SEED=${SEED})`,
    async () => {
      const random = randomOf(SEED)
      const [a, b, c] = servers as [PostgresServer, PostgresServer, PostgresServer]
      // b becomes a replicated group, which a promotion needs; a and c can be partitioned.
      let standby = await startStandby(b)
      await synchronous(b)
      const [proxyA, proxyC] = await Promise.all([startProxy(a), startProxy(c)])
      const group = `host=${b.host},${standby.host} port=${b.port},${standby.port} target_session_attrs=read-write`
      // A partition separates only one of the two handlers from a server: the other continues on the home server.
      const whole = handlerOf([`host=${a.host} port=${a.port}`, group, `host=${c.host} port=${c.port}`])
      const handler = handlerOf([
        `host=${proxyA.host} port=${proxyA.port}`,
        group,
        `host=${proxyC.host} port=${proxyC.port}`,
      ])
      // Only a group that knows a primary can tell that another one was promoted.
      await Promise.all([handler.open(), whole.open()])
      const promotions: string[] = []
      handler.on('promoted', ({ to }) => promotions.push(to))
      const proxies = new Map([
        [a, proxyA],
        [c, proxyC],
      ])
      const walking: typeof faults = {
        ...faults,
        // Packets are held back without an error, and arrive late.
        partition: {
          begin: (server) => proxies.get(server)?.silence(),
          end: (server) => proxies.get(server)?.resume(),
        },
        promote: {
          async begin() {
            const [old, next] = [servers[1] as PostgresServer, standby]
            await old.kill9()
            await promote(next)
            servers[1] = next
            standby = old
          },
          async end() {
            const primary = servers[1] as PostgresServer
            await rejoin(standby, primary)
            await synchronous(primary)
          },
        },
      }
      const callers = 24
      const traffic = new Traffic([handler, whole], callers, SEED)
      // Each kind once if there is time, then random ones.
      const kinds = Object.keys(walking)
      const first = kinds.map((kind) => ({ kind, key: random() })).sort((one, two) => one.key - two.key)
      const until = performance.now() + WALK * 1000
      const walked: string[] = []
      try {
        while (performance.now() < until) {
          const kind = first.shift()?.kind ?? (kinds[Math.floor(random() * kinds.length)] as string)
          const at =
            kind === 'promote'
              ? 1
              : kind === 'partition'
                ? 2 * Math.floor(random() * 2)
                : Math.floor(random() * 3)
          const server = servers[at] as PostgresServer
          walked.push(`${kind} ${names[at]}`)
          await sleep(random() * 500)
          traffic.trouble()
          await walking[kind]?.begin(server)
          await sleep(random() * 2500)
          await walking[kind]?.end(server)
          await traffic.calmAfter(() => settled([handler, whole]))
          await sleep(200)
        }
        await traffic.stop()
        await settled([handler, whole])
        await traffic.check(whole)
        const path = walked.join(', ')
        expect(traffic.broken.join('; '), path).toBe('')
        expect(traffic.errors.filter(({ code }) => code !== 'AMBIGUOUS' && code !== 'SERVER_DOWN')).toEqual(
          [],
        )
        expect(traffic.errorsInCalm, path).toEqual([])
        // At most the requests in progress at each fault.
        expect(traffic.errors.length, path).toBeLessThanOrEqual(callers * walked.length)
        expect(promotions.length).toBe(walked.filter((step) => step.startsWith('promote')).length)
        await expectEveryRowAtHome(traffic)
      } finally {
        await traffic.stop()
        await Promise.all([proxyA.stop(), proxyC.stop()])
        await standby.remove()
      }
    },
    (WALK + 120) * 1000,
  )
})
