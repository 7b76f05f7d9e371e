import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { pgsqlStore as adonisStore } from '../../src/adapters/adonis.ts'
import { pgsqlSecondaryStorage } from '../../src/adapters/better-auth.ts'
import { PgsqlStore } from '../../src/adapters/express.ts'
import pgsqlDriver from '../../src/adapters/unstorage.ts'
import { createSessions, type WebSession } from '../../src/adapters/web.ts'
import type { SaveHandler, SaveHandlerOptions } from '../../src/index.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { type Data, describeHandler, id, type Kit } from '../handler/kit.ts'
import { newTable as anyTable } from './table.ts'

type Mode = NonNullable<SaveHandlerOptions['ids']>

/** As `newTable` of ids/table.ts, with what the table contains. */
function newTable(kit: Kit) {
  const { table, open } = anyTable(kit)
  return {
    table,
    open: (ids: Mode): SaveHandler<Data> => open(ids, { shortCircuit: true }),
    /** Returns everything that the table contains, as text. */
    async dump(): Promise<string> {
      return JSON.stringify(await kit.query(`SELECT * FROM ${table}`))
    },
  }
}

const call = <T>(work: (done: (error: unknown, result?: T) => void) => void): Promise<T | undefined> =>
  new Promise((resolve, reject) =>
    work((error, result) => (error == null ? resolve(result) : reject(error as Error))),
  )

describeHandler('With hashed ids', (kit) => {
  test('AdonisJS lists the sessions of a tag, and reads and ends what it has listed', async () => {
    const handler = newTable(kit).open('hashed')
    const x = id()
    await handler.write(x, { user: 'ada' }, { custom: 'ada' })
    const provider = adonisStore<Data>({ handler })
    // Without a request, as AdonisJS' SessionCollection uses it.
    const store = (await provider.resolver({ terminating: () => {} } as never))(null, { age: '2h' } as never)
    const [listed] = await store.tagged('ada')
    expect(listed?.data).toEqual({ user: 'ada' })
    expect(await store.read(listed?.id as string)).toEqual({ user: 'ada' })
    await store.destroy(listed?.id as string)
    expect(await handler.read(x)).toBeUndefined()
  })

  describe('a WebSession', () => {
    const secret = 'a secret for the tests'
    const open = (handler: SaveHandler<Data>, cookie = '', grace?: number): Promise<WebSession<Data>> =>
      createSessions<Data>({ secret, handler, ...(grace === undefined ? {} : { grace }) } as never).session(
        new Request('https://example.org/', { headers: { cookie } }),
      )
    const cookieOf = (header: unknown): string =>
      header === undefined ? '' : (String(header).split(';')[0] as string)

    test.each<Mode>(['migrate', 'hashed'])(
      'stores no id, and a change of the id moves and ends both rows: %s',
      async (mode) => {
        const { open: handlerOf, dump } = newTable(kit)
        const handler = handlerOf(mode)
        const first = await open(handler)
        first.set('n', 1)
        const old = cookieOf(await first.commit())
        const oldId = first.id as string

        // A request that began before the change of the id, and ends after it.
        const late = await open(handler, old)
        const changing = await open(handler, old)
        changing.regenerate()
        changing.set('user', 'ada')
        const renewed = cookieOf(await changing.commit())
        const newId = changing.id as string
        late.set('late', true)
        await late.commit()
        const { value } = await (await open(handler, renewed)).update((data) => ++data.n)
        expect(value).toBe(2)
        const after = await open(handler, renewed)
        expect([after.id, after.data]).toEqual([newId, { n: 2, user: 'ada', late: true }])
        const text = await dump()
        expect([text.includes(oldId), text.includes(newId)]).toEqual([false, false])
        expect(text).toContain(hashedId(newId))

        after.destroy()
        await after.commit()
        for (const cookie of [old, renewed]) expect((await open(handler, cookie)).data).toEqual({})
      },
    )

    test('whose id was changed by a plain process is moved and ended by others later', async () => {
      const { open: handlerOf, table } = newTable(kit)
      const plain = handlerOf('plain')
      const first = await open(plain)
      first.set('n', 1)
      const old = cookieOf(await first.commit())
      const late = await open(handlerOf('migrate'), old)
      const changing = await open(plain, old)
      changing.regenerate()
      const renewed = cookieOf(await changing.commit())
      await handlerOf('migrate').write(id(), {})
      const rows = await kit.query<{ sess_id: string }>(
        `SELECT sess_id FROM ${table} WHERE sess_id NOT LIKE 'h1:%'`,
      )
      expect(rows).toHaveLength(2)
      for (const { sess_id } of rows) {
        await kit.query(`UPDATE ${table} SET sess_id = $1 WHERE sess_id = $2`, [hashedId(sess_id), sess_id])
      }
      late.set('late', true)
      await late.commit()
      const hashed = handlerOf('hashed')
      const session = await open(hashed, renewed)
      expect(session.data).toEqual({ n: 1, late: true })
      session.destroy()
      await session.commit()
      for (const cookie of [old, renewed]) expect((await open(hashed, cookie)).data).toEqual({})
    })
  })

  test('a PgsqlStore of express-session lists, reads and clears its sessions', async () => {
    const { open, dump } = newTable(kit)
    const store = new PgsqlStore({ handler: open('hashed') })
    const ids = [id(), id()]
    const users = ['ada', 'eve']
    const cookie = { originalMaxAge: null }
    for (const [n, x] of ids.entries()) {
      await call((done) => store.set(x, { cookie, user: users[n] } as never, done))
    }
    const all = await call<Record<string, object>>((done) => store.all(done as never))
    expect(Object.keys(all ?? {}).sort()).toEqual(ids.map(hashedId).sort())
    expect(ids.map((x) => all?.[hashedId(x)])).toMatchObject(users.map((user) => ({ user })))
    expect(await call((done) => store.get(ids[0] as string, done as never))).toMatchObject({ cookie: {} })
    // What a visitor could read in the table is no cookie.
    expect(await call((done) => store.get(hashedId(ids[0] as string), done as never))).toBeUndefined()
    expect(ids.some((x) => JSON.stringify([all]).includes(x))).toBe(false)
    expect((await dump()).includes(ids[0] as string)).toBe(false)
    await call((done) => store.clear(done))
    expect(await call((done) => store.length(done))).toBe(0)
  })

  test('better-auth stores values under the hashes of their keys, whatever a key looks like', async () => {
    const { table, dump } = newTable(kit)
    const { db } = kit.database()
    const storage = pgsqlSecondaryStorage({ db, table, ids: 'hashed', gcInterval: 0 })
    try {
      const token = createHash('sha256').update(id()).digest('hex')
      for (const key of [token, `h1:${token}`, '\0']) {
        await storage.set(key, 'value', 60)
        expect(await storage.get(key)).toBe('value')
        await storage.delete(key)
        expect(await storage.get(key)).toBeNull()
        await storage.set(key, 'value', 60)
      }
      expect((await dump()).includes(token)).toBe(false)
    } finally {
      await storage.close()
    }
  })

  test.each<Mode>(['migrate', 'hashed'])('unstorage is refused, because keys are data: %s', (mode) => {
    const { open } = newTable(kit)
    for (const options of [{ ids: mode }, { handler: open(mode) }]) {
      expect(() => pgsqlDriver(options)).toThrow(/option ids: expected 'plain'/)
    }
  })
})
