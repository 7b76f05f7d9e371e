import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SessionPgsqlError } from '../../src/errors.ts'
import { Health } from '../../src/servers/health.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const refused = (): SessionPgsqlError => new SessionPgsqlError('SERVER_DOWN', 'It refuses.')

/** A server that is asked: when that was, in milliseconds, and how it answers. */
function watched() {
  const told: string[] = []
  const asked: number[] = []
  let answer = (): Promise<unknown> => Promise.reject(refused())
  const health = new Health(
    () => {
      asked.push(performance.now())
      return answer()
    },
    { onDown: () => told.push('down'), onUp: () => told.push('up') },
  )
  return {
    health,
    told,
    asked,
    answers(how: () => Promise<unknown>) {
      answer = how
    },
  }
}

test('many callers make one question, and when it stays without an answer all are let go', async () => {
  const { health, told, asked, answers } = watched()
  answers(() => new Promise(() => {}))
  const results = Array.from({ length: 100 }, () =>
    health.run(() => new Promise(() => {})).catch((error) => error.code),
  )
  await vi.advanceTimersByTimeAsync(2000)
  expect(new Set(await Promise.all(results))).toEqual(new Set(['SERVER_DOWN']))
  // The question, and the probes of the second after it.
  expect(asked.filter((at) => at <= (asked[0] as number) + 400)).toHaveLength(1)
  expect(asked.length).toBeLessThan(6)
  expect(told).toEqual(['down'])
  health.close()
})

test('many callers of one that refuses: one question, and one "down"', async () => {
  const { health, told, asked } = watched()
  const results = Array.from({ length: 100 }, () =>
    health.run(() => Promise.reject(refused())).catch((error) => error.code),
  )
  expect(new Set(await Promise.all(results))).toEqual(new Set(['SERVER_DOWN']))
  expect(asked).toHaveLength(1)
  expect(told).toEqual(['down'])
  expect(health.isDown).toBe(true)
  let reached = false
  await expect(
    health.run(async () => {
      reached = true
    }),
  ).rejects.toMatchObject({ code: 'SERVER_DOWN' })
  expect(reached).toBe(false)
  expect(asked).toHaveLength(1)
  health.close()
})

test('a server that is down is probed ever less often, at most every 5 s, until it answers', async () => {
  const { health, told, asked, answers } = watched()
  await health.confirm()
  await vi.advanceTimersByTimeAsync(60_000)
  const gaps = asked.slice(1).map((at, n) => at - (asked[n] as number))
  for (const [n, gap] of gaps.entries()) {
    const most = Math.min(100 * 2 ** n, 5000)
    expect(gap).toBeGreaterThanOrEqual(most / 2 - 1)
    expect(gap).toBeLessThanOrEqual(most + 1)
  }
  expect(Math.max(...gaps)).toBeGreaterThan(2500)
  answers(async () => {})
  await vi.advanceTimersByTimeAsync(5001)
  expect(told).toEqual(['down', 'up'])
  const probes = asked.length
  await vi.advanceTimersByTimeAsync(20_000)
  expect(asked).toHaveLength(probes)
  health.close()
})

test('processes that saw it fall together do not probe together', async () => {
  const all = Array.from({ length: 20 }, watched)
  await Promise.all(all.map(({ health }) => health.confirm()))
  await vi.advanceTimersByTimeAsync(10_000)
  const last = all.map(({ asked }) => Math.round((asked.at(-1) as number) / 50))
  expect(new Set(last).size).toBeGreaterThan(3)
  for (const { health } of all) health.close()
})
