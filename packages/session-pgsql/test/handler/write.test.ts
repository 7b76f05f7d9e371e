import { describe, expect, test, vi } from 'vitest'
import { SessionPgsqlError } from '../../src/index.ts'
import { calls, type Data, describeHandler, errorOf, id as newId } from './kit.ts'

describeHandler('A write', (kit) => {
  test('without a base creates or replaces', async () => {
    const sessions = kit.open()
    const id = newId()
    expect((await sessions.write(id, { a: 1 })).outcome).toBe('created')
    expect((await sessions.write(id, { b: 1 })).outcome).toBe('updated')
    expect((await sessions.read(id))?.data).toEqual({ b: 1 })
  })

  test('with null as base creates, or merges its data into the stored session', async () => {
    const sessions = kit.open()
    const other = kit.open()
    const id = newId()
    expect((await sessions.write(id, { a: 1 }, { base: null })).outcome).toBe('created')
    const merged = await other.write(id, { b: 1 }, { base: null })
    expect(merged).toMatchObject({ outcome: 'merged', session: { data: { a: 1, b: 1 } } })
    const all = await Promise.all([
      sessions.destroy(id),
      sessions.write(id, { c: 1 }, { base: null }),
      sessions.write(id, { d: 1 }, { base: null }),
    ])
    expect([all[1].outcome, all[2].outcome]).toEqual(['created', 'merged'])
    expect((await sessions.read(id))?.data).toEqual({ c: 1, d: 1 })
  })

  test('with null as base creates a session that is destroyed during the merge', async () => {
    const id = kit.id()
    const sessions = kit.open({
      conflict: async (ours) => {
        await kit.query('DELETE FROM php_session WHERE sess_id = $1', [id])
        return ours
      },
    })
    await sessions.write(id, { a: 1 })
    expect((await sessions.write(id, { b: 1 }, { base: null })).outcome).toBe('created')
    expect((await sessions.read(id))?.data).toEqual({ b: 1 })
  })

  test("with null as base and conflict: 'error' succeeds for one of several concurrent writes", async () => {
    const handlers = [kit.open(), kit.open({ conflict: 'overwrite' })] as const
    for (let round = 0; round < 10; round++) {
      const id = newId()
      const writes = [0, 1, 2, 3].map((n) =>
        handlers[n < 2 ? 0 : 1].write(id, { [n]: 1 }, { base: null, conflict: 'error' }),
      )
      const settled = await Promise.allSettled(writes)
      const created = settled.flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
      expect(created.map(({ outcome }) => outcome)).toEqual(['created'])
      for (const one of settled) if (one.status === 'rejected') expect(one.reason.code).toBe('CONFLICT')
      expect((await handlers[0].read(id))?.data).toEqual(created[0]?.sent)
    }
  })

  test("with 'existing' as base updates only", async () => {
    const sessions = kit.open()
    const id = newId()
    expect((await sessions.write(id, { a: 1 }, { base: 'existing' })).outcome).toBe('gone')
    await sessions.write(id, { a: 1 })
    expect((await sessions.write(id, { b: 1 }, { base: 'existing' })).outcome).toBe('updated')
    expect((await sessions.read(id))?.data).toEqual({ b: 1 })
  })

  test('accepts only records of a read or a write as its base', async () => {
    const sessions = kit.open()
    const id = newId()
    const { session } = await sessions.write(id, { a: 1 })
    const other = (await sessions.write(newId(), { a: 1 })).session
    for (const base of [{ ...session }, structuredClone(session), {}, 'x', 5, other]) {
      expect(await errorOf(sessions.write(id, { b: 1 }, { base: base as never }))).toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
      expect(await errorOf(sessions.touch(id, { base: base as never }))).toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    }
    expect((await sessions.read(id))?.data).toEqual({ a: 1 })
  })

  test('keeps the keys that overlapping requests set, and those that they deleted', async () => {
    const [ours, theirs] = [kit.open(), kit.open()]
    const conflict = vi.fn()
    ours.on('conflict', conflict)
    const id = newId()
    await ours.write(id, { user: { name: 'a', seen: 1 }, cart: [1], gone: 1, lost: 1, n: 1 })
    const [ourBase, theirBase] = await Promise.all([ours.read(id), theirs.read(id)])
    // The other request logs out, while this one updates the user.
    await theirs.write(id, { cart: [1], gone: 2, n: 2, theirs: 1 }, { base: theirBase })
    const { outcome, session } = await ours.write(
      id,
      { user: { name: 'a', seen: 2 }, cart: [1, 2], n: 3, ours: 1 },
      { base: ourBase },
    )
    expect(outcome).toBe('merged')
    expect(session?.data).toEqual({ cart: [1, 2], n: 3, theirs: 1, ours: 1 })
    expect((await theirs.read(id))?.data).toEqual(session?.data)
    expect(conflict.mock.calls).toEqual([[{ id }]])
  })

  test('computes its changes from seen, and compares with the base', async () => {
    const [ours, theirs] = [kit.open(), kit.open()]
    const id = newId()
    const base = (await ours.write(id, { flash: 'hello' })).session
    await theirs.write(id, { flash: 'hello', theirs: 1 }, { base })
    // After the first write, the caller's object does not have the other key, but the base does.
    const sent = { flash: 'hello', ours: 1 }
    const merged = await ours.write(id, sent, { base })
    expect(merged.session?.data).toEqual({ flash: 'hello', ours: 1, theirs: 1 })
    const second = await ours.write(id, { ours: 1 }, { base: merged.session, seen: sent })
    expect(second.session?.data).toEqual({ ours: 1, theirs: 1 })
    expect((await theirs.read(id))?.data).toEqual({ ours: 1, theirs: 1 })
  })

  test('stores keys like __proto__ and constructor as data', async () => {
    const [ours, theirs] = [kit.open(), kit.open()]
    const id = newId()
    const base = (await ours.write(id, JSON.parse('{"constructor":{"a":1}}'))).session
    await theirs.write(id, JSON.parse('{"constructor":{"a":1,"t":1},"__proto__":{"polluted":1}}'), { base })
    await ours.write(id, JSON.parse('{"constructor":{"a":1,"prototype":{"m":1}},"toString":1}'), { base })
    const text = JSON.stringify((await ours.read(id))?.data)
    expect(JSON.parse(text)).toEqual(
      JSON.parse('{"constructor":{"a":1,"t":1,"prototype":{"m":1}},"__proto__":{"polluted":1},"toString":1}'),
    )
    expect(text).toContain('"__proto__":{"polluted":1}')
    expect(({} as Data).polluted).toBeUndefined()
  })

  test('of unchanged data keeps the change of another request', async () => {
    const [ours, theirs] = [kit.open(), kit.open()]
    const id = newId()
    const base = (await ours.write(id, { a: 1 })).session
    await theirs.write(id, { a: 2 }, { base })
    expect((await ours.write(id, { a: 1 }, { base })).session?.data).toEqual({ a: 2 })
  })
})

describeHandler('A conflict', (kit) => {
  test("fails a write with conflict: 'error', whatever the setting, which applies to the next write", async () => {
    const [ours, theirs] = [kit.open(), kit.open()]
    const id = newId()
    const base = (await ours.write(id, { a: 0 })).session
    await theirs.write(id, { a: 0, theirs: 1 }, { base })
    const failing = ours.write(id, { a: 0, ours: 1 }, { base, conflict: 'error' })
    expect(await errorOf(failing)).toMatchObject({ code: 'CONFLICT' })
    expect((await ours.read(id))?.data).toEqual({ a: 0, theirs: 1 })
    expect((await ours.write(id, { a: 0, ours: 1 }, { base })).outcome).toBe('merged')
    const other = ours.write(id, {}, { conflict: 'merge' as never })
    expect(await errorOf(other)).toMatchObject({ code: 'INVALID_ARGUMENT' })
  })

  /** Another client writes between our read and our write. */
  async function collide(
    conflict: NonNullable<Parameters<typeof kit.open>[0]>['conflict'],
    isQueued = false,
    operationTimeout = 15,
  ) {
    const ours = kit.open({ conflict, operationTimeout })
    const theirs = isQueued ? ours : kit.open()
    const id = newId()
    const base = (await ours.write(id, { a: 0, seen: 1 })).session
    const writes = [
      theirs.write(id, { a: 1, seen: 1, theirs: 1 }, { base }),
      () => ours.write(id, { a: 2, seen: 1, ours: 1 }, { base }),
    ] as const
    if (!isQueued) await writes[0]
    const write = writes[1]()
    await writes[0]
    return { write, stored: async () => (await kit.open().read(id))?.data }
  }

  describe.each([
    ['found in the table', false],
    ['found in the queue of its id', true],
  ])('%s', (_, isQueued) => {
    test('is resolved by the last write with overwrite', async () => {
      const { write, stored } = await collide('overwrite', isQueued)
      expect((await write).outcome).toBe('updated')
      expect(await stored()).toEqual({ a: 2, seen: 1, ours: 1 })
    })

    test('fails the write with error', async () => {
      const { write, stored } = await collide('error', isQueued)
      expect(await errorOf(write)).toMatchObject({ code: 'CONFLICT' })
      expect(await stored()).toEqual({ a: 1, seen: 1, theirs: 1 })
    })

    test('is resolved by a function', async () => {
      const decide = vi.fn((ours: Data, theirs: Data) => ({ sum: ours.a + theirs.a }))
      const { write, stored } = await collide(decide, isQueued)
      expect(await write).toMatchObject({ outcome: 'merged', session: { data: { sum: 3 } } })
      expect(await stored()).toEqual({ sum: 3 })
      expect(decide.mock.calls).toEqual([
        [
          { a: 2, seen: 1, ours: 1 },
          { a: 1, seen: 1, theirs: 1 },
          { a: 0, seen: 1 },
        ],
      ])
    })

    test('is resolved by an async function', async () => {
      const { write, stored } = await collide((async (ours: Data) => ours) as never, isQueued)
      expect((await write).outcome).toBe('merged')
      expect(await stored()).toEqual({ a: 2, seen: 1, ours: 1 })
    })

    test('fails the write if the function throws, and nothing is written', async () => {
      for (const fail of [
        () => {
          throw new TypeError('secret')
        },
        (async () => {
          throw new TypeError('secret')
        }) as never,
      ]) {
        const { write, stored } = await collide(fail, isQueued)
        const error = await errorOf(write)
        expect(error).toBeInstanceOf(SessionPgsqlError)
        expect(error).toMatchObject({ code: 'CONFLICT', cause: { message: 'secret' } })
        expect(await stored()).toEqual({ a: 1, seen: 1, theirs: 1 })
      }
    })

    test('fails the write with TIMEOUT if the function never returns', async () => {
      const { write, stored } = await collide((() => new Promise(() => {})) as never, isQueued, 0.5)
      expect(await errorOf(write)).toMatchObject({ code: 'TIMEOUT' })
      expect(await stored()).toEqual({ a: 1, seen: 1, theirs: 1 })
    })

    test('fails the write if the function returns data that cannot be stored', async () => {
      const { write, stored } = await collide((() => undefined) as never, isQueued)
      expect(await errorOf(write)).toMatchObject({ code: 'INVALID_DATA' })
      expect(await stored()).toEqual({ a: 1, seen: 1, theirs: 1 })
    })
  })
})

describeHandler('A codec with a merge function', (kit) => {
  test('merges two changes with it', async () => {
    const id = newId()
    const sessions = kit.open({
      codec: {
        name: 'sum',
        encode: ({ sum }) => String(sum),
        decode: (text) => ({ sum: Number(text) }),
        merge: (ours, theirs, base) => ({ sum: Number(theirs.sum) + Number(ours.sum) - Number(base.sum) }),
      },
    })
    await sessions.write(id, { sum: 100 })
    const base = await sessions.read(id)
    await sessions.write(id, { sum: 110 }, { base })
    const { outcome, session } = await sessions.write(id, { sum: 95 }, { base })
    expect(outcome).toBe('merged')
    expect(session?.data).toEqual({ sum: 105 })
  })
})

describeHandler('A function of the caller that throws', (kit) => {
  test('fails the write if it is a lifetime', async () => {
    const sessions = kit.open()
    const lifetime = () => {
      throw new TypeError('secret')
    }
    const error = await errorOf(sessions.write(newId(), {}, { lifetime }))
    expect(error).toBeInstanceOf(SessionPgsqlError)
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', cause: { message: 'secret' } })
  })

  test('fails the operation if it is a codec, with an error that contains no data', async () => {
    const id = newId()
    const fail = (): never => {
      throw new TypeError('secret')
    }
    const codec = {
      name: 'own',
      encode: (data: Data) => JSON.stringify(data),
      decode: (text: string) => JSON.parse(text || '{}'),
    }
    await kit.open({ codec }).write(id, { a: 1 })
    const reading = kit.open({ codec: { ...codec, decode: fail } })
    expect(await errorOf(reading.read(id))).toMatchObject({ code: 'UNDECODABLE' })
    const writing = kit.open({ codec: { ...codec, encode: fail } })
    expect(await errorOf(writing.write(id, {}))).toMatchObject({ code: 'INVALID_DATA' })
    for (const text of [5, 'a\0', '\ud800']) {
      const strange = kit.open({ codec: { ...codec, encode: () => text as string } })
      expect(await errorOf(strange.write(id, {}))).toMatchObject({ code: 'INVALID_DATA' })
    }
    const sessions = kit.open({ codec: { ...codec, merge: fail } })
    const base = await sessions.read(id)
    await sessions.write(id, { a: 2 }, { base })
    const error = await errorOf(sessions.write(id, { a: 1, b: 1 }, { base }))
    expect(error).toMatchObject({ code: 'INVALID_DATA' })
    expect(error.message).not.toContain('secret')
    expect((await kit.open({ codec }).read(id))?.data).toEqual({ a: 2 })
  })
})

describeHandler('Overlapping writes', (kit) => {
  test('of one handler keep all changes, with a statement for each of 100', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, { start: true })
    const before = calls(sessions)
    const base = await sessions.read(id)
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, n) => sessions.write(id, { start: true, [`key${n}`]: n }, { base })),
    )
    expect(calls(sessions) - before).toBeLessThanOrEqual(101)
    expect(results.map(({ outcome }) => outcome)).toEqual(['updated', ...Array(99).fill('merged')])
    const { data, accesses } = (await sessions.read(id)) ?? {}
    expect(Object.keys(data ?? {})).toHaveLength(101)
    expect(accesses).toBe(101)
  })

  test('of four handlers keep all of 100 changes', async () => {
    const handlers = Array.from({ length: 4 }, () => kit.open())
    const id = newId()
    await handlers[0]?.write(id, { start: true })
    const results = await Promise.all(
      Array.from({ length: 100 }, async (_, n) => {
        const sessions = handlers[n % 4] as (typeof handlers)[0]
        const base = await sessions.read(id)
        return sessions.write(id, { ...base?.data, [`key${n}`]: n }, { base })
      }),
    )
    expect(results.filter(({ outcome }) => outcome !== 'updated' && outcome !== 'merged')).toEqual([])
    expect(Object.keys((await handlers[0]?.read(id))?.data ?? {})).toHaveLength(101)
  })

  test('restore neither destroyed sessions nor deleted keys', async () => {
    const handlers = [kit.open(), kit.open()] as const
    await Promise.all(
      Array.from({ length: 50 }, async (_, n) => {
        const id = newId()
        const base = (await handlers[0].write(id, { user: n, cart: [] })).session
        const [one, two] = n % 2 ? handlers : [handlers[1], handlers[0]]
        await Promise.all([
          one.write(id, { user: n, cart: [1] }, { base }),
          two.write(id, { cart: [] }, { base }),
          two.write(id, { user: n, cart: [], seen: 1 }, { base }),
        ])
        expect((await one.read(id))?.data).toEqual({ cart: [1], seen: 1 })
        await Promise.all([
          one.write(id, { user: n, cart: [2] }, { base }),
          two.destroy(id),
          two.write(id, { user: n, late: 1 }, { base }),
          one.touch(id),
        ])
        expect(await one.read(id)).toBeUndefined()
        expect((await one.write(id, { user: n, cart: [3] }, { base })).outcome).toBe('gone')
        expect(await two.read(id)).toBeUndefined()
      }),
    )
  })
})
