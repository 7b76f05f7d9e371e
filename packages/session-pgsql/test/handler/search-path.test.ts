import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { type Data, type Handler, id as newId } from './kit.ts'
import { expectUsable } from './table-kit.ts'

describeOnEveryServer(
  'Without a schema in the option table',
  (server) => {
    /** Calls `work` with a save handler, twice: the second time the table exists. */
    async function twice(
      db: () => SaveHandlerOptions['db'],
      work: (sessions: Handler) => Promise<void>,
    ): Promise<void> {
      for (let start = 0; start < 2; start++) {
        const sessions = new SaveHandler<Data>({ db: db(), gcInterval: 0 })
        try {
          await work(sessions)
        } finally {
          await sessions.close()
        }
      }
    }

    const schemasOf = async ({ query }: FreshDatabase): Promise<unknown[]> =>
      (await query(`SELECT schemaname FROM pg_tables WHERE tablename = 'php_session' ORDER BY 1`)).map(
        ({ schemaname }) => schemaname,
      )

    describe('an empty search_path', () => {
      test('in the URL leads to the schema public', async () => {
        const database = await server.freshDatabase()
        await twice(() => `${database.db}?options=-c%20search_path%3D`, expectUsable)
        expect(await schemasOf(database)).toEqual(['public'])
      })

      test('of the role or the database leads to the schema public', async () => {
        const database = await server.freshDatabase()
        const name = new URL(database.db as string).pathname.slice(1)
        await database.query(`ALTER DATABASE ${name} SET search_path = ''`)
        await twice(() => database.db, expectUsable)
        expect(await schemasOf(database)).toEqual(['public'])
      })

      test('that a pooled connection has been left with leads to the same table', async () => {
        const database = await server.freshDatabase()
        const pool = new pg.Pool({ connectionString: database.db as string, max: 2 })
        try {
          await twice(() => pool, expectUsable)
          const clients = await Promise.all([pool.connect(), pool.connect()])
          for (const client of clients) {
            await client.query("SELECT set_config('search_path', '', false)")
            client.release()
          }
          await twice(() => pool, expectUsable)
        } finally {
          await pool.end()
        }
        expect(await schemasOf(database)).toEqual(['public'])
      })
    })

    test('a table further down the path is used, and not another one created', async () => {
      const database = await server.freshDatabase()
      await database.query('CREATE SCHEMA app')
      await twice(() => database.db, expectUsable)
      await twice(() => `${database.db}?options=-c%20search_path%3Dapp,public`, expectUsable)
      expect(await schemasOf(database)).toEqual(['public'])
    })

    test('a missing schema on the path is skipped', async () => {
      const database = await server.freshDatabase()
      await database.query('CREATE SCHEMA app')
      await twice(() => `${database.db}?options=-c%20search_path%3Dmissing,app,public`, expectUsable)
      expect(await schemasOf(database)).toEqual(['app'])
    })

    test('a path of missing schemas leads to the schema public', async () => {
      const database = await server.freshDatabase()
      await twice(() => `${database.db}?options=-c%20search_path%3Dmissing`, expectUsable)
      const id = newId()
      await twice(
        () => database.db,
        async (sessions) => {
          expect((await sessions.write(id, {})).outcome).toMatch(/created|updated/)
        },
      )
      expect(await schemasOf(database)).toEqual(['public'])
    })
  },
  ['postgres'],
)
