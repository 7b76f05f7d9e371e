import pg from 'pg'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { pgbouncerMissing, startPgbouncer } from '../support/pgbouncer.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { usePostgres } from '../support/servers.ts'
import type { Data } from './kit.ts'

const IDS = Array.from({ length: 10 }, (_, n) => `thawed-${n}`)

describe('After a process was suspended and its connections died silently', () => {
  const server = usePostgres({ version: '18', settings: { fsync: 'off' } })
  const closing: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    vi.useRealTimers()
    for (const close of closing.splice(0)) await close()
  })

  /** Opens ten connections, which die. Only the wall clock tells how long the process was suspended. */
  async function thawed(
    options: (proxy: FaultyProxy) => SaveHandlerOptions<Data>,
    target: { host: string; port: number } = server(),
  ): Promise<{ handler: SaveHandler<Data>; proxy: FaultyProxy }> {
    const proxy = await startProxy(target)
    closing.push(() => proxy.stop())
    const handler = new SaveHandler<Data>({
      batch: false,
      operationTimeout: 2,
      gcInterval: 0,
      ...options(proxy),
    })
    closing.push(() => handler.close())
    await handler.open()
    await Promise.all(IDS.map((id) => handler.write(id, { n: 1 })))
    expect(proxy.connections).toBeGreaterThan(2)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3000 })
    proxy.forget()
    return { handler, proxy }
  }

  const byUrl = ({ host, port }: FaultyProxy): SaveHandlerOptions<Data> => ({
    db: `postgresql://postgres@${host}:${port}/postgres`,
  })
  const byPool = ({ host, port }: FaultyProxy): SaveHandlerOptions<Data> => {
    const pool = new pg.Pool({ host, port, user: 'postgres', idleTimeoutMillis: 0 })
    closing.push(() => pool.end())
    return { db: pool }
  }
  const byGroup = ({ host, port }: FaultyProxy): SaveHandlerOptions<Data> => ({
    db: `host=${host} port=${port} user=postgres target_session_attrs=read-write`,
  })

  test.each([
    ['the library', byUrl],
    ['the caller', byPool],
    ['a replicated group', byGroup],
  ])('no call fails, one after another or at once, with a pool of %s', async (_, options) => {
    const { handler } = await thawed(options)
    for (const id of IDS) {
      expect(await handler.write(id, { n: 2 })).toMatchObject({ outcome: 'updated' })
      expect((await handler.read(id))?.data).toEqual({ n: 2 })
    }
    const again = await thawed(options)
    await Promise.all(IDS.map((id) => again.handler.touch(id)))
  })

  test.each([
    ['the library', byUrl],
    ['the caller', byPool],
    ['a replicated group', byGroup],
  ])('the first callers succeed within a second, with a pool of %s', async (_, options) => {
    const times: number[] = []
    // The time is nominal: a busy machine may take longer once, but not three times. The probe alone takes 0.5 s.
    for (let round = 0; round < 3 && !((times.at(-1) ?? 1000) < 1000); round++) {
      const { handler } = await thawed((proxy) => ({ ...options(proxy), operationTimeout: 15 }))
      const start = performance.now()
      await Promise.all(IDS.map((id, n) => (n % 2 === 0 ? handler.read(id) : handler.write(id, { n: 2 }))))
      times.push(Math.round(performance.now() - start))
      vi.useRealTimers()
    }
    expect(Math.min(...times), `milliseconds: ${times}`).toBeLessThan(1000)
  })

  const alive = (proxy: FaultyProxy): SaveHandlerOptions<Data> => {
    proxy.forget = () => {}
    return byUrl(proxy)
  }

  /** Returns the connections that reads opened after a thaw. A machine that was busy for 0.5 s gets two more tries. */
  async function opened(target?: { host: string; port: number }): Promise<number> {
    let opened = Number.NaN
    for (let round = 0; round < 3 && opened !== 0; round++) {
      const { handler, proxy } = await thawed(alive, target)
      const { accepted, connections } = proxy
      // One for each open connection: more would open others.
      await Promise.all(IDS.slice(0, connections).map((id) => handler.read(id)))
      opened = proxy.accepted - accepted
      vi.useRealTimers()
    }
    return opened
  }

  test('a connection that still answers stays open', async () => {
    expect(await opened()).toBe(0)
  })

  test('a connection to PgBouncer that still answers stays open', async (context) => {
    if (pgbouncerMissing !== undefined) return context.skip(pgbouncerMissing)
    const pgbouncer = await startPgbouncer(server())
    try {
      expect(await opened(pgbouncer)).toBe(0)
    } finally {
      while (closing.length > 0) await closing.pop()?.()
      await pgbouncer.stop()
    }
  })
})
