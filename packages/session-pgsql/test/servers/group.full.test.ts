import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { pgbouncerMissing, startPgbouncer } from '../support/pgbouncer.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { startProxy } from '../support/proxy.ts'
import { promote, startStandby } from '../support/standby.ts'
import { eventually, until, within } from '../support/wait.ts'

/** One entry of `db` with several hosts: real servers with real replication. */
describe('a replicated group behind one entry', () => {
  let first: PostgresServer
  let second: PostgresServer
  const open: SaveHandler[] = []

  beforeAll(async () => {
    first = await startPostgres({ version: '18' })
    second = await startStandby(first)
  })
  afterAll(async () => {
    await Promise.all(open.map((handler) => handler.close()))
    await first?.remove()
    await second?.remove()
  })

  function handlerOf(
    attributes: string,
    order: readonly { host: string; port: number }[] = [first, second],
  ): SaveHandler {
    const handler = new SaveHandler({
      db: `host=${order.map(({ host }) => host)} port=${order.map(({ port }) => port)} dbname=postgres user=postgres ${attributes}`,
      gcInterval: 0,
    })
    open.push(handler)
    return handler
  }

  test('finds the primary at any position in the list, and reads from a standby if asked to', async () => {
    const writer = handlerOf('target_session_attrs=read-write', [second, first])
    await writer.write('id', { a: 1 }, { base: null })
    expect((await writer.read('id'))?.data).toEqual({ a: 1 })
    expect(await first.query('SELECT count(*)::int FROM php_session')).toEqual([{ count: 1 }])
    expect(writer.status().servers[0]).toMatchObject({
      address: `${first.host}:${first.port}`,
      role: 'primary',
    })

    const reader = handlerOf('target_session_attrs=standby')
    await eventually(async () => expect((await reader.read('id'))?.data).toEqual({ a: 1 }))
    await expect(reader.write('id', { a: 2 })).rejects.toMatchObject({ code: expect.any(String) })
  })

  test('the error gives the reason for each host when no host can be used', async () => {
    const handler = handlerOf('target_session_attrs=read-write', [second])
    await expect(handler.read('id')).rejects.toMatchObject({
      code: 'SERVER_DOWN',
      message: expect.stringContaining('it is a standby'),
    })
  })

  test('status() returns the role of the host in use', async () => {
    const handler = handlerOf('target_session_attrs=any')
    await handler.write('role', { a: 1 }, { base: null })
    const role = (): string | undefined => handler.status().servers[0]?.role
    expect(role()).toBe('primary')
    await first.stop()
    try {
      await eventually(async () => expect((await handler.read('role'))?.data).toEqual({ a: 1 }))
      expect(role()).toBe('standby')
    } finally {
      await first.start()
    }
  })

  test.skipIf(pgbouncerMissing !== undefined)(
    'rejects answers of a standby to which a pooler has redirected the connection',
    async () => {
      const pooler = await startPgbouncer(first)
      try {
        const handler = new SaveHandler({
          db: `host=${pooler.host} port=${pooler.port} dbname=postgres user=postgres target_session_attrs=read-write`,
          gcInterval: 0,
        })
        open.push(handler)
        await handler.write('pooled', { a: 1 }, { base: null })
        await eventually(async () =>
          expect(await second.query("SELECT 1 FROM php_session WHERE sess_id = 'pooled'")).toHaveLength(1),
        )
        await second.query('SELECT pg_wal_replay_pause()')
        await handler.write('pooled', { a: 2 })
        await pooler.lead(second)
        const answers: unknown[] = []
        await until(async () => {
          const read = handler.read('pooled').then((session) => session?.data)
          answers.push(await read.catch(({ code }) => code))
          return answers.at(-1) === 'SERVER_DOWN'
        }, 'the standby to be rejected')
        expect(answers).not.toContainEqual({ a: 1 })
        expect(await handler.read('pooled').catch(({ message }) => message)).toContain('it is a standby')
        await pooler.lead(first)
        await eventually(async () => expect((await handler.read('pooled'))?.data).toEqual({ a: 2 }))
      } finally {
        await second.query('SELECT pg_wal_replay_resume()')
        await pooler.stop()
      }
    },
  )

  const labelOf = ({ host, port }: PostgresServer): string => `${host}:${port}`

  /** Returns role and address of the host from which a handler with these attributes reads. */
  async function readsFrom(attributes: string, order?: readonly PostgresServer[]): Promise<string> {
    const handler = handlerOf(attributes, order)
    await handler.read('id')
    const [status] = handler.status().servers
    return `${status?.role} ${status?.address}`
  }

  test('each value of target_session_attrs selects the right host at any position in the list', async () => {
    const [primary, standby] = [`primary ${labelOf(first)}`, `standby ${labelOf(second)}`]
    for (const order of [
      [first, second],
      [second, first],
    ]) {
      expect(await readsFrom('target_session_attrs=primary', order)).toBe(primary)
      expect(await readsFrom('target_session_attrs=read-write', order)).toBe(primary)
      expect(await readsFrom('target_session_attrs=standby', order)).toBe(standby)
      expect(await readsFrom('target_session_attrs=prefer-standby', order)).toBe(standby)
      expect(await readsFrom('target_session_attrs=read-only', order)).toBe(standby)
    }
    // The first host, whatever its role.
    expect(await readsFrom('target_session_attrs=any', [first, second])).toBe(primary)
    expect(await readsFrom('target_session_attrs=any', [second, first])).toBe(standby)
    await second.stop()
    try {
      expect(await readsFrom('target_session_attrs=prefer-standby')).toBe(primary)
      expect(await readsFrom('target_session_attrs=any', [second, first])).toBe(primary)
      await expect(readsFrom('target_session_attrs=read-only')).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    } finally {
      await second.start()
    }
  })

  test('load_balance_hosts=random distributes handlers over the hosts', async () => {
    const seen = new Set<string>()
    // The probability that all 20 choose the same host is 1 in 500,000.
    for (let n = 0; n < 20; n++) {
      seen.add(await readsFrom('target_session_attrs=any load_balance_hosts=random'))
    }
    expect(seen.size).toBe(2)
  })

  test('waits no longer than connect_timeout for a host that accepts connections but never answers', async () => {
    const proxy = await startProxy(first)
    proxy.silence()
    try {
      const silent = { host: proxy.host, port: proxy.port }
      const handler = handlerOf('target_session_attrs=any connect_timeout=2', [silent, second])
      expect((await within(handler.read('id'), 5000, 'the other host'))?.data).toEqual({ a: 1 })
      // Without another host, the error comes after the timeout.
      const alone = handlerOf('target_session_attrs=read-write connect_timeout=2', [silent, second])
      await expect(within(alone.read('id'), 4500, 'an error')).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    } finally {
      await proxy.stop()
    }
  })

  const readOnly = (value: 'on' | 'off') => first.configure(`SET default_transaction_read_only = ${value}`)

  test('continues on another host without an error when the host in use becomes read-only (SQLSTATE 25006)', async () => {
    const other = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    try {
      await handlerOf('', [other]).open()
      const handler = handlerOf('target_session_attrs=read-write', [first, other])
      await handler.write('before', { n: 0 })
      expect(handler.status().servers[0]?.address).toBe(labelOf(first))
      await readOnly('on')
      const ids = Array.from({ length: 20 }, (_, n) => `read-only-${n}`)
      await Promise.all(ids.map((id) => handler.write(id, { n: 1 })))
      expect(first.log()).toContain('in a read-only transaction')
      expect(handler.status().servers[0]?.address).toBe(labelOf(other))
      const there = await other.query("SELECT 1 FROM php_session WHERE sess_id LIKE 'read-only-%'")
      expect(there).toHaveLength(ids.length)
    } finally {
      await readOnly('off')
      await other.remove()
    }
  })

  test('a promotion that is found after the primary in use was lost is no unhandled rejection', async () => {
    const primary = await startPostgres({ version: '18', settings: { fsync: 'off' } })
    const standby = await startStandby(primary)
    const proxy = await startProxy(standby)
    const rejections: unknown[] = []
    const onRejection = (reason: unknown) => rejections.push(reason)
    process.on('unhandledRejection', onRejection)
    try {
      const handler = handlerOf('target_session_attrs=read-write', [
        primary,
        { host: proxy.host, port: proxy.port },
      ])
      const promotions: object[] = []
      handler.on('promoted', (event) => promotions.push(event))
      await handler.write('id', { n: 1 })
      await eventually(async () => expect(await standby.query('SELECT 1 FROM php_session')).toHaveLength(1))
      proxy.holdServerReplies()
      await promote(standby)
      const [now] = await standby.query<{ at: string }>('SELECT clock_timestamp()::text AS at')
      await until(async () => {
        const asked = `SELECT 1 FROM pg_stat_activity WHERE application_name = 'session_pgsql' AND query_start > $1`
        return (await standby.query(asked, [now?.at])).length > 0
      }, 'the handler to ask the promoted host, whose answer is held back')
      await primary.kill9()
      const reading = handler.read('id')
      await until(() => handler.status().servers[0]?.address === undefined, 'the primary to be lost')
      await proxy.resume()
      expect((await reading)?.data).toEqual({ n: 1 })
      expect(promotions).toHaveLength(1)
      expect(rejections).toEqual([])
    } finally {
      process.off('unhandledRejection', onRejection)
      await proxy.stop()
      await primary.remove()
      await standby.remove()
    }
  })

  test('writes only to the new primary after a promotion without fencing', async () => {
    const handler = handlerOf('target_session_attrs=read-write')
    const promotions: object[] = []
    const published: object[] = []
    const onMessage = (message: unknown): void => {
      const { handler: whose, ...about } = message as { handler: object }
      if (whose === handler) published.push(about)
    }
    subscribe('session-pgsql:promoted', onMessage)
    handler.on('promoted', (event) => promotions.push(event))
    /** By id: whether the promotion had been noticed when it was written. */
    const written = new Map<string, boolean>()
    const session = (await handler.write('walker', { step: 0 }, { base: null })).session
    await eventually(async () =>
      expect(await second.query("SELECT 1 FROM php_session WHERE sess_id = 'walker'")).toHaveLength(1),
    )
    await promote(second)
    // The old primary still accepts writes. The handler looks for a promoted host every second.
    await eventually(async () => {
      const ids = Array.from({ length: 5 }, (_, n) => `unfenced-${written.size + n}`)
      const seen = promotions.length > 0
      await Promise.all(ids.map((id) => handler.write(id, {}, { base: null })))
      for (const id of ids) written.set(id, seen)
      expect([...written.values()].filter((after) => after).length).toBeGreaterThan(100)
    }, 15_000)
    unsubscribe('session-pgsql:promoted', onMessage)
    expect(published).toEqual(promotions)
    const late = [...written].flatMap(([id, seen]) => (seen ? [id] : []))
    const storedOn = (server: PostgresServer): Promise<object[]> =>
      server.query('SELECT sess_id FROM php_session WHERE sess_id = ANY($1)', [late])
    expect(await storedOn(first)).toEqual([])
    expect(await storedOn(second)).toHaveLength(late.length)
    const [one, other] = [first, second].map(({ host, port }) => `${host}:${port}`)
    expect(promotions).toEqual([
      { server: handler.status().servers[0]?.name, from: one, to: other, timeline: 2 },
    ])
    const { outcome } = await handler.write('walker', { step: 1 }, { base: session })
    expect(outcome).toBe('updated')
    const [here] = await second.query("SELECT sess_data FROM php_session WHERE sess_id = 'walker'")
    expect(here).toEqual({ sess_data: '{"step":1}' })
    const [there] = await first.query("SELECT sess_data FROM php_session WHERE sess_id = 'walker'")
    expect(there).toEqual({ sess_data: '{"step":0}' })
  })

  test('rejects the old primary even while the new one is down, and returns to the new one', async () => {
    const handler = handlerOf('target_session_attrs=read-write')
    await eventually(async () => {
      await handler.write('walker', { step: 2 })
      expect(await second.query("SELECT sess_data FROM php_session WHERE sess_id = 'walker'")).toEqual([
        { sess_data: '{"step":2}' },
      ])
    }, 15_000)
    await second.kill9()
    await eventually(async () =>
      expect(handler.read('walker')).rejects.toMatchObject({
        code: 'SERVER_DOWN',
        message: expect.stringContaining('timeline'),
      }),
    )
    await second.start()
    await eventually(async () => expect((await handler.read('walker'))?.data).toEqual({ step: 2 }), 15_000)
  })
})
