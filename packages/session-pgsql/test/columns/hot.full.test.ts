import { expect, test } from 'vitest'
import { Columns } from '../../src/session/columns.ts'
import { createWithColumns } from '../../src/table/computed-columns.ts'
import { type Data, describeHandler } from '../handler/kit.ts'
import { eventually } from '../support/wait.ts'

const columns = {
  user_id: { type: 'bigint', value: (data: Data) => data.user_id, index: true },
} as const

describeHandler(
  'updates of a table with own columns',
  (kit) => {
    /** With connections of its own: PostgreSQL counts what they did when they end, and otherwise up to 10 s later. */
    const open = (table: string) =>
      kit.open({ db: kit.database().db, table, columns, createTable: table !== 'planned' })

    /** Writes 200 sessions 20 times. Returns the share of HOT updates. */
    async function shareOfHot(table: string, userId: (n: number, round: number) => number): Promise<number> {
      const [SESSIONS, ROUNDS] = [200, 20]
      const sessions = open(table)
      const padding = 'x'.repeat(400)
      const ids = Array.from({ length: SESSIONS }, (_, n) => `${table}-${n}`)
      await Promise.all(ids.map((id, n) => sessions.write(id, { user_id: userId(n, 0), padding })))
      const counts = async () => {
        const [row = { hot: 0, all: 0 }] = await kit.query<{ hot: number; all: number }>(
          'SELECT n_tup_hot_upd::int AS hot, n_tup_upd::int AS all FROM pg_stat_user_tables WHERE relname = $1',
          [table],
        )
        return row
      }
      const before = await counts()
      for (let round = 1; round <= ROUNDS; round++) {
        await Promise.all(
          ids.map((id, n) =>
            sessions.write(id, { user_id: userId(n, round), round, padding }, { base: 'existing' }),
          ),
        )
      }
      await sessions.close()
      return eventually(async () => {
        const { hot, all } = await counts()
        // More, if a statement was rolled back and repeated.
        expect(all - before.all).toBeGreaterThanOrEqual(SESSIONS * ROUNDS)
        return (hot - before.hot) / (all - before.all)
      })
    }

    test('remain HOT while an indexed column does not change, and are not while it does', async () => {
      // Again, if meanwhile an ANALYZE by autovacuum has kept PostgreSQL from removing old versions.
      const steady = await eventually(async () => {
        const share = await shareOfHot('steady', (n) => n)
        expect(share).toBeGreaterThan(0.7)
        return share
      })
      const changing = await shareOfHot('changing', (n, round) => n + round)
      process.stdout.write(
        `HOT updates: ${[steady, changing].map((share) => `${Math.round(share * 100)} %`).join(', ')}\n`,
      )
      expect(changing).toBe(0)
    })

    test('unfilled rows and filters by an indexed column are found by an index', async () => {
      const wanted = new Columns([{ name: 'user_id', type: 'bigint', index: true, value: undefined }])
      for (const statement of createWithColumns({ schema: 'public', table: 'planned' }, wanted)) {
        await kit.query(statement)
      }
      await kit.query(`INSERT INTO planned (sess_id, sess_name, sess_data, sess_expire, user_id, sess_filled)
        SELECT 'p' || n, 'x', '{}', 9999999999, n % 5000, 'user_id' FROM generate_series(1, 20000) n`)
      await kit.query('ANALYZE planned')
      await kit.query('SELECT pg_stat_reset()')
      const scans = async () => {
        const [row] = await kit.query<{ seq: number; idx: number }>(
          "SELECT seq_scan::int AS seq, idx_scan::int AS idx FROM pg_stat_user_tables WHERE relname = 'planned'",
        )
        return row
      }
      const sessions = open('planned')
      expect(await sessions.destroyWhere({ user_id: 7 })).toBe(4)
      expect(await sessions.fillColumns()).toBe(0)
      await sessions.close()
      await eventually(async () => expect((await scans())?.idx).toBeGreaterThan(5))
      expect((await scans())?.seq).toBe(0)
    })
  },
  'postgres only',
)
