import { expect, test } from 'vitest'
import type { SaveHandlerOptions } from '../../src/index.ts'
import { queryNow } from '../support/query-now.ts'
import { type Data, describeHandler, errorOf, expireAgo, id as newId } from './kit.ts'

describeHandler('An update', (kit) => {
  test('applies a function that changes the data, and returns what it returned', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { n: 1 })
    const updated = await sessions.update(id, (data) => {
      data.n++
      return `now ${data.n}`
    })
    expect(updated).toMatchObject({ outcome: 'updated', value: 'now 2', sent: { n: 2 } })
    expect(updated.session?.data).toEqual({ n: 2 })
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
    // The record is fit to be the next base.
    expect((await sessions.write(id, { n: 3 }, { base: updated.session })).outcome).toBe('updated')
  })

  test('applies a function that returns new data', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { n: 1, old: true })
    await sessions.update(id, ({ n }) => ({ n: n + 1 }))
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
  })

  test('takes a primitive, an array or a part of the data for a value, never for new data', async () => {
    const sessions = kit.open()
    const id = newId()
    const data = { user: { id: 7 }, list: [1] }
    await sessions.write(id, data)
    for (const value of [false, 0, '', null, 'text', 5n, [1, 2], [{ id: 1 }]]) {
      expect((await sessions.update(id, () => value)).value).toEqual(value)
    }
    expect((await sessions.update(id, ({ user }) => user)).value).toEqual({ id: 7 })
    expect((await sessions.update(id, (whole) => whole)).value).toEqual(data)
    expect((await sessions.update(id, () => {})).value).toBeUndefined()
    expect((await sessions.read(id))?.data).toEqual(data)
  })

  test('rejects a function that changes the data and returns an object as well', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { stock: 1 })
    const error = await errorOf(
      sessions.update(id, (data) => {
        data.stock--
        return { ok: true }
      }),
    )
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('array') })
    expect((await sessions.read(id))?.data).toEqual({ stock: 1 })
  })

  test('rejects with the error of the function, and writes nothing', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { n: 1 })
    const own = new Error('sold out')
    const error = await errorOf(
      sessions.update(id, (data) => {
        data.n = 5
        throw own
      }),
    )
    expect(error).toBe(own)
    expect(await sessions.info(id)).toMatchObject({ accesses: 1 })
    expect((await sessions.read(id))?.data).toEqual({ n: 1 })
  })

  test('rejects a function that is asynchronous, and what is not a function', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { n: 1 })
    const asynchronous = async (data: Record<string, number>): Promise<void> => {
      data.n = 2
      throw new Error('must not become an unhandled rejection')
    }
    expect(await errorOf(sessions.update(id, asynchronous))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await errorOf(sessions.update(id, 5 as never))).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await errorOf(sessions.update('in valid', () => {}))).toMatchObject({ code: 'INVALID_ID' })
    expect((await sessions.read(id))?.data).toEqual({ n: 1 })
  })

  test('does not bring a session back that is absent, destroyed or expired', async () => {
    const sessions = kit.open()
    const gone: string[] = []
    sessions.on('gone', ({ id }) => gone.push(id))
    const ids = [newId(), newId(), newId()] as const
    await sessions.write(ids[1], { n: 1 })
    await sessions.destroy(ids[1])
    await sessions.write(ids[2], { n: 1 })
    await expireAgo(kit, ids[2], 100)
    let calls = 0
    for (const id of ids) {
      expect(await sessions.update(id, () => calls++)).toMatchObject({ outcome: 'gone', value: undefined })
      expect(await sessions.read(id)).toBeUndefined()
    }
    expect(calls).toBe(0)
    expect(gone).toEqual(ids)
  })

  test('creates an absent session if its base is null, and updates one that exists', async () => {
    const sessions = kit.open()
    const id = newId()
    const count = (data: Record<string, number>): number => {
      data.n = (data.n ?? 0) + 1
      return data.n
    }
    expect(await sessions.update(id, count, { base: null })).toMatchObject({ outcome: 'created', value: 1 })
    expect(await sessions.update(id, count, { base: null })).toMatchObject({ outcome: 'updated', value: 2 })
  })

  test('updates only the generation that its base was read from, with all later changes', async () => {
    const sessions = kit.open()
    const id = newId()
    const base = (await sessions.write(id, { n: 1 })).session
    await sessions.write(id, { n: 5 })
    const double = (data: Record<string, number>): number => {
      data.n = (data.n as number) * 2
      return data.n
    }
    expect(await sessions.update(id, double, { base })).toMatchObject({ outcome: 'updated', value: 10 })
    await sessions.destroy(id)
    await sessions.write(id, { n: 1 })
    expect(await sessions.update(id, double, { base })).toMatchObject({ outcome: 'gone' })
    expect((await sessions.read(id))?.data).toEqual({ n: 1 })
  })

  test('writes lifetime, address, name, custom field and errors as a write does', async () => {
    const sessions = kit.open()
    const id = newId()
    const setting = (data: Record<string, number>): void => {
      data.n = 1
    }
    await sessions.update(id, setting, {
      base: null,
      lifetime: ({ n }) => n * 1000,
      address: '192.0.2.1',
      name: 'sid',
      custom: 'user 7',
      errors: { warnings: 2, message: 'late' },
    })
    const info = await sessions.info(id)
    expect(info).toMatchObject({
      ...{ name: 'sid', addressCreated: '192.0.2.1', custom: 'user 7', warnings: 2, errorMessage: 'late' },
      accesses: 1,
    })
    const left = (Number(info?.expires) - Number(info?.created)) / 1000
    expect(left).toBeGreaterThan(990)
    expect(left).toBeLessThan(1010)
  })

  test('100 that overlap in eight handlers add 100, and exactly one of them may redeem', async () => {
    // They queue for one row lock: on a busy machine for longer than the default.
    const open = () => kit.open({ operationTimeout: 30 })
    const handlers = Array.from({ length: kit.server.kind === 'pglite' ? 1 : 8 }, open)
    const id = newId()
    await handlers[0]?.write(id, { n: 0, list: [] })
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        handlers[n % handlers.length]?.update(id, (data) => {
          data.n++
          data.list.push(n)
          if (data.redeemed) return false
          data.redeemed = true
          return true
        }),
      ),
    )
    expect(results.filter((result) => result?.value === true)).toHaveLength(1)
    const session = await handlers[0]?.read(id)
    expect(session?.data.n).toBe(100)
    expect(session?.data.list.toSorted((a: number, b: number) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, n) => n),
    )
    expect(session?.accesses).toBe(101)
  })

  test('works whatever the setting conflict is, and next to writes that overlap', async () => {
    const settings: SaveHandlerOptions<Data>[] = [
      { conflict: 'merge' },
      { conflict: 'error' },
      { conflict: 'overwrite' },
      { conflict: (ours) => ours },
      { batch: false },
    ]
    for (const options of settings) {
      const sessions = kit.open(options)
      const other = kit.open()
      const id = newId()
      await sessions.write(id, { n: 0 })
      const base = await other.read(id)
      await Promise.all([
        sessions.update(id, (data) => void data.n++),
        other.write(id, { ...base?.data, other: true }, { base }),
        other.update(id, (data) => void data.n++),
      ])
      expect((await sessions.read(id))?.data).toEqual({ n: 2, other: true })
    }
  })

  test('keeps its place among the calls for one id', async () => {
    const sessions = kit.open()
    const id = newId()
    const [, updated, destroyed, later] = await Promise.all([
      sessions.write(id, { n: 1 }),
      sessions.update(id, (data) => data.n),
      sessions.destroy(id),
      sessions.update(id, (data) => data.n),
    ])
    expect([updated.value, destroyed, later.outcome]).toEqual([1, true, 'gone'])
  })

  test('after two conflicts applies the function under the row lock, and passes its error on', async (context) => {
    const { db } = kit.database()
    if (typeof db !== 'string') return context.skip('PGlite has one connection')
    const sessions = kit.open()
    for (const fails of [false, true]) {
      const id = newId()
      await sessions.write(id, { n: 0 })
      let calls = 0
      const own = new Error('sold out')
      const updating = sessions.update(id, (data) => {
        if (++calls < 3)
          queryNow(db, `UPDATE php_session SET sess_data = '{"n":${calls * 10}}' WHERE sess_id = '${id}'`)
        else if (fails) throw own
        data.n++
        return data.n
      })
      if (fails) expect(await errorOf(updating)).toBe(own)
      else expect(await updating).toMatchObject({ outcome: 'updated', value: 21 })
      expect(calls).toBe(3)
      expect((await sessions.read(id))?.data).toEqual({ n: fails ? 20 : 21 })
      // The connection is not left in a transaction.
      expect((await sessions.update(id, () => 'next')).value).toBe('next')
    }
  })
})
