import { describe, expect, test } from 'vitest'
import type { SaveHandler, SaveHandlerOptions } from '../../src/index.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { type Data, describeHandler, errorOf, expireAgo, type Kit } from '../handler/kit.ts'
import { queryNow } from '../support/query-now.ts'
import { eventually } from '../support/wait.ts'
import { newTable as anyTable } from './table.ts'

type Mode = NonNullable<SaveHandlerOptions['ids']>

/** As `newTable` of ids/table.ts, with what the table contains. */
function newTable(kit: Kit) {
  const { table, open } = anyTable(kit)
  return {
    table,
    open,
    /** Returns the stored forms of all sessions. */
    async forms(): Promise<string[]> {
      const rows = await kit.query<{ sess_id: string }>(
        `SELECT sess_id FROM ${table} WHERE sess_destroyed IS NULL ORDER BY 1`,
      )
      return rows.map(({ sess_id }) => sess_id)
    },
  }
}

describeHandler('Hashed ids', (kit) => {
  const { id } = kit

  test.each<Mode>(['migrate', 'hashed'])(
    'of new sessions are the only ids in the table: %s',
    async (mode) => {
      const { open, forms } = newTable(kit)
      const sessions = open(mode)
      const x = id()
      const created = await sessions.write(x, { a: 1 }, { base: null, custom: 'ada' })
      expect([created.outcome, created.session?.id]).toEqual(['created', x])
      expect(await forms()).toEqual([hashedId(x)])

      const base = await sessions.read(x)
      expect([base?.id, base?.data, (await sessions.info(x))?.id]).toEqual([x, { a: 1 }, x])
      expect((await sessions.write(x, { a: 2 }, { base })).session?.id).toBe(x)
      expect((await sessions.write(x, { a: 1, b: 1 }, { base })).session?.data).toEqual({ a: 2, b: 1 })
      const updated = await sessions.update(x, (data) => {
        data.c = 1
      })
      expect(updated.session?.id).toBe(x)
      expect(await sessions.touch(x, { lifetime: 5000 })).toBe(true)
      expect(await sessions.setField(x, 'eve')).toBe(true)
      expect(await sessions.addError(x, 'error', 'oops')).toBe(true)
      expect((await sessions.read(x))?.data).toEqual({ a: 2, b: 1, c: 1 })
      expect(await sessions.destroy(x)).toBe(true)
      expect(await sessions.read(x)).toBeUndefined()
      expect((await sessions.write(x, {}, { base })).outcome).toBe('gone')
      expect(await forms()).toEqual([])
    },
  )

  test.each<Mode>(['plain', 'migrate', 'hashed'])(
    'are refused as ids of sessions in every mode: %s',
    async (mode) => {
      const { open, forms } = newTable(kit)
      const sessions = open(mode)
      const x = id()
      await open('migrate').write(x, { user: 'ada' })
      const stolen = hashedId(x)
      expect(await sessions.read(stolen)).toBeUndefined()
      expect(await sessions.validateId(stolen)).toBe(false)
      expect(await sessions.touch(stolen)).toBe(false)
      expect(await sessions.destroy(stolen)).toBe(false)
      for (const refused of [
        sessions.write(stolen, { user: 'eve' }),
        sessions.update(stolen, () => {}),
        sessions.tryLock(stolen, 'eve', 10),
      ]) {
        const error = await errorOf(refused)
        expect([error.code, error.message.includes(stolen)]).toEqual(['INVALID_ID', false])
      }
      expect(await forms()).toEqual([stolen])
    },
  )

  test.each<Mode>(['plain', 'hashed'])(
    'an id that is no text is INVALID_ID in every operation: %s',
    async (mode) => {
      const sessions = newTable(kit).open(mode)
      const x = id()
      const base = (await sessions.write(x, {})).session
      for (const none of [undefined, null, 7] as unknown as string[]) {
        for (const work of [
          sessions.read(none),
          sessions.write(none, {}),
          sessions.update(none, () => {}),
          sessions.touch(none),
          sessions.touch(none, { base }),
          sessions.destroy(none),
          sessions.setField(none, 'ada'),
        ]) {
          expect((await errorOf(work)).code).toBe('INVALID_ID')
        }
      }
    },
  )

  test('the mark of a table with hashed ids is no session: it can neither be read nor destroyed', async () => {
    const { open } = newTable(kit)
    const [x, sessions] = [id(), open('hashed')]
    await sessions.write(x, { a: 1 })
    for (const refused of [sessions.destroyListed('h1:'), sessions.listed.read('h1:')]) {
      expect((await errorOf(refused)).code).toBe('INVALID_ARGUMENT')
    }
    expect((await open('plain').read(x))?.data).toEqual({ a: 1 })
  })

  describe('in a table that a plain process opened before the first of them', () => {
    /** Each operation is the first that the plain process makes after the first hashed row was written. */
    const firsts: Record<string, (plain: SaveHandler<Data>, x: string) => Promise<unknown>> = {
      'is found by read': async (plain, x) => expect((await plain.read(x))?.data).toEqual({ a: 1 }),
      'is found by write': async (plain, x) =>
        expect((await plain.write(x, { a: 2 }, { base: 'existing' })).outcome).toBe('updated'),
      'is replaced by write': async (plain, x) =>
        expect((await plain.write(x, { a: 2 })).outcome).toBe('updated'),
      'is merged by a write of a new session': async (plain, x) =>
        expect((await plain.write(x, { b: 2 }, { base: null })).session?.data).toEqual({ a: 1, b: 2 }),
      'is found by update': async (plain, x) =>
        expect((await plain.update(x, (data) => void data.a++)).session?.data).toEqual({ a: 2 }),
      'is found by touch': async (plain, x) => expect(await plain.touch(x)).toBe(true),
      'is found by setField': async (plain, x) => expect(await plain.setField(x, 'ada')).toBe(true),
      'is destroyed': async (plain, x) => expect(await plain.destroy(x)).toBe(true),
    }

    test.each(Object.entries(firsts))('a session %s', async (name, first) => {
      const { open, forms } = newTable(kit)
      const plain = open('plain')
      const older = id()
      await plain.write(older, { old: true })
      const x = id()
      await open('migrate').write(x, { a: 1 })
      await first(plain, x)
      // No second row was made, and the older session is still found.
      expect(await forms()).toEqual(name === 'is destroyed' ? [older] : [hashedId(x), older].sort())
      expect((await plain.read(older))?.data).toEqual({ old: true })
    })

    test('new sessions of the plain process stay plain, and the others find them', async () => {
      const { open, forms } = newTable(kit)
      const [plain, migrating] = [open('plain'), open('migrate')]
      await plain.open()
      await migrating.write(id(), {})
      const x = id()
      await plain.write(x, { a: 1 }, { base: null })
      expect(await forms()).toContain(x)
      expect((await migrating.read(x))?.data).toEqual({ a: 1 })
      expect((await migrating.write(x, { b: 2 }, { base: null })).session?.data).toEqual({ a: 1, b: 2 })
      expect(await migrating.destroy(x)).toBe(true)
      expect(await plain.read(x)).toBeUndefined()
    })

    test('a request that holds a record of the plain row saves it after its id was hashed', async () => {
      const { open, forms, table } = newTable(kit)
      const plain = open('plain')
      const x = id()
      await plain.write(x, { a: 1 })
      const base = await plain.read(x)
      await open('migrate').write(id(), {})
      await kit.query(`UPDATE ${table} SET sess_id = $1 WHERE sess_id = $2`, [hashedId(x), x])
      expect((await plain.write(x, { a: 1, b: 1 }, { base })).outcome).toBe('updated')
      expect(await plain.touch(x, { base })).toBe(true)
      expect(await forms()).toContain(hashedId(x))
    })
  })

  describe('if a session has rows of both forms', () => {
    async function twoRows(mode: Mode) {
      const made = newTable(kit)
      const sessions = made.open(mode)
      const x = id()
      await made.open('hashed').write(x, { form: 'hashed' })
      await kit.query(
        `INSERT INTO ${made.table} (sess_id, sess_data, sess_expire, sess_created, sess_counter)
         VALUES ($1, '{"form":"plain"}', extract(epoch FROM now())::bigint + 1000, 1, 1)`,
        [x],
      )
      return { ...made, sessions, x }
    }

    test.each<Mode>(['plain', 'migrate'])(
      'the hashed row counts, and a read deletes the other: %s',
      async (mode) => {
        const { sessions, x, forms } = await twoRows(mode)
        expect((await sessions.read(x))?.data).toEqual({ form: 'hashed' })
        await eventually(async () => expect(await forms()).toEqual([hashedId(x)]))
      },
    )

    test.each<Mode>(['plain', 'migrate'])('a destroy removes both in one statement: %s', async (mode) => {
      const { sessions, x, forms } = await twoRows(mode)
      await sessions.open()
      const [server] = sessions.status().servers
      expect(await sessions.destroy(x)).toBe(true)
      expect((sessions.status().servers[0]?.calls ?? 0) - (server?.calls ?? 0)).toBe(1)
      expect(await forms()).toEqual([])
    })

    test.for(['aaa', 'zzz'])(
      'the hashed row is locked by an update after two conflicts: %s',
      async (prefix, context) => {
        const { db } = kit.database()
        if (typeof db !== 'string') return context.skip('PGlite has one connection')
        const { open, table } = newTable(kit)
        const sessions = open('migrate')
        const x = prefix + id()
        await sessions.write(x, { n: 0 })
        let calls = 0
        const { outcome } = await sessions.update(x, (data) => {
          calls++
          const write = `UPDATE ${table} SET sess_data = '{"n":${calls * 10}}' WHERE sess_id = '${hashedId(x)}'`
          const insert = `INSERT INTO ${table} (sess_id, sess_data, sess_expire, sess_created, sess_counter)
          VALUES ('${x}', '{"form":"plain"}', extract(epoch FROM now())::bigint + 1000, 1, 1)`
          if (calls < 3) queryNow(db, calls === 1 ? write : `${write}; ${insert}`)
          data.n++
        })
        expect([calls, outcome]).toEqual([3, 'updated'])
        expect((await sessions.read(x))?.data).toEqual({ n: 21 })
      },
    )

    test('and the hashed row has expired, the plain row counts', async () => {
      const { sessions, x, table } = await twoRows('plain')
      await expireAgo(kit, hashedId(x), 1000, table)
      const base = await sessions.read(x)
      expect(base?.data).toEqual({ form: 'plain' })
      expect((await sessions.write(x, { form: 'plain', a: 1 }, { base })).outcome).toBe('updated')
    })
  })

  describe('in lists', () => {
    test.each<Mode>(['migrate', 'hashed'])(
      'name sessions that can be destroyed, and be a base: %s',
      async (mode) => {
        const { open, forms } = newTable(kit)
        const sessions = open(mode)
        const [x, y, z] = [id(), id(), id()]
        for (const one of [x, y, z]) await sessions.write(one, { one: 1 }, { custom: 'ada' })
        const listed = await sessions.list({ field: 'ada' })
        expect(listed.map((one) => one.id).sort()).toEqual([x, y, z].map(hashedId).sort())
        expect(await sessions.destroyListed(hashedId(x))).toBe(true)
        expect(await sessions.read(x)).toBeUndefined()

        const found = (await sessions.findByField('ada')).find((one) => one.id === hashedId(y))
        expect((await sessions.write(y, { one: 1, two: 2 }, { base: found })).outcome).toBe('updated')
        expect((await errorOf(sessions.write(z, {}, { base: found }))).code).toBe('INVALID_ARGUMENT')

        expect(await sessions.destroyByField('ada')).toBe(2)
        expect(await forms()).toEqual([])
      },
    )

    test('are found by the id, too', async () => {
      const { open } = newTable(kit)
      const x = id()
      await open('hashed').write(x, {})
      expect((await open('hashed').list({ id: x })).map((one) => one.id)).toEqual([hashedId(x)])
    })

    test.each<Mode>(['plain', 'migrate', 'hashed'])(
      'a destroy by the stored form runs after the writes before it: %s',
      async (mode) => {
        const { open, forms } = newTable(kit)
        const sessions = open(mode)
        const writer = open('migrate')
        // A plain process does not know of hashed ids yet. It renames the queues of its operations when it learns.
        await sessions.open()
        const ids = Array.from({ length: 50 }, id)
        await Promise.all(ids.map((x) => writer.write(x, { a: 0 })))
        await Promise.all(
          ids.flatMap((x) => [sessions.write(x, { a: 1 }), sessions.destroyListed(hashedId(x))]),
        )
        expect(await forms()).toEqual([])
      },
    )
  })

  test('the mark is no session, and garbage collection leaves it', async () => {
    const { open, table } = newTable(kit)
    const mark = () => kit.query(`SELECT sess_id FROM ${table} WHERE sess_id = 'h1:'`)
    const sessions = open('hashed')
    expect(await sessions.count()).toBe(0)
    expect(await mark()).toEqual([])
    const x = id()
    await sessions.write(x, {})
    expect(await mark()).toHaveLength(1)
    expect(await sessions.count()).toBe(1)
    expect(await sessions.list({ active: 'any' })).toHaveLength(1)
    await sessions.destroy(x)
    await kit.query(`UPDATE ${table} SET sess_sweep = 0 WHERE sess_id <> 'h1:'`)
    await sessions.gc()
    await open('plain', { keepExpired: true, keepExpiredFor: 0 }).gc()
    await kit.query(`DROP INDEX ${table}_sess_sweep_idx`)
    await open('plain').gc()
    await open('plain', { keepExpired: true, keepExpiredFor: 0 }).gc()
    expect(await mark()).toHaveLength(1)
  })

  test('the mark does not expire, also with maxLifetime', async () => {
    const { open } = newTable(kit)
    const plain = open('plain', { maxLifetime: 1 })
    await plain.open()
    const x = id()
    await open('migrate').write(x, { a: 1 })
    expect((await plain.read(x))?.data).toEqual({ a: 1 })
  })

  test.each<Mode>(['migrate', 'hashed'])('the sessions to keep are named by their ids: %s', async (mode) => {
    const { open } = newTable(kit)
    const sessions = open(mode)
    const [x, y, z] = [id(), id(), id()]
    for (const one of [x, y, z]) await sessions.write(one, {}, { custom: 'ada' })
    expect(await sessions.limitByField('ada', 2, { keep: x })).toBe(1)
    expect(await sessions.destroyByField('ada', { except: x })).toBe(1)
    expect((await sessions.findByField('ada')).map((one) => one.id)).toEqual([hashedId(x)])
  })

  describe('locks', () => {
    test('are taken under both forms while both are read', async () => {
      const { open, table } = newTable(kit)
      const [plain, migrating, hashed] = [open('plain'), open('migrate'), open('hashed')]
      await plain.open()
      const x = id()
      expect(await plain.tryLock(x, 'p', 60)).toBe(true)
      expect(await migrating.tryLock(x, 'm', 60)).toBe(false)
      // What it took under the other form was released.
      expect(await kit.query(`SELECT sess_id FROM ${table}_lock`)).toEqual([{ sess_id: x }])
      expect(await migrating.lockOwner(x)).toBe('p')
      expect(await plain.unlock(x, 'p')).toBe(true)
      expect(await migrating.tryLock(x, 'm', 60)).toBe(true)
      expect(await migrating.tryLock(x, 'm', 60)).toBe(true)
      expect([await plain.tryLock(x, 'p', 60), await hashed.tryLock(x, 'h', 60)]).toEqual([false, false])
      expect(await migrating.unlock(x, 'm')).toBe(true)
      expect(await kit.query(`SELECT 1 FROM ${table}_lock`)).toEqual([])
    })

    test('have one owner, also if many ask at once', async () => {
      const { open } = newTable(kit)
      const handlers = [open('migrate'), open('migrate')]
      await handlers[0]?.tryLock(id(), 'first', 1)
      for (let round = 0; round < 10; round++) {
        const x = id()
        const taken = await Promise.all(
          Array.from({ length: 8 }, (_, n) => handlers[n % 2]?.tryLock(x, `o${n}`, 60)),
        )
        expect(taken.filter(Boolean)).toHaveLength(1)
      }
    })
  })

  test('a table without the columns of the mark is refused', async () => {
    const { open, table } = newTable(kit)
    await open('plain').open()
    await kit.query(`ALTER TABLE ${table} DROP COLUMN sess_destroyed`)
    const error = await errorOf(open('hashed', { createTable: false }).open())
    expect([error.code, error.message]).toEqual([
      'TABLE_UNFIT',
      expect.stringContaining('session-pgsql init'),
    ])
  })
})
