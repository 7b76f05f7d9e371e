import { setImmediate as nextTurn } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import type { PostgresServer } from '../support/postgres.ts'
import { usePostgres } from '../support/servers.ts'
import { startStandby, synchronous } from '../support/standby.ts'
import { until } from '../support/wait.ts'
import type { Data } from './kit.ts'

const WRITTEN = Array.from({ length: 64 }, (_, n) => `written-${n}`)
const READ = Array.from({ length: 64 }, (_, n) => `read-${n}`)

describe('While commits wait for a dead synchronous standby', () => {
  const primary = usePostgres({ version: '18', settings: { fsync: 'off' } })
  let standby: PostgresServer
  beforeAll(async () => {
    standby = await startStandby(primary())
    await synchronous(primary())
  })
  afterEach(() => standby.resume())
  afterAll(() => standby?.remove())

  const waitingCommits = async (): Promise<number> =>
    (await primary().query("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")).length

  test.each<[string, Partial<SaveHandlerOptions<Data>>, number, number]>([
    ['default batching', {}, 10, 2],
    ['default batching and poolSize 2', { poolSize: 2 }, 2, 1],
    ['poolSize 10', { poolSize: 10, batch: false }, 10, 8],
    ['poolSize 2', { poolSize: 2, batch: false }, 2, 1],
    ['a pool of the caller with 4 connections', { batch: false }, 4, 3],
  ])('reads succeed: %s', async (name, options, max, writes) => {
    const pool = new pg.Pool({ connectionString: primary().url(), max })
    const handler = new SaveHandler<Data>({
      db: name.startsWith('a pool') ? pool : primary().url(),
      // The writes that hang do not time out during the test.
      operationTimeout: 60,
      gcInterval: 0,
      ...options,
    })
    await Promise.all([...WRITTEN, ...READ].map((id) => handler.write(id, { n: 1 })))
    standby.pause()
    let ended = 0
    const writing = WRITTEN.map(async (id, n) => {
      // One after the other, so that they do not all travel in one batch.
      for (let turn = 0; turn < n; turn++) await nextTurn()
      await handler.write(id, { n: 2 })
      ended++
    })
    await until(async () => (await waitingCommits()) >= writes, `${writes} commits that wait`)
    // Twice: each write that was waiting for a slot has had its chance.
    for (let round = 0; round < 2; round++) {
      const read = await Promise.all(READ.map((id) => handler.read(id)))
      expect(read.map((record) => record?.data)).toEqual(READ.map(() => ({ n: 1 })))
    }
    expect(ended).toBe(0)
    standby.resume()
    await Promise.all(writing)
    expect((await handler.read('written-0'))?.data).toEqual({ n: 2 })
    await handler.close()
    await pool.end()
  })
})
