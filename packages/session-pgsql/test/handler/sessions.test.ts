import { expect, test } from 'vitest'
import { SessionPgsqlError } from '../../src/index.ts'
import { describeHandler, errorOf, id as newId } from './kit.ts'

describeHandler('A session', (kit) => {
  test('is created, read, updated, touched and destroyed', async () => {
    const sessions = kit.open()
    const id = newId()
    expect(await sessions.read(id)).toBeUndefined()
    const created = await sessions.write(id, { a: 1 })
    expect(created.outcome).toBe('created')
    expect(created.session?.data).toEqual({ a: 1 })
    const read = await sessions.read(id)
    expect(read?.data).toEqual({ a: 1 })
    const updated = await sessions.write(id, { a: 2 }, { base: read })
    expect(updated.outcome).toBe('updated')
    expect((await sessions.read(id))?.data).toEqual({ a: 2 })
    expect(await sessions.touch(id)).toBe(true)
    expect(await sessions.destroy(id)).toBe(true)
    expect(await sessions.destroy(id)).toBe(false)
    expect(await sessions.touch(id)).toBe(false)
    expect(await sessions.read(id)).toBeUndefined()
    expect(await kit.query('SELECT 1 FROM php_session WHERE sess_id = $1', [id])).toEqual([])
  })

  test('has an etag that changes with every write of its data and every generation, and with nothing else', async () => {
    const sessions = kit.open()
    const id = newId()
    const etag = async () => (await sessions.read(id))?.etag
    const created = await sessions.write(id, { a: 1 })
    expect(await etag()).toBe(created.session?.etag)
    await sessions.touch(id, { lifetime: 100, custom: 'user 1' })
    expect(await etag()).toBe(created.session?.etag)

    await sessions.write(id, { a: 2 })
    const seen = [created.session?.etag, await etag()]
    await sessions.write(id, { a: 1 })
    seen.push(await etag())
    // Another program does not count versions.
    await kit.query(`UPDATE php_session SET sess_data = '{"a":3}' WHERE sess_id = $1`, [id])
    seen.push(await etag())
    await sessions.destroy(id)
    await sessions.write(id, { a: 1 })
    seen.push(await etag())
    expect(new Set(seen).size).toBe(5)
    for (const one of seen) expect(one?.length).toBeLessThan(100)
  })

  test('has the fields that were written, and dates by the database’s clock', async () => {
    const sessions = kit.open()
    const id = newId()
    const before = await clock()
    await sessions.write(
      id,
      { a: 1 },
      { lifetime: 100, address: '203.0.113.7', name: 'sid', custom: 'user 1' },
    )
    const base = await sessions.read(id)
    await sessions.write(
      id,
      { a: 2 },
      { base, lifetime: 200, address: '203.0.113.8', name: 'other', errors: { errors: 2, message: 'bad' } },
    )
    const after = await clock()
    const session = await sessions.read(id)
    expect(session).toMatchObject({
      id,
      name: 'sid',
      data: { a: 2 },
      addressCreated: '203.0.113.7',
      addressModified: '203.0.113.8',
      accesses: 2,
      errors: 2,
      warnings: 0,
      notices: 0,
      errorMessage: 'bad',
      custom: 'user 1',
    })
    expect(seconds(session?.created)).toBeGreaterThanOrEqual(before)
    expect(seconds(session?.modified)).toBeLessThanOrEqual(after + 1)
    expect(seconds(session?.expires)).toBeGreaterThanOrEqual(before + 200)
    expect(seconds(session?.expires)).toBeLessThanOrEqual(after + 201)
    const { data: _, ...info } = { ...session }
    expect(await sessions.info(id)).toEqual(info)
  })

  test('has the name and lifetime of the settings unless a write sets them', async () => {
    const sessions = kit.open({ name: 'app.sid', gcMaxlifetime: 50 })
    const { session } = await sessions.write(newId(), {})
    expect(session?.name).toBe('app.sid')
    expect(seconds(session?.expires) - seconds(session?.created)).toBeGreaterThanOrEqual(49)
    expect(seconds(session?.expires) - seconds(session?.created)).toBeLessThanOrEqual(51)
  })

  test('has the lifetime that a function of the stored data returns', async () => {
    const sessions = kit.open()
    const id = newId()
    const lifetime = (data: { ttl?: number }) => data.ttl ?? 1000
    const base = (await sessions.write(id, { ttl: 10 }, { lifetime })).session
    expect(seconds(base?.expires) - seconds(base?.created)).toBeLessThanOrEqual(11)
    await sessions.write(id, { ttl: 5000 }, { base, lifetime })
    // This write adds a key to the old data. The stored data is merged, with the other write's ttl.
    const merged = await sessions.write(id, { ttl: 10, ours: true }, { base, lifetime })
    expect(merged.outcome).toBe('merged')
    expect(merged.session?.data).toEqual({ ttl: 5000, ours: true })
    expect(seconds(merged.session?.expires) - seconds(merged.session?.created)).toBeGreaterThan(4000)
  })

  test.each([-1, Number.NaN, Number.POSITIVE_INFINITY, '10'])('rejects the lifetime %s', async (lifetime) => {
    const sessions = kit.open()
    expect(await errorOf(sessions.write(newId(), {}, { lifetime: lifetime as number }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
    expect(await errorOf(sessions.touch(newId(), { lifetime: lifetime as number }))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })

  test('with a lifetime below a second can be read until then', async () => {
    const sessions = kit.open()
    const id = newId()
    const { session } = await sessions.write(id, {}, { lifetime: 0.25 })
    // Rounded up, so that it exists for at least a quarter of a second.
    expect(seconds(session?.expires) - seconds(session?.created)).toBeGreaterThanOrEqual(0)
    expect(seconds(session?.expires) - seconds(session?.created)).toBeLessThanOrEqual(1)
  })

  test('is read with separate data for each reader', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { cart: { items: [1] } })
    const [one, two] = await Promise.all([sessions.read(id), sessions.read(id), sessions.read(id)])
    one?.data.cart.items.push(2)
    expect(two?.data).toEqual({ cart: { items: [1] } })
    // Changing the data does not change the base that a write compares with.
    const { outcome } = await sessions.write(id, one?.data ?? {}, { base: one })
    expect(outcome).toBe('updated')
    const after = await sessions.read(id)
    expect(after?.data).toEqual({ cart: { items: [1, 2] } })
  })

  test('is written as it was at the call, although the object changes later', async () => {
    const sessions = kit.open()
    const id = newId()
    const data = { a: 1 }
    const writing = sessions.write(id, data)
    data.a = 2
    expect((await writing).session?.data).toEqual({ a: 1 })
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
  })

  test('is seen by each operation as the ones before left it', async () => {
    const sessions = kit.open()
    const id = newId()
    const done = await Promise.all([
      sessions.write(id, { n: 1 }),
      sessions.read(id),
      sessions.destroy(id),
      sessions.read(id),
      sessions.write(id, { n: 2 }),
      sessions.touch(id),
      sessions.read(id),
      sessions.destroy(id),
      sessions.write(id, { n: 3 }, { base: 'existing' }),
      sessions.read(id),
    ])
    const results = done.map((value) =>
      typeof value === 'object' ? ('outcome' in value ? value.outcome : value.data) : value,
    )
    expect(results).toEqual([
      'created',
      { n: 1 },
      true,
      undefined,
      'created',
      true,
      { n: 2 },
      true,
      'gone',
      undefined,
    ])
  })

  test('keeps its custom field and its errors', async () => {
    const sessions = kit.open()
    const id = newId()
    expect(await sessions.setField(id, 'x')).toBe(false)
    expect(await sessions.addError(id)).toBe(false)
    expect(await sessions.getField(id)).toBeUndefined()
    expect(await sessions.getErrors(id)).toBeUndefined()
    await sessions.write(id, { a: 1 })
    const before = await sessions.info(id)
    expect(await sessions.getField(id)).toBeNull()
    expect(await sessions.setField(id, 'Zoë "1"')).toBe(true)
    expect(await sessions.getField(id)).toBe('Zoë "1"')
    expect(await sessions.setField(id, null)).toBe(true)
    expect(await sessions.getField(id)).toBeNull()
    expect(await sessions.setField(id, '')).toBe(true)
    expect(await sessions.getField(id)).toBe('')
    await Promise.all([
      sessions.addError(id),
      sessions.addError(id, 'error', 'first'),
      sessions.addError(id, 'warning'),
      sessions.addError(id, 'notice', 'last \\ "one"'),
      sessions.addError(id, 'notice'),
    ])
    expect(await sessions.getErrors(id)).toEqual({
      errors: 2,
      warnings: 1,
      notices: 2,
      message: 'last \\ "one"',
    })
    // Neither counts as an access nor moves the expiry.
    expect(await sessions.info(id)).toMatchObject({ accesses: before?.accesses, expires: before?.expires })
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
  })

  test('stores the field and errors of a write and of a touch', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(
      id,
      {},
      { custom: 'a', errors: { errors: 1, warnings: 2, notices: 3, message: 'm' } },
    )
    expect(await sessions.info(id)).toMatchObject({
      custom: 'a',
      errors: 1,
      warnings: 2,
      notices: 3,
      errorMessage: 'm',
    })
    await sessions.touch(id, { custom: null, errors: { warnings: 1 } })
    expect(await sessions.info(id)).toMatchObject({
      custom: null,
      errors: 1,
      warnings: 3,
      notices: 3,
      errorMessage: 'm',
    })
    await sessions.write(id, {}, { errors: { notices: 1, message: '' }, custom: 'b' })
    expect(await sessions.info(id)).toMatchObject({
      custom: 'b',
      errors: 1,
      warnings: 3,
      notices: 4,
      errorMessage: '',
    })
  })

  test('counts an access for each write and touch, except with access: false', async () => {
    const sessions = kit.open()
    const id = newId()
    let base = (await sessions.write(id, {})).session
    expect(base?.accesses).toBe(1)
    base = (await sessions.write(id, { a: 1 }, { base, access: false })).session
    expect(base?.accesses).toBe(1)
    await sessions.touch(id)
    await sessions.touch(id, { access: false })
    await Promise.all(Array.from({ length: 10 }, () => sessions.touch(id)))
    expect((await sessions.info(id))?.accesses).toBe(12)
  })

  test('has a valid id only if it exists, as PHP’s validateId requires', async () => {
    const sessions = kit.open()
    const id = sessions.createId()
    expect(id).toMatch(/^[A-Za-z0-9_-]{32}$/)
    expect(sessions.createId()).not.toBe(id)
    expect(await sessions.validateId(id)).toBe(false)
    await sessions.write(id, {})
    expect(await sessions.validateId(id)).toBe(true)
    expect(await sessions.validateId('no blanks')).toBe(false)
    expect(await sessions.validateId(undefined as never)).toBe(false)
  })

  test('that cannot be decoded is an error, never an empty session', async () => {
    const sessions = kit.open()
    const id = newId()
    const { session } = await sessions.write(id, { secret: 1 })
    await kit.query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [id, 'secret|s:1:"x";'])
    const all = [sessions.read(id), sessions.write(id, { a: 1 }, { base: session })]
    for (const error of await Promise.all(all.map((promise) => errorOf(promise)))) {
      expect(error).toBeInstanceOf(SessionPgsqlError)
      expect(error.code).toBe('UNDECODABLE')
      expect(`${error.message} ${error.stack} ${JSON.stringify(error)}`).not.toContain('secret')
    }
    expect((await sessions.info(id))?.id).toBe(id)
    expect(await sessions.destroy(id)).toBe(true)
  })
})

function seconds(date: Date | null | undefined): number {
  return (date?.getTime() ?? Number.NaN) / 1000
}

async function clock(): Promise<number> {
  return Date.now() / 1000
}
