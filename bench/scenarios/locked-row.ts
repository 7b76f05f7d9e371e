import pg from 'pg'
import { SaveHandler } from 'session-pgsql'
import { randomNumbers, sessionId } from '../sessions.ts'
import type { Scenario } from '../setting.ts'
import { spreadOf } from '../statistics.ts'
import { BenchDatabase } from '../tables.ts'

export const lockedRow: Scenario = {
  name: 'locked-row',
  about: 'another transaction locks one row for 2 s; one caller wants it, 64 others want other sessions',
  async run({ parameters, postgres }) {
    const { short, bytes, callers, sessions } = parameters
    const milliseconds = short ? 300 : 2000
    const repeats = short ? 1 : 7
    const database = await BenchDatabase.create(postgres)
    const locker = new pg.Client(database.where)
    const handler = new SaveHandler<Record<string, unknown>>({ db: database.where, gcInterval: 0 })
    try {
      await database.fillSessions({ sessions: Math.min(sessions, 10_000), bytes })
      await locker.connect()
      await handler.open()
      const all = Math.min(sessions, 10_000)
      await othersAtWork(handler, all, callers, milliseconds)

      // With the lock and without, in turns: the difference is what the lock costs those who do not want the row.
      const [free, locked, wanted]: number[][] = [[], [], []]
      for (let repeat = 0; repeat < repeats; repeat++) {
        free?.push(await othersAtWork(handler, all, callers, milliseconds))
        await locker.query('BEGIN')
        await locker.query('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [sessionId(0)])
        const start = performance.now()
        const wish = handler.write(sessionId(0), { repeat }).then(() => performance.now() - start)
        locked?.push(await othersAtWork(handler, all, callers, milliseconds))
        await locker.query('COMMIT')
        wanted?.push(await wish)
      }
      const [without, within] = [spreadOf(free ?? []), spreadOf(locked ?? [])]
      return [
        { what: 'slowest call of the others, no lock', value: without.median, unit: 'ms' },
        { what: 'slowest call of the others, one row locked', value: within.median, unit: 'ms' },
        {
          what: 'longer for the lock',
          value: Math.max(0, within.median - without.median),
          unit: 'ms',
          mark: { atMost: 20, always: false },
        },
        {
          what: 'the one who wants the row gets it, after the lock is released',
          value: spreadOf((wanted ?? []).map((waited) => waited - milliseconds)).median,
          unit: 'ms',
        },
      ]
    } finally {
      await handler.close()
      await locker.end()
      await database.drop()
    }
  },
}

/** Reads, writes and touches of other sessions. @returns milliseconds of the slowest call */
async function othersAtWork(
  handler: SaveHandler<Record<string, unknown>>,
  sessions: number,
  callers: number,
  milliseconds: number,
): Promise<number> {
  const stop = performance.now() + milliseconds
  let slowest = 0
  const call = async (caller: number): Promise<void> => {
    const random = randomNumbers(caller + 1)
    const timed = async <T>(work: Promise<T>): Promise<T> => {
      const start = performance.now()
      const result = await work
      slowest = Math.max(slowest, performance.now() - start)
      return result
    }
    while (performance.now() < stop) {
      const id = sessionId(1 + random(sessions - 1))
      const base = await timed(handler.read(id))
      if (base === undefined) throw new Error('A session is missing')
      await timed(handler.write(id, { ...base.data, caller }, { base }))
      await timed(handler.touch(id))
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, caller) => call(caller)))
  return slowest
}
