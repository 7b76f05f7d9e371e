import { startWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import { sessionId } from '../sessions.ts'
import { quartilesOf } from '../statistics.ts'
import type { OneInput, OneResult } from './one-session-worker.ts'

const PROCESSES = 8

export const oneSession: Scenario = {
  name: 'one-session',
  description: '100 writers in 8 processes read and write one session at the same time',
  async run({ parameters, postgres }) {
    const { short, bytes } = parameters
    const writers = short ? 24 : 100
    const repeats = short ? 1 : 5
    const database = await BenchDatabase.create(postgres)
    try {
      await database.fillSessions({ sessions: repeats, bytes })
      const inputs = Array.from(
        { length: PROCESSES },
        (_, process): OneInput => ({
          connection: database.connection,
          writers: Array.from({ length: writers }, (_, n) => n).filter((n) => n % PROCESSES === process),
          sessions: repeats,
        }),
      )
      const workers = await startWorkers<OneResult>(
        new URL('./one-session-worker.ts', import.meta.url),
        inputs,
        {
          timeoutMs: 120_000,
        },
      )
      const seconds: number[] = []
      const errors: string[] = []
      try {
        for (let repeat = 0; repeat < repeats; repeat++) {
          await Promise.all(workers.map((worker) => worker.receive()))
          const start = Date.now() + 50
          for (const worker of workers) worker.send(start)
          const results = (await Promise.all(workers.map((worker) => worker.receive()))) as OneResult[]
          seconds.push((Math.max(...results.map(({ end }) => end)) - start) / 1000)
          errors.push(...results.flatMap((result) => result.errors))
        }
        await Promise.all(workers.map((worker) => worker.result))
      } finally {
        await Promise.all(workers.map((worker) => worker.kill()))
      }

      let kept = 0
      for (let n = 0; n < repeats; n++) {
        const [row] = await database.query<{ sess_data: string }>(
          'SELECT sess_data FROM php_session WHERE sess_id = $1',
          [sessionId(n)],
        )
        kept += Object.keys(JSON.parse(row?.sess_data ?? '{}')).filter((key) =>
          key.startsWith('writer'),
        ).length
      }
      const { median, upper } = quartilesOf(seconds)
      return [
        {
          name: `time until all writers end, median of ${repeats}`,
          value: median,
          unit: 's',
          target: { atMost: 1, always: false },
        },
        { name: 'time until all writers end, upper quartile', value: upper, unit: 's' },
        {
          name: errors.length > 0 ? `errors (the first: ${errors[0]})` : 'errors',
          value: errors.length,
          unit: '',
          target: { atMost: 0, always: true },
        },
        {
          name: 'changes lost',
          value: writers * repeats - kept,
          unit: '',
          target: { atMost: 0, always: true },
        },
      ]
    } finally {
      await database.drop()
    }
  },
}
