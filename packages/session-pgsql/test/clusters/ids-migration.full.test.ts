import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { runHere } from '../cli/command-line.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startWorker, type Worker } from '../support/processes.ts'
import { sleep } from '../support/wait.ts'
import { contentsOf, now, type Operation, violationsOf } from './history.ts'
import type { Placed, RollingInput } from './workers/rolling.ts'

type Ids = NonNullable<SaveHandlerOptions['ids']>

/** Seconds of traffic after each step. */
const SECONDS = Number(process.env.SESSION_PGSQL_MIGRATION_SECONDS ?? 2)
const SEED = Number(process.env.SESSION_PGSQL_MIGRATION_SEED ?? Date.now() % 1_000_000)

/**
 * The URL of an earlier version's index.ts, which the first processes use. No earlier version is part of this repository:
 * without it, the first processes use this version with plain ids.
 */
const PREVIOUS = process.env.SESSION_PGSQL_MIGRATION_PREVIOUS

const PROCESSES = 4
const PLACES = 8

/** Processes with traffic on the same sessions, which are replaced one after the other. */
class Fleet {
  readonly history: Operation[] = []
  readonly ids: Set<string> = new Set()
  readonly #db: string[]
  readonly #current = new Map<number, string>()
  readonly #workers = new Map<number, Worker<Operation[]>>()
  #started = 0

  constructor(db: string) {
    this.#db = [db]
  }

  async start(
    process: number,
    options: SaveHandlerOptions<Record<string, number>>,
    library?: string,
  ): Promise<void> {
    const places = Array.from({ length: PROCESSES * PLACES }, (_, place) => place)
    const isOwned = (place: number): boolean => place % PROCESSES === process
    const number = this.#started++
    const input: RollingInput = {
      db: this.#db,
      options,
      name: `p${number}`,
      callers: 8,
      seed: SEED + number,
      owned: places.filter(isOwned),
      foreign: places.filter((place) => !isOwned(place)),
      placed: [...this.#current].map(([place, id]) => ({ place, id, state: 'created' })),
      library,
    }
    const worker = await startWorker<Operation[]>(new URL('./workers/rolling.ts', import.meta.url), input, {
      timeoutMs: 600_000,
    })
    const missed = new Map(this.#current)
    this.#workers.set(process, worker)
    let message = (await worker.receive()) as 'running' | Placed
    for (; message !== 'running'; message = (await worker.receive()) as 'running' | Placed)
      this.#place(message, worker)
    // Placed by others while it started.
    for (const [place, id] of this.#current)
      if (missed.get(place) !== id) worker.send({ place, id, state: 'created' })
    void (async () => {
      for (;;) this.#place((await worker.receive()) as Placed, worker)
    })().catch(() => {})
  }

  async stop(process: number): Promise<void> {
    const worker = this.#workers.get(process)
    this.#workers.delete(process)
    worker?.send('stop')
    this.history.push(...((await worker?.result) ?? []))
  }

  async replaceAll(options: SaveHandlerOptions<Record<string, number>>): Promise<void> {
    for (let process = 0; process < PROCESSES; process++) {
      await this.stop(process)
      await this.start(process, options)
    }
  }

  async kill(): Promise<void> {
    await Promise.all([...this.#workers.values()].map((worker) => worker.kill()))
  }

  #place(placed: Placed, by: Worker): void {
    const { place, id, state } = placed
    // A destroy does not wait for the requests of other processes: what they write later must have no effect.
    if (state === 'closing') by.send({ ...placed, state: 'unused' } satisfies Placed)
    if (state !== 'created') return
    const before = this.#current.get(place)
    this.#current.set(place, id)
    this.ids.add(id)
    for (const worker of this.#workers.values()) {
      if (worker === by) continue
      if (before !== undefined) worker.send({ place, id: before, state: 'closing' } satisfies Placed)
      worker.send(placed)
    }
  }
}

describe('the move from plain to hashed ids', () => {
  let server: PostgresServer
  let fleet: Fleet
  beforeAll(async () => {
    server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
  })
  afterEach(() => fleet.kill())
  afterAll(() => server.remove())

  /** Reads every session with a new handler, and adds the reads to the history. */
  async function readAll(ids: Ids, isLast = false): Promise<void> {
    const handler = new SaveHandler<Record<string, number>>({ db: server.conninfo(), ids, gcInterval: 0 })
    try {
      const reads = [...fleet.ids].map(async (id): Promise<Operation> => {
        const begin = now()
        const found = await handler.read(id)
        const end = now()
        if (found === undefined) return { id, kind: 'read', begin, end, outcome: 'absent' }
        return {
          ...{ id, kind: 'read', begin, end, outcome: 'found' },
          ...(isLast ? { contains: contentsOf(found.data) } : {}),
        }
      })
      fleet.history.push(...(await Promise.all(reads)))
    } finally {
      await handler.close()
    }
  }

  test(
    `with four processes under traffic logs no user out, brings no session back and loses no write (SESSION_PGSQL_MIGRATION_SEED=${SEED})`,
    async () => {
      fleet = new Fleet(server.conninfo())
      for (let process = 0; process < PROCESSES; process++) {
        await fleet.start(process, {}, PREVIOUS)
      }
      await sleep(SECONDS * 1000)
      await fleet.replaceAll({ ids: 'plain' })
      await sleep(SECONDS * 1000)
      await fleet.replaceAll({ ids: 'migrate' })
      await sleep(SECONDS * 1000)
      // A process that starts now, with any setting that the order of steps allows, finds every session.
      await readAll('plain')
      await readAll('migrate')
      const hashing = runHere(['hash-ids', '--db', server.conninfo(), '--json'])
      await readAll('migrate')
      const { code, stdout } = await hashing
      expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining({ left: 0, ended: 'done' })])
      expect(JSON.parse(stdout).sessions).toBeGreaterThan(0)
      await sleep(SECONDS * 1000)
      await fleet.replaceAll({ ids: 'hashed' })
      await sleep(SECONDS * 1000)
      for (let process = 0; process < PROCESSES; process++) await fleet.stop(process)
      await readAll('hashed', true)

      const { history, ids } = fleet
      expect(violationsOf(history).join('\n')).toBe('')
      expect(history.filter(({ outcome }) => outcome === 'error')).toEqual([])
      expect(history.length).toBeGreaterThan(SECONDS * 500)
      const rows = await server.query<{ id: string }>(
        `SELECT sess_id AS id FROM php_session WHERE sess_id <> 'h1:'`,
      )
      const hashes = new Set([...ids].map(hashedId))
      expect(rows.filter(({ id }) => !hashes.has(id))).toEqual([])
      expect(rows.length).toBeGreaterThan(PROCESSES * PLACES - 1)
    },
    (SECONDS * 5 + 300) * 1000,
  )
})
