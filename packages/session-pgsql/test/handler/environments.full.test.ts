import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { usePostgres } from '../support/servers.ts'
import { type Data, describeHandler, errorOf, type Handler, id as newId } from './kit.ts'

describeHandler(
  'A database in LATIN1',
  (kit) => {
    async function latin1(options = {}): Promise<{ sessions: Handler; close(): Promise<void> }> {
      const database = await kit.server.freshDatabase({ encoding: 'LATIN1', locale: 'C' })
      const sessions = kit.open({ db: database.db, ...options })
      await sessions.open()
      return {
        sessions,
        close: async () => {
          await sessions.close()
          await database.drop()
        },
      }
    }

    test('stores and compares the characters that it supports', async () => {
      const { sessions, close } = await latin1()
      const id = newId()
      const { session: base } = await sessions.write(id, { name: 'Zoë ÿ ñ' }, { custom: 'né' })
      expect((await sessions.read(id))?.data).toEqual({ name: 'Zoë ÿ ñ' })
      expect((await sessions.write(id, { name: 'Zoë ÿ ñ', a: 1 }, { base })).outcome).toBe('updated')
      expect((await sessions.write(id, { name: 'Zoë ÿ ñ', b: 1 }, { base })).session?.data).toEqual({
        name: 'Zoë ÿ ñ',
        a: 1,
        b: 1,
      })
      expect(await sessions.findByField('né')).toHaveLength(1)
      await close()
    })

    test('rejects only the sessions with other characters, whatever batch they are in', async () => {
      const { sessions, close } = await latin1()
      const ids = Array.from({ length: 100 }, newId)
      const bases = await Promise.all(ids.map(async (id) => (await sessions.write(id, { n: 0 })).session))
      const bad = new Set([0, 13, 50, 51, 99])
      for (const write of [
        (n: number, text: string) => sessions.write(ids[n] as string, { text }, { base: bases[n] }),
        (n: number, text: string) => sessions.write(ids[n] as string, { text }),
        (n: number, text: string) => sessions.touch(ids[n] as string, { custom: text }),
        (n: number, text: string) => sessions.write(ids[n] as string, {}, { address: text }),
      ]) {
        const done = await Promise.allSettled(ids.map((_, n) => write(n, bad.has(n) ? 'Łódź 東京' : 'Köln')))
        const failed = done.flatMap((result, n) => (result.status === 'rejected' ? [n] : []))
        expect(failed).toEqual([...bad])
        for (const n of bad) {
          const { reason } = done[n] as PromiseRejectedResult
          expect(reason).toMatchObject({ code: 'INVALID_DATA', sqlState: '22P05' })
          expect(reason.message).toContain('UTF8')
          expect(`${reason.message}${reason.cause ?? ''}`).not.toContain('dź')
        }
      }
      expect((await sessions.read(ids[13] as string))?.data).toEqual({ n: 0 })
      await close()
    })
  },
  'postgres only',
)

describeHandler('Columns that are too short for a value', (kit) => {
  test('fail the write of that row only, and nothing is truncated', async () => {
    const sessions = kit.open({ table: 'short' })
    await kit.open({ table: 'short' }).open()
    await kit.query('ALTER TABLE short ALTER sess_custom TYPE varchar(5), ALTER sess_data TYPE varchar(20)')
    const results = await Promise.allSettled([
      sessions.write('a', { fits: 1 }, { custom: '12345' }),
      sessions.write('b', { fits: 1 }, { custom: '123456' }),
      sessions.write('c', { text: 'x'.repeat(30) }),
      sessions.write('d', { fits: 1 }),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
    expect((results[1] as PromiseRejectedResult).reason).toMatchObject({
      code: 'DATABASE',
      sqlState: '22001',
    })
    expect(await sessions.count()).toBe(2)
  })
})

describe('At start', () => {
  const server = usePostgres({ version: '15', settings: { fsync: 'off' }, timezone: 'Asia/Tokyo' })

  test('a missing database or a stopped server is an error until it exists', async () => {
    const name = `later_${randomBytes(4).toString('hex')}`
    const sessions = new SaveHandler<Data>({ db: server().url(name), gcInterval: 0, operationTimeout: 5 })
    const missing = await errorOf(sessions.open())
    expect(missing).toMatchObject({ code: 'DATABASE', sqlState: '3D000' })
    expect(missing.message).toContain(name)
    await server().createDatabase(name)
    expect((await sessions.write('a', { a: 1 })).outcome).toBe('created')
    await sessions.close()

    await server().stop()
    const early = new SaveHandler<Data>({ db: server().url(name), gcInterval: 0, operationTimeout: 5 })
    const all = [early.open(), early.read('a'), early.write('a', {}), early.gc()]
    for (const error of await Promise.all(all.map((promise) => errorOf(promise)))) {
      expect(error).toMatchObject({ code: 'SERVER_DOWN' })
    }
    expect(early.status().servers[0]).toMatchObject({ health: 'down' })
    await server().start()
    expect((await early.read('a'))?.data).toEqual({ a: 1 })
    expect(early.status().servers[0]).toMatchObject({ health: 'up' })
    await early.close()
  })

  test('a server in another time zone stores the same dates', async () => {
    const sessions = new SaveHandler<Data>({ db: server().url(), gcInterval: 0 })
    const { session } = await sessions.write(newId(), {}, { lifetime: 100 })
    expect(Math.abs((session?.created?.getTime() ?? 0) - Date.now())).toBeLessThan(10_000)
    expect(Math.abs((session?.expires?.getTime() ?? 0) - Date.now() - 100_000)).toBeLessThan(10_000)
    expect(await sessions.gc()).toBe(0)
    expect(await sessions.validateId(session?.id ?? '')).toBe(true)
    await sessions.close()
  })
})
