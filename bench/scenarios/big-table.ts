import { SaveHandler } from 'session-pgsql'
import { startWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import { compare, type Measurement, ratioOf, startCandidate } from '../compare.ts'
import type { Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import { randomNumbers, sessionId } from '../sessions.ts'
import { quantile } from '../statistics.ts'
import type { GcInput } from './big-table-worker.ts'

export const bigTable: Scenario = {
  name: 'big-table',
  description:
    'reads from 10 million rows and from 100,000; a garbage collection of 1 million rows during reads',
  async run({ parameters, postgres, storeOptions, log }) {
    const { short, bytes, bigRows, sessions, callers, seconds, rounds } = parameters
    const expired = Math.floor(bigRows / 10)
    const database = await BenchDatabase.create(postgres)
    try {
      await database.fillSessions({ sessions, bytes })
      log(`big-table: filling ${bigRows} rows`)
      await database.fillSessions({ sessions: bigRows, bytes, table: 'big_session', expired })
      const connection = database.connection
      const candidates = await Promise.all([
        startCandidate('small', 'session-pgsql', { ...storeOptions, connection }),
        startCandidate('big', 'session-pgsql', {
          ...storeOptions,
          connection,
          sessions: bigRows - expired,
          own: { table: 'big_session' },
        }),
        // The big table with as many sessions in use as the small table has.
        startCandidate('big, the same number in use', 'session-pgsql', {
          ...storeOptions,
          connection,
          own: { table: 'big_session' },
        }),
      ])
      let measurements: Measurement[]
      try {
        measurements = await compare({
          entries: candidates.map((candidate) => ({ candidate, operation: 'read' as const })),
          callers,
          seconds,
          rounds,
          warmUp: short ? 0 : 2,
          window: 100_000,
        })
      } finally {
        for (const candidate of candidates) await candidate.close()
      }
      const [small, big, inUse] = measurements as [Measurement, Measurement, Measurement]

      const handler = new SaveHandler({ db: connection, table: 'big_session', gcInterval: 0 })
      await handler.open()
      const idle = await readFor(handler, bigRows - expired, short ? 500 : 20_000)
      const [collector] = await startWorkers<number>(
        new URL('./big-table-worker.ts', import.meta.url),
        [{ connection, table: 'big_session' } satisfies GcInput],
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
          name: `reads from ${bigRows} rows, relative to ${sessions} rows`,
          value: ratioOf(big, small).median,
          unit: 'x',
          target: { atLeast: 0.85, always: false },
        },
        {
          name: `the same with ${sessions} of ${bigRows} sessions in use`,
          value: ratioOf(inUse, small).median,
          unit: 'x',
        },
        { name: `garbage collection of ${expired} sessions`, value: duration, unit: 's' },
        {
          name: 'expired sessions left by the garbage collection',
          value: expired - removed,
          unit: '',
          target: { atMost: 0, always: true },
        },
        { name: 'p99 of a read, idle', value: p99, unit: 'ms' },
        { name: 'slowest read, idle', value: quantile(idle, 1), unit: 'ms' },
        { name: 'p99 of a read during the garbage collection', value: quantile(during, 0.99), unit: 'ms' },
        { name: 'slowest read during the garbage collection', value: slowest, unit: 'ms' },
        {
          name: 'slowest read during it, relative to the idle p99',
          value: slowest / p99,
          unit: 'x',
          target: { atMost: 5, always: false },
        },
      ]
    } finally {
      await database.drop()
    }
  },
}

/**
 * Reads random sessions with 16 callers that pause between reads, so that a read does not wait for other reads.
 *
 * @returns the milliseconds of each read, sorted
 */
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
