import { SaveHandler } from 'session-pgsql'
import { startWorker } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import type { Metric } from '../results.ts'
import { sessionId } from '../sessions.ts'
import { quartilesOf } from '../statistics.ts'

const LISTENERS = 4

type Handler = SaveHandler<Record<string, unknown>>

export const announcements: Scenario = {
  name: 'announcements',
  description: `destroys with announce, relative to those without, with ${LISTENERS} handlers that listen`,
  async run({ parameters, postgres, log }) {
    const { bytes, short } = parameters
    const rounds = short ? 2 : 20
    const metrics: Metric[] = []
    for (const callers of short ? [64] : [1, 64]) {
      const slice = short ? 200 : callers === 1 ? 300 : 5000
      const database = await BenchDatabase.create(postgres)
      const handlers = [false, true].map(
        (announce) => new SaveHandler({ db: database.connection, announce, gcInterval: 0 }),
      ) as [Handler, Handler]
      try {
        await database.fillSessions({ sessions: 2 * slice * (rounds + 1), bytes })
        const listening = await startWorker<number[]>(
          new URL('./announcements-worker.ts', import.meta.url),
          { connection: database.connection, listeners: LISTENERS },
          { timeoutMs: 600_000 },
        )
        await listening.receive()
        log(`announcements: ${callers} callers`)
        const seconds: [number, number][] = []
        let first = 0
        // In turns, because the disk and the machine are not equally fast all the time. The first round warms up.
        for (let round = 0; round <= rounds; round++) {
          const times: [number, number] = [0, 0]
          for (const one of round % 2 === 0 ? [0, 1] : [1, 0]) {
            times[one] = await secondsToDestroy(handlers[one] as Handler, first, slice, callers)
            first += slice
          }
          if (round > 0) seconds.push(times)
        }
        const announced = slice * (rounds + 1)
        listening.send(announced)
        const received = await listening.result
        metrics.push(
          {
            name: `destroys with announce relative to those without, ${callers} callers`,
            value: quartilesOf(seconds.map(([off, on]) => off / on)).median,
            unit: 'x',
          },
          {
            name: `destroys without announce, ${callers} callers`,
            value: slice / quartilesOf(seconds.map(([off]) => off)).median,
            unit: '/s',
          },
          {
            name: `announcements that a listener did not receive, ${callers} callers`,
            value: received.reduce((sum, count) => sum + announced - count, 0),
            unit: '',
            target: { atMost: 0, always: true },
          },
        )
      } finally {
        await Promise.all(handlers.map((handler) => handler.close()))
        await database.drop()
      }
    }
    return metrics
  },
}

/** Destroys `count` sessions from `first` on, and returns the seconds that it took. */
async function secondsToDestroy(
  handler: Handler,
  first: number,
  count: number,
  callers: number,
): Promise<number> {
  let next = first
  const call = async (): Promise<void> => {
    while (next < first + count) {
      if (!(await handler.destroy(sessionId(next++)))) throw new Error('A session is missing')
    }
  }
  const start = performance.now()
  await Promise.all(Array.from({ length: callers }, call))
  return (performance.now() - start) / 1000
}
