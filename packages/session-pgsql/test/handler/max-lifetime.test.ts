import { expect, test } from 'vitest'
import type { SaveHandlerOptions } from '../../src/index.ts'
import { calls, type Data, describeHandler, errorOf, type Handler, id as newId } from './kit.ts'

const LIMITED: SaveHandlerOptions<Data> = { maxLifetime: 1000, shortCircuit: true, gcMaxlifetime: 600 }

describeHandler('The option maxLifetime', (kit) => {
  /** Lets a session have begun that long ago. */
  const age = (id: string, seconds: number) =>
    kit.query('UPDATE php_session SET sess_began = sess_began - $2 WHERE sess_id = $1', [id, seconds])

  const row = async (id: string) =>
    (
      await kit.query<{ began: number; left: number }>(
        `SELECT sess_began::float8 AS began, (sess_expire - extract(epoch FROM clock_timestamp()))::float8 AS left
         FROM php_session WHERE sess_id = $1`,
        [id],
      )
    )[0]

  const left = async (id: string): Promise<number> => (await row(id))?.left ?? Number.NaN

  test('ends a session that long after it began, however often it is used', async () => {
    const sessions = kit.open(LIMITED)
    const id = newId()
    const { session } = await sessions.write(id, { a: 1 })
    const began = (await row(id))?.began as number
    expect(session?.endsAt).toEqual(new Date((began + 1000) * 1000))
    expect(await left(id)).toBeGreaterThan(650)
    await age(id, 500)
    const base = await sessions.read(id)
    expect(base?.endsAt).toEqual(new Date((began + 500) * 1000))
    expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('updated')
    expect(await left(id)).toBeLessThanOrEqual(501)
    expect(await left(id)).toBeGreaterThan(490)
    await age(id, 600)
    expect(await sessions.read(id)).toBeUndefined()
    expect(await sessions.info(id)).toBeUndefined()
    expect(await sessions.touch(id)).toBe(false)
    expect((await sessions.write(id, { a: 3 }, { base: 'existing' })).outcome).toBe('gone')
    expect(await sessions.list()).toEqual([])
    expect(await sessions.count()).toBe(0)
    expect(await sessions.destroy(id)).toBe(false)
    expect(await row(id)).toBeUndefined()
  })

  test('limits every kind of write and touch', async () => {
    const sessions = kit.open({ ...LIMITED, shortCircuit: false, conflict: 'merge' })
    const write = async (change: (id: string, sessions: Handler) => Promise<unknown>) => {
      const id = newId()
      await sessions.write(id, { a: 1 }, { lifetime: 100 })
      await age(id, 800)
      await change(id, sessions)
      return left(id)
    }
    const lefts = await Promise.all([
      write(async (id) => sessions.write(id, { a: 2 }, { base: await sessions.read(id) })),
      write(async (id) => sessions.write(id, { a: 2 }, { base: 'existing' })),
      write(async (id) => sessions.write(id, { a: 2 })),
      write(async (id) => sessions.write(id, { a: 2 }, { base: null })),
      write(async (id) => sessions.write(id, { a: 2 }, { base: await sessions.read(id), custom: 'x' })),
      write(async (id) => sessions.update(id, () => ({ a: 3 }))),
      write((id) => sessions.touch(id)),
      write((id) => sessions.touch(id, { custom: 'x' })),
      write(async (id) => sessions.touch(id, { base: await sessions.read(id) })),
    ])
    for (const seconds of lefts) {
      expect(seconds).toBeLessThanOrEqual(201)
      expect(seconds).toBeGreaterThan(150)
    }
  })

  test('applies to reads, also of rows with a later expiry or without one', async () => {
    const sessions = kit.open(LIMITED)
    for (const expiry of ['9223372036854775807', 'NULL']) {
      const id = newId()
      await sessions.write(id, { a: 1 })
      await kit.query(`UPDATE php_session SET sess_expire = ${expiry} WHERE sess_id = $1`, [id])
      const record = await sessions.read(id)
      expect(record?.expires).toEqual(record?.endsAt)
      expect(await sessions.touch(id)).toBe(true)
      expect(await left(id)).toBeLessThanOrEqual(1001)
      await kit.query(`UPDATE php_session SET sess_expire = ${expiry} WHERE sess_id = $1`, [id])
      await age(id, 1002)
      expect(await sessions.read(id)).toBeUndefined()
      await kit.query('UPDATE php_session SET sess_sweep = 0 WHERE sess_id = $1', [id])
      await age(id, 100)
      expect(await sessions.gc()).toBeGreaterThan(0)
      expect(await row(id)).toBeUndefined()
    }
  })

  test('a touch sends nothing when the expiry is at the end already', async () => {
    const sessions = kit.open(LIMITED)
    const id = newId()
    await sessions.write(id, { a: 1 })
    await age(id, 900)
    expect(await sessions.touch(id, { base: await sessions.read(id) })).toBe(true)
    const base = await sessions.read(id)
    const before = calls(sessions)
    expect(await sessions.touch(id, { base })).toBe(true)
    expect((await sessions.write(id, { a: 1 }, { base })).outcome).toBe('skipped')
    expect(calls(sessions)).toBe(before)
  })

  test('a request in progress may still save for expiryGrace, and extends nothing', async () => {
    const sessions = kit.open(LIMITED)
    for (const [over, outcome] of [
      [30, 'updated'],
      [90, 'gone'],
    ] as const) {
      const id = newId()
      const base = (await sessions.write(id, { a: 1 })).session
      await age(id, 1000 + over)
      expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe(outcome)
      expect(await sessions.read(id)).toBeUndefined()
    }
  })

  test('a write with `since` continues a session under a new id', async () => {
    const sessions = kit.open(LIMITED)
    const [id, next, other] = [newId(), newId(), newId()]
    await sessions.write(id, { a: 1 })
    await age(id, 700)
    const since = await sessions.read(id)
    const { session } = await sessions.write(next, { a: 1 }, { base: null, since })
    expect(session?.endsAt).toEqual(since?.endsAt)
    expect((await sessions.read(next))?.endsAt).toEqual(since?.endsAt)
    expect(await left(next)).toBeLessThanOrEqual(301)
    expect(session?.created?.getTime()).toBeGreaterThan((since?.endsAt?.getTime() ?? 0) - 400_000)
    // An existing session stays what it is.
    await sessions.write(other, { a: 1 })
    await sessions.write(other, { a: 2 }, { since })
    expect((await sessions.read(other))?.endsAt).not.toEqual(since?.endsAt)
    expect((await errorOf(sessions.write(newId(), {}, { since: { ...since } as never }))).code).toBe(
      'INVALID_ARGUMENT',
    )
  })

  test('an id that is used again begins again, also in a row that was kept', async () => {
    for (const keepExpired of [false, true]) {
      const sessions = kit.open({ ...LIMITED, keepExpired, expiryGrace: 0 })
      const id = newId()
      await sessions.write(id, { a: 1 })
      await kit.query(
        `UPDATE php_session SET sess_began = sess_began - 5000, sess_created = sess_created - 5000,
          sess_generation = sess_generation - 5000000000, sess_expire = sess_expire - 5000, sess_sweep = 0 WHERE sess_id = $1`,
        [id],
      )
      if (keepExpired) await sessions.gc()
      expect((await sessions.write(id, { a: 2 }, { base: null })).outcome).toBe('created')
      expect((await sessions.read(id))?.data).toEqual({ a: 2 })
      expect(await left(id)).toBeGreaterThan(600)
    }
  })

  test('counts from the generation in a table without the column, next to a process that has it', async () => {
    const table = `lifetime_${newId().replaceAll('-', '_')}`
    const first = kit.open({ table })
    await first.open()
    await kit.query(`ALTER TABLE ${table} DROP COLUMN sess_began`)
    const old = kit.open({ ...LIMITED, table, createTable: false })
    const [id, next] = [newId(), newId()]
    const since = (await old.write(id, { a: 1 })).session
    expect(since?.endsAt).toBeInstanceOf(Date)
    // The new process adds the column; the old one goes on without it.
    const current = kit.open({ ...LIMITED, table })
    expect((await current.read(id))?.endsAt).toEqual(since?.endsAt)
    await current.write(next, { b: 1 }, { base: null })
    expect((await old.read(next))?.endsAt).toEqual((await current.read(next))?.endsAt)
    expect((await old.write(next, { b: 2 }, { base: await old.read(next) })).outcome).toBe('updated')
    expect((await current.write(id, { a: 2 }, { base: await current.read(id) })).outcome).toBe('updated')
    await kit.query(`UPDATE ${table} SET sess_generation = sess_generation - 1002000000 WHERE sess_id = $1`, [
      id,
    ])
    expect(await old.read(id)).toBeUndefined()
    expect(await current.read(id)).toBeUndefined()
    expect(await kit.query(`SELECT sess_began FROM ${table} WHERE sess_id = $1`, [id])).toEqual([
      { sess_began: null },
    ])
  })

  test('with keepExpiredFor, a row without an expiry is removed that long after its end', async () => {
    const sessions = kit.open({ ...LIMITED, keepExpired: true, keepExpiredFor: 5000, expiryGrace: 0 })
    const id = newId()
    await sessions.write(id, { a: 1 })
    // As a program without expiries stores it.
    await kit.query('UPDATE php_session SET sess_expire = NULL, sess_sweep = 0 WHERE sess_id = $1', [id])
    await age(id, 1100)
    const count = () => kit.query('SELECT sess_data FROM php_session WHERE sess_id = $1', [id])
    await sessions.gc()
    expect(await count()).toEqual([{ sess_data: '' }])
    await age(id, 9000)
    await kit.query(
      'UPDATE php_session SET sess_sweep = least(sess_sweep, 9000000000) - 9000 WHERE sess_id = $1',
      [id],
    )
    await sessions.gc()
    expect(await count()).toEqual([])
  })

  test('with keepExpired, it rejects a table that cannot tell when a session began', async () => {
    const table = `lifetime_${newId().replaceAll('-', '_')}`
    await kit.open({ table }).open()
    await kit.query(`ALTER TABLE ${table} DROP COLUMN sess_began, DROP COLUMN sess_generation`)
    const options = { ...LIMITED, table, createTable: false }
    expect(await errorOf(kit.open({ ...options, keepExpired: true }).open())).toMatchObject({
      code: 'TABLE_UNFIT',
    })
    const sessions = kit.open(options)
    const id = newId()
    await sessions.write(id, { a: 1 })
    expect((await sessions.read(id))?.endsAt).toBeInstanceOf(Date)
    await kit.query(`UPDATE ${table} SET sess_created = sess_created - 1001 WHERE sess_id = $1`, [id])
    expect(await sessions.read(id)).toBeUndefined()
  })

  test('is unlimited by default: records have no end', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { a: 1 })
    await age(id, 1e9)
    expect((await sessions.read(id))?.endsAt).toBeNull()
    expect((await sessions.info(id))?.endsAt).toBeNull()
  })
})
