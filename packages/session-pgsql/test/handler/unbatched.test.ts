import { expect, test } from 'vitest'
import { batchSizes, type Data, describeHandler, errorOf, id as newId } from './kit.ts'
import { expectUsable } from './table-kit.ts'

/** `batch: false`: one statement per request. All other suites run with batches. */
describeHandler('Without batches', (kit) => {
  const open = () => kit.open({ batch: false })

  test('every operation works', () => expectUsable(open()))

  test('every request is a statement of its own', async () => {
    const sessions = open()
    await sessions.open()
    const sizes = batchSizes(sessions)
    const ids = Array.from({ length: 20 }, newId)
    await Promise.all(ids.map((id, n) => sessions.write(id, { n }, { base: null })))
    expect(await Promise.all(ids.map(async (id) => (await sessions.read(id))?.data))).toEqual(
      ids.map((_, n) => ({ n })),
    )
    expect(sizes).toEqual(Array(40).fill(1))
  })

  test('twenty requests that overlap in one session lose no key', async () => {
    const handlers = [open(), open()]
    const id = newId()
    const base = (await handlers[0]?.write(id, {}))?.session
    const keys = Array.from({ length: 20 }, (_, n) => `key${n}`)
    await Promise.all(keys.map((key, n) => handlers[n % 2]?.write(id, { [key]: n }, { base })))
    const read = await handlers[0]?.read(id)
    expect(Object.keys(read?.data as Data).sort()).toEqual([...keys].sort())
    expect(read?.accesses).toBe(21)
  })

  test('a row that the database refuses fails alone', async () => {
    const table = 'refusing'
    const sessions = kit.open({ batch: false, table })
    await sessions.open()
    await kit.query(`ALTER TABLE ${table} ADD CHECK (sess_data NOT LIKE '%refused%')`)
    const ids = Array.from({ length: 9 }, newId)
    const written = await Promise.allSettled(
      ids.map((id, n) => sessions.write(id, { text: n === 4 ? 'refused' : 'taken' })),
    )
    expect(written.map(({ status }) => status)).toEqual(
      ids.map((_, n) => (n === 4 ? 'rejected' : 'fulfilled')),
    )
    expect(await errorOf(sessions.write(ids[4] as string, { text: 'refused' }))).toMatchObject({
      code: 'DATABASE',
      sqlState: '23514',
    })
  })
})
