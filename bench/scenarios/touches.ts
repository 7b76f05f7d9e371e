import { SaveHandler } from 'session-pgsql'
import { until } from '../../packages/session-pgsql/test/support/wait.ts'
import type { Scenario } from '../context.ts'
import { BenchDatabase } from '../database.ts'
import type { Metric } from '../results.ts'
import { randomNumbers, sessionId } from '../sessions.ts'

export const touches: Scenario = {
  name: 'touches',
  description: 'cost of touches: active sessions, touched once a minute, and as fast as possible',
  async run(context) {
    const { short, bytes, callers } = context.parameters
    const active = short ? 100 : 5000
    const metrics: Metric[] = []

    // In a small table all sessions are active; in a big table the same number of sessions is active.
    for (const [table, sessions] of [
      ['all sessions active', active],
      [`${active} of ${context.parameters.sessions} sessions active`, context.parameters.sessions],
    ] as const) {
      const database = await BenchDatabase.create(context.postgres)
      try {
        await database.fillSessions({ sessions, bytes })
        const ids = everyNth(sessions, active)
        const minutes = await touchEveryMinute(database, ids, callers)
        metrics.push(
          {
            name: `HOT updates, once a minute, ${table}`,
            value: minutes.hot,
            unit: '%',
            target: { atLeast: 95, always: false },
          },
          {
            name: `WAL per touch, once a minute, ${table}`,
            value: minutes.wal,
            unit: 'bytes',
            target: { atMost: 200, always: false },
          },
        )
        if (sessions !== active) continue
        const [first, last] = short ? [2000, 20_000] : [200_000, 2_000_000]
        const before = await touchContinuously(database, ids, first, callers)
        const after = await touchContinuously(database, ids, last - first, callers)
        metrics.push(
          { name: 'touches, as fast as possible', value: after.rate, unit: '/s' },
          {
            name: 'HOT updates, as fast as possible',
            value: after.hot,
            unit: '%',
            target: { atLeast: 95, always: false },
          },
          {
            name: 'WAL per touch, as fast as possible',
            value: after.wal,
            unit: 'bytes',
            target: { atMost: 200, always: false },
          },
          { name: `table and indexes after ${first} touches`, value: before.size / 1024, unit: 'KiB' },
          { name: `table and indexes after ${last} touches`, value: after.size / 1024, unit: 'KiB' },
          {
            name: `growth from ${first} to ${last} touches`,
            value: after.size / before.size,
            unit: 'x',
            target: { atMost: 1, always: false },
          },
        )
      } finally {
        await database.drop()
      }
    }
    return metrics
  },
}

/** An hour: in this time sess_sweep of every session changes once, and that update is not HOT. */
const MINUTES = 60

export interface TouchCost {
  /** Percentage of HOT updates. */
  readonly hot: number
  /** Bytes per touch. */
  readonly wal: number
  /** Touches per second. */
  readonly rate: number
  /** Bytes of the table and its indexes afterwards. */
  readonly size: number
}

/**
 * Touches each session once a minute, in simulated time: each round asks for a lifetime a minute longer, which moves the
 * expiry as a wait of a minute would. Autovacuum has no time to run, so only the cleanup within pages is measured.
 */
export async function touchEveryMinute(
  database: BenchDatabase,
  ids: readonly string[],
  callers: number,
): Promise<TouchCost> {
  const order = [...ids]
  const random = randomNumbers(1)
  const round = async (handler: SaveHandler<Record<string, unknown>>, minute: number): Promise<void> => {
    for (let n = order.length - 1; n > 0; n--) {
      const other = random(n + 1)
      ;[order[n], order[other]] = [order[other] as string, order[n] as string]
    }
    let next = 0
    const call = async (): Promise<void> => {
      while (next < order.length) {
        if (!(await handler.touch(order[next++] as string, { lifetime: 100_000 + minute * 60 }))) {
          throw new Error('A session is missing')
        }
      }
    }
    await Promise.all(Array.from({ length: callers }, call))
  }
  // The first change of a page after a checkpoint writes the whole page to the WAL, which is a cost of the checkpoint.
  // Two rounds before the measurement exclude it.
  await database.query('CHECKPOINT')
  await withHandler(database, async (handler) => {
    await round(handler, 0)
    await round(handler, 1)
  })
  return costOf(database, async (handler) => {
    for (let minute = 2; minute < MINUTES + 2; minute++) await round(handler, minute)
    return MINUTES * order.length
  })
}

/** Touches random sessions `count` times, without a pause. */
async function touchContinuously(
  database: BenchDatabase,
  ids: readonly string[],
  count: number,
  callers: number,
): Promise<TouchCost> {
  const random = randomNumbers(2)
  return costOf(database, async (handler) => {
    let left = count
    const call = async (): Promise<void> => {
      while (left-- > 0) {
        if (!(await handler.touch(ids[random(ids.length)] as string, { lifetime: 200_000 }))) {
          throw new Error('A session is missing')
        }
      }
    }
    await Promise.all(Array.from({ length: callers }, call))
    return count
  })
}

/** Runs the work with a save handler and closes it. Connections report to pg_stat_user_tables when they close. */
async function withHandler<T>(
  database: BenchDatabase,
  work: (handler: SaveHandler<Record<string, unknown>>) => Promise<T>,
): Promise<T> {
  const handler = new SaveHandler({ db: database.connection, gcInterval: 0 })
  try {
    return await work(handler)
  } finally {
    await handler.close()
  }
}

async function costOf(
  database: BenchDatabase,
  work: (handler: SaveHandler<Record<string, unknown>>) => Promise<number>,
): Promise<TouchCost> {
  const before = await counters(database)
  const walBefore = await walPosition(database)
  const start = performance.now()
  const touches = await withHandler(database, work)
  const seconds = (performance.now() - start) / 1000
  const wal = (await walPosition(database)) - walBefore
  const size = await database.size()
  // A connection reports its statistics when it closes, with a delay.
  const after = await until(
    async () => {
      const now = await counters(database)
      return now.updates - before.updates >= touches ? now : undefined
    },
    'pg_stat_user_tables to count all touches',
    30_000,
  )
  return {
    hot: (100 * (after.hot - before.hot)) / (after.updates - before.updates),
    wal: wal / touches,
    rate: touches / seconds,
    size,
  }
}

async function counters(database: BenchDatabase): Promise<{ updates: number; hot: number }> {
  const [row] = await database.query<{ updates: string; hot: string }>(
    `SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'php_session'`,
  )
  return { updates: Number(row?.updates), hot: Number(row?.hot) }
}

function walPosition(database: BenchDatabase): Promise<number> {
  return database.value("SELECT pg_current_wal_insert_lsn() - '0/0'")
}

function everyNth(sessions: number, count: number): string[] {
  const step = Math.max(1, Math.floor(sessions / count))
  return Array.from({ length: Math.min(count, sessions) }, (_, n) => sessionId(n * step))
}
