import pg from 'pg'
import { SaveHandler } from 'session-pgsql'
import type { Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import { randomNumbers, sessionId } from '../sessions.ts'
import { quartilesOf } from '../statistics.ts'

export const lockedRow: Scenario = {
  name: 'locked-row',
  description:
    'another transaction locks one row for 2 s; one caller writes that session, 64 others use other sessions',
  async run({ parameters, postgres }) {
    const { short, bytes, callers, sessions } = parameters
    const milliseconds = short ? 300 : 2000
    const repeats = short ? 1 : 7
    const database = await BenchDatabase.create(postgres)
    const locker = new pg.Client(database.connection)
    const handler = new SaveHandler<Record<string, unknown>>({ db: database.connection, gcInterval: 0 })
    try {
      await database.fillSessions({ sessions: Math.min(sessions, 10_000), bytes })
      await locker.connect()
      await handler.open()
      const all = Math.min(sessions, 10_000)
      await runOthers(handler, all, callers, milliseconds)

      // With and without the lock in turns: the difference is the cost of the lock for the other callers.
      const [free, locked, wanted]: number[][] = [[], [], []]
      for (let repeat = 0; repeat < repeats; repeat++) {
        free?.push(await runOthers(handler, all, callers, milliseconds))
        await locker.query('BEGIN')
        await locker.query('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [sessionId(0)])
        const start = performance.now()
        const blocked = handler.write(sessionId(0), { repeat }).then(() => performance.now() - start)
        locked?.push(await runOthers(handler, all, callers, milliseconds))
        await locker.query('COMMIT')
        wanted?.push(await blocked)
      }
      const [without, withLock] = [quartilesOf(free ?? []), quartilesOf(locked ?? [])]
      return [
        { name: 'slowest call of the others, without the lock', value: without.median, unit: 'ms' },
        { name: 'slowest call of the others, with one row locked', value: withLock.median, unit: 'ms' },
        {
          name: 'difference',
          value: Math.max(0, withLock.median - without.median),
          unit: 'ms',
          target: { atMost: 20, always: false },
        },
        {
          name: 'time until the blocked write ends after the lock is released',
          value: quartilesOf((wanted ?? []).map((waited) => waited - milliseconds)).median,
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

/** Reads, writes and touches other sessions. @returns the milliseconds of the slowest call */
async function runOthers(
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
