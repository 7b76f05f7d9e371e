import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { eventually, sleep } from '../support/wait.ts'
import { randomOf, Traffic } from './traffic.ts'

/** How long the random walk goes on, in seconds, and by which seed: by hand, as long as one likes. */
const WALK = Number(process.env.SESSION_PGSQL_WALK_SECONDS ?? 20)
const SEED = Number(process.env.SESSION_PGSQL_WALK_SEED ?? Date.now() % 1_000_000)

/** Milliseconds for which a server is away. */
const AWAY = 3000

describe('three independent servers under traffic', () => {
  const names = ['a', 'b', 'c']
  const servers: PostgresServer[] = []
  const open: SaveHandler<Record<string, number>>[] = []

  beforeAll(async () => {
    // Killed they are, but the machine is not.
    servers.push(
      ...(await Promise.all(names.map(() => startPostgres({ version: '18', settings: { fsync: 'off' } })))),
    )
  })
  afterEach(async () => {
    await Promise.all(open.splice(0).map((handler) => handler.close()))
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

  async function everyRowAtHome(traffic: Traffic): Promise<void> {
    for (const id of traffic.ids) {
      const found = await Promise.all(
        servers.map((server) =>
          server.query('SELECT 1 FROM php_session WHERE sess_id = $1 AND sess_destroyed IS NULL', [id]),
        ),
      )
      expect(
        found.reduce((sum, rows) => sum + rows.length, 0),
        id,
      ).toBeLessThanOrEqual(1)
    }
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
