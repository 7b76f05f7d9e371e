import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import postgres from 'postgres'
import { describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { type Driver, id as newId, useDriver } from '../handler/kit.ts'
import { describeOnEveryServer } from '../support/servers.ts'
import { importSuites } from './suites.ts'

/** The handler's contract on the server of a `sql` of postgres.js. */
function postgresJsDriver(): Driver {
  const all: postgres.Sql[] = []
  return {
    connect(url) {
      const sql = postgres(url, { max: 20 })
      all.push(sql)
      return sql
    },
    async close() {
      await Promise.all(all.splice(0).map((sql) => sql.end()))
    },
  }
}

// Not in `describe`, whose function runs after the file was imported.
useDriver(postgresJsDriver())

describe('postgres.js', () => {
  describeOnEveryServer(
    'as db',
    (server) => {
      test('its server and startup parameters are used, its connections and its end are not', async () => {
        const { db, query } = await server.freshDatabase()
        const sql = postgres(db as string, {
          connection: { application_name: 'shop', search_path: 'a, "b c"' },
        })
        const sessions = new SaveHandler({ db: sql, gcInterval: 0 })
        const id = newId()
        await sessions.write(id, { n: 1 })
        expect(
          await query<{ name: string }>(
            "SELECT application_name AS name FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'shop'",
          ),
        ).toEqual([{ name: 'shop' }])
        await sql.end()
        expect((await sessions.read(id))?.data).toEqual({ n: 1 })
        await sessions.close()
      })

      /** Why the library does not use its connections. If this fails, the fault has been fixed: look again. */
      test('a connection of its own that breaks in a transaction ends the process', async () => {
        const { db } = await server.freshDatabase()
        const worker = fileURLToPath(new URL('workers/postgres-js-transaction.mjs', import.meta.url))
        const stderr = await new Promise<string>((resolve) => {
          execFile(process.execPath, [worker, db as string], { timeout: 20_000 }, (_, __, text) =>
            resolve(text),
          )
        })
        expect(stderr).toContain("Cannot read properties of null (reading 'write')")
      })
    },
    ['postgres'],
  )
})

await importSuites()
