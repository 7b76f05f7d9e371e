import { describe, expect, test } from 'vitest'
import type { ListOptions, SessionOrder } from '../../src/index.ts'
import { describeHandler, errorOf, expireAgo, type Handler, id as newId } from './kit.ts'

async function allPages(
  sessions: Handler,
  options: ListOptions,
  between: () => Promise<unknown> = async () => {},
): Promise<string[]> {
  const ids: string[] = []
  let after: string | undefined
  do {
    const page = await sessions.list({ ...options, after })
    ids.push(...page.map((session) => session.id))
    after = page.next
    await between()
  } while (after !== undefined)
  return ids
}

describeHandler('A list of sessions', (kit) => {
  const orders = ['id', 'created', 'modified', 'expires', 'accesses', 'errors'] as const
  const columns = {
    id: 'sess_id',
    created: 'sess_created',
    modified: 'sess_modified',
    expires: 'sess_expire',
    accesses: 'sess_counter',
    errors: 'sess_error',
  }

  describe.each(orders)('by %s', (column) => {
    test.each(['', '-'] as const)(
      '%s returns every row once, with ties and NULLs, while rows are added and deleted',
      async (sign) => {
        const table = `by_${column}${sign === '' ? '' : '_down'}`
        const sessions = kit.open({ table })
        await sessions.open()
        // Values 0 to 4 and NULL, ten of each. Expiries are in the far future.
        const start = column === 'expires' ? 4_000_000_000 : 0
        await kit.query(
          `INSERT INTO ${table} (sess_id, sess_data${column === 'id' ? '' : `, ${columns[column]}`})
           SELECT 'row' || lpad(n::text, 3, '0'), '{}'${column === 'id' ? '' : `, CASE WHEN n % 6 = 5 THEN NULL ELSE ${start} + n % 6 END`} FROM generate_series(0, 59) n`,
        )
        const order = `${sign}${column}` as SessionOrder
        const all = (await sessions.list({ order })).map((session) => session.id)
        expect(all).toHaveLength(60)
        expect(await allPages(sessions, { order, limit: 7 })).toEqual(all)
        expect(await allPages(sessions, { order, limit: 60 })).toEqual(all)
        expect((await sessions.list({ order, limit: 60 })).next).toBeUndefined()
        const down = (
          await sessions.list({ order: (sign === '' ? `-${column}` : column) as SessionOrder })
        ).map((session) => session.id)
        expect(down).toEqual([...all].reverse())
        const values = await sessions.list({ order })
        const keys = values.map((row) => {
          const value = row[column]
          return value instanceof Date ? value.getTime() / 1000 : (value ?? 0)
        })
        const sorted = [...keys].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0))
        expect(keys).toEqual(sign === '' ? sorted : sorted.reverse())

        // Rows that stay are listed once each, although others are added and deleted between pages.
        let n = 0
        const seen = await allPages(sessions, { order, limit: 7 }, async () => {
          n++
          await kit.query(`DELETE FROM ${table} WHERE sess_id = $1`, [`row${String(n * 5).padStart(3, '0')}`])
          await sessions.write(`new-${n}`, {})
        })
        expect(new Set(seen).size).toBe(seen.length)
        const stay = all.filter((id) => Number(id.slice(3)) % 5 !== 0)
        expect(seen.filter((id) => stay.includes(id))).toEqual(stay)
      },
    )
  })

  test('contains the sessions that match its filters', async () => {
    const sessions = kit.open({ table: 'filtered' })
    const write = (id: string, options: object) => sessions.write(id, { id }, options)
    await write('a', { name: 'one', custom: 'x', address: '10.0.0.1' })
    await write('b', { name: 'two', custom: 'x', address: '10.0.0.2' })
    await write('c', { name: 'one', custom: 'y', address: '10.0.0.3' })
    await write('c', { name: 'one', address: '10.0.0.1' })
    await write('b', { errors: { errors: 1, message: 'Division of zero' } })
    await write('d', { name: 'one', custom: 'x' })
    await kit.query("UPDATE filtered SET sess_expire = 1000 WHERE sess_id = 'd'")
    await kit.query("INSERT INTO filtered (sess_id) VALUES ('e')")
    const cases: [ListOptions, string][] = [
      [{}, 'a b c e'],
      [{ name: 'one' }, 'a c'],
      [{ field: 'x' }, 'a b'],
      [{ address: '10.0.0.1' }, 'a c'],
      [{ address: '10.0.0.3' }, 'c'],
      [{ errorMessage: 'of ZERO' }, 'b'],
      [{ errorMessage: 'of_zero' }, ''],
      [{ name: 'one', field: 'x' }, 'a'],
      [{ active: false }, 'd'],
      [{ active: 'any' }, 'a b c d e'],
      [{ active: 'any', field: 'x', name: 'one' }, 'a d'],
      [{ name: "'; DROP TABLE filtered; --" }, ''],
    ]
    for (const [filter, ids] of cases) {
      expect((await sessions.list(filter)).map(({ id }) => id).join(' ')).toBe(ids)
      expect(await sessions.count(filter)).toBe(ids === '' ? 0 : ids.split(' ').length)
    }
    const [first] = await sessions.list({ limit: 1 })
    expect(first).toMatchObject({
      id: 'a',
      name: 'one',
      custom: 'x',
      addressCreated: '10.0.0.1',
      accesses: 1,
    })
    expect(Object.keys(first ?? {})).not.toContain('data')
    expect(Object.keys(first ?? {})).not.toContain('text')
    expect((await sessions.list({ limit: 1, text: true }))[0]?.text).toBe('{"id":"a"}')
  })

  test.each([
    { limit: 0 },
    { limit: 10_001 },
    { limit: 1.5 },
    { limit: '5' },
    { order: 'data' },
    { order: '--id' },
    { order: '' },
    { order: 5 },
    { after: 'x' },
    { after: '' },
    { after: Buffer.from('["1","a"]').toString('base64url') },
    { after: Buffer.from('["x","a"]').toString('base64url'), order: 'created' },
    { name: 5 },
    { name: 'a\0b' },
    { field: '\ud800' },
    { address: null },
  ])('with %j is rejected', async (options) => {
    const sessions = kit.open()
    expect(await errorOf(sessions.list(options as never))).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })
})

describeHandler('The custom field', (kit) => {
  test('finds the sessions of one user, the last modified first', async () => {
    const sessions = kit.open()
    const user = newId()
    const ids = [newId(), newId(), newId()]
    for (const [n, id] of ids.entries()) {
      await sessions.write(id, { n }, { custom: user })
      await kit.query('UPDATE php_session SET sess_modified = $2 WHERE sess_id = $1', [id, 1000 + n])
    }
    await sessions.write(newId(), {}, { custom: `${user}x` })
    await sessions
      .write(newId(), { old: 1 }, { custom: user })
      .then(({ session }) => expireAgo(kit, session?.id ?? '', 5))
    const found = await sessions.findByField(user)
    expect(found.map(({ data }) => data)).toEqual([{ n: 2 }, { n: 1 }, { n: 0 }])
    // A record of a list can be a base.
    expect((await sessions.write(ids[2] as string, { n: 3 }, { base: found[0] })).outcome).toBe('updated')
    expect(await sessions.findByField('unknown')).toEqual([])
    for (const value of ['a\0', '\udc00', 5, null, undefined]) {
      expect(await errorOf(sessions.findByField(value as string))).toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
      expect(await errorOf(sessions.destroyByField(value as string))).toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
      if (value !== null)
        expect(await errorOf(sessions.setField(ids[0] as string, value as string))).toMatchObject({
          code: 'INVALID_ARGUMENT',
        })
    }
  })

  test('logs a user out of thousands of sessions, also those with ids that this handler rejects', async () => {
    const sessions = kit.open({ idPattern: 'php', operationTimeout: 50 })
    const user = newId()
    const own = newId().replaceAll('.', '')
    const base = (await sessions.write(own, {}, { custom: user })).session
    await sessions.write(`${own}-other`, {}, { custom: 'another user' })
    await kit.query(
      `INSERT INTO php_session (sess_id, sess_data, sess_custom) SELECT $1 || CASE WHEN n % 100 = 0 THEN ' : é ' ELSE '-' END || n, '{}', $1 FROM generate_series(1, 1200) n`,
      [user],
    )
    expect(await sessions.count({ field: user })).toBe(1201)
    expect(await sessions.destroyByField(user)).toBe(1201)
    expect(await sessions.destroyByField(user)).toBe(0)
    expect((await sessions.write(own, { back: 1 }, { base })).outcome).toBe('gone')
    expect(await sessions.validateId(`${own}-other`)).toBe(true)
  })

  test('may be longer than a b-tree index allows', async () => {
    const sessions = kit.open()
    const id = newId()
    const field = Array.from({ length: 20_000 }, () => Math.random().toString(36).slice(2)).join('')
    await sessions.write(id, {}, { custom: field })
    expect((await sessions.findByField(field)).map((session) => session.id)).toEqual([id])
    expect(await sessions.destroyByField(field)).toBe(1)
  })
})

describeHandler('Status', (kit) => {
  test('contains the settings, and the state of the server', async () => {
    const sessions = kit.open({ gcMaxlifetime: 77 })
    expect(sessions.status()).toMatchObject({
      pending: 0,
      servers: [{ role: 'unknown', health: 'unknown', calls: 0 }],
    })
    await sessions.write(newId(), {})
    const status = sessions.status()
    expect(status).toMatchObject({
      settings: { gcMaxlifetime: 77, table: 'php_session' },
      servers: [{ role: 'primary', health: 'up', errors: 0 }],
    })
    expect(status.servers[0]?.calls).toBeGreaterThan(0)
    expect(JSON.parse(JSON.stringify(status)).settings).toEqual(status.settings)
    const reading = sessions.read('x')
    expect(sessions.status().pending).toBe(1)
    await reading
    expect(sessions.status().pending).toBe(0)
    await sessions.reset()
    expect((await sessions.write(newId(), {})).outcome).toBe('created')
  })
})
