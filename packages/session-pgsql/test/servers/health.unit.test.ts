import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SessionPgsqlError } from '../../src/errors.ts'
import { Health } from '../../src/servers/health.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const refused = (): SessionPgsqlError => new SessionPgsqlError('SERVER_DOWN', 'Connection refused.')

/** The health of a fake server: its events, the times of its pings in milliseconds, and how it answers them. */
function healthOfServer() {
  const events: string[] = []
  const pings: number[] = []
  let answer = (): Promise<unknown> => Promise.reject(refused())
  const health = new Health(
    () => {
      pings.push(performance.now())
      return answer()
    },
    {
      onDown: () => events.push('down'),
      onUp: () => events.push('up'),
      onInterrupted: () => events.push('interrupted'),
    },
  )
  return {
    health,
    events,
    pings,
    answers(how: () => Promise<unknown>) {
      answer = how
    },
  }
}

test('many waiting requests share one ping, and all are rejected when it times out', async () => {
  const { health, events, pings, answers } = healthOfServer()
  answers(() => new Promise(() => {}))
  const results = Array.from({ length: 100 }, () =>
    health.run(() => new Promise(() => {})).catch((error) => error.code),
  )
  await vi.advanceTimersByTimeAsync(2000)
  expect(new Set(await Promise.all(results))).toEqual(new Set(['SERVER_DOWN']))
  // One ping; the probes begin after it.
  expect(pings.filter((at) => at <= (pings[0] as number) + 400)).toHaveLength(1)
  expect(pings.length).toBeLessThan(6)
  expect(events).toEqual(['down'])
  health.close()
})

test('many refused requests share one ping and emit one "down" event', async () => {
  const { health, events, pings } = healthOfServer()
  const results = Array.from({ length: 100 }, () =>
    health.run(() => Promise.reject(refused())).catch((error) => error.code),
  )
  expect(new Set(await Promise.all(results))).toEqual(new Set(['SERVER_DOWN']))
  expect(pings).toHaveLength(1)
  expect(events).toEqual(['down'])
  expect(health.isDown).toBe(true)
  let reached = false
  await expect(
    health.run(async () => {
      reached = true
    }),
  ).rejects.toMatchObject({ code: 'SERVER_DOWN' })
  expect(reached).toBe(false)
  expect(pings).toHaveLength(1)
  health.close()
})

test('probes a server that is down at growing intervals of at most 5 s until it answers', async () => {
  const { health, events, pings, answers } = healthOfServer()
  await health.check()
  await vi.advanceTimersByTimeAsync(60_000)
  const gaps = pings.slice(1).map((at, n) => at - (pings[n] as number))
  for (const [n, gap] of gaps.entries()) {
    const most = Math.min(100 * 2 ** n, 5000)
    expect(gap).toBeGreaterThanOrEqual(most / 2 - 1)
    expect(gap).toBeLessThanOrEqual(most + 1)
  }
  expect(Math.max(...gaps)).toBeGreaterThan(2500)
  answers(async () => {})
  await vi.advanceTimersByTimeAsync(5001)
  expect(events).toEqual(['down', 'up'])
  const probes = pings.length
  await vi.advanceTimersByTimeAsync(20_000)
  expect(pings).toHaveLength(probes)
  health.close()
})

test('spreads the probes of processes that found the server down at the same time', async () => {
  const all = Array.from({ length: 20 }, healthOfServer)
  await Promise.all(all.map(({ health }) => health.check()))
  await vi.advanceTimersByTimeAsync(10_000)
  const last = all.map(({ pings }) => Math.round((pings.at(-1) as number) / 50))
  expect(new Set(last).size).toBeGreaterThan(3)
  for (const { health } of all) health.close()
})

test('a lost connection of a server that is up emits "interrupted" before the request rejects', async () => {
  const { health, events, answers } = healthOfServer()
  answers(() => Promise.resolve())
  await vi.advanceTimersByTimeAsync(1000)
  expect(health.upFor).toBeGreaterThanOrEqual(1000)
  await expect(health.run(() => Promise.reject(refused()))).rejects.toMatchObject({ code: 'SERVER_DOWN' })
  expect(events).toEqual(['interrupted'])
  expect([health.isDown, health.upFor]).toEqual([false, 0])
  health.close()
})
