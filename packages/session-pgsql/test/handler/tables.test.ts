import { expect, test } from 'vitest'
import { describeHandler, errorOf, id as newId } from './kit.ts'
import { EXTENSION_TABLE, expectUsable } from './table-kit.ts'

describeHandler('A table', (kit) => {
  test.each([
    'other',
    'Sessions',
    'select',
    '"with.dot"',
    'a b;--',
    "it's",
    '"say ""hi"""',
    'сессии',
    'セッション',
    '$1',
    '%s\\n',
    'x'.repeat(63),
    'é'.repeat(31),
  ])('may have the name %s', async (table) => {
    const sessions = kit.open({ table })
    await sessions.open()
    await expectUsable(sessions)
    const name = table.startsWith('"') ? table.slice(1, -1).replaceAll('""', '"') : table
    expect(await kit.query('SELECT 1 FROM pg_tables WHERE tablename = $1', [name])).toHaveLength(1)
  })

  test.each(['my', 'My Schema', 'a"b', 'public', 'schön.er'])('may be in the schema %s', async (schema) => {
    const quoted = `"${schema.replaceAll('"', '""')}"`
    await kit.query(`CREATE SCHEMA IF NOT EXISTS ${quoted}`)
    const sessions = kit.open({ table: `${quoted}.sessions` })
    await expectUsable(sessions)
    await expectUsable(kit.open({ table: `${quoted}.sessions` }))
  })

  test.each([
    ['created', false],
    ['completed', true],
  ])('is %s once, by any number of processes', async (what, exists) => {
    const table = `${what}_once`
    if (exists) await kit.query(EXTENSION_TABLE.replace('php_session', table))
    const handlers = Array.from({ length: 8 }, () => kit.open({ table }))
    await Promise.all(handlers.map((sessions) => sessions.write(newId(), {})))
    await Promise.all(handlers.map((sessions) => sessions.tryLock(newId(), 'owner', 10)))
    const indexes = await kit.query('SELECT indexdef FROM pg_indexes WHERE tablename = $1', [table])
    const defined = indexes.map(({ indexdef }) => String(indexdef).replace(/.* USING /, ''))
    expect(new Set(defined).size).toBe(defined.length)
    expect(defined).toContain('btree (sess_sweep)')
    await expectUsable(kit.open({ table }))
  })

  test('is independent of another table', async () => {
    const [one, two] = [kit.open({ table: 'one' }), kit.open({ table: 'two' })]
    const id = newId()
    await Promise.all([one.write(id, { n: 1 }), two.write(id, { n: 2 })])
    expect([(await one.read(id))?.data, (await two.read(id))?.data]).toEqual([{ n: 1 }, { n: 2 }])
    await one.destroy(id)
    expect((await two.read(id))?.data).toEqual({ n: 2 })
  })

  test('in a missing schema is an error with the remedy until the schema exists', async () => {
    const sessions = kit.open({ table: 'later.sessions' })
    const error = await errorOf(sessions.open())
    expect(error).toMatchObject({ code: 'TABLE_MISSING' })
    expect(error.message).toContain('CREATE SCHEMA "later"')
    await kit.query('CREATE SCHEMA later')
    await expectUsable(sessions)
  })

  test('is not created if createTable is off, which is an error with the remedy until it exists', async () => {
    const sessions = kit.open({ table: 'manual', createTable: false })
    const error = await errorOf(sessions.read(newId()))
    expect(error).toMatchObject({ code: 'TABLE_MISSING' })
    expect(error.message).toContain('session-pgsql init')
    await kit.open({ table: 'manual' }).open()
    await expectUsable(sessions)
  })

  test('that is a view or lacks columns or a key is an error that names the reason', async () => {
    await kit.query('CREATE VIEW a_view AS SELECT 1 AS a')
    expect(await errorOf(kit.open({ table: 'a_view' }).open())).toMatchObject({ code: 'TABLE_UNFIT' })
    await kit.query('CREATE TABLE few (sess_id text PRIMARY KEY, sess_data text)')
    const error = await errorOf(kit.open({ table: 'few' }).open())
    expect(error).toMatchObject({ code: 'TABLE_UNFIT' })
    expect(error.message).toContain('sess_expire')
    await kit.query(EXTENSION_TABLE.replace('php_session', 'loose').replace('PRIMARY KEY', ''))
    expect((await errorOf(kit.open({ table: 'loose' }).open())).message).toContain('PRIMARY KEY')
  })

  test('that a long transaction uses works without the added columns', async (context) => {
    context.skip(
      kit.server.kind === 'pglite',
      'PGlite has one connection, so no other transaction can hold a lock',
    )
    await kit.query(EXTENSION_TABLE.replace('php_session', 'busy_table'))
    const { default: pg } = await import('pg')
    const client = new pg.Client(kit.database().db as string)
    await client.connect()
    await client.query('BEGIN; SELECT 1 FROM busy_table')
    try {
      await expectUsable(kit.open({ table: 'busy_table' }))
    } finally {
      await client.end()
    }
  })
})
