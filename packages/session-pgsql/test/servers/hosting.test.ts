import { afterEach, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { describeOnEveryServer } from '../support/servers.ts'

/** The parameters of hosting providers and other clients, on a real server. Their TLS is in tls-connections.test.ts. */
describeOnEveryServer(
  'URLs with parameters for other clients',
  (server) => {
    const opened: SaveHandler[] = []
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((sessions) => sessions.close()))
    })
    const open = (db: string, options: SaveHandlerOptions = {}) => {
      const sessions = new SaveHandler({ gcInterval: 0, ...options, db })
      opened.push(sessions)
      return sessions
    }

    test.each([
      'pgbouncer=true&connection_limit=1&pool_timeout=10&socket_timeout=5&statement_cache_size=0',
      'supa=base-pooler.x',
      'uselibpqcompat=true&sslmode=prefer',
      'channel_binding=prefer',
      'sslaccept=accept_invalid_certs&connect_timeout=15',
    ])('?%s stores and reads sessions', async (parameters) => {
      const { db } = await server.freshDatabase()
      const sessions = open(`${db}?${parameters}`)
      await sessions.write('id', { n: 1 })
      expect((await sessions.read('id'))?.data).toEqual({ n: 1 })
    })

    test('?schema= creates the table in that schema, whatever the search_path is', async () => {
      const database = await server.freshDatabase()
      await database.query('CREATE SCHEMA app')
      await open(`${database.db}?schema=app`).write('id', { n: 1 })
      const rows = await database.query('SELECT schemaname FROM pg_tables WHERE tablename = $1', [
        'php_session',
      ])
      expect(rows).toEqual([{ schemaname: 'app' }])
      expect((await open(database.db as string, { table: 'app.php_session' }).read('id'))?.data).toEqual({
        n: 1,
      })
    })
  },
  ['postgres'],
)
