import { expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { describeHandler, errorOf, expireAgo, type Handler, id as newId } from './kit.ts'
import { dbOfAppUser, expectUsable } from './table-kit.ts'

const TRIGGER = { code: 'DATABASE', message: expect.stringContaining('trigger') }

describeHandler('A trigger that drops', (kit) => {
  /** Returns a session in a table with a trigger that returns NULL before each `event`. */
  async function withTrigger(event: 'INSERT' | 'UPDATE' | 'DELETE', options = {}) {
    const table = `${event.toLowerCase()}_${newId().replaceAll(/\W/g, '_')}`
    const sessions = kit.open({ table, ...options })
    const id = newId()
    await sessions.write(id, { a: 1 }, { custom: table })
    await kit.query(
      `CREATE OR REPLACE FUNCTION drop_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
    )
    await kit.query(
      `CREATE TRIGGER t BEFORE ${event} ON ${table} FOR EACH ROW EXECUTE FUNCTION drop_change()`,
    )
    return { sessions, id, table }
  }

  test('a delete makes destroy reject, and the session stays', async () => {
    const { sessions, id, table } = await withTrigger('DELETE')
    expect(await errorOf(sessions.destroy(id))).toMatchObject(TRIGGER)
    expect(await errorOf(sessions.destroyByField(table))).toMatchObject(TRIGGER)
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
    expect(await sessions.destroy(newId())).toBe(false)
    await kit.query(`DROP TRIGGER t ON ${table}`)
    expect(await sessions.destroy(id)).toBe(true)
  })

  test.each<[string, (sessions: Handler, user: string) => Promise<unknown>]>([
    ['destroyByField', (sessions, user) => sessions.destroyByField(user)],
    ['limitByField', (sessions, user) => sessions.limitByField(user, 1)],
    ['destroyAll', (sessions) => sessions.destroyAll()],
    ['destroyWhere', (sessions) => sessions.destroyWhere({ a: 1 })],
    [
      'endDevice',
      async (sessions, user) => {
        for (const { handle } of await sessions.devices(user)) await sessions.endDevice(user, handle)
      },
    ],
  ])('deletes makes %s reject, also if it drops only one of them', async (_, end) => {
    const columns = { a: { type: 'integer', value: ({ a }: { a: number }) => a } }
    const { sessions, id, table } = await withTrigger('DELETE', { columns })
    for (let more = 0; more < 2; more++) await sessions.write(newId(), { a: 1 }, { custom: table })
    expect(await errorOf(end(sessions, table))).toMatchObject(TRIGGER)
    expect(await sessions.findByField(table)).toHaveLength(3)
    await kit.query(`DROP TRIGGER t ON ${table}`)
    await kit.query(
      `CREATE TRIGGER t BEFORE DELETE ON ${table} FOR EACH ROW WHEN (OLD.sess_id = '${id}') EXECUTE FUNCTION drop_change()`,
    )
    expect(await errorOf(end(sessions, table))).toMatchObject(TRIGGER)
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
    await kit.query(`DROP TRIGGER t ON ${table}`)
    await end(sessions, table)
    expect(await sessions.read(id)).toBeUndefined()
  })

  test.each<[string, (sessions: Handler, id: string) => Promise<unknown>]>([
    [
      'write with a base',
      async (sessions, id) => sessions.write(id, { a: 2 }, { base: await sessions.read(id) }),
    ],
    ['write without a base', (sessions, id) => sessions.write(id, { a: 2 })],
    ['write of an existing session', (sessions, id) => sessions.write(id, { a: 2 }, { base: 'existing' })],
    ['write with metadata', (sessions, id) => sessions.write(id, { a: 2 }, { custom: 'other' })],
    ['write that is merged', (sessions, id) => sessions.write(id, { b: 2 }, { base: null })],
    ['update', (sessions, id) => sessions.update(id, (data) => void data.a++)],
    ['touch', (sessions, id) => sessions.touch(id)],
    ['setField', (sessions, id) => sessions.setField(id, 'other')],
    ['addError', (sessions, id) => sessions.addError(id)],
  ])('an update makes a %s reject, and changes nothing', async (_, change) => {
    const { sessions, id, table } = await withTrigger('UPDATE')
    const before = await sessions.info(id)
    expect(await errorOf(change(sessions, id))).toMatchObject(TRIGGER)
    expect(await sessions.info(id)).toEqual(before)
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
    await kit.query(`DROP TRIGGER t ON ${table}`)
    await change(sessions, id)
  })

  test('an update makes a write that holds the row lock reject', async (context) => {
    context.skip(
      kit.server.kind === 'pglite',
      'PGlite has one connection, which is in use while the row is locked',
    )
    const { sessions: other, id, table } = await withTrigger('DELETE')
    let rounds = 0
    const conflict = async (ours: object) => {
      if (++rounds <= 2) await other.write(id, { round: rounds })
      else {
        await kit.query(
          `CREATE TRIGGER u BEFORE UPDATE ON ${table} FOR EACH ROW WHEN (NEW.sess_data LIKE '%"n"%') EXECUTE FUNCTION drop_change()`,
        )
      }
      return ours
    }
    const sessions = kit.open({ table, conflict })
    const base = await sessions.read(id)
    await other.write(id, { a: 2 })
    const writing = sessions.write(id, { n: 1 }, { base })
    expect(await errorOf(writing)).toMatchObject(TRIGGER)
    expect((await other.read(id))?.data).toEqual({ round: 2 })
  })

  test('an insert makes a write reject, and the session is absent', async () => {
    const { sessions, table } = await withTrigger('INSERT')
    const id = newId()
    expect(await errorOf(sessions.write(id, { a: 1 }))).toMatchObject(TRIGGER)
    expect(await errorOf(sessions.write(id, { a: 1 }, { base: null }))).toMatchObject(TRIGGER)
    expect(await sessions.read(id)).toBeUndefined()
    await kit.query(`DROP TRIGGER t ON ${table}`)
    expect((await sessions.write(id, { a: 1 })).outcome).toBe('created')
  })

  test.each([
    ['DELETE', true, {}],
    ['DELETE', false, {}],
    ['UPDATE', true, { keepExpired: true }],
  ] as const)(
    'a %s makes garbage collection reject (with its index: %s)',
    async (event, indexed, options) => {
      const { sessions, id, table } = await withTrigger(event, options)
      await kit.query(`ALTER TABLE ${table} DISABLE TRIGGER t`)
      if (!indexed) await kit.query(`DROP INDEX ${table}_sess_sweep_idx`)
      await expireAgo(kit, id, 100, table)
      await kit.query(`UPDATE ${table} SET sess_sweep = 0`)
      await kit.query(`ALTER TABLE ${table} ENABLE TRIGGER t`)
      await sessions.reset()
      expect(await errorOf(sessions.gc())).toMatchObject(TRIGGER)
      await kit.query(`DROP TRIGGER t ON ${table}`)
      expect(await sessions.gc()).toBe(1)
    },
  )

  test('a change makes it reject on a fallback server', async (context) => {
    const { id, table } = await withTrigger('UPDATE')
    const db = kit.database().db
    if (typeof db !== 'string') return context.skip('needs two servers')
    const sessions = new SaveHandler({ db: [db, `${db}?name=b`], table, gcInterval: 0, failoverMode: true })
    try {
      expect(await errorOf(sessions.destroy(id))).toMatchObject(TRIGGER)
    } finally {
      await sessions.close()
    }
  })
})

describeHandler(
  'Row-level security',
  (kit) => {
    const RLS = { code: 'PRIVILEGE_MISSING', message: expect.stringContaining('ow-level security') }

    test('that applies to the database user is an error for every operation', async () => {
      await kit.open({ table: 'hidden' }).open()
      await kit.query('ALTER TABLE hidden ENABLE ROW LEVEL SECURITY')
      const sessions = kit.open({ table: 'hidden', db: await dbOfAppUser(kit, 'hidden') })
      const id = newId()
      const operations = [
        () => sessions.open(),
        () => sessions.read(id),
        () => sessions.write(id, {}),
        () => sessions.touch(id),
        () => sessions.destroy(id),
        () => sessions.count(),
        () => sessions.gc(),
      ]
      for (const operation of operations) expect(await errorOf(operation())).toMatchObject(RLS)
      await kit.query('ALTER TABLE hidden DISABLE ROW LEVEL SECURITY')
      await expectUsable(sessions)
    })

    test('that is enabled later is an error from the next read on', async () => {
      await kit.open({ table: 'hidden_later' }).open()
      const sessions = kit.open({ table: 'hidden_later', db: await dbOfAppUser(kit, 'hidden_later') })
      const id = newId()
      await sessions.write(id, { a: 1 })
      await kit.query('ALTER TABLE hidden_later ENABLE ROW LEVEL SECURITY')
      expect(await errorOf(sessions.read(id))).toMatchObject(RLS)
      expect(await errorOf(sessions.destroy(id))).toMatchObject(RLS)
      await kit.query('ALTER TABLE hidden_later DISABLE ROW LEVEL SECURITY')
      expect((await sessions.read(id))?.data).toEqual({ a: 1 })
    })

    test('that does not apply to the owner does not matter to the owner', async () => {
      const sessions = kit.open({ table: 'own_hidden' })
      await sessions.open()
      await kit.query('ALTER TABLE own_hidden ENABLE ROW LEVEL SECURITY')
      await expectUsable(sessions)
    })
  },
  'postgres only',
)
