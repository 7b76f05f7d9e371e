import { describe, expect, test } from 'vitest'
import { eventually } from '../support/wait.ts'
import { severalServers } from './kit.ts'

/** Columns that a user has added to the session table. */
describe("a user's own columns, with several servers", () => {
  const { server, servers, handlerOf, idsOf, idsRanked, places, fallbackRows, isDown } = severalServers()

  const DDL = `
    CREATE TYPE plan AS ENUM ('free', 'paid');
    ALTER TABLE owned ADD tenant varchar(10), ADD "Quoted name" text, ADD plan plan, ADD seen timestamptz,
      ADD tags text[], ADD extra jsonb, ADD raw bytea, ADD price numeric(30, 10), ADD ratio float8, ADD ok boolean,
      ADD code char(4), ADD region text DEFAULT 'nowhere', ADD doubled text GENERATED ALWAYS AS (sess_id || sess_id) STORED`
  const COLUMNS =
    'tenant, "Quoted name", plan, seen, tags, extra, raw, price, ratio, ok, code, region, doubled'
  const FILL = `UPDATE owned SET tenant = right(sess_id, 8), "Quoted name" = 'a "b" \\c', plan = 'paid',
    seen = '2026-02-03 04:05:06.789012+00', tags = '{"a,b",c}', extra = '{"n": 12345678901234567890, "s": "\\""}',
    raw = '\\x00ff', price = 0.1234567890, ratio = 0.1::float8 + 0.2::float8, ok = true, code = 'ab', region = 'north'
    WHERE sess_id = ANY($1)`

  async function rows(name: string, ids: readonly string[]): Promise<Record<string, unknown>[]> {
    return server(name).query(`SELECT ${COLUMNS} FROM owned WHERE sess_id = ANY($1) ORDER BY sess_id`, [
      [...ids].sort(),
    ])
  }

  test('return with a failback, and survive one that did not change them', async () => {
    const sessions = handlerOf({ table: 'owned' })
    await sessions.open()
    // The processes run already. The columns' order and the role's settings differ.
    for (const one of servers.slice(0, 3)) await one.query(DDL)
    await server('b').query('ALTER TABLE owned DROP COLUMN tenant; ALTER TABLE owned ADD tenant varchar(10)')
    const settings = ["DateStyle = 'SQL, DMY'", 'extra_float_digits = -5', "bytea_output = 'escape'"]
    for (const setting of settings) await server('b').query(`ALTER ROLE postgres SET ${setting}`)
    try {
      const [kept, changed, created] = idsRanked(['a', 'b'], 3) as [string, string, string]
      const ids = [kept, changed]
      const records = await Promise.all(
        ids.map(async (id) => (await sessions.write(id, { n: 1 }, { base: null })).session),
      )
      await server('a').query(FILL, [ids])
      const before = await rows('a', ids)
      expect(before[0]).toMatchObject({ region: 'north', price: '0.1234567890', code: 'ab  ' })
      await server('a').kill9()
      for (const [n, id] of ids.entries()) await sessions.write(id, { n: 2 }, { base: records[n] })
      await sessions.write(created, { n: 1 }, { base: null })
      await server('b').query(FILL, [[created]])
      await server('b').query("UPDATE owned SET tenant = 'other', region = 'south' WHERE sess_id = $1", [
        changed,
      ])
      await server('a').start()
      await eventually(async () => {
        expect(isDown(sessions, 'a')).toBe(false)
        expect(await server('b').query('SELECT 1 FROM owned WHERE sess_home IS NOT NULL')).toEqual([])
      })
      for (const id of [kept, changed]) expect((await sessions.read(id))?.data).toEqual({ n: 2 })
      expect(await rows('a', [kept])).toEqual([before[[...ids].sort().indexOf(kept)]])
      expect(await rows('a', [changed])).toEqual([
        { ...before[[...ids].sort().indexOf(changed)], tenant: 'other', region: 'south' },
      ])
      const expected = { ...before[0], tenant: created.slice(-8), doubled: created + created }
      expect(await rows('a', [created])).toEqual([expected])
    } finally {
      await server('b').query('ALTER ROLE postgres RESET ALL')
    }
  })

  test('move along when a server is added, with a column that was added while the process ran', async () => {
    const three = handlerOf()
    const four = handlerOf({}, [], 4)
    await Promise.all([three.open(), four.open()])
    const ids = idsOf('d', 5, 4)
    for (const [n, id] of ids.entries()) await three.write(id, { n }, { base: null })
    for (const one of servers) await one.query('ALTER TABLE php_session ADD IF NOT EXISTS late text')
    for (const one of servers) {
      await one.query("UPDATE php_session SET late = 'x' || sess_id WHERE sess_id = ANY($1)", [ids])
    }
    for (const [n, id] of ids.entries()) {
      expect((await four.read(id))?.data).toEqual({ n })
      expect(await places(id)).toEqual(['d'])
    }
    const moved = await server('d').query('SELECT late, sess_id FROM php_session WHERE sess_id = ANY($1)', [
      ids,
    ])
    expect(moved.map(({ late }) => late).sort()).toEqual(ids.map((id) => `x${id}`).sort())
  })

  test('a tombstone does not keep them', async () => {
    const sessions = handlerOf()
    await sessions.open()
    for (const one of servers.slice(0, 3)) {
      await one.query("ALTER TABLE php_session ADD IF NOT EXISTS person text NOT NULL DEFAULT 'nobody'")
    }
    const [id] = idsOf('a', 1) as [string]
    await sessions.write(id, {})
    await server('a').query("UPDATE php_session SET person = 'ada' WHERE sess_id = $1", [id])
    await sessions.destroy(id)
    expect(await server('a').query('SELECT person FROM php_session WHERE sess_id = $1', [id])).toEqual([
      { person: 'nobody' },
    ])
    expect(await fallbackRows()).toBe(0)
  })
})
