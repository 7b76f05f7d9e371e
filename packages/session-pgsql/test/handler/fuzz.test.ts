import { inspect } from 'node:util'
import fc from 'fast-check'
import { expect, test, vi } from 'vitest'
import { SaveHandler, SessionPgsqlError } from '../../src/index.ts'
import { type Data, describeHandler, errorOf, id as newId } from './kit.ts'

// Processes, stalls and large data take time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

/** Any id but the stored form of a hashed one, which is rejected. */
const validId = fc
  .string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    minLength: 1,
    maxLength: 256,
  })
  .filter((text) => !text.startsWith('h1:'))

/** Any text, with characters that are difficult for a database. */
const anyText = fc.string({
  unit: fc.oneof(
    fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
    fc.constantFrom(
      '\0',
      '\ud800',
      '\udc00',
      '\\',
      '"',
      "'",
      '{',
      '}',
      ',',
      'NULL',
      '\n',
      '\r',
      '\t',
      '\u2028',
      '😀',
      'é',
      'e\u0301',
      '$1',
      '%s',
      ';',
    ),
  ),
  maxLength: 60,
})

const storable = (text: string): boolean => !text.includes('\0') && text.isWellFormed()

describeHandler('Arguments are stored unchanged, or rejected with an error', (kit) => {
  test('valid ids are stored unchanged', async () => {
    const sessions = kit.open()
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(validId, { minLength: 1, maxLength: 20 }), async (ids) => {
        await Promise.all(ids.map((id) => sessions.write(id, { id })))
        expect(await Promise.all(ids.map(async (id) => (await sessions.read(id))?.data))).toEqual(
          ids.map((id) => ({ id })),
        )
        expect(await Promise.all(ids.map((id) => sessions.touch(id)))).toEqual(ids.map(() => true))
        expect(await Promise.all(ids.map((id) => sessions.destroy(id)))).toEqual(ids.map(() => true))
      }),
      { numRuns: 8 },
    )
  })

  test('invalid ids are rejected, and read as absent', async () => {
    const sessions = kit.open()
    await sessions.open()
    const before = sessions.status().servers[0]?.calls
    const bad = fc.oneof(
      anyText.filter((text) => !/^[\x21-\x7e]{1,256}$/.test(text)),
      fc.constantFrom('', ' ', 'a b', 'a\n', '\na', 'é', 'a'.repeat(257), 'x\0', '\ud800', 'h1:!'),
    )
    await fc.assert(
      fc.asyncProperty(bad, async (id) => {
        const error = await errorOf(sessions.write(id, {}))
        expect(error).toMatchObject({ code: 'INVALID_ID' })
        if (id.length > 3) expect(error.message).not.toContain(id)
        expect(
          await Promise.all([
            sessions.read(id),
            sessions.touch(id),
            sessions.destroy(id),
            sessions.info(id),
            sessions.validateId(id),
            sessions.setField(id, 'x'),
            sessions.addError(id),
          ]),
        ).toEqual([undefined, false, false, undefined, false, false, false])
      }),
      { numRuns: 60 },
    )
    for (const id of [undefined, null, 5, {}, ['a'], Symbol('a')]) {
      for (const call of [
        () => sessions.read(id as never),
        () => sessions.write(id as never, {}),
        () => sessions.touch(id as never),
        () => sessions.destroy(id as never),
      ]) {
        expect(await errorOf(call())).toMatchObject({ code: 'INVALID_ID' })
      }
    }
    expect(sessions.status().servers[0]?.calls).toBe(before)
  })

  test('JSON data is stored unchanged', async () => {
    const sessions = kit.open()
    const json = fc.oneof(
      fc.jsonValue(),
      fc.dictionary(anyText, fc.jsonValue()),
      anyText,
      fc.array(anyText),
    ) as fc.Arbitrary<Data>
    await fc.assert(
      fc.asyncProperty(fc.array(json, { minLength: 1, maxLength: 10 }), async (values) => {
        const ids = values.map(newId)
        const written = await Promise.all(values.map((data, n) => sessions.write(ids[n] as string, data)))
        for (const [n, data] of values.entries()) {
          const expected = JSON.parse(JSON.stringify(data))
          expect(written[n]?.session?.data).toEqual(expected)
          expect((await sessions.read(ids[n] as string))?.data).toEqual(expected)
        }
        // Any data can be a base.
        const base = await sessions.read(ids[0] as string)
        expect((await sessions.write(ids[0] as string, { next: 1 }, { base })).outcome).toBe('updated')
      }),
      { numRuns: 12 },
    )
  })

  test('data without a JSON form is rejected', async () => {
    const sessions = kit.open()
    const cycle: Data = {}
    cycle.self = cycle
    const throwing = {
      toJSON() {
        throw new Error('secret')
      },
    }
    for (const data of [undefined, () => 0, Symbol('a'), { a: 1n }, cycle, throwing, deep(100_000)]) {
      const error = await errorOf(sessions.write(newId(), data as never))
      expect(error).toMatchObject({ code: 'INVALID_DATA' })
      expect(`${error.message}${inspect(error)}`).not.toContain('secret')
    }
  })

  test('deeply nested data is stored, or rejected as too deep', async () => {
    const [sessions, other] = [kit.open(), kit.open()]
    let stored = 0
    for (const depth of [100, 1000, 2000, 2500, 3000, 3500, 4000, 5000, 6000]) {
      const id = newId()
      // The maximum depth depends on the stack.
      const written = await sessions.write(id, deep(depth)).catch((error) => error)
      if (written instanceof Error) {
        expect(written).toMatchObject({ code: 'INVALID_DATA' })
        continue
      }
      stored++
      expect(depthOf((await sessions.read(id))?.data)).toBe(depth)
      const base = written.session
      await other.write(id, { ...deep(depth), theirs: 1 }, { base }).catch(() => {})
      const merged = await sessions.write(id, { ...deep(depth), ours: 1 }, { base }).catch((error) => error)
      if (merged instanceof Error) expect(merged).toMatchObject({ code: 'INVALID_DATA' })
      else expect(merged.session.data.ours).toBe(1)
    }
    expect(stored).toBeGreaterThanOrEqual(2)
  })

  test('fields, names, addresses and messages are stored unchanged, or rejected', async () => {
    const sessions = kit.open()
    await fc.assert(
      fc.asyncProperty(anyText, anyText, anyText, anyText, async (custom, name, address, message) => {
        const id = newId()
        const write = sessions.write(id, {}, { custom, name, address, errors: { message } })
        if (![custom, name, address, message].every(storable)) {
          expect(await errorOf(write)).toMatchObject({ code: 'INVALID_ARGUMENT' })
          expect(
            await errorOf(sessions.touch(id, { custom, errors: { message: `${message}\0` } })),
          ).toMatchObject({ code: 'INVALID_ARGUMENT' })
          expect(await sessions.read(id)).toBeUndefined()
        } else {
          await write
          expect(await sessions.info(id)).toMatchObject({
            custom,
            name,
            addressCreated: address,
            errorMessage: message,
          })
          await sessions.setField(id, message)
          await sessions.addError(id, 'notice', custom)
          expect([await sessions.getField(id), (await sessions.getErrors(id))?.message]).toEqual([
            message,
            custom,
          ])
          expect((await sessions.findByField(message)).map((session) => session.id)).toContain(id)
          expect((await sessions.list({ name, address })).map((session) => session.id)).toContain(id)
          await sessions.destroy(id)
        }
      }),
      { numRuns: 25 },
    )
  })

  test('arguments of a wrong type are rejected', async () => {
    const sessions = kit.open()
    const id = newId()
    await sessions.write(id, {})
    const wrong = [
      sessions.write(id, {}, { custom: 5 as never }),
      sessions.write(id, {}, { name: 5 as never }),
      sessions.write(id, {}, { name: null as never }),
      sessions.write(id, {}, { address: {} as never }),
      sessions.write(id, {}, { errors: { errors: -1 } }),
      sessions.write(id, {}, { errors: { warnings: 1.5 } }),
      sessions.write(id, {}, { errors: { notices: '1' as never } }),
      sessions.touch(id, { errors: { message: 5 as never } }),
      sessions.addError(id, 'fatal' as never),
      sessions.addError(id, 'toString' as never),
      sessions.addError(id, 'error', 5 as never),
      sessions.setField(id, 5 as never),
    ]
    for (const promise of wrong) expect(await errorOf(promise)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(await sessions.info(id)).toMatchObject({ custom: null, errors: 0, accesses: 1 })
  })
})

describeHandler('A large session', (kit) => {
  test('of 5 MB is stored, several at once', async () => {
    const sessions = kit.open({ operationTimeout: 50 })
    const ids = [newId(), newId()]
    const text = (n: number) => `${n}é😀"\\`.repeat(700_000)
    await Promise.all(ids.map((id, n) => sessions.write(id, { text: text(n) })))
    for (const [n, id] of ids.entries()) {
      const base = await sessions.read(id)
      expect(base?.data.text === text(n)).toBe(true)
      expect((await sessions.write(id, { small: 1 }, { base })).outcome).toBe('updated')
    }
  })

  test('of 300 MB is rejected, and other writes succeed', async () => {
    const sessions = kit.open()
    const huge = 'x'.repeat(300 * 1024 * 1024)
    const id = newId()
    const [error, other] = await Promise.all([
      errorOf(sessions.write(id, { huge })),
      sessions.write(newId(), {}),
    ])
    expect(error).toBeInstanceOf(SessionPgsqlError)
    expect(error.code).toBe('INVALID_DATA')
    expect(error.message.length).toBeLessThan(500)
    expect(other.outcome).toBe('created')
    for (const promise of [
      sessions.write(id, {}, { custom: huge }),
      sessions.write(id, {}, { address: huge }),
      sessions.touch(id, { errors: { message: huge } }),
      sessions.setField(id, huge),
      sessions.findByField(huge),
    ]) {
      expect(await errorOf(promise)).toMatchObject({ code: 'INVALID_ARGUMENT' })
    }
    expect(await sessions.read(id)).toBeUndefined()
  })
})

test('status, inspection and errors contain no password', async () => {
  const password = 'geheim%20&x'
  for (const db of [
    `host=127.0.0.1 port=1 user=u password='${password}' dbname=d`,
    `postgresql://u:${encodeURIComponent(password)}@127.0.0.1:1/d`,
    { host: '127.0.0.1', port: 1, user: 'u', password, database: 'd' },
    { connectionString: `postgresql://u:${encodeURIComponent(password)}@127.0.0.1:1/d` },
  ]) {
    const sessions = new SaveHandler({ db, logger: false })
    const error = await errorOf(sessions.open())
    expect(error).toMatchObject({ code: 'SERVER_DOWN' })
    const shown = [
      JSON.stringify(sessions.status()),
      JSON.stringify(sessions),
      inspect(sessions, { depth: 20, showHidden: true }),
      inspect(sessions.status(), { depth: 20 }),
      inspect(error, { depth: 20, showHidden: true }),
      JSON.stringify(error),
      String(error.stack),
    ].join('\n')
    for (const form of [password, encodeURIComponent(password), 'geheim']) expect(shown).not.toContain(form)
    await sessions.close()
  }
})

function deep(levels: number): Data {
  let data: Data = {}
  for (let level = 1; level < levels; level++) data = { d: data }
  return data
}

function depthOf(data: Data | undefined): number {
  let levels = 0
  for (let at = data; at !== undefined; at = at.d) levels++
  return levels
}
