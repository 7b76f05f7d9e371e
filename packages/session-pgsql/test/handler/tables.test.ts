import { describe, expect, test } from 'vitest'
import { describeHandler, errorOf, type Handler, type Kit, id as newId } from './kit.ts'

/** The README's, to the letter. */
const SEED_TABLE = `CREATE TABLE php_session (
  sess_id            text	PRIMARY KEY,
  sess_name          text,
  sess_data          text,
  sess_created       integer,
  sess_modified      integer,
  sess_expire        integer,
  sess_addr_created  text,
  sess_addr_modified text,
  sess_counter       integer,
  sess_error         integer,
  sess_warning       integer,
  sess_notice        integer,
  sess_err_message   text,
  sess_custom        text
)`

async function lives(sessions: Handler): Promise<void> {
  const id = newId()
  expect((await sessions.write(id, { a: 1 }, { custom: 'c' })).outcome).toBe('created')
  const base = await sessions.read(id)
  expect((await sessions.write(id, { a: 2 }, { base, errors: { errors: 1 } })).outcome).toBe('updated')
  expect((await sessions.write(id, { a: 1, b: 1 }, { base })).session?.data).toEqual({ a: 2, b: 1 })
  expect(await sessions.touch(id, { lifetime: 5000 })).toBe(true)
  expect(await sessions.info(id)).toMatchObject({ custom: 'c', errors: 1, accesses: 4 })
  expect((await sessions.list({ field: 'c' })).map((session) => session.id)).toContain(id)
  await sessions.gc()
  expect(await sessions.destroy(id)).toBe(true)
  expect((await sessions.write(id, {}, { base })).outcome).toBe('gone')
}

describeHandler(
  'A table',
  (kit) => {
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

    test.each(['my', 'My Schema', 'a"b', 'public', 'schön.er'])(
      'may lie in the schema %s',
      async (schema) => {
        const quoted = `"${schema.replaceAll('"', '""')}"`
        await kit.query(`CREATE SCHEMA IF NOT EXISTS ${quoted}`)
        const sessions = kit.open({ table: `${quoted}.sessions` })
        await lives(sessions)
        await lives(kit.open({ table: `${quoted}.sessions` }))
      },
    )

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
  },
  'once',
)

describeHandler(
  'The table of session_pgsql',
  (kit) => {
    const ownership = [
      ['owned', true],
      ['not owned', false],
    ] as const

    describe.each(ownership)('%s', (_, owned) => {
      const table = owned ? 'seed_owned' : 'seed_granted'

      async function open(options = {}): Promise<Handler> {
        await kit.query(SEED_TABLE.replace('CREATE TABLE php_session', `CREATE TABLE IF NOT EXISTS ${table}`))
        if (owned) return kit.open({ table, ...options })
        return kit.open({ table, db: await userOf(kit, table), ...options })
      }

      test('serves', async () => {
        const sessions = await open()
        await lives(sessions)
        const columns = await kit.query(
          `SELECT 1 FROM information_schema.columns WHERE table_name = $1 AND column_name = 'sess_sweep'`,
          [table],
        )
        expect(columns).toHaveLength(owned || kit.server.kind === 'pglite' ? 1 : 0)
      })

      test('holds dates and counters as far as an integer goes', async () => {
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

      test('is swept, whatever others have written', async () => {
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

      test('serves when each column is NULL, and when others write', async () => {
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
        // The other writer, as it updates, after my read.
        const mine = await sessions.read('live')
        await kit.query(
          `UPDATE ${table} SET sess_data = '{"a":2}', sess_counter = sess_counter + 1 WHERE sess_id = 'live'`,
        )
        expect((await sessions.write('live', { a: 1, mine: 1 }, { base: mine })).session?.data).toEqual({
          a: 2,
          mine: 1,
        })
        // As it destroys and begins again, a second later.
        await kit.query(`DELETE FROM ${table} WHERE sess_id = 'live'`)
        await insertSeed(kit, table, 'live', 101, `'{"new":1}'`)
        expect((await sessions.write('live', { a: 1, mine: 2 }, { base: mine })).outcome).toBe('gone')
        expect(await sessions.touch('live', { base: mine })).toBe(false)
        expect((await sessions.read('live'))?.data).toEqual({ new: 1 })
      })

      test('never gives a new life the data of the old one, as far as a second and a counter can tell', async () => {
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

    test('may have columns of the user', async () => {
      await kit.query(
        SEED_TABLE.replace('php_session', 'extended').replace(
          'sess_custom        text',
          'sess_custom text, tenant text DEFAULT \'none\', "Odd Name" int NOT NULL DEFAULT 5',
        ),
      )
      const sessions = kit.open({ table: 'extended' })
      await lives(sessions)
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
  },
  'once',
)

describeHandler(
  'A privilege that is missing',
  (kit) => {
    test.each(['SELECT', 'INSERT', 'UPDATE', 'DELETE'])(
      '%s is named, with the command that mends it',
      async (privilege) => {
        const table = `no_${privilege.toLowerCase()}`
        await kit.open({ table }).open()
        const sessions = kit.open({ table, db: await userOf(kit, table) })
        await lives(sessions)
        await kit.query(`REVOKE ${privilege} ON ${table} FROM app_user`)
        const fresh = kit.open({ table, db: await userOf(kit, undefined) })
        const error = await errorOf(fresh.open())
        expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
        expect(error.message).toContain(privilege)
        expect(error.message).toMatch(
          new RegExp(`GRANT [A-Z, ]*${privilege}[A-Z, ]* ON "public"."${table}" TO "app_user"`),
        )
        // Lost under way, the same.
        const use = {
          SELECT: () => sessions.read('x'),
          INSERT: () => sessions.write('x', {}),
          UPDATE: () => sessions.touch('x'),
          DELETE: () => sessions.destroy('x'),
        }[privilege]
        const lost = await errorOf(use?.() as Promise<unknown>)
        expect(lost).toMatchObject({ code: 'PRIVILEGE_MISSING' })
        expect(lost.message).toContain('GRANT')
        await kit.query(`GRANT ${privilege} ON ${table} TO app_user`)
        await lives(sessions)
        await lives(fresh)
      },
    )

    test('USAGE on the schema is named', async () => {
      await kit.query('CREATE SCHEMA closed')
      await kit.open({ table: 'closed.sessions' }).open()
      const sessions = kit.open({ table: 'closed.sessions', db: await userOf(kit, 'closed.sessions') })
      const error = await errorOf(sessions.read('x'))
      expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
      expect(error.message).toContain('GRANT USAGE ON SCHEMA "closed" TO "app_user"')
      await kit.query('GRANT USAGE ON SCHEMA closed TO app_user')
      await lives(sessions)
    })

    test('CREATE on the schema is named if the table is missing, and not needed if it is there', async () => {
      await kit.query('CREATE SCHEMA theirs')
      const db = await userOf(kit, undefined)
      await kit.query('GRANT USAGE ON SCHEMA theirs TO app_user')
      const sessions = kit.open({ table: 'theirs.sessions', db })
      const error = await errorOf(sessions.open())
      expect(error).toMatchObject({ code: 'PRIVILEGE_MISSING' })
      expect(error.message).toContain('GRANT CREATE ON SCHEMA "theirs" TO "app_user"')
      await kit.open({ table: 'theirs.sessions' }).open()
      await userOf(kit, 'theirs.sessions')
      await lives(sessions)
    })
  },
  'postgres only',
)

/** Rows by the C extension: of the seed's columns, some or all. */
async function insertAll(kit: Kit, table: string): Promise<void> {
  await insertSeed(kit, table, 'live', 100, `'{"a":1}'`)
  await insertSeed(kit, table, 'young', -30, `'{"a":1}'`)
  await insertSeed(kit, table, 'old1', -100, `'{"a":1}'`)
  await insertSeed(kit, table, 'old2', -100_000, `'not json'`)
  await kit.query(`INSERT INTO ${table} (sess_id) VALUES ('nulls')`)
}

async function insertSeed(kit: Kit, table: string, id: string, seconds: number, data: string): Promise<void> {
  const now = 'floor(extract(epoch FROM clock_timestamp()))::int'
  await kit.query(
    `INSERT INTO ${table} (sess_id, sess_name, sess_data, sess_created, sess_modified, sess_expire, sess_addr_created,
      sess_addr_modified, sess_counter, sess_error, sess_warning, sess_notice, sess_err_message, sess_custom)
     VALUES ($1, 'PHPSESSID', ${data}, ${now} - 1000 + ${seconds}, ${now}, ${now} + ${seconds}, '10.0.0.1', '10.0.0.1', 7, 0, 0, 0, '', 'kept')`,
    [id],
  )
}

/** `db` as a user who owns nothing. */
async function userOf(kit: Kit, table: string | undefined) {
  await kit.query(
    `DO $$ BEGIN CREATE ROLE app_user LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; WHEN unique_violation THEN NULL; END $$`,
  )
  if (table !== undefined) await kit.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON ${table} TO app_user`)
  const { db } = kit.database()
  if (typeof db !== 'string') return db
  const url = new URL(db)
  url.username = 'app_user'
  return url.href
}
