import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { sleep, until, within } from '../support/wait.ts'
import { describeHandler, errorOf, id as newId } from './kit.ts'
import { dbOfAppUser } from './table-kit.ts'

/** Locks of other transactions. PGlite has one connection, so that no other transaction can hold a lock. */
describeHandler(
  'A row that another transaction has locked',
  (kit) => {
    let holder: pg.Client | undefined
    afterEach(async () => {
      await holder?.end()
      holder = undefined
    })

    async function hold(
      sql: string,
      parameters: unknown[] = [],
    ): Promise<{ release(how?: string): Promise<void> }> {
      const client = new pg.Client(kit.database().db as string)
      holder = client
      await client.connect()
      await client.query('BEGIN')
      await client.query(sql, parameters)
      return { release: async (how = 'COMMIT') => void (await client.query(how)) }
    }

    test('delays only its own session', async () => {
      const sessions = kit.open()
      const ids = Array.from({ length: 64 }, newId)
      const locked = newId()
      const records = await Promise.all(
        [...ids, locked].map(async (id) => (await sessions.write(id, { n: 0 })).session),
      )
      const lock = await hold('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [locked])

      const settled: string[] = []
      const track = <T>(name: string, promise: Promise<T>): Promise<T> =>
        promise.finally(() => settled.push(name))
      const write = track('write', sessions.write(locked, { n: 1 }, { base: records[64] }))
      const read = track('read', kit.open().read(locked))
      const others = ids.map(async (id, n) => {
        await sessions.write(id, { n: 1 }, { base: records[n] })
        await sessions.touch(id)
        await sessions.write(id, { n: 2 })
        expect((await sessions.read(id))?.data).toEqual({ n: 2 })
        await sessions.write(`${id}-new`, {})
        return sessions.destroy(id)
      })
      expect(await within(Promise.all(others), 10_000, 'the others, while the row is locked')).toEqual(
        Array(64).fill(true),
      )
      // A read does not wait for a lock.
      expect((await read)?.data).toEqual({ n: 0 })
      expect(settled).toEqual(['read'])
      const [touch, destroy] = [sessions.touch(locked), sessions.destroy(locked)]
      await lock.release()
      expect((await write).outcome).toBe('updated')
      expect([await touch, await destroy]).toEqual([true, true])
    })

    test.each(['write', 'create', 'touch', 'destroy'] as const)(
      'makes a %s time out at its deadline',
      async (what) => {
        const sessions = kit.open({ operationTimeout: 1 })
        const id = newId()
        const base = (await sessions.write(id, { n: 0 })).session
        const lock = await hold('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [id])
        const error = await errorOf(
          {
            write: () => sessions.write(id, { n: 1 }, { base }),
            create: () => sessions.write(id, { n: 1 }),
            touch: () => sessions.touch(id),
            destroy: () => sessions.destroy(id),
          }[what](),
        )
        expect(error).toMatchObject({ code: 'TIMEOUT' })
        await lock.release()
        await sleep(100)
        expect((await kit.open().read(id))?.data).toEqual({ n: 0 })
        expect((await sessions.write(id, { n: 2 }, { base })).outcome).toBe('updated')
      },
    )

    test('is written after the other transaction, and merged with its changes', async () => {
      const sessions = kit.open()
      const id = newId()
      const base = (await sessions.write(id, { a: 0 })).session
      const lock = await hold(`UPDATE php_session SET sess_data = '{"a":0,"theirs":1}' WHERE sess_id = $1`, [
        id,
      ])
      const write = sessions.write(id, { a: 1 }, { base })
      await sleep(50)
      await lock.release()
      expect(await write).toMatchObject({ outcome: 'merged', session: { data: { a: 1, theirs: 1 } } })
      const gone = await hold('DELETE FROM php_session WHERE sess_id = $1', [id])
      const late = sessions.write(id, { a: 2 }, { base })
      await sleep(50)
      await gone.release()
      expect((await late).outcome).toBe('gone')
    })

    test('while a conflict function runs delays only its own session', async () => {
      let answer: (data: object) => void = () => {}
      let rounds = 0
      const other = kit.open()
      const id = newId()
      const sessions = kit.open({
        // Loses every compare-and-swap, so that it finally runs while the row is locked.
        conflict: (async (ours: object) => {
          if (++rounds <= 2) await other.write(id, { round: rounds })
          else
            await new Promise((resolve) => {
              answer = () => resolve(undefined)
            })
          return ours
        }) as never,
      })
      const base = (await sessions.write(id, { n: 0 })).session
      await other.write(id, { n: 1 })
      const write = sessions.write(id, { n: 2 }, { base })
      await until(() => rounds === 3, 'the third round')
      const writes = await Promise.all(Array.from({ length: 20 }, () => other.write(newId(), {})))
      expect(writes).toHaveLength(20)
      answer({})
      expect(await write).toMatchObject({ outcome: 'merged', session: { data: { n: 2 } } })
      expect((await other.read(id))?.data).toEqual({ n: 2 })
    })

    test('to sweep it is left to that process, and other rows are swept', async () => {
      const sessions = kit.open({ table: 'swept' })
      for (const id of ['one', 'other']) await sessions.write(id, {})
      await kit.query('UPDATE swept SET sess_expire = 1000, sess_sweep = 0')
      const lock = await hold("SELECT FROM swept WHERE sess_id = 'one' FOR UPDATE")
      expect(await sessions.sweep()).toMatchObject([{ removed: 1, ended: 'busy', error: undefined }])
      expect(await sessions.sweep()).toMatchObject([{ removed: 0, ended: 'busy', error: undefined }])
      await lock.release()
      expect(await sessions.sweep()).toMatchObject([{ removed: 1, ended: 'done', error: undefined }])
    })

    test('does not exist for a role that has no access to the table, which cannot stop anything', async () => {
      const url = new URL((await dbOfAppUser(kit, undefined)) as string)
      const stranger = new pg.Client(url.href)
      await stranger.connect()
      const keys = ["hashtext('session_pgsql'), hashtext('unstoppable')"]
      keys.push(`hashtext('session_pgsql gc'), hashtext('"public"."unstoppable"')`)
      for (const key of keys) await stranger.query(`SELECT pg_advisory_lock(${key})`)
      try {
        const sessions = kit.open({ table: 'unstoppable', operationTimeout: 5 })
        await sessions.write(newId(), {})
        await kit.query('UPDATE unstoppable SET sess_expire = 1000, sess_sweep = 0')
        expect(await sessions.tryLock(newId(), 'owner', 10)).toBe(true)
        expect(await sessions.sweep()).toMatchObject([{ removed: 1, ended: 'done' }])
        const [row] = await kit.query(
          `SELECT count(*)::int AS held FROM pg_locks JOIN pg_database d ON d.oid = database
           WHERE locktype = 'advisory' AND datname = current_database()`,
        )
        expect(row).toEqual({ held: keys.length })
      } finally {
        await stranger.end()
      }
    })

    test('because it inserts the row delays only its own session', async () => {
      const sessions = kit.open({ operationTimeout: 3 })
      const id = newId()
      await sessions.open()
      const lock = await hold(`INSERT INTO php_session (sess_id, sess_data) VALUES ($1, '{"theirs":1}')`, [
        id,
      ])
      const held = sessions.write(id, { ours: 1 }, { base: null })
      const others = Array.from({ length: 64 }, () => sessions.write(newId(), {}))
      await within(Promise.all(others), 10_000, 'the others, while the row is being inserted')
      await lock.release()
      expect(await held).toMatchObject({ outcome: 'merged', session: { data: { ours: 1, theirs: 1 } } })
    })

    test('because it inserts the row and rolls back stays absent after the write timed out', async () => {
      const sessions = kit.open({ operationTimeout: 1 })
      const id = newId()
      await sessions.open()
      const lock = await hold('INSERT INTO php_session (sess_id) VALUES ($1)', [id])
      expect(await errorOf(sessions.write(id, { user: 1 }))).toMatchObject({ code: 'TIMEOUT' })
      expect(await kit.open().destroy(id)).toBe(false)
      await lock.release('ROLLBACK')
      await sleep(300)
      expect(await kit.open().read(id)).toBeUndefined()
    })
  },
  'postgres only',
)
