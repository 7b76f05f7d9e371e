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

    test('remain HOT while an indexed column does not change, and are not while it does', async () => {
      const [SESSIONS, ROUNDS] = [200, 20]
      const shares: number[] = []
      for (const table of ['steady', 'changing']) {
        const sessions = open(table)
        const ids = Array.from({ length: SESSIONS }, () => kit.id())
        await Promise.all(ids.map((id, n) => sessions.write(id, { user_id: n, padding: 'x'.repeat(400) })))
        for (let round = 1; round <= ROUNDS; round++) {
          await Promise.all(
            ids.map((id, n) => {
              const user_id = table === 'steady' ? n : n + round
              return sessions.write(id, { user_id, round, padding: 'x'.repeat(400) }, { base: 'existing' })
            }),
          )
        }
        await sessions.close()
        const [{ hot, all } = { hot: 0, all: 0 }] = await eventually(async () => {
          const stats = await kit.query<{ hot: number; all: number }>(
            `SELECT n_tup_hot_upd::int AS hot, n_tup_upd::int AS all FROM pg_stat_user_tables WHERE relname = $1`,
            [table],
          )
          // More, if a statement was rolled back and repeated.
          expect(stats[0]?.all).toBeGreaterThanOrEqual(SESSIONS * ROUNDS)
          return stats
        })
        shares.push(hot / all)
      }
      const [steady = 0, changing = 0] = shares
      process.stdout.write(
        `HOT updates: ${shares.map((share) => `${Math.round(share * 100)} %`).join(', ')}\n`,
      )
      expect(steady).toBeGreaterThan(0.7)
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
