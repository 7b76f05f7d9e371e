import { describe, expect, test } from 'vitest'
import { describeHandler, type Handler, type Kit, id as newId } from './kit.ts'
import { dbOfAppUser, EXTENSION_TABLE, expectUsable } from './table-kit.ts'

describeHandler('The table of the C extension', (kit) => {
  const ownership = [
    ['owned', true],
    ['not owned', false],
  ] as const

  describe.each(ownership)('%s', (_, owned) => {
    const table = owned ? 'seed_owned' : 'seed_granted'

    async function open(options = {}): Promise<Handler> {
      await kit.query(
        EXTENSION_TABLE.replace('CREATE TABLE php_session', `CREATE TABLE IF NOT EXISTS ${table}`),
      )
      if (owned) return kit.open({ table, ...options })
      return kit.open({ table, db: await dbOfAppUser(kit, table), ...options })
    }

    test('supports every operation', async () => {
      const sessions = await open()
      await expectUsable(sessions)
      const columns = await kit.query(
        `SELECT 1 FROM information_schema.columns WHERE table_name = $1 AND column_name = 'sess_sweep'`,
        [table],
      )
      expect(columns).toHaveLength(owned || kit.server.kind === 'pglite' ? 1 : 0)
    })

    test('clamps dates and counters at the maximum of an integer', async () => {
      const sessions = await open()
      const id = newId()
      const { session } = await sessions.write(id, { a: 1 }, { lifetime: 1e10 })
      expect(session?.expires).toEqual(new Date(2147483647_000))
      await kit.query(
        `UPDATE ${table} SET sess_counter = 2147483647, sess_error = 2147483647, sess_warning = 2147483646 WHERE sess_id = $1`,
        [id],
      )
      const base = await sessions.read(id)
      expect(await sessions.touch(id, { lifetime: 1e10, errors: { errors: 1, warnings: 7 } })).toBe(true)
      const written = await sessions.write(id, { a: 2 }, { base, lifetime: 9e9 })
      expect(written.session).toMatchObject({
        accesses: 2147483647,
        errors: 2147483647,
        warnings: 2147483647,
        expires: new Date(2147483647_000),
      })
      expect((await sessions.write(id, { a: 3 })).session?.accesses).toBe(2147483647)
    })

    test('is swept, with rows of other writers', async () => {
      const sessions = await open()
      await kit.query(`DELETE FROM ${table}`)
      await insertAll(kit, table)
      await kit.query(
        `INSERT INTO ${table} (sess_id, sess_data, sess_expire) VALUES ('far', '{}', 2147483647)`,
      )
      expect(await sessions.gc()).toBe(2)
      expect(await sessions.gc()).toBe(0)
      expect(
        (await kit.query<{ sess_id: string }>(`SELECT sess_id FROM ${table} ORDER BY 1`)).map(
          (row) => row.sess_id,
        ),
      ).toEqual(['far', 'live', 'nulls', 'young'])
      expect(await sessions.touch('far', { lifetime: 10 })).toBe(true)
    })

    test('is swept with keepExpired', async () => {
      const sessions = await open({ keepExpired: true, keepExpiredFor: 1_000_000_000 })
      await kit.query(`DELETE FROM ${table}`)
      await insertAll(kit, table)
      expect(await sessions.gc()).toBe(2)
      expect(await sessions.gc()).toBe(0)
      expect(await kit.query(`SELECT sess_id FROM ${table} WHERE sess_data = '' ORDER BY 1`)).toEqual([
        { sess_id: 'old1' },
        { sess_id: 'old2' },
      ])
      expect((await sessions.write('old1', { back: 1 })).session).toMatchObject({
        accesses: 8,
        custom: 'kept',
      })
    })

    test('supports rows with NULL in each column, and writes of other writers', async () => {
      const sessions = await open()
      await kit.query(`DELETE FROM ${table}`)
      await insertAll(kit, table)
      const base = await sessions.read('nulls')
      expect(base).toMatchObject({
        data: {},
        name: null,
        created: null,
        modified: null,
        expires: null,
        accesses: 0,
        errors: 0,
        custom: null,
      })
      expect((await sessions.read('live'))?.data).toEqual({ a: 1 })
      expect(await sessions.count()).toBe(2)
      expect(await sessions.addError('nulls', 'notice')).toBe(true)
      expect((await sessions.write('nulls', { a: 1 }, { base })).session).toMatchObject({
        data: { a: 1 },
        accesses: 1,
        notices: 1,
        name: 'PHPSESSID',
      })
      // Another writer updates after this read.
      const ours = await sessions.read('live')
      await kit.query(
        `UPDATE ${table} SET sess_data = '{"a":2}', sess_counter = sess_counter + 1 WHERE sess_id = 'live'`,
      )
      expect((await sessions.write('live', { a: 1, ours: 1 }, { base: ours })).session?.data).toEqual({
        a: 2,
        ours: 1,
      })
      // Another writer destroys the session and creates it again a second later.
      await kit.query(`DELETE FROM ${table} WHERE sess_id = 'live'`)
      await insertRow(kit, table, 'live', 101, `'{"new":1}'`)
      expect((await sessions.write('live', { a: 1, ours: 2 }, { base: ours })).outcome).toBe('gone')
      expect(await sessions.touch('live', { base: ours })).toBe(false)
      expect((await sessions.read('live'))?.data).toEqual({ new: 1 })
    })

    test('distinguishes two generations of an id by the second of creation and the counter', async () => {
      const sessions = await open()
      const id = newId()
      await sessions.write(id, { user: 'old' })
      await sessions.touch(id)
      const base = await sessions.read(id)
      const all = await Promise.all([
        sessions.destroy(id),
        sessions.write(id, { user: 'new' }),
        sessions.write(id, { user: 'old', late: 1 }, { base }),
        sessions.touch(id, { base, lifetime: 9999 }),
      ])
      expect([all[2].outcome, all[3]]).toEqual(['gone', false])
      expect((await sessions.read(id))?.data).toEqual({ user: 'new' })
    })
  })

  test('may have other columns', async () => {
    await kit.query(
      EXTENSION_TABLE.replace('php_session', 'extended').replace(
        'sess_custom        text',
        'sess_custom text, tenant text DEFAULT \'none\', "Odd Name" int NOT NULL DEFAULT 5',
      ),
    )
    const sessions = kit.open({ table: 'extended' })
    await expectUsable(sessions)
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    await kit.query("UPDATE extended SET tenant = 'x' WHERE sess_id = $1", [id])
    await sessions.write(id, { a: 2 }, { base })
    await sessions.write(id, { a: 3 })
    await sessions.touch(id)
    expect(await kit.query('SELECT tenant, "Odd Name" FROM extended')).toEqual([
      { tenant: 'x', 'Odd Name': 5 },
    ])
  })
})

/** Inserts rows as the C extension writes them, and one with NULL in every other column. */
async function insertAll(kit: Kit, table: string): Promise<void> {
  await insertRow(kit, table, 'live', 100, `'{"a":1}'`)
  await insertRow(kit, table, 'young', -30, `'{"a":1}'`)
  await insertRow(kit, table, 'old1', -100, `'{"a":1}'`)
  await insertRow(kit, table, 'old2', -100_000, `'not json'`)
  await kit.query(`INSERT INTO ${table} (sess_id) VALUES ('nulls')`)
}

async function insertRow(kit: Kit, table: string, id: string, seconds: number, data: string): Promise<void> {
  const now = 'floor(extract(epoch FROM clock_timestamp()))::int'
  await kit.query(
    `INSERT INTO ${table} (sess_id, sess_name, sess_data, sess_created, sess_modified, sess_expire, sess_addr_created,
      sess_addr_modified, sess_counter, sess_error, sess_warning, sess_notice, sess_err_message, sess_custom)
     VALUES ($1, 'PHPSESSID', ${data}, ${now} - 1000 + ${seconds}, ${now}, ${now} + ${seconds}, '10.0.0.1', '10.0.0.1', 7, 0, 0, 0, '', 'kept')`,
    [id],
  )
}
