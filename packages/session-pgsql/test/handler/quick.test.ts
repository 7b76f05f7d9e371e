import pg from 'pg'
import { expect, test } from 'vitest'
import { within } from '../support/wait.ts'
import { describeHandler, id as newId } from './kit.ts'

/** Changes are tried by a plain UPDATE first; what that has no answer for goes through the thorough statements. */
describeHandler(
  'A change on the quick way',
  (kit) => {
    test('does nothing twice when a locked row has undone its batch', async () => {
      const sessions = kit.open()
      const ids = Array.from({ length: 64 }, newId)
      const locked = ids[40] as string
      const records = await Promise.all(ids.map(async (id) => (await sessions.write(id, { n: 0 })).session))
      const holder = new pg.Client(kit.database().db as string)
      await holder.connect()
      try {
        await holder.query('BEGIN')
        await holder.query('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [locked])
        const changes = ids.map((id, n) =>
          n % 2 === 0
            ? sessions.touch(id, { errors: { errors: 1 } })
            : sessions.write(id, { n }, { base: records[n], errors: { errors: 1 } }),
        )
        const all = Promise.all(changes)
        await within(
          Promise.all(changes.filter((_, n) => ids[n] !== locked)),
          10_000,
          'the others, while one row is locked',
        )
        await holder.query('COMMIT')
        await all
      } finally {
        await holder.end()
      }
      for (const [n, id] of ids.entries()) {
        const record = await sessions.read(id)
        expect(record?.data).toEqual({ n: n % 2 === 0 ? 0 : n })
        expect([record?.accesses, record?.errors]).toEqual([2, 1])
      }
    })

    test('finds its rows by their ids although its plan was made on an empty table', async () => {
      const table = `quick_${newId()
        .slice(0, 12)
        .toLowerCase()
        .replaceAll(/[^a-z0-9]/g, '_')}`
      // One connection of its own, so that its plans are those of the empty table, and its figures its own.
      const sessions = kit.open({ db: kit.database().db as string, table, poolSize: 1 })
      await sessions.open()
      await kit.query(`ALTER TABLE ${table} SET (autovacuum_enabled = off)`)
      const first = newId()
      for (let n = 0; n < 12; n++) {
        await sessions.touch(first)
        await sessions.write(first, { n }, { base: 'existing' })
      }
      await kit.query(
        `INSERT INTO ${table} (sess_id, sess_data, sess_expire, sess_counter)
         SELECT 'many' || n, '{}', 9e9::bigint, 1 FROM generate_series(1, 20000) n`,
      )
      for (let n = 1; n <= 50; n++) {
        expect(await sessions.touch(`many${n}`)).toBe(true)
        expect((await sessions.write(`many${n}`, { n }, { base: 'existing' })).outcome).toBe('updated')
        expect((await sessions.write(`many${n}`, { n: n + 1 })).outcome).toBe('updated')
      }
      // What a connection has counted is told when it ends.
      await sessions.close()
      const figures = async (): Promise<number[]> => {
        const [row] = await kit.query<{ scanned: string; found: string }>(
          `SELECT seq_tup_read AS scanned, idx_tup_fetch AS found FROM pg_stat_user_tables WHERE relname = '${table}'`,
        )
        return [Number(row?.scanned), Number(row?.found)]
      }
      await expect.poll(async () => (await figures())[1], { timeout: 20_000 }).toBeGreaterThanOrEqual(150)
      expect((await figures())[0]).toBeLessThan(20_000)
      await kit.query(`DROP TABLE ${table}`)
    })
  },
  'postgres only',
)
