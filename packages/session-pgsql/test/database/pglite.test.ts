import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { plain } from '../../src/database/database.ts'
import { Pglite } from '../../src/database/pglite.ts'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import type { Data } from '../handler/kit.ts'
import { expectUsable } from '../handler/table-kit.ts'
import { startPglite } from '../support/pglite.ts'

/** PGlite in every run; `npm run test:all` runs the whole contract on it. */

function open(db: SaveHandlerOptions<Data>['db']): SaveHandler<Data> {
  const sessions = new SaveHandler<Data>({ db, gcInterval: 0, operationTimeout: 30 })
  onTestFinished(() => sessions.close())
  return sessions
}

test('stores sessions in an instance of the caller and leaves it open', async () => {
  const db = await startPglite()
  onTestFinished(() => db.close())
  const sessions = open(db)
  await expectUsable(sessions)
  await sessions.close()
  expect((await db.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
})

test('keeps sessions in a folder after it is closed', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'session-pgsql-pglite-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const dataDir = join(folder, 'data')
  await (await startPglite(dataDir)).close()
  const first = open(`pglite:${dataDir}`)
  await first.write('kept', { visits: 1 })
  await first.close()
  expect((await open(`pglite:${dataDir}`).read('kept'))?.data).toEqual({ visits: 1 })
})

test('returns the text of a value of any type that is not an array', async () => {
  const instance = await startPglite()
  onTestFinished(() => instance.close())
  const [converted] = await new Pglite(instance, false).query(
    plain(`SELECT true, 'a'::bytea, 1::int8, 1::int2, 1::int4, 'a'::text, 1::oid, '[]'::json, 1::float4, 1::float8,
      '2026-01-02'::date, '2026-01-02'::timestamp, '2026-01-02Z'::timestamptz, 1::numeric, '[]'::jsonb,
      'a'::name, 'a'::"char", 'a'::varchar, '1 day'::interval, gen_random_uuid()`),
    [],
    performance.now() + 30_000,
  )
  expect(converted?.filter((value) => typeof value !== 'string')).toEqual([])
})
