import { runWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import type { Metric } from '../results.ts'
import { sessionId } from '../sessions.ts'
import type { HotInput, HotResult } from './hot-sessions-worker.ts'

const PROCESSES = 4

export const hotSessions: Scenario = {
  name: 'hot-sessions',
  description: '256 callers in 4 processes read and write 300 sessions',
  async run({ parameters, postgres }) {
    const { short, bytes } = parameters
    const [callers, sessions] = short ? [32, 30] : [256, 300]
    const database = await BenchDatabase.create(postgres)
    try {
      await database.fillSessions({ sessions, bytes })
      const inputs = Array.from(
        { length: PROCESSES },
        (_, process): HotInput => ({
          connection: database.connection,
          sessions,
          firstCaller: (process * callers) / PROCESSES,
          callers: callers / PROCESSES,
          milliseconds: short ? 500 : 10_000,
        }),
      )
      const results = await runWorkers<HotResult>(
        new URL('./hot-sessions-worker.ts', import.meta.url),
        inputs,
        {
          timeoutMs: 120_000,
        },
      )
      const sum = (pick: (result: HotResult) => number): number =>
        results.reduce((total, result) => total + pick(result), 0)
      const errors = results.flatMap((result) => result.errors)
      return [
        {
          name: 'pairs of read and write',
          value: sum(({ writes }) => writes) / ((inputs[0] as HotInput).milliseconds / 1000),
          unit: '/s',
        },
        {
          name: 'merged writes',
          value: (100 * sum(({ merged }) => merged)) / sum(({ writes }) => writes),
          unit: '%',
        },
        {
          name: 'deadlocks in pg_stat_database',
          value: await deadlocks(database),
          unit: '',
          target: { atMost: 0, always: true },
        },
        {
          name: errors.length > 0 ? `errors (the first: ${errors[0]})` : 'errors',
          value: errors.length,
          unit: '',
          target: { atMost: 0, always: true },
        },
        {
          name: 'changes lost',
          value: await countLost(database, results),
          unit: '',
          target: { atMost: 0, always: true },
        },
      ] satisfies Metric[]
    } finally {
      await database.drop()
    }
  },
}

async function deadlocks(database: BenchDatabase): Promise<number> {
  return database.value('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()')
}

/** Returns the number of lost increments. Each caller has its own counter in each session. */
async function countLost(database: BenchDatabase, results: readonly HotResult[]): Promise<number> {
  const rows = await database.query<{ sess_id: string; sess_data: string }>(
    'SELECT sess_id, sess_data FROM php_session',
  )
  const stored = new Map(
    rows.map((row) => [row.sess_id, JSON.parse(row.sess_data) as Record<string, number>]),
  )
  let lost = 0
  for (const { counts } of results) {
    for (const [key, count] of Object.entries(counts)) {
      const [n, caller] = key.split(' ') as [string, string]
      lost += Math.abs(count - (stored.get(sessionId(Number(n)))?.[caller] ?? 0))
    }
  }
  return lost
}
