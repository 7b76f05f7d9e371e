import pg from 'pg'
import { expect, test } from 'vitest'
import { ONE, OTHER } from './colliding.ts'
import { describeHandler, expireAgo, type Handler, id as newId } from './kit.ts'
import { dbOfAppUser, expectUsable } from './table-kit.ts'

describeHandler('A compare-and-swap', (kit) => {
  const row = async (id: string): Promise<{ version: number | null; data: string }> => {
    const [row] = await kit.query<{ version: string | null; data: string }>(
      'SELECT sess_version AS version, sess_data AS data FROM php_session WHERE sess_id = $1',
      [id],
    )
    return { version: row?.version == null ? null : Number(row.version), data: row?.data ?? '' }
  }

  /** Reads ONE; another process stores OTHER; the reader then writes its copy with a new key. */
  async function writeStale(useVersion: boolean) {
    const [reader, other] = [kit.open(), kit.open()]
    const id = newId()
    await other.write(id, JSON.parse(ONE))
    const base = await reader.read(id)
    if (useVersion) await other.write(id, JSON.parse(OTHER))
    else await kit.query(`UPDATE php_session SET sess_data = $2 WHERE sess_id = $1`, [id, OTHER])
    const { outcome } = await reader.write(id, { ...base?.data, late: true }, { base })
    return { outcome, data: (await reader.read(id))?.data }
  }
  const MERGED = { outcome: 'merged', data: { ...JSON.parse(OTHER), late: true } }

  test('does not take data with the same unseeded digest for its base', async () => {
    const [collision] = await kit.query<{ same: boolean }>(
      'SELECT hashtextextended($1, 0) = hashtextextended($2, 0) AS same',
      [ONE, OTHER],
    )
    expect(collision?.same).toBe(true)
    expect(await writeStale(true)).toEqual(MERGED)
  })

  test('detects such data also if its writer does not count versions', async () => {
    await kit.open().open()
    expect(await writeStale(false)).toEqual(MERGED)
  })

  test('detects such data also in a table without versions', async () => {
    const sessions = kit.open({ table: 'without_version' })
    await sessions.open()
    await kit.query('ALTER TABLE without_version DROP COLUMN sess_version')
    const open = { table: 'without_version', createTable: false }
    const [reader, other] = [kit.open(open), kit.open(open)]
    const id = newId()
    await other.write(id, JSON.parse(ONE))
    const base = await reader.read(id)
    await other.write(id, JSON.parse(OTHER))
    expect((await reader.write(id, { ...base?.data, late: true }, { base })).outcome).toBe('merged')
    expect((await reader.read(id))?.data).toEqual(MERGED.data)
    await reader.touch(id)
    expect(await reader.destroy(id)).toBe(true)
  })

  test('works with a role that may not read the seed, which uses a digest without one', async (context) => {
    const { db } = kit.database()
    if (typeof db !== 'string' || kit.server.kind !== 'postgres') return context.skip('PGlite has one user')
    await kit.open({ table: 'without_seed' }).open()
    await kit.query('REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC')
    const pool = new pg.Pool({ connectionString: (await dbOfAppUser(kit, 'without_seed')) as string })
    const sent: string[] = []
    pool.on('connect', (client) => {
      const { connection } = client as unknown as { connection: { parse(query: { text: string }): void } }
      const parse = connection.parse.bind(connection)
      connection.parse = (query) => {
        sent.push(query.text)
        parse(query)
      }
    })
    try {
      const [reader, other] = [1, 2].map(() => kit.open({ table: 'without_seed', db: pool })) as [
        Handler,
        Handler,
      ]
      await expectUsable(reader)
      const id = newId()
      await other.write(id, JSON.parse(ONE))
      const base = await reader.read(id)
      await other.write(id, JSON.parse(OTHER))
      expect((await reader.write(id, { ...base?.data, late: true }, { base })).outcome).toBe('merged')
      expect((await reader.read(id))?.data).toEqual(MERGED.data)
      expect(sent.some((text) => text.includes('sha256'))).toBe(true)
      expect(sent.some((text) => text.includes('hashtextextended'))).toBe(false)
    } finally {
      await kit.query('GRANT EXECUTE ON FUNCTION pg_control_system() TO PUBLIC')
      await pool.end()
    }
  })

  test('works between a process that counts versions and one that opened the table before it had them', async () => {
    const table = 'with_version_later'
    await kit.open({ table }).open()
    await kit.query(`ALTER TABLE ${table} DROP COLUMN sess_version`)
    const before = kit.open({ table, createTable: false })
    await before.open()
    await kit.open({ table }).open()
    const after = kit.open({ table })
    for (const [reader, other] of [
      [before, after],
      [after, before],
    ] as const) {
      const id = newId()
      await other.write(id, JSON.parse(ONE))
      const base = await reader.read(id)
      await other.write(id, JSON.parse(OTHER))
      expect((await reader.write(id, { ...base?.data, late: true }, { base })).outcome).toBe('merged')
      const merged = await other.read(id)
      expect(merged?.data).toEqual(MERGED.data)
      expect((await other.write(id, { a: 1 }, { base: merged })).outcome).toBe('updated')
      expect((await reader.write(id, { b: 1 }, { base: merged })).outcome).toBe('merged')
      expect(await reader.touch(id, { base: await reader.read(id) })).toBe(true)
    }
  })

  test.for<[string, boolean]>([
    ['a writer that counts versions', true],
    ['a writer that does not count versions', false],
  ])('detects such data under the row lock too, stored by %s', async ([, counts], context) => {
    context.skip(
      kit.server.kind === 'pglite',
      'PGlite has one connection, which is in use while the row is locked',
    )
    const other = kit.open()
    const id = newId()
    const store = async (text: string): Promise<void> => {
      if (counts) await other.write(id, JSON.parse(text))
      else await kit.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [id, text])
    }
    const found: unknown[] = []
    // After the second round, the write holds the row lock: it must not take OTHER for ONE, which it has merged.
    const next = [ONE, OTHER]
    const sessions = kit.open({
      conflict: async (_ours, theirs) => {
        found.push(theirs)
        const text = next.shift()
        if (text !== undefined) await store(text)
        return { ...theirs, late: true }
      },
    })
    const base = (await sessions.write(id, { a: 1 })).session
    await other.write(id, { a: 2 })
    expect(await sessions.write(id, { a: 3 }, { base })).toMatchObject({ outcome: 'merged' })
    expect(found).toEqual([{ a: 2 }, JSON.parse(ONE), JSON.parse(OTHER)])
    expect((await other.read(id))?.data).toEqual(MERGED.data)
  })

  test('detects that garbage collection has emptied the session, which counts as a write', async () => {
    const table = 'emptied'
    const sessions = kit.open({ table, keepExpired: true, expiryGrace: 0 })
    const id = newId()
    await sessions.write(id, { a: 1 })
    await sessions.write(id, { a: 2 })
    await expireAgo(kit, id, 5000, table)
    await kit.query(`UPDATE ${table} SET sess_sweep = 0`)
    expect(await sessions.gc()).toBe(1)
    const rows = await kit.query(`SELECT sess_version::int AS version, sess_data AS data FROM ${table}`)
    expect(rows).toEqual([{ version: 3, data: '' }])
  })

  test('detects a session that was changed and changed back', async () => {
    const [reader, other] = [kit.open({ conflict: 'error' }), kit.open()]
    const id = newId()
    await other.write(id, { a: 1 })
    const base = await reader.read(id)
    await other.write(id, { a: 2 })
    await other.write(id, { a: 1 })
    // The data is the base's, so this is no conflict, but the swap goes against the newest version.
    expect((await reader.write(id, { a: 3 }, { base })).outcome).toBe('updated')
    expect(await row(id)).toEqual({ version: 4, data: '{"a":3}' })
  })

  test('counts the writes of data from 1, and not touches or metadata', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { a: 1 })
    expect((await row(id)).version).toBe(1)
    await sessions.touch(id)
    await sessions.setField(id, 'user')
    await sessions.addError(id)
    expect((await row(id)).version).toBe(1)
    const base = await sessions.read(id)
    await sessions.write(id, { a: 2 }, { base })
    await sessions.write(id, { a: 3 })
    await sessions.write(id, { a: 4 }, { base: 'existing' })
    await sessions.write(id, { b: 1 }, { base: null })
    await sessions.update(id, (data) => {
      data.a++
    })
    expect(await row(id)).toEqual({ version: 6, data: '{"a":5,"b":1}' })
    await sessions.destroy(id)
    await sessions.write(id, { a: 1 })
    expect((await row(id)).version).toBe(1)
  })

  test('starts from 0 in the row of a program that does not count', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.open()
    await kit.query(
      `INSERT INTO php_session (sess_id, sess_data, sess_expire) VALUES ($1, '{"a":1}', 4000000000)`,
      [id],
    )
    const base = await sessions.read(id)
    expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('updated')
    expect((await row(id)).version).toBe(1)
  })
})
