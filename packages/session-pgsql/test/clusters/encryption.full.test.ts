import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type EncryptionOption, SaveHandler } from '../../src/index.ts'
import { runHere } from '../cli/command-line.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startWorker, type Worker } from '../support/processes.ts'
import { sleep } from '../support/wait.ts'
import { contentsOf, now, type Operation, violationsOf } from './history.ts'
import { randomOf } from './traffic.ts'
import type { Placed, Restarted, RollingInput } from './workers/rolling.ts'

/** To repeat a run: a failed one has its seed in its name. */
const SEED = Number(process.env.SESSION_PGSQL_ROLLING_SEED ?? Date.now() % 1_000_000)

const NAMES = ['p', 'q', 'r', 's']
const PLACES = 16

const ONE = `one:${randomBytes(32).toString('base64')}`
const TWO = `two:${randomBytes(32).toString('base64')}`

/** The steps of docs/encryption.md: the options of every process, or the command to run. */
const TURN_ON: readonly Step[] = [
  { keys: ONE, write: false, acceptPlain: true },
  { keys: ONE, acceptPlain: true },
  'encrypt',
  { keys: ONE },
]
const REPLACE_KEY: readonly Step[] = [
  { keys: `${ONE} ${TWO}` },
  { keys: `${TWO} ${ONE}` },
  'encrypt',
  { keys: TWO },
]

type Step = EncryptionOption | 'encrypt'

describe('four processes under traffic, whose encryption is changed one after the other', () => {
  let server: PostgresServer
  let db: string
  const workers: Worker<Operation[]>[] = []

  beforeAll(async () => {
    server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    db = server.conninfo()
  })
  afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.kill())))
  afterAll(() => server.remove())

  /** Starts the processes, which tell each other of their sessions. Returns the ids of all sessions, as they are created. */
  async function startTraffic(): Promise<{ ids: Set<string>; restart: RestartOne; stop: Stop }> {
    const ids = new Set<string>()
    const waiting = new Map<number, (message: 'running' | 'restarted') => void>()
    const told = (n: number) => new Promise<'running' | 'restarted'>((resolve) => waiting.set(n, resolve))
    const module = new URL('./workers/rolling.ts', import.meta.url)
    const places = Array.from({ length: PLACES }, (_, place) => place)
    const running = NAMES.map((_, n) => told(n))
    for (const [n, name] of NAMES.entries()) {
      const input: RollingInput = {
        ...{ db: [db], options: { operationTimeout: 30 }, name, callers: 6, seed: SEED + n },
        owned: places.filter((place) => place % NAMES.length === n),
        foreign: places.filter((place) => place % NAMES.length !== n),
      }
      const worker = await startWorker<Operation[]>(module, input, { timeoutMs: 300_000 })
      workers.push(worker)
      void (async () => {
        for (;;) {
          const message = (await worker.receive()) as 'running' | 'restarted' | Placed
          if (typeof message === 'string') waiting.get(n)?.(message)
          else {
            ids.add(message.id)
            for (const other of workers) if (other !== worker) other.send(message)
          }
        }
      })().catch(() => {})
    }
    await Promise.all(running)
    return {
      ids,
      async restart(n, encryption) {
        const restarted = told(n)
        workers[n]?.send({ options: { operationTimeout: 30, encryption } } satisfies Restarted)
        await restarted
      },
      async stop() {
        for (const worker of workers) worker.send('stop')
        return (await Promise.all(workers.map(({ result }) => result))).flat()
      },
    }
  }

  test(`logs no user out and loses no write, from plain text to one key and to another (SESSION_PGSQL_ROLLING_SEED=${SEED})`, async () => {
    const random = randomOf(SEED)
    const { ids, restart, stop } = await startTraffic()
    let keys = ONE
    for (const step of [...TURN_ON, ...REPLACE_KEY]) {
      if (step === 'encrypt') {
        const environment = { SESSION_PGSQL_ENCRYPTION_KEYS: keys }
        const { code, stderr, stdout } = await runHere(['encrypt', '--db', db], { environment })
        expect([code, stderr], stdout).toEqual([0, ''])
        continue
      }
      keys = step.keys as string
      for (const n of NAMES.keys()) {
        await restart(n, step)
        // The processes before and after it write the same sessions meanwhile.
        await sleep(200 + random() * 400)
      }
    }
    const history = await stop()

    const last = new SaveHandler<Record<string, number>>({ db, gcInterval: 0, encryption: { keys: TWO } })
    try {
      for (const id of ids) {
        const begin = now()
        const found = await last.read(id)
        const read = { id, kind: 'read', begin, end: now() } as const
        if (found === undefined) history.push({ ...read, outcome: 'absent' })
        else history.push({ ...read, outcome: 'found', contains: contentsOf(found.data) })
      }
    } finally {
      await last.close()
    }
    expect(violationsOf(history).join('\n')).toBe('')
    expect(history.filter(({ outcome }) => outcome === 'error')).toEqual([])
    expect(history.length).toBeGreaterThan(1000)

    const table = await server.query<{ text: string }>('SELECT t::text AS text FROM php_session t')
    const dump = table.map(({ text }) => text).join('\n')
    expect(dump).toContain('e1.two.')
    expect(dump).not.toContain('e1.one.')
    expect(dump).not.toMatch(/"[pqrs]\d:\d+":1/)
  }, 300_000)
})

type RestartOne = (n: number, encryption: EncryptionOption) => Promise<void>
type Stop = () => Promise<Operation[]>
