import { afterEach, describe, expect, test, vi } from 'vitest'
import { startWorkers, type Worker } from '../support/processes.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { usePostgres } from '../support/servers.ts'
import { sleep, until } from '../support/wait.ts'
import type { Phase, TrafficInput, TrafficResult } from './traffic-worker.ts'

// Processes, stalls and large data take time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const OPERATION_TIMEOUT = 2

describe('A handler under traffic', () => {
  const server = usePostgres({ version: '18', settings: { max_connections: '100' } })
  let worker: Worker<TrafficResult> | undefined
  let proxy: FaultyProxy | undefined

  afterEach(async () => {
    server().resume()
    if (!server().running) await server().start()
    await worker?.kill()
    await proxy?.stop()
  })

  async function begin(url: string): Promise<Worker<TrafficResult>> {
    const input: TrafficInput = { url, clients: 30, operationTimeout: OPERATION_TIMEOUT }
    const started = await startWorkers<TrafficResult>(new URL('./traffic-worker.ts', import.meta.url), [
      input,
    ])
    worker = started[0] as Worker<TrafficResult>
    await busy(100)
    return worker
  }

  /** Returns what happened since the last call. */
  async function phase(): Promise<Phase> {
    worker?.send('phase')
    return (await worker?.receive()) as Phase
  }

  /** Waits until so many operations have succeeded, and returns what happened meanwhile. */
  async function busy(operations: number, allClients = false): Promise<Phase> {
    const sum: Phase = { done: 0, clients: 0, errors: {}, slowest: 0 }
    await until(
      async () => {
        const { done, clients, errors, slowest } = await phase()
        sum.done += done
        sum.clients = Math.max(sum.clients, clients)
        sum.slowest = Math.max(sum.slowest, slowest)
        for (const [code, count] of Object.entries(errors)) sum.errors[code] = (sum.errors[code] ?? 0) + count
        return sum.done >= operations && (!allClients || sum.clients === 30)
      },
      `${operations} operations to succeed`,
      20_000,
    )
    return sum
  }

  const failures = ({ errors }: Phase): number => Object.values(errors).reduce((sum, count) => sum + count, 0)

  /** Waits until operations fail, and checks their errors. */
  async function expectOutage(): Promise<void> {
    const errors: Record<string, number> = {}
    let slowest = 0
    await until(
      async () => {
        const now = await phase()
        Object.assign(errors, now.errors)
        slowest = Math.max(slowest, now.slowest)
        return failures(now) > 0
      },
      'operations to fail',
      20_000,
    )
    for (const code of Object.keys(errors)) {
      expect(['SERVER_DOWN', 'TIMEOUT', 'AMBIGUOUS'], 'error during the outage').toContain(code)
    }
    // Twice the timeout, because the machine may be busy.
    expect(slowest).toBeLessThan(OPERATION_TIMEOUT * 2000)
  }

  /** Expects operations to succeed again, without violations. */
  async function expectRecovery(): Promise<void> {
    await busy(60, true)
    // Operations that started during the outage have ended by now.
    await sleep(OPERATION_TIMEOUT * 1000)
    await busy(60, true)
    const after = await busy(500, true)
    expect(after.errors).toEqual({})
    worker?.send('stop')
    const result = await worker?.result
    expect(result).toMatchObject({ violations: [], unhandled: [] })
    expect(result?.rounds).toBeGreaterThan(100)
  }

  test.each(['fast', 'immediate'] as const)(
    'recovers when the database is stopped (%s) and started',
    async (mode) => {
      await begin(server().url())
      await server().stop(mode)
      await expectOutage()
      await server().start()
      await expectRecovery()
    },
  )

  test('recovers when the database is killed with -9 and started', async () => {
    await begin(server().url())
    await server().kill9()
    await expectOutage()
    await server().start()
    await expectRecovery()
  })

  test('recovers when the database hangs and resumes', async () => {
    await begin(server().url())
    server().pause()
    await expectOutage()
    server().resume()
    await expectRecovery()
  })

  test('recovers when the network delivers everything late', async () => {
    proxy = await startProxy(server())
    await begin(`postgresql://postgres@127.0.0.1:${proxy.port}/postgres`)
    proxy.silence()
    await expectOutage()
    await proxy.resume()
    await expectRecovery()
  })

  test('recovers from half-open connections when the network loses everything', async () => {
    proxy = await startProxy(server())
    await begin(`postgresql://postgres@127.0.0.1:${proxy.port}/postgres`)
    proxy.silence()
    await expectOutage()
    proxy.drop()
    await proxy.resume()
    await expectRecovery()
  })

  test('recovers when connections are dropped repeatedly', async () => {
    proxy = await startProxy(server())
    await begin(`postgresql://postgres@127.0.0.1:${proxy.port}/postgres`)
    for (let drops = 0; drops < 10; drops++) {
      proxy.drop()
      const { errors } = await busy(40)
      expect(Object.keys(errors).filter((code) => !['SERVER_DOWN', 'AMBIGUOUS'].includes(code))).toEqual([])
    }
    await expectRecovery()
  })

  test('completes reads and compare-and-swaps when backends are terminated', async () => {
    await begin(server().url())
    for (let round = 0; round < 10; round++) {
      await server().query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      )
      const { errors } = await busy(100)
      // Only the outcome of a creation or a destroy may be unknown.
      expect(errors).toEqual({})
    }
    await expectRecovery()
  })
})
