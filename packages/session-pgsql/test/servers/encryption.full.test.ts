import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { SaveHandler } from '../../src/index.ts'
import { cipherOf } from '../../src/session/cipher.ts'
import { eventually } from '../support/wait.ts'
import { type Data, severalServers } from './kit.ts'

const KEY = { id: 'one', key: randomBytes(32) }
const MARKER = 'known-secret-data'

describe('encryption, with several servers', () => {
  const { server, servers, handlerOf, idsRanked, places, fallbackRows, isDown, startAgain } = severalServers()
  const open = (options = {}): SaveHandler<Data> => handlerOf({ encryption: { keys: [KEY] }, ...options })

  /** Everything that the servers in operation store about sessions. */
  async function dump(): Promise<string> {
    const texts = await Promise.all(
      servers
        .slice(0, 3)
        .filter(({ running }) => running)
        .map((one) =>
          one.query<{ text: string }>(
            "SELECT coalesce(string_agg(t::text, ''), '') AS text FROM php_session t",
          ),
        ),
    )
    return texts.flatMap((rows) => rows.map(({ text }) => text)).join('')
  }

  test('no server stores plain text, also not what a fallback server replaces', async () => {
    const sessions = open()
    const ids = idsRanked(['a', 'b'], 6)
    const [written, updated, touched, destroyed, fresh, untouched] = ids as [
      string,
      string,
      string,
      string,
      string,
      string,
    ]
    const errors = { errors: 1, message: `${MARKER} message` }
    const create = async (id: string) =>
      (await sessions.write(id, { secret: MARKER, n: 0 }, { base: null, errors })).session
    const records = new Map<string, Awaited<ReturnType<typeof create>>>()
    for (const id of ids) if (id !== fresh) records.set(id, await create(id))
    await server('a').kill9()

    await sessions.write(written, { secret: MARKER, n: 1 }, { base: records.get(written), errors })
    await sessions.write(updated, { secret: MARKER, n: 1 }, { base: records.get(updated) })
    await sessions.update(updated, (data) => {
      data.n = 2
    })
    await sessions.touch(touched, { base: records.get(touched), errors })
    await sessions.destroy(destroyed)
    await sessions.write(fresh, { secret: MARKER }, { base: null })
    expect(await fallbackRows()).toBe(5)
    expect(await dump()).not.toContain(MARKER)
    const [row] = await server('b').query('SELECT sess_base FROM php_session WHERE sess_id = $1', [written])
    expect(row?.sess_base).toMatch(/^e1\.one\./)
    expect(await sessions.read(written)).toMatchObject({
      data: { secret: MARKER, n: 1 },
      errorMessage: `${MARKER} message`,
    })

    await startAgain(sessions, 'a')
    expect(await dump()).not.toContain(MARKER)
    expect(await sessions.read(written)).toMatchObject({
      data: { secret: MARKER, n: 1 },
      errors: 2,
      errorMessage: `${MARKER} message`,
    })
    expect((await sessions.read(updated))?.data).toEqual({ secret: MARKER, n: 2 })
    expect(await sessions.read(touched)).toMatchObject({ data: { secret: MARKER, n: 0 }, errors: 2 })
    expect(await sessions.read(destroyed)).toBeUndefined()
    expect((await sessions.read(fresh))?.data).toEqual({ secret: MARKER })
    expect((await sessions.read(untouched))?.data).toEqual({ secret: MARKER, n: 0 })
    // The home server forgets what it received once the row is gone at its origin.
    await eventually(async () =>
      expect(await server('a').query('SELECT 1 FROM php_session WHERE sess_base IS NOT NULL')).toEqual([]),
    )
    for (const id of [written, updated, touched, fresh]) expect(await places(id)).toEqual(['a'])
  })

  test('both changes are kept when the home server was written too', async () => {
    const [here, there] = [open(), open()]
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    const { session } = await here.write(id, { cart: [{ id: 1 }] }, { base: null })
    await server('a').stop('fast')
    await here.write(id, { cart: [{ id: 1 }, { id: 2 }] }, { base: session })
    await server('a').start()
    // A process that has not noticed the outage writes at home before the row is back.
    await there.write(id, { cart: [{ id: 1 }, { id: 3 }] }, { base: session })
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    const read = await here.read(id)
    expect(read?.data.cart).toHaveLength(3)
    for (const id of [1, 2, 3]) expect(read?.data.cart).toContainEqual({ id })
  })

  test('a home row that only was encrypted again is no conflict for a failback', async () => {
    const sessions = open({ conflict: 'error' })
    const errors: Error[] = []
    sessions.on('error', (error) => errors.push(error))
    const [id] = idsRanked(['a', 'b'], 1) as [string]
    const { session } = await sessions.write(id, { n: 1 }, { base: null })
    // What `session-pgsql encrypt` stores: the same data and version, another text.
    const cipher = cipherOf({
      keys: [{ id: KEY.id, key: createSecretKey(KEY.key) }],
      write: true,
      acceptPlain: false,
    })
    await server('a').query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [
      id,
      cipher.seal('{"n":1}', 'sess_data', id),
    ])
    await server('a').kill9()
    expect((await sessions.write(id, { n: 2 }, { base: session })).outcome).toBe('updated')
    await startAgain(sessions, 'a')
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
    expect(errors.filter((error) => 'code' in error && error.code === 'CONFLICT')).toEqual([])
    const { homecoming } = sessions.status().servers.find(({ name }) => name === 'b') as {
      homecoming: { merged: number }
    }
    expect(homecoming.merged).toBe(0)
  })

  test('a process without the key loses no row and can end a session', async () => {
    const sessions = open()
    const [kept, destroyed] = idsRanked(['a', 'b'], 2) as [string, string]
    for (const id of [kept, destroyed]) await sessions.write(id, { secret: MARKER }, { base: null })
    await server('a').kill9()
    for (const id of [kept, destroyed]) {
      await sessions.write(id, { secret: MARKER, n: 1 }, { base: 'existing' }).catch(() => {})
      await sessions.write(id, { secret: MARKER, n: 1 })
    }
    await sessions.close()
    const keyless = handlerOf()
    expect(await keyless.destroy(destroyed)).toBe(true)
    expect(await keyless.read(destroyed)).toBeUndefined()
    await expect(keyless.read(kept)).rejects.toMatchObject({ code: 'UNDECODABLE' })
    await server('a').start()
    const again = open()
    await eventually(async () => {
      expect(isDown(again, 'a')).toBe(false)
      expect(await fallbackRows()).toBe(0)
    })
    expect((await again.read(kept))?.data).toEqual({ secret: MARKER, n: 1 })
    expect(await again.read(destroyed)).toBeUndefined()
    expect(await dump()).not.toContain(MARKER)
  })
})
