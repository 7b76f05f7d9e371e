import { afterAll, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { describeOnEveryServer } from '../support/servers.ts'

type Data = { table: string; n: number }

/**
 * Two session tables behind one PgBouncer with two connections for both: statements prepared for one table stay on a
 * connection that is then used for the other.
 */
describeOnEveryServer(
  'two tables behind one PgBouncer',
  (server) => {
    const open: { close(): Promise<void> }[] = []
    afterAll(async () => {
      for (const one of open) await one.close()
    })

    test.each([
      // With one connection each, a handler uses a connection on which the other has prepared statements.
      { batch: true, poolSize: 1 },
      { batch: false, poolSize: 1 },
      { batch: true, poolSize: 10 },
    ])('never writes a row to the other table (%o)', async ({ batch, poolSize }) => {
      const database = await server.freshDatabase()
      const tables = ['one', 'two']
      const handlers = tables.map((table) => {
        const handler = new SaveHandler<Data>({
          db: database.db,
          table,
          batch,
          poolSize,
          gcInterval: 0,
          operationTimeout: 30,
        })
        open.push(handler)
        return handler
      })
      const ids = Array.from({ length: 20 }, (_, n) => `shared-${n}`)
      await Promise.all(
        handlers.flatMap((handler, which) => {
          const table = tables[which] as string
          return ids.map(async (id, n) => {
            for (let round = 0; round < 10; round++) {
              const fresh = await handler.write(id, { table, n }, { base: null })
              const { outcome, session } = await handler.write(
                id,
                { table, n: n + round },
                { base: fresh.session, custom: table },
              )
              expect([outcome, session?.data]).toEqual(['updated', { table, n: n + round }])
              expect(await handler.touch(id, { base: session, errors: { notices: 1 } })).toBe(true)
              expect(await handler.read(id)).toMatchObject({ data: { table, n: n + round }, notices: 1 })
              if (n % 4 !== 0 || round < 9) expect(await handler.destroy(id)).toBe(true)
            }
          })
        }),
      )
      for (const [which, handler] of handlers.entries()) {
        const table = tables[which] as string
        expect(await handler.count()).toBe(5)
        expect((await handler.findByField(table)).map(({ data }) => data.table)).toEqual(Array(5).fill(table))
        const rows = await database.query<{ sess_data: string }>(`SELECT sess_data FROM ${table}`)
        expect(rows.map(({ sess_data }) => JSON.parse(sess_data).table)).toEqual(Array(5).fill(table))
        expect(await handler.gc()).toBe(0)
      }
      // Proves that the twenty callers of each handler have shared so few connections.
      const [row] = await database.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      )
      expect(row?.n).toBeLessThanOrEqual(2)
    })
  },
  ['pgbouncer'],
)
