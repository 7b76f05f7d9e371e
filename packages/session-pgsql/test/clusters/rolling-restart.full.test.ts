import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SessionPgsqlError } from '../../src/index.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startWorker, type Worker } from '../support/processes.ts'
import { eventually, sleep } from '../support/wait.ts'
import { contentsOf, now, type Operation, violationsOf } from './history.ts'
import { randomOf } from './traffic.ts'
import type { Placed, RollingInput } from './workers/rolling.ts'

/** Environment variables for longer runs, and to repeat one: a failed run has its seed in its name. */
const SECONDS = Number(process.env.SESSION_PGSQL_ROLLING_SECONDS ?? 60)
const SEED = Number(process.env.SESSION_PGSQL_ROLLING_SEED ?? Date.now() % 1_000_000)

/** The URL of an earlier version's index.ts, which one of the two processes then uses. Default: this version's. */
const PREVIOUS = process.env.SESSION_PGSQL_MIGRATION_PREVIOUS

const PLACES = 16

describe('a rolling restart of three independent servers', () => {
  const names = ['a', 'b', 'c']
  const servers: PostgresServer[] = []
  const workers: Worker<Operation[]>[] = []
  let db: string[]

  beforeAll(async () => {
    // The servers are killed, but the machine keeps running: fsync is not needed.
    const settings = { fsync: 'off' }
    servers.push(...(await Promise.all(names.map(() => startPostgres({ version: '18', settings })))))
    db = servers.map((server, n) => `${server.conninfo()} name=${names[n]}`)
  })
  afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.kill())))
  afterAll(() => Promise.all(servers.map((server) => server.remove())))

  /**
   * Reads the sessions with a new handler, like a process that starts now, and returns the history.
   *
   * @param isLast the reads must contain every acknowledged write
   */
  async function readAll(ids: readonly string[], isLast = false): Promise<Operation[]> {
    const handler = new SaveHandler<Record<string, number>>({ db, gcInterval: 0, whenHomeIsDown: 'error' })
    handler.on('error', () => {})
    try {
      return await Promise.all(
        ids.map(async (id): Promise<Operation> => {
          const begin = now()
          try {
            const found = await handler.read(id)
            const end = now()
            if (found === undefined) return { id, kind: 'read', begin, end, outcome: 'absent' }
            const contains = isLast ? { contains: contentsOf(found.data) } : {}
            return { id, kind: 'read', begin, end, outcome: 'found', ...contains }
          } catch (error) {
            const { code } = error as SessionPgsqlError
            return { id, kind: 'read', begin, end: now(), outcome: 'error', code }
          }
        }),
      )
    } finally {
      await handler.close()
    }
  }

  test(
    `under traffic from two processes reads no session as absent, brings none back and loses no write (${SECONDS} s, SESSION_PGSQL_ROLLING_SEED=${SEED})`,
    async () => {
      const random = randomOf(SEED)
      const module = new URL('./workers/rolling.ts', import.meta.url)
      const ids = new Set<string>()
      for (const [n, name] of ['p', 'q'].entries()) {
        const places = Array.from({ length: PLACES }, (_, place) => place)
        const owned = places.filter((place) => place % 2 === n)
        const foreign = places.filter((place) => place % 2 !== n)
        const options = { whenHomeIsDown: 'error' } as const
        const library = n === 0 ? PREVIOUS : undefined
        const input: RollingInput = {
          db,
          options,
          name,
          callers: 12,
          seed: SEED + n,
          owned,
          foreign,
          library,
        }
        workers.push(await startWorker(module, input, { timeoutMs: (SECONDS + 120) * 1000 }))
      }
      const running = workers.map(async (worker, n) => {
        for (;;) {
          const message = (await worker.receive()) as 'running' | Placed
          if (message === 'running') return
          ids.add(message.id)
          workers[1 - n]?.send(message)
        }
      })
      await Promise.all(running)
      let isRunning = true
      for (const [n, worker] of workers.entries()) {
        void (async () => {
          while (isRunning) {
            const message = (await worker.receive()) as Placed
            ids.add(message.id)
            workers[1 - n]?.send(message)
          }
        })().catch(() => {})
      }

      const history: Operation[] = []
      const restarts: string[] = []
      const until = performance.now() + SECONDS * 1000
      for (let n = 0; performance.now() < until; n = (n + 1) % servers.length) {
        const server = servers[n] as PostgresServer
        const how = random() < 0.5 ? 'kill' : 'stop'
        restarts.push(`${how} ${names[n]}`)
        await (how === 'kill' ? server.kill9() : server.stop('fast'))
        await sleep(random() * 1000)
        // A process that starts while this one is down, and one that starts when it is back.
        history.push(...(await readAll([...ids].slice(-40))))
        await server.start()
        history.push(...(await readAll([...ids].slice(-40))))
        // Some operators wait, some do not.
        if (random() < 0.5) await sleep(random() * 5000)
      }

      isRunning = false
      for (const worker of workers) worker.send('stop')
      for (const operations of await Promise.all(workers.map(({ result }) => result)))
        history.push(...operations)
      await eventually(async () => {
        const left = await Promise.all(
          servers.map((server) => server.query('SELECT 1 FROM php_session WHERE sess_home IS NOT NULL')),
        )
        expect(left.flat()).toEqual([])
      })
      history.push(...(await readAll([...ids], true)))

      const path = `${restarts.length} restarts: ${restarts.join(', ')}`
      expect(violationsOf(history).join('\n'), path).toBe('')
      const errors = history.filter(({ outcome }) => outcome === 'error')
      expect(errors.filter(({ code }) => code !== 'SERVER_DOWN' && code !== 'AMBIGUOUS')).toEqual([])
      // Most operations succeed all the time.
      expect(errors.length / history.length).toBeLessThan(0.5)
      expect(history.length).toBeGreaterThan(SECONDS * 100)
    },
    (SECONDS + 180) * 1000,
  )
})
