import { expect, test } from 'vitest'
import { describeHandler, errorOf, id as newId } from './kit.ts'
import { lives, SEED_TABLE } from './table-kit.ts'

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
  ])('may be called %s', async (table) => {
    const sessions = kit.open({ table })
    await sessions.open()
    await lives(sessions)
    const name = table.startsWith('"') ? table.slice(1, -1).replaceAll('""', '"') : table
    expect(await kit.query('SELECT 1 FROM pg_tables WHERE tablename = $1', [name])).toHaveLength(1)
  })

  test.each(['my', 'My Schema', 'a"b', 'public', 'schön.er'])('may lie in the schema %s', async (schema) => {
    const quoted = `"${schema.replaceAll('"', '""')}"`
    await kit.query(`CREATE SCHEMA IF NOT EXISTS ${quoted}`)
    const sessions = kit.open({ table: `${quoted}.sessions` })
    await lives(sessions)
    await lives(kit.open({ table: `${quoted}.sessions` }))
  })

  test('lies beside another one, and they know nothing of each other', async () => {
    const [one, two] = [kit.open({ table: 'one' }), kit.open({ table: 'two' })]
    const id = newId()
    await Promise.all([one.write(id, { n: 1 }), two.write(id, { n: 2 })])
    expect([(await one.read(id))?.data, (await two.read(id))?.data]).toEqual([{ n: 1 }, { n: 2 }])
    await one.destroy(id)
    expect((await two.read(id))?.data).toEqual({ n: 2 })
  })

  test('in a schema that is not there is an error that says so, and heals', async () => {
    const sessions = kit.open({ table: 'later.sessions' })
    const error = await errorOf(sessions.open())
    expect(error).toMatchObject({ code: 'TABLE_MISSING' })
    expect(error.message).toContain('CREATE SCHEMA "later"')
    await kit.query('CREATE SCHEMA later')
    await lives(sessions)
  })

  test('is not created unless that is wanted; what is missing is named, and heals', async () => {
    const sessions = kit.open({ table: 'manual', createTable: false })
    const error = await errorOf(sessions.read(newId()))
    expect(error).toMatchObject({ code: 'TABLE_MISSING' })
    expect(error.message).toContain('session-pgsql init')
    await kit.open({ table: 'manual' }).open()
    await lives(sessions)
  })

  test('dropped under way is an error that says so, and heals', async () => {
    const sessions = kit.open({ table: 'dropped' })
    await lives(sessions)
    await kit.query('DROP TABLE dropped')
    expect(await errorOf(sessions.read(newId()))).toMatchObject({ code: 'TABLE_MISSING' })
    await lives(sessions)
  })

  test('that is something else is an error that says so', async () => {
    await kit.query('CREATE VIEW a_view AS SELECT 1 AS a')
    expect(await errorOf(kit.open({ table: 'a_view' }).open())).toMatchObject({ code: 'TABLE_UNFIT' })
    await kit.query('CREATE TABLE few (sess_id text PRIMARY KEY, sess_data text)')
    const error = await errorOf(kit.open({ table: 'few' }).open())
    expect(error).toMatchObject({ code: 'TABLE_UNFIT' })
    expect(error.message).toContain('sess_expire')
    await kit.query(SEED_TABLE.replace('php_session', 'loose').replace('PRIMARY KEY', ''))
    expect((await errorOf(kit.open({ table: 'loose' }).open())).message).toContain('PRIMARY KEY')
  })

  test('is in use: adding our columns does not wait for a long transaction, and is not needed', async () => {
    if (kit.server.kind === 'pglite') return // PGlite has one connection: nobody else can hold a lock.
    await kit.query(SEED_TABLE.replace('php_session', 'busy_table'))
    const { default: pg } = await import('pg')
    const client = new pg.Client(kit.database().db as string)
    await client.connect()
    await client.query('BEGIN; SELECT 1 FROM busy_table')
    try {
      await lives(kit.open({ table: 'busy_table' }))
    } finally {
      await client.end()
    }
  })
})
