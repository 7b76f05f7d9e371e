import pg from 'pg'
import { expect, test } from 'vitest'
import { describeHandler } from './kit.ts'

/** A large sweep with concurrent readers. PGlite has no other clients. */
describeHandler(
  'A sweep',
  (kit) => {
    if (kit.server.name === 'PostgreSQL 15' || kit.server.kind === 'pgbouncer') {
      test.skip('runs on one server only, because it takes long', () => {})
      return
    }
    test('of 200,000 expired among 400,000 rows does not disturb concurrent reads and writes', async () => {
      const sessions = kit.open({ operationTimeout: 30 })
      await sessions.open()
      await kit.query(
        `INSERT INTO php_session (sess_id, sess_data, sess_created, sess_expire, sess_sweep)
         SELECT 'row' || n, '{"n":' || n || '}', 1000, CASE WHEN n % 2 = 0 THEN 4000000000 ELSE 1000 END, CASE WHEN n % 2 = 0 THEN 4000000000 ELSE 3600 END
         FROM generate_series(1, 400000) n`,
      )
      await kit.query('ANALYZE php_session')
      const holder = new pg.Client(kit.database().db as string)
      await holder.connect()
      await holder.query("BEGIN; SELECT 1 FROM php_session WHERE sess_id = 'row1' FOR UPDATE")

      const reader = kit.open({ operationTimeout: 30 })
      let swept: number | undefined
      const sweeping = sessions.gc().then((count) => {
        swept = count
      })
      let [reads, writes] = [0, 0]
      const readers = Array.from({ length: 50 }, async (_, client) => {
        const other = client % 2 ? sessions : reader
        for (let n = client; swept === undefined; n += 7) {
          const id = (n % 200_000) * 2 + 2
          const session = await other.read(`row${id}`)
          expect(session?.data.n).toBe(id)
          expect(await other.read(`row${id - 1}`)).toBeUndefined()
          reads += 2
          if (n % 10 === 0) {
            await other.write(`row${id}`, { n: id, w: 1 }, { base: session, lifetime: 1e8 })
            await other.write(`row${id}`, { n: id })
            writes += 2
          }
        }
      })
      await Promise.all([sweeping, ...readers])
      // The locked row is skipped.
      expect(swept).toBe(199_999)
      expect(reads).toBeGreaterThan(1000)
      expect(writes).toBeGreaterThan(10)
      await holder.query('COMMIT')
      await holder.end()
      expect(await sessions.gc()).toBe(1)
      expect(await sessions.count({ active: 'any' })).toBe(200_000)
    }, 120_000)
  },
  'postgres only',
)
