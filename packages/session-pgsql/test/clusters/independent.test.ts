import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { rank } from '../../src/servers/placement.ts'
import { faketimeMissing, type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startWorker, type Worker } from '../support/processes.ts'
import { eventually, sleep } from '../support/wait.ts'
import { randomOf, Traffic } from './traffic.ts'
import type { ProcessInput, ProcessResult } from './workers/process.ts'

/** How long the random walk goes on, in seconds, and by which seed: by hand, as long as one likes. */
const WALK = Number(process.env.SESSION_PGSQL_WALK_SECONDS ?? 30)
const SEED = Number(process.env.SESSION_PGSQL_WALK_SEED ?? Date.now() % 1_000_000)

/** Seconds by which the clock of a server that returns is fast: where it can be shifted. */
const FAST = faketimeMissing === undefined ? 5 : 0
if (faketimeMissing !== undefined) console.warn(faketimeMissing)

/** Milliseconds for which a server is away. */
const AWAY = 3000

describe('three independent servers under traffic', () => {
  const names = ['a', 'b', 'c']
  const servers: PostgresServer[] = []
  const open: SaveHandler<Record<string, number>>[] = []
  const workers: Worker<ProcessResult>[] = []

  beforeAll(async () => {
    // Killed they are, but the machine is not.
    servers.push(
      ...(await Promise.all(names.map(() => startPostgres({ version: '18', settings: { fsync: 'off' } })))),
    )
  })
  afterEach(async () => {
    await Promise.all(workers.splice(0).map((worker) => worker.kill()))
    await Promise.all(open.splice(0).map((handler) => handler.close()))
    for (const server of servers) if (!server.running) await server.start()
    for (const server of servers) await server.query('DROP TABLE IF EXISTS php_session').catch(() => {})
  })
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.remove()))
  })

  function handlerOf(): SaveHandler<Record<string, number>> {
    const handler = new SaveHandler<Record<string, number>>({
      db: servers.map(
        ({ host, port }, n) => `host=${host} port=${port} dbname=postgres user=postgres name=${names[n]}`,
      ),
      gcInterval: 0,
    })
    handler.on('error', () => {})
    open.push(handler)
    return handler
  }

  /** When nothing is away from home any more. */
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
    })
  }

  async function everyRowAtHome(traffic: Pick<Traffic, 'ids'>): Promise<void> {
    const found = await Promise.all(
      servers.map((server) =>
        server.query<{ sess_id: string }>(
          'SELECT sess_id FROM php_session WHERE sess_id = ANY($1) AND sess_destroyed IS NULL',
          [traffic.ids],
        ),
      ),
    )
    const placed = names.map((name) => ({ name, weight: 1 }))
    const astray = found.flatMap((rows, n) =>
      rows.filter(({ sess_id }) => rank(sess_id, placed)[0]?.name !== names[n]).map(({ sess_id }) => sess_id),
    )
    expect(astray).toEqual([])
  }

  const faults: Record<
    string,
    { away(server: PostgresServer): Promise<void> | void; back(server: PostgresServer): Promise<void> | void }
  > = {
    'kill -9': { away: (server) => server.kill9(), back: (server) => server.start() },
    'stop -m fast': { away: (server) => server.stop('fast'), back: (server) => server.start() },
    SIGSTOP: { away: (server) => server.pause(), back: (server) => server.resume() },
  }

  for (const [name, fault] of Object.entries(faults)) {
    test(`${name} on one of them: nothing that was acknowledged is lost, nothing destroyed is back, all lie at home`, async () => {
      const handlers = [handlerOf(), handlerOf()]
      const traffic = new Traffic(handlers, 24, 7)
      await sleep(1500)
      const before = traffic.acknowledged
      await fault.away(servers[1] as PostgresServer)
      // Started after the outage.
      handlers.push(handlerOf())
      await sleep(AWAY)
      const during = traffic.acknowledged
      await fault.back(servers[1] as PostgresServer)
      await sleep(1500)
      await traffic.stop()
      await settled(handlers)
      await traffic.check(handlers[2] as SaveHandler<Record<string, number>>)
      expect(traffic.broken).toEqual([])
      expect(during).toBeGreaterThan(before)
      // What was in flight, and that is typed.
      expect(traffic.errors.filter(({ code }) => code !== 'AMBIGUOUS' && code !== 'SERVER_DOWN')).toEqual([])
      expect(traffic.errors.length).toBeLessThanOrEqual(24)
      expect(traffic.slowest).toBeLessThan(5000)
      await everyRowAtHome(traffic)
    })
  }

  test(`four processes, one started after the outage, two killed while they bring rows home; the one that returns has its clock ${FAST} s fast`, async () => {
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
      start({ callers: 0, seed: 1, diesAfter: 3 }),
      start({ callers: 0, seed: 2, diesAfter: 20 }),
    ])
    const dying = serving.splice(2)
    await b.kill9()
    serving.push(await start({ callers: 12, seed: 300 }))
    // Enough to bring that nobody is done at once.
    const ids = Array.from({ length: 900 }, (_, n) => `kept-${n}`)
    for (let n = 0; n < ids.length; n += 50) {
      const some = ids.slice(n, n + 50)
      await Promise.all(some.map((id, more) => here.write(id, { n: n + more }, { base: null })))
    }
    if (FAST > 0) b.shiftClock(FAST)
    await b.start()
    if (FAST > 0) {
      const [row] = await b.query<{ ahead: number }>(
        'SELECT extract(epoch FROM clock_timestamp())::float8 AS ahead',
      )
      expect((row?.ahead ?? 0) - Date.now() / 1000).toBeGreaterThan(FAST - 1)
    }
    for (const one of dying) await expect(one.result).rejects.toThrow('SIGKILL')
    await sleep(1500)
    for (const one of serving) one.send('stop')
    for (const one of serving) expect(await one.receive()).toBe('stopped')
    await settled([here])
    for (const one of serving) one.send('check')
    for (const result of await Promise.all(serving.map(({ result }) => result))) {
      expect(result.broken).toEqual([])
      expect(result.acknowledged).toBeGreaterThan(50)
      expect(result.codes.filter((code) => code !== 'AMBIGUOUS' && code !== 'SERVER_DOWN')).toEqual([])
      await everyRowAtHome(result)
    }
    for (const [n, id] of ids.entries()) expect((await here.read(id))?.data).toEqual({ n })
    await everyRowAtHome({ ids })
  })

  test(
    `a walk of faults, one after the other (${WALK} s, SESSION_PGSQL_WALK_SEED=${SEED})`,
    async () => {
      const random = randomOf(SEED)
      const handler = handlerOf()
      const traffic = new Traffic([handler], 24, SEED)
      const until = performance.now() + WALK * 1000
      const walked: string[] = []
      while (performance.now() < until) {
        const server = servers[Math.floor(random() * servers.length)] as PostgresServer
        const name = Object.keys(faults)[Math.floor(random() * 3)] as string
        walked.push(`${name} ${names[servers.indexOf(server)]}`)
        await sleep(random() * 500)
        await faults[name]?.away(server)
        await sleep(random() * 2500)
        await faults[name]?.back(server)
        await settled([handler])
      }
      await traffic.stop()
      await settled([handler])
      await traffic.check(handler)
      expect(traffic.broken, walked.join(', ')).toEqual([])
      expect(traffic.errors.filter(({ code }) => code !== 'AMBIGUOUS' && code !== 'SERVER_DOWN')).toEqual([])
    },
    (WALK + 120) * 1000,
  )
})
