import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { promote, rejoin, startStandby, synchronous } from '../support/standby.ts'
import { eventually, sleep } from '../support/wait.ts'
import { Traffic } from './traffic.ts'

/** One entry of `db`: a primary and its synchronous standby, under traffic of 64 callers. */
describe('a replicated group under traffic', () => {
  let first: PostgresServer
  let second: PostgresServer
  let handler: SaveHandler<Record<string, number>>
  const promotions: { from: string; to: string }[] = []

  beforeAll(async () => {
    first = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    second = await startStandby(first)
    await synchronous(first)
    handler = new SaveHandler<Record<string, number>>({
      db: `host=${first.host},${second.host} port=${first.port},${second.port} dbname=postgres user=postgres target_session_attrs=read-write`,
      gcInterval: 0,
    })
    handler.on('promoted', (event) => promotions.push(event))
    await handler.open()
  })
  afterAll(async () => {
    await handler?.close()
    await Promise.all([first?.remove(), second?.remove()])
  })

  /** Has four callers add to one number by `update`. @returns stops them, and returns how often they added, and the number */
  function countUp(): () => Promise<{ acknowledged: number; unknown: number; stored: number | undefined }> {
    const id = 'counter'
    const counts = { acknowledged: 0, unknown: 0 }
    let isRunning = true
    const adding = [1, 2, 3, 4].map(async () => {
      while (isRunning) {
        const add = (data: Record<string, number>): void => {
          data.n = (data.n ?? 0) + 1
        }
        try {
          await handler.update(id, add, { base: null })
          counts.acknowledged++
        } catch {
          counts.unknown++
        }
      }
    })
    return async () => {
      isRunning = false
      await Promise.all(adding)
      return { ...counts, stored: (await handler.read(id))?.data.n }
    }
  }

  test('kill -9 of the primary loses no acknowledged write, and service resumes within a second of the promotion', async () => {
    const traffic = new Traffic([handler], 64, 11)
    const stopCounting = countUp()
    await sleep(2000)
    const before = traffic.acknowledged
    expect(before).toBeGreaterThan(100)
    await first.kill9()
    await sleep(300)
    await promote(second)
    const promoted = performance.now()
    const until = traffic.acknowledged
    await eventually(async () => expect(traffic.acknowledged).toBeGreaterThan(until))
    const outage = performance.now() - promoted
    await sleep(1500)
    const { acknowledged, unknown, stored } = await stopCounting()
    expect(acknowledged).toBeGreaterThan(20)
    expect(stored).toBeGreaterThanOrEqual(acknowledged)
    expect(stored).toBeLessThanOrEqual(acknowledged + unknown)
    await traffic.stop()
    await traffic.check(handler)
    expect(traffic.broken.join('; ')).toBe('')
    expect(traffic.checked).toBeGreaterThan(100)
    const codes = new Set(traffic.errors.map(({ code }) => code))
    for (const code of codes) expect(['SERVER_DOWN', 'AMBIGUOUS', 'TIMEOUT']).toContain(code)
    expect(outage).toBeLessThan(1000)
    expect(promotions).toMatchObject([
      { from: `${first.host}:${first.port}`, to: `${second.host}:${second.port}` },
    ])
    expect(handler.status().servers[0]).toMatchObject({
      address: `${second.host}:${second.port}`,
      role: 'primary',
    })
  })

  test('no request fails and none goes to the old primary when it comes back as a standby', async () => {
    const traffic = new Traffic([handler], 64, 12)
    await sleep(500)
    await rejoin(first, second)
    await eventually(async () =>
      expect(await second.query('SELECT 1 FROM pg_stat_replication')).toHaveLength(1),
    )
    await sleep(1500)
    await traffic.stop()
    await traffic.check(handler)
    expect(traffic.broken.join('; ')).toBe('')
    expect(traffic.errors).toEqual([])
    // The return of the old primary is no promotion.
    expect(promotions).toHaveLength(1)
    expect(handler.status().servers[0]).toMatchObject({
      address: `${second.host}:${second.port}`,
      role: 'primary',
    })
  })
})
