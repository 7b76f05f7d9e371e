import { describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { calls, type Data, describeHandler, errorOf } from '../handler/kit.ts'

const columns = {
  user_id: { type: 'bigint', value: (data: Data) => data.user?.id, index: true },
  tenant: { type: 'text', value: (data: Data) => data.user?.tenant },
} as const

describeHandler('own columns', (kit) => {
  const open = (options = {}) => kit.open({ table: 'owned', columns, ...options })

  /** A row; bigints as strings, as node-postgres returns them, and PGlite does not. */
  async function row(id: string, table = 'owned'): Promise<Record<string, unknown> | undefined> {
    const [found] = await kit.query(`SELECT * FROM ${table} WHERE sess_id = $1`, [id])
    if (typeof found?.user_id !== 'number') return found
    return { ...found, user_id: String(found.user_id) }
  }

  test('are created with a new table, computed at each write of data, and read as columns', async () => {
    const sessions = open()
    const id = kit.id()
    const { session } = await sessions.write(id, { user: { id: 7, tenant: 'a' } }, { base: null })
    expect(session?.columns).toEqual({ user_id: 7, tenant: 'a' })
    expect(await row(id)).toMatchObject({ user_id: '7', tenant: 'a', sess_filled: 'tenant,user_id' })
    await sessions.write(id, { user: { id: 8 } }, { base: session })
    expect(await row(id)).toMatchObject({ user_id: '8', tenant: null })
    await sessions.write(id, {}, { base: 'existing' })
    expect(await row(id)).toMatchObject({ user_id: null, tenant: null })
    await sessions.write(id, { user: { id: 9 } })
    expect((await sessions.read(id))?.columns).toEqual({ user_id: 9, tenant: null })
    await sessions.update(id, (data) => {
      data.user = { id: 10, tenant: 'b' }
    })
    expect(await row(id)).toMatchObject({ user_id: '10', tenant: 'b' })
    await sessions.touch(id)
    await sessions.setField(id, 'x')
    expect(await row(id)).toMatchObject({ user_id: '10', tenant: 'b', sess_filled: 'tenant,user_id' })
    const [listed] = await sessions.list({ id })
    expect(listed?.columns).toEqual({ user_id: 10, tenant: 'b' })
  })

  test('are computed from the merged data when two requests overlap', async () => {
    const sum = { total: { type: 'integer', value: (data: Data) => (data.a ?? 0) + (data.b ?? 0) } } as const
    const [one, other] = [0, 1].map(() => kit.open({ table: 'merged', columns: sum }))
    const id = kit.id()
    await one?.write(id, {}, { base: null })
    const [base, otherBase] = [await one?.read(id), await other?.read(id)]
    await one?.write(id, { a: 1 }, { base })
    const { outcome, session } = (await other?.write(id, { b: 2 }, { base: otherBase })) ?? {}
    expect([outcome, session?.columns]).toEqual(['merged', { total: 3 }])
    expect(await row(id, 'merged')).toMatchObject({ total: 3 })
  })

  test('travel in the batch: many sessions take as many statements as without them', async () => {
    const statements = async (options: object): Promise<number> => {
      const sessions = kit.open({ ...options, shortCircuit: false })
      await sessions.open()
      const before = calls(sessions)
      const ids = Array.from({ length: 40 }, () => kit.id())
      await Promise.all(
        ids.map((id, n) => sessions.write(id, { user: { id: n, tenant: String(n % 3) } }, { base: null })),
      )
      return calls(sessions) - before
    }
    expect(await statements({ table: 'owned', columns })).toBe(await statements({ table: 'plain' }))
  })

  test('filter lists and counts, and destroyWhere ends the sessions that match', async () => {
    const sessions = open({ table: 'filtered' })
    const ids = Array.from({ length: 6 }, () => kit.id())
    await Promise.all(
      ids.map((id, n) =>
        sessions.write(id, n < 4 ? { user: { id: 70 + (n % 2), tenant: n < 2 ? 'a' : 'b' } } : {}),
      ),
    )
    const found = async (where: object): Promise<string[]> =>
      (await sessions.list({ where })).map(({ id }) => id).sort()
    expect(await found({ user_id: 70 })).toEqual([ids[0], ids[2]].sort())
    expect(await found({ user_id: '70', tenant: 'b' })).toEqual([ids[2]])
    expect(await found({ user_id: null })).toEqual([ids[4], ids[5]].sort())
    expect(await sessions.count({ where: { user_id: 71n } })).toBe(2)
    expect(await sessions.destroyWhere({ user_id: 70 })).toBe(2)
    expect(await found({ user_id: 70 })).toEqual([])
    expect(await sessions.count()).toBe(4)
    expect(await sessions.destroyWhere({ user_id: 70 })).toBe(0)
  })

  test('of every type are stored and listed without loss', async () => {
    const id = kit.id()
    const at = new Date('2026-02-03T04:05:06.789Z')
    const values = {
      c_text: `a'"\\, é 😀`,
      c_bigint: 2n ** 63n - 1n,
      c_integer: -2147483648,
      c_boolean: false,
      c_uuid: '0B1C0A2E-7E3B-4B0A-9C1D-0123456789ab',
      c_timestamptz: at,
      c_jsonb: { roles: ['a', 'b\\u0000'], n: 1.5 },
    }
    const types = ['text', 'bigint', 'integer', 'boolean', 'uuid', 'timestamptz', 'jsonb'] as const
    const all = Object.fromEntries(
      types.map((type) => [
        `c_${type}`,
        { type, value: ({ isNull }: Data) => (isNull ? null : values[`c_${type}`]) },
      ]),
    )
    const sessions = kit.open({ table: 'typed', columns: all as never })
    await sessions.write(id, { n: 1 })
    const expected = { ...values, c_uuid: values.c_uuid.toLowerCase() }
    expect((await sessions.read(id))?.columns).toEqual(expected)
    const list = async () => (await sessions.list({ id }))[0]?.columns
    expect(await list()).toEqual(expected)
    for (const [name, value] of Object.entries(values)) {
      const found = await sessions.list({ where: { [name]: name === 'c_jsonb' ? { n: 1.5 } : value } })
      expect(found.map((one) => [name, one.id])).toEqual([[name, id]])
    }
    expect(await row(id, 'typed')).toMatchObject({ c_timestamptz: at })
    await sessions.write(id, { isNull: true })
    expect(await list()).toEqual(Object.fromEntries(Object.keys(values).map((name) => [name, null])))
  })

  test('a function that throws or returns another type rejects, names the column, and writes nothing', async () => {
    const cases: [string, (data: Data) => unknown, RegExp][] = [
      ['bigint', ({ secret }) => secret, /expected a whole number.*received string/],
      ['bigint', () => 2 ** 53, /received number/],
      ['bigint', () => 2n ** 63n, /received bigint/],
      ['integer', () => 1.5, /received number/],
      ['integer', () => 2 ** 31, /received number/],
      ['integer', () => '1', /received string/],
      ['boolean', () => 1, /received number/],
      ['uuid', ({ secret }) => secret, /received string/],
      ['text', () => 'a\0', /received string/],
      ['text', () => '\ud800', /received string/],
      ['text', () => 7, /received number/],
      ['timestamptz', () => new Date(Number.NaN), /received object/],
      ['timestamptz', () => '2026-01-01', /received string/],
      ['timestamptz', () => 1e12, /received number/],
      ['jsonb', () => ({ a: '\0' }), /received object/],
      ['jsonb', () => ['\udc00'], /received object/],
      ['jsonb', () => 1n, /received bigint/],
      ['jsonb', async () => 1, /a promise; the function must be synchronous/],
      [
        'text',
        ({ secret }) => {
          throw new TypeError(secret)
        },
        /threw an error \(TypeError\)/,
      ],
    ]
    const tables = new Set(cases.map(([type]) => `wrong_${type}`))
    for (const table of tables) await kit.open({ table }).open()
    for (const [type, value, message] of cases) {
      const sessions = kit.open({ table: `wrong_${type}`, columns: { wrong: { type, value } } as never })
      const id = kit.id()
      const error = await errorOf(sessions.write(id, { secret: 'hunter2' }))
      expect([type, error.code, error.message]).toEqual([
        type,
        'INVALID_DATA',
        expect.stringMatching(message),
      ])
      expect(error.message).toContain('the column wrong')
      expect(JSON.stringify([error.message, String(error.cause), error.stack])).not.toContain('hunter2')
      expect(await row(id, `wrong_${type}`)).toBeUndefined()
      const updated = await errorOf(sessions.update(id, () => ({ secret: 'hunter2' }), { base: null }))
      expect(updated.code).toBe('INVALID_DATA')
      await sessions.close()
    }
  })

  test('a filter with a wrong column or value is rejected', async () => {
    const sessions = open()
    for (const [where, message] of [
      [{}, /at least one column/],
      [{ user_id: undefined }, /filter by the column user_id/],
      [{ user_id: 'seven' }, /filter by the column user_id.*received string/],
      [{ other: 1 }, /columns of the option `columns` are: user_id, tenant/],
      [null, /object of columns/],
    ] as const) {
      const error = await errorOf(sessions.destroyWhere(where as never))
      expect([error.code, error.message]).toEqual(['INVALID_ARGUMENT', expect.stringMatching(message)])
    }
  })

  test('destroyWhere rejects while rows of a process without the functions may match, until they are filled', async () => {
    const table = 'unfilled'
    const [sessions, without] = [open({ table }), kit.open({ table })]
    const [created, changed, other] = [kit.id(), kit.id(), kit.id()]
    await sessions.open()
    for (const id of [changed, other]) await sessions.write(id, { user: { id: 1, tenant: 'a' } })
    await without.open()
    await without.write(created, { user: { id: 7 } })
    await without.write(changed, { user: { id: 7 } }, { base: await without.read(changed) })
    await without.touch(other)
    expect(await row(changed, table)).toMatchObject({ user_id: '1', sess_filled: null })

    const error = await errorOf(sessions.destroyWhere({ user_id: 7 }))
    expect([error.code, error.message]).toEqual([
      'COLUMNS_UNFILLED',
      expect.stringMatching(/Destroyed 0 sessions, but 2 may match as well/),
    ])
    // The other column of the filter cannot be matched by the unfilled rows' values either way: it is unfilled too.
    await expect(sessions.destroyWhere({ user_id: 7, tenant: 'x' })).rejects.toThrow('may match')
    const base = await sessions.read(created)
    expect(await sessions.fillColumns()).toBe(2)
    expect(await sessions.fillColumns()).toBe(0)
    expect(await row(changed, table)).toMatchObject({ user_id: '7', tenant: null })
    // Filling is no change of the session.
    expect((await sessions.write(created, { user: { id: 7 }, n: 1 }, { base })).outcome).toBe('updated')
    expect(await sessions.destroyWhere({ user_id: 7 })).toBe(2)
    expect(await sessions.read(other)).toBeDefined()
  })

  test('are filled where data are encrypted and ids are hashed', async () => {
    const table = 'sealed'
    const encryption = { keys: [{ id: 'one', key: Buffer.alloc(32, 1) }] }
    const options = { table, encryption, ids: 'hashed' } as const
    const [sessions, without] = [open(options), kit.open(options)]
    await sessions.open()
    const ids = [kit.id(), kit.id()]
    for (const id of ids) await without.write(id, { user: { id: 7 } })
    expect(await sessions.fillColumns()).toBe(2)
    const listed = await sessions.list({ where: { user_id: 7 } })
    expect(listed.map(({ columns }) => columns)).toEqual([
      { user_id: 7, tenant: null },
      { user_id: 7, tenant: null },
    ])
    expect(await sessions.destroyWhere({ user_id: 7 })).toBe(2)
    for (const id of ids) expect(await sessions.read(id)).toBeUndefined()
  })

  test('a row that is not filled and has reached its maxLifetime does not count', async () => {
    const table = 'ended'
    const [sessions, without] = [
      open({ table, expiryGrace: 0, maxLifetime: 1000 }),
      kit.open({ table, expiryGrace: 0 }),
    ]
    await sessions.open()
    const id = kit.id()
    await without.write(id, { user: { id: 7 } }, { lifetime: 5000 })
    await kit.query('UPDATE ended SET sess_began = sess_began - 2000 WHERE sess_id = $1', [id])
    expect(await sessions.destroyWhere({ user_id: 7 })).toBe(0)
  })

  test('an expired or destroyed row that is not filled does not count', async () => {
    const table = 'forgotten'
    const [sessions, without] = [open({ table, expiryGrace: 0 }), kit.open({ table })]
    await sessions.open()
    const id = kit.id()
    await without.write(id, { user: { id: 7 } })
    await kit.query('UPDATE forgotten SET sess_expire = 1 WHERE sess_id = $1', [id])
    expect(await sessions.destroyWhere({ user_id: 7 })).toBe(0)
  })

  test('fillColumns computes every session again with all, and reports those that it cannot compute', async () => {
    const table = 'refilled'
    const old = open({ table })
    await old.open()
    const ids = [kit.id(), kit.id()]
    for (const id of ids) await old.write(id, { user: { id: 7 }, account: id === ids[0] ? 70 : 'none' })
    const changed = {
      ...columns,
      user_id: { type: 'bigint', value: (data: Data) => data.account },
    } as const
    const sessions = open({ table, columns: changed })
    expect(await sessions.fillColumns()).toBe(0)
    const error = await errorOf(sessions.fillColumns({ all: true }))
    expect([error.code, error.message]).toEqual([
      'COLUMNS_UNFILLED',
      expect.stringMatching(/Filled 1 sessions; the columns of 1 others.*the column user_id/),
    ])
    expect(error.message).not.toContain('none')
    expect(await row(ids[0] as string, table)).toMatchObject({ user_id: '70' })
  })

  test('fills many rows, in more than one batch', async () => {
    const sessions = open({ table: 'many' })
    await sessions.open()
    await kit.query(`INSERT INTO many (sess_id, sess_name, sess_data, sess_created, sess_modified, sess_expire, sess_counter)
      SELECT 'm' || n, 'x', '{"user":{"id":' || n || '}}', 1, 1, 9999999999, 1 FROM generate_series(1, 1201) n`)
    expect(await sessions.fillColumns()).toBe(1201)
    expect(await kit.query("SELECT count(*)::int AS n FROM many WHERE sess_id = 'm' || user_id")).toEqual([
      { n: 1201 },
    ])
  })

  test('a process on a table without the columns goes on without them, and uses them once they are added', async () => {
    const table = 'later'
    await kit.open({ table }).open()
    const sessions = open({ table })
    const id = kit.id()
    expect((await sessions.write(id, { user: { id: 7 } })).outcome).toBe('created')
    expect(await row(id, table)).not.toHaveProperty('user_id')
    const error = await errorOf(sessions.destroyWhere({ user_id: 7 }))
    expect([error.code, error.message]).toEqual([
      'TABLE_UNFIT',
      expect.stringMatching(/session-pgsql init --columns user_id:bigint:index/),
    ])
    await kit.query('ALTER TABLE later ADD user_id bigint, ADD tenant text, ADD sess_filled text')
    await expect(sessions.destroyWhere({ user_id: 7 })).rejects.toThrow('Call fillColumns()')
    expect(await sessions.fillColumns()).toBe(1)
    await sessions.write(kit.id(), { user: { id: 7 } })
    expect(await sessions.destroyWhere({ user_id: 7 })).toBe(2)
  })

  test('a column of another type is an error that names both types', async () => {
    const table = 'mistyped'
    await kit.open({ table }).open()
    await kit.query('ALTER TABLE mistyped ADD user_id text')
    const error = await errorOf(open({ table }).open())
    expect([error.code, error.message]).toEqual([
      'TABLE_UNFIT',
      expect.stringMatching(/column user_id .* to be bigint, as in the option columns; found text/),
    ])
  })

  test('garbage collection with keepExpired leaves them, as it does the custom field', async () => {
    const sessions = open({ table: 'kept', keepExpired: true, expiryGrace: 0 })
    const id = kit.id()
    await sessions.write(id, { user: { id: 7 } })
    await kit.query('UPDATE kept SET sess_expire = 1, sess_sweep = 0')
    expect(await sessions.gc()).toBe(1)
    expect(await row(id, 'kept')).toMatchObject({ sess_data: '', user_id: '7' })
    await sessions.write(id, { user: { id: 8 } })
    expect(await row(id, 'kept')).toMatchObject({ user_id: '8' })
  })
})

describe('the option columns', () => {
  test('rejects what cannot be a column', () => {
    const cases: [object | string, RegExp][] = [
      [{ sess_user: { type: 'text' } }, /reserved/],
      [{ 'a b': { type: 'text' } }, /letters, digits and underscores/],
      [{ a: { type: 'varchar' } }, /a\.type: expected one of text, bigint, .* received "varchar"/],
      [{ a: { type: 'text', value: 'x' } }, /a\.value: expected a function/],
      [{ a: { type: 'text', values: () => 1 } }, /unknown property "values"/],
      [{ a: null }, /a: expected an object/],
      ['a:text', /expected an object such as/],
    ]
    for (const [columns, message] of cases) {
      expect(() => new SaveHandler({ db: 'host=x', columns: columns as never })).toThrow(message)
    }
  })

  test('comes from the environment as text, for processes without the functions', () => {
    const environment = { SESSION_PGSQL_COLUMNS: 'user_id:bigint:index, tenant:text' }
    const { settings } = new SaveHandler({ db: 'host=x' }, { environment }).status()
    expect(settings.columns).toEqual(['user_id bigint', 'tenant text'])
    for (const text of ['user_id', 'a:text:unique', 'a:text:index:x']) {
      expect(
        () => new SaveHandler({ db: 'host=x' }, { environment: { SESSION_PGSQL_COLUMNS: text } }),
      ).toThrow('environment variable SESSION_PGSQL_COLUMNS')
    }
  })
})
