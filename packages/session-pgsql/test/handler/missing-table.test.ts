import { expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { queryOnce } from '../support/connect.ts'
import { eventually } from '../support/wait.ts'
import { type Data, describeHandler, errorOf, type Handler, type Kit, id as newId } from './kit.ts'
import { expectUsable } from './table-kit.ts'

const MISSING = { code: 'TABLE_MISSING', message: expect.stringContaining('no longer exists') }

/** Expects every operation to reject with TABLE_MISSING, time and again, and none to create a table. */
async function expectMissing(kit: Pick<Kit, 'query'>, sessions: Handler, table: string): Promise<void> {
  const id = newId()
  const operations = [
    () => sessions.read(id),
    () => sessions.write(id, {}),
    () => sessions.write(id, {}, { base: null }),
    () => sessions.touch(id),
    () => sessions.destroy(id),
    () => sessions.list(),
    () => sessions.tryLock(id, 'owner', 10),
    () => sessions.gc(),
    () => sessions.open(),
    () => sessions.reset(),
  ]
  for (const operation of [...operations, ...operations]) {
    expect(await errorOf(operation())).toMatchObject({ code: 'TABLE_MISSING' })
  }
  expect(await errorOf(sessions.read(id))).toMatchObject(MISSING)
  expect(
    await kit.query('SELECT tablename FROM pg_tables WHERE starts_with(tablename, $1)', [table]),
  ).toEqual([])
}

describeHandler('A table that existed when it was opened, and', (kit) => {
  test('is renamed under traffic, is missing until it is renamed back', async () => {
    const sessions = kit.open({ table: 'renamed' })
    const id = newId()
    await sessions.write(id, { a: 1 })
    const traffic = Array.from({ length: 8 }, async () => {
      for (let round = 0; round < 30; round++) await sessions.write(newId(), {}).catch(() => {})
    })
    await kit.query('ALTER TABLE renamed RENAME TO away')
    await kit.query('DROP TABLE renamed_event')
    await Promise.all(traffic)
    await expectMissing(kit, sessions, 'renamed')
    await kit.query('ALTER TABLE away RENAME TO renamed')
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
    await expectUsable(sessions)
  })

  test('is dropped, is missing until another process creates it', async () => {
    const sessions = kit.open({ table: 'dropped' })
    await expectUsable(sessions)
    await kit.query('DROP TABLE dropped, dropped_event')
    await expectMissing(kit, sessions, 'dropped')
    await kit.open({ table: 'dropped' }).open()
    await expectUsable(sessions)
  })

  test('is renamed, is not replaced by a table of its name in another schema of the search path', async (context) => {
    const { db } = kit.database()
    if (typeof db !== 'string' || kit.server.kind !== 'postgres')
      return context.skip('needs the parameter options')
    await kit.query('CREATE SCHEMA first')
    await kit.open({ table: 'public.shadowed' }).open()
    await kit.open({ table: 'first.shadowed' }).open()
    const sessions = kit.open({ table: 'shadowed', db: `${db}?options=-c%20search_path%3Dfirst,public` })
    const id = newId()
    await sessions.write(id, { a: 1 })
    await kit.query('ALTER TABLE first.shadowed RENAME TO away_shadowed')
    expect(await errorOf(sessions.read(id))).toMatchObject(MISSING)
    expect(await errorOf(sessions.read(id))).toMatchObject(MISSING)
    await kit.query('ALTER TABLE first.away_shadowed RENAME TO shadowed')
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
  })

  test('is in a database that is dropped and restored, is missing until it is restored', async (context) => {
    const { db, query } = await kit.server.freshDatabase()
    if (typeof db !== 'string' || kit.server.kind !== 'postgres')
      return context.skip('needs several databases')
    const name = new URL(db).pathname.slice(1)
    const admin = (sql: string) => queryOnce(Object.assign(new URL(db), { pathname: '/postgres' }).href, sql)
    const disconnect = () =>
      admin(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${name}'`)

    const sessions = new SaveHandler<Data>({ db, gcInterval: 0 })
    try {
      const id = newId()
      await sessions.write(id, { a: 1 })
      // Nothing must connect between the two.
      await admin(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`)
      await disconnect()
      await admin(`ALTER DATABASE ${name} RENAME TO ${name}_saved`)
      expect(await errorOf(sessions.read(id))).toBeDefined()
      await admin(`CREATE DATABASE ${name}`)
      await eventually(async () => expect(await errorOf(sessions.read(id))).toMatchObject(MISSING))
      await expectMissing({ query }, sessions, 'php_session')
      await admin(`DROP DATABASE ${name} WITH (FORCE)`)
      await admin(`ALTER DATABASE ${name}_saved RENAME TO ${name}`)
      await admin(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`)
      await eventually(async () => expect((await sessions.read(id))?.data).toEqual({ a: 1 }))
      await expectUsable(sessions)
    } finally {
      await sessions.close()
    }
  })
})
