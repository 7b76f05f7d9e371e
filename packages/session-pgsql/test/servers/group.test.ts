import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { pgbouncerMissing, startPgbouncer } from '../support/pgbouncer.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { promote, startStandby } from '../support/standby.ts'
import { eventually, until } from '../support/wait.ts'

/** One entry of `db` with several hosts: real servers, real replication. */
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

  function handlerOf(attributes: string, order = [first, second]): SaveHandler {
    const handler = new SaveHandler({
      db: `host=${order.map(({ host }) => host)} port=${order.map(({ port }) => port)} dbname=postgres user=postgres ${attributes}`,
      gcInterval: 0,
    })
    open.push(handler)
    return handler
  }

  test('writes find the primary wherever it stands in the list; reads may be asked of the standby', async () => {
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

  test('nobody fits: the error says of each host why', async () => {
    const handler = handlerOf('target_session_attrs=read-write', [second])
    await expect(handler.read('id')).rejects.toMatchObject({
      code: 'SERVER_DOWN',
      message: expect.stringContaining('it is a standby'),
    })
  })

  test('status() tells the role of the host that is in use now', async () => {
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
    'a pooler leads to a standby behind the back of its clients: what that says is thrown away',
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
        const said: unknown[] = []
        await until(async () => {
          const read = handler.read('pooled').then((session) => session?.data)
          said.push(await read.catch(({ code }) => code))
          return said.at(-1) === 'SERVER_DOWN'
        }, 'the standby to be refused')
        expect(said).not.toContainEqual({ a: 1 })
        expect(await handler.read('pooled').catch(({ message }) => message)).toContain('it is a standby')
        await pooler.lead(first)
        await eventually(async () => expect((await handler.read('pooled'))?.data).toEqual({ a: 2 }))
      } finally {
        await second.query('SELECT pg_wal_replay_resume()')
        await pooler.stop()
      }
    },
  )

  test('a promotion without fencing: what is written then is written to the new primary only', async () => {
    const handler = handlerOf('target_session_attrs=read-write')
    const promotions: object[] = []
    handler.on('promoted', (event) => promotions.push(event))
    const session = (await handler.write('walker', { step: 0 }, { base: null })).session
    await eventually(async () =>
      expect(await second.query("SELECT 1 FROM php_session WHERE sess_id = 'walker'")).toHaveLength(1),
    )
    await promote(second)
    // The old one still answers, and still takes writes; the handler looks for such a thing every second.
    await eventually(async () => {
      await handler.write('probe', { at: Date.now() })
      expect(await second.query("SELECT 1 FROM php_session WHERE sess_id = 'probe'")).toHaveLength(1)
    }, 15_000)
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

  test('the old primary is refused even when the new one is away, and the new one is found when it is back', async () => {
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
