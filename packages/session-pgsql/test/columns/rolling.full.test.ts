import { expect, test } from 'vitest'
import { SaveHandler, type SessionPgsqlError } from '../../src/index.ts'
import { describeWithCommand } from '../cli/place.ts'
import type { Data } from '../handler/kit.ts'

const columns = {
  user_id: { type: 'bigint', value: (data: Data) => data.user, index: true },
} as const

/** A process of the previous version sends the same statements as one without the option that was started before. */
describeWithCommand('own columns on a live site', (setup) => {
  test('are current after the documented steps, under traffic of old and new processes', async () => {
    const { database, db, run } = await setup()
    const [before, after] = [undefined, columns].map(
      (columns) => new SaveHandler<Data>({ db, columns, gcInterval: 0, poolSize: 4 }),
    ) as [SaveHandler<Data>, SaveHandler<Data>]
    const ids = Array.from({ length: 40 }, (_, n) => `s${n}`)
    const errors: SessionPgsqlError[] = []
    /** Requests that read a session and change its user, until `stop` is called. */
    function traffic(handler: SaveHandler<Data>, name: string) {
      let running = true
      const done = Promise.all(
        ids.map(async (id, n) => {
          for (let count = 0; running; count++) {
            try {
              const base = (await handler.read(id)) ?? null
              const user = (n * 7 + count) % 10
              await handler.write(id, { ...base?.data, user, [name]: count }, { base })
            } catch (error) {
              errors.push(error as SessionPgsqlError)
            }
          }
        }),
      )
      return {
        async stop(): Promise<void> {
          running = false
          await done
        },
      }
    }
    try {
      await before.open()
      const old = traffic(before, 'old')
      expect(await run(['init', '--columns', 'user_id:bigint:index'])).toMatchObject({ code: 0, stderr: '' })
      const current = traffic(after, 'current')
      // Both write the same rows for a while: the old process does not mark them.
      const settled = async (): Promise<number> =>
        (
          await database.query(
            "SELECT 1 FROM php_session WHERE sess_data LIKE '%current%' AND sess_data LIKE '%old%'",
          )
        ).length
      while ((await settled()) < ids.length) await after.count()
      await old.stop()
      await before.close()
      await after.fillColumns({ all: true })
      await current.stop()
      expect(errors).toEqual([])
      const wrong = await database.query(
        `SELECT sess_id FROM php_session
         WHERE user_id IS DISTINCT FROM (sess_data::json->>'user')::bigint OR sess_filled IS DISTINCT FROM 'user_id'`,
      )
      expect(wrong).toEqual([])
      const users = await after.list({ text: true, limit: 1000 })
      const matching = users.filter(({ text = '' }) => JSON.parse(text).user === 3).length
      expect(await after.destroyWhere({ user_id: 3 })).toBe(matching)
    } finally {
      await Promise.all([before.close(), after.close()])
    }
  })
})
