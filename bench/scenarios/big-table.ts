import { SaveHandler } from 'session-pgsql'
import { startWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import { race, ratioOf, type Standing, startRacer } from '../race.ts'
import { randomNumbers, sessionId } from '../sessions.ts'
import type { Scenario } from '../setting.ts'
import { quantile } from '../statistics.ts'
import { BenchDatabase } from '../tables.ts'
import type { GcInput } from './big-table-worker.ts'

export const bigTable: Scenario = {
  name: 'big-table',
  about: '10 million rows against 100,000; and a garbage collection of 1 million of them while others read',
  async run({ parameters, postgres, contestant, log }) {
    const { short, bytes, bigRows, sessions, callers, seconds, rounds } = parameters
    const expired = Math.floor(bigRows / 10)
    const database = await BenchDatabase.create(postgres)
    try {
      await database.fillSessions({ sessions, bytes })
      log(`big-table: filling ${bigRows} rows`)
      await database.fillSessions({ sessions: bigRows, bytes, table: 'big_session', expired })
      const where = database.where
      const racers = await Promise.all([
        startRacer('small', 'session-pgsql', { ...contestant, where }),
        startRacer('big', 'session-pgsql', {
          ...contestant,
          where,
          sessions: bigRows - expired,
          own: { table: 'big_session' },
        }),
        // As many in use as the small table has, among the many.
        startRacer('big, the same number in use', 'session-pgsql', {
          ...contestant,
          where,
          own: { table: 'big_session' },
        }),
      ])
      let standings: Standing[]
      try {
        standings = await race({
          entries: racers.map((racer) => ({ racer, operation: 'read' as const })),
          callers,
          seconds,
          rounds,
          warmUp: short ? 0 : 2,
          window: 100_000,
        })
      } finally {
        for (const racer of racers) await racer.close()
      }
      const [small, big, inUse] = standings as [Standing, Standing, Standing]

      const handler = new SaveHandler({ db: where, table: 'big_session', gcInterval: 0 })
      await handler.open()
      const idle = await readFor(handler, bigRows - expired, short ? 500 : 20_000)
      const [collector] = await startWorkers<number>(
        new URL('./big-table-worker.ts', import.meta.url),
        [{ where, table: 'big_session' } satisfies GcInput],
        { timeoutMs: 3_600_000 },
      )
      if (collector === undefined) throw new Error('No worker')
      const start = performance.now()
      const collecting = readFor(handler, bigRows - expired, Number.POSITIVE_INFINITY, collector.result)
      const removed = await collector.result.finally(() => collector.kill())
      const duration = (performance.now() - start) / 1000
      const during = await collecting
      await handler.close()
      const [p99, slowest] = [quantile(idle, 0.99), quantile(during, 1)]
      return [
        {
          what: `reads among ${bigRows} rows against ${sessions}`,
          value: ratioOf(big, small).median,
          unit: 'x',
          mark: { atLeast: 0.85, always: false },
        },
        {
          what: `the same, ${sessions} of the ${bigRows} in use`,
          value: ratioOf(inUse, small).median,
          unit: 'x',
        },
        { what: `garbage collection of ${expired} sessions`, value: duration, unit: 's' },
        {
          what: 'expired sessions that it left behind',
          value: expired - removed,
          unit: '',
          mark: { atMost: 0, always: true },
        },
        { what: 'p99 of a read, idle', value: p99, unit: 'ms' },
        { what: 'slowest read, idle', value: quantile(idle, 1), unit: 'ms' },
        { what: 'p99 of a read during the garbage collection', value: quantile(during, 0.99), unit: 'ms' },
        { what: 'slowest read during the garbage collection', value: slowest, unit: 'ms' },
        {
          what: 'slowest read during it against the idle p99',
          value: slowest / p99,
          unit: 'x',
          mark: { atMost: 5, always: false },
        },
      ]
    } finally {
      await database.drop()
    }
  },
}

/** 16 visitors who pause between two reads: what one waits for is the read, not the queue. @returns milliseconds of each, sorted */
async function readFor(
  handler: SaveHandler<Record<string, unknown>>,
  sessions: number,
  milliseconds: number,
  until?: Promise<unknown>,
): Promise<Float64Array> {
  const stop = performance.now() + milliseconds
  let ended = false
  const end = (): void => {
    ended = true
  }
  until?.then(end, end)
  const latencies: number[] = []
  const call = async (caller: number): Promise<void> => {
    const random = randomNumbers(caller)
    while (!ended && performance.now() < stop) {
      const id = sessionId(random(sessions))
      const start = performance.now()
      if ((await handler.read(id)) === undefined) throw new Error('A session is missing')
      latencies.push(performance.now() - start)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }
  await Promise.all(Array.from({ length: 16 }, (_, caller) => call(caller)))
  return Float64Array.from(latencies).sort()
}
