import pg from 'pg'
import { expect, test } from 'vitest'
import { within } from '../support/wait.ts'
import { describeHandler, id as newId } from './kit.ts'

/** The fast path is a plain UPDATE. Requests without an answer from it take the slow path. */
describeHandler(
  'A change on the fast path',
  (kit) => {
    test('is made once when a locked row fails its batch', async () => {
      const sessions = kit.open()
      const ids = Array.from({ length: 64 }, newId)
      const locked = ids[40] as string
      const records = await Promise.all(ids.map(async (id) => (await sessions.write(id, { n: 0 })).session))
      const holder = new pg.Client(kit.database().db as string)
      await holder.connect()
      try {
        await holder.query('BEGIN')
        await holder.query('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [locked])
        const changes = ids.map((id, n) => {
          if (n % 3 === 0) return sessions.touch(id)
          return sessions.write(id, { n }, n % 3 === 1 ? { base: records[n] } : {})
        })
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
        expect(record?.data).toEqual({ n: n % 3 === 0 ? 0 : n })
        expect(record?.accesses).toBe(2)
      }
    })

    /** Values that are the same for a whole batch are sent once, others for each row. */
    test.each([
      ['all different', (n: number) => n],
      ['all equal', () => 7],
      ['one different', (n: number) => (n === 20 ? 1 : 7)],
    ])('stores the options of each request: %s', async (_, kind) => {
      const sessions = kit.open()
      const ids = Array.from({ length: 40 }, newId)
      const optionsOf = (n: number) => ({
        lifetime: 1000 + 100 * kind(n),
        address: kind(n) % 2 === 0 ? undefined : `192.0.2.${kind(n)}`,
        access: kind(n) % 3 > 0,
        name: `NAME${kind(n)}`,
      })
      const created = await Promise.all(ids.map((id) => sessions.write(id, { at: 'first' })))
      await kit.query('UPDATE php_session SET sess_name = NULL WHERE sess_id = ANY($1)', [ids])
      const written = await Promise.all(
        ids.map((id, n) => {
          const base = kind(n) % 5 < 3 ? created[n]?.session : undefined
          return sessions.write(id, { at: n }, { ...optionsOf(n), ...(base && { base }) })
        }),
      )
      for (const [n, id] of ids.entries()) {
        const { lifetime, address, access, name } = optionsOf(n)
        const record = written[n]?.session
        expect(await sessions.read(id)).toMatchObject({ ...record, data: { at: n } })
        expect(record).toMatchObject({
          accesses: access ? 2 : 1,
          addressModified: address ?? null,
          addressCreated: null,
          name,
        })
        const { modified, expires } = record as { modified: Date; expires: Date }
        expect(Math.abs((expires.getTime() - modified.getTime()) / 1000 - lifetime)).toBeLessThanOrEqual(1)
      }
    })

    test('uses the index of ids although its plan was made on an empty table', async () => {
      const table = `fast_${newId()
        .slice(0, 12)
        .toLowerCase()
        .replaceAll(/[^a-z0-9]/g, '_')}`
      // On one connection, so that its plans are those of the empty table, and only its statements are counted.
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
      // PostgreSQL reports a connection's statistics when it ends.
      await sessions.close()
      const rowsRead = async (): Promise<number[]> => {
        const [row] = await kit.query<{ scanned: string; found: string }>(
          `SELECT seq_tup_read AS scanned, idx_tup_fetch AS found FROM pg_stat_user_tables WHERE relname = '${table}'`,
        )
        return [Number(row?.scanned), Number(row?.found)]
      }
      await expect.poll(async () => (await rowsRead())[1], { timeout: 20_000 }).toBeGreaterThanOrEqual(150)
      expect((await rowsRead())[0]).toBeLessThan(20_000)
      await kit.query(`DROP TABLE ${table}`)
    })
  },
  'postgres only',
)
