import { SaveHandler } from 'session-pgsql'
import { until } from '../../packages/session-pgsql/test/support/wait.ts'
import type { Figure } from '../results.ts'
import { randomNumbers, sessionId } from '../sessions.ts'
import type { Scenario } from '../setting.ts'
import { BenchDatabase } from '../tables.ts'

export const touches: Scenario = {
  name: 'touches',
  about: 'what touches cost the table: active sessions, each touched once a minute, and as fast as they go',
  async run(setting) {
    const { short, bytes, callers } = setting.parameters
    const active = short ? 100 : 5000
    const figures: Figure[] = []

    // All of a small table is active; and the same number of sessions, scattered in a big one.
    for (const [where, sessions] of [
      ['a table of nothing else', active],
      [`a table of ${setting.parameters.sessions} sessions`, setting.parameters.sessions],
    ] as const) {
      const database = await BenchDatabase.create(setting.postgres)
      try {
        await database.fillSessions({ sessions, bytes })
        const ids = everyNth(sessions, active)
        const minutes = await touchByTheMinute(database, ids, callers)
        figures.push(
          {
            what: `HOT, a minute apart, ${where}`,
            value: minutes.hot,
            unit: '%',
            mark: { atLeast: 95, always: false },
          },
          {
            what: `WAL per touch, a minute apart, ${where}`,
            value: minutes.wal,
            unit: 'bytes',
            mark: { atMost: 200, always: false },
          },
        )
        if (sessions !== active) continue
        const [first, last] = short ? [2000, 20_000] : [200_000, 2_000_000]
        const before = await touchAtOnce(database, ids, first, callers)
        const after = await touchAtOnce(database, ids, last - first, callers)
        figures.push(
          { what: 'as fast as they go', value: after.rate, unit: '/s' },
          {
            what: 'HOT, as fast as they go',
            value: after.hot,
            unit: '%',
            mark: { atLeast: 95, always: false },
          },
          {
            what: 'WAL per touch, as fast as they go',
            value: after.wal,
            unit: 'bytes',
            mark: { atMost: 200, always: false },
          },
          { what: `table and indexes after ${first} touches`, value: before.size / 1024, unit: 'KiB' },
          { what: `table and indexes after ${last} touches`, value: after.size / 1024, unit: 'KiB' },
          {
            what: `growth from ${first} to ${last} touches`,
            value: after.size / before.size,
            unit: 'x',
            mark: { atMost: 1, always: false },
          },
        )
      } finally {
        await database.drop()
      }
    }
    return figures
  },
}

/** A whole hour: once in it every session comes to another hour of sess_sweep, and its update is not HOT. */
const MINUTES = 60

export interface TouchCost {
  /** Percent of the updates that touched no index. */
  readonly hot: number
  /** Bytes per touch. */
  readonly wal: number
  /** Touches a second. */
  readonly rate: number
  /** Bytes of table and indexes afterwards. */
  readonly size: number
}

/**
 * Time is made to pass by the lifetime: each round asks for a minute more, which moves the expiry as a minute's
 * wait would have done. Unlike real minutes it leaves autovacuum no time: what is seen is what pages do for
 * themselves.
 */
export async function touchByTheMinute(
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
  // The first change of a page after a checkpoint writes the whole page to the WAL: the checkpoint's cost, not
  // the touch's. Two rounds see to it before anything is counted.
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

/** At random, `count` of them, without any pause. */
async function touchAtOnce(
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

/** Its connections report to pg_stat_user_tables at the latest when they close. */
async function withHandler<T>(
  database: BenchDatabase,
  work: (handler: SaveHandler<Record<string, unknown>>) => Promise<T>,
): Promise<T> {
  const handler = new SaveHandler({ db: database.where, gcInterval: 0 })
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
  // A connection reports what it did when it closes, which takes its time.
  const after = await until(
    async () => {
      const now = await counters(database)
      return now.updates - before.updates >= touches ? now : undefined
    },
    'pg_stat_user_tables to know of all touches',
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
