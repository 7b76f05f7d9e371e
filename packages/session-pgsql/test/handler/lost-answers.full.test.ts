import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { SaveHandler, type SaveHandlerOptions, type SessionRecord } from '../../src/index.ts'
import { type FaultyProxy, startProxy } from '../support/proxy.ts'
import { usePostgres } from '../support/servers.ts'
import { sleep, until, within } from '../support/wait.ts'
import { ONE, OTHER } from './colliding.ts'
import { calls, type Data, errorOf, type Handler, id as newId } from './kit.ts'

// Processes, stalls and large data take time on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

describe('Behind a network that fails', () => {
  const server = usePostgres({ version: '18', settings: { fsync: 'off' } })
  const handlers: Handler[] = []
  let proxy: FaultyProxy
  /** A handler that is connected directly, not by the proxy. */
  let witness: Handler

  function open(options: SaveHandlerOptions<Data> = {}, port = proxy.port): Handler {
    const handler = new SaveHandler<Data>({
      db: `postgresql://postgres@127.0.0.1:${port}/postgres`,
      gcInterval: 0,
      logger: false,
      ...options,
    })
    handlers.push(handler)
    return handler
  }

  beforeEach(async () => {
    proxy = await startProxy(server())
    witness = open({ operationTimeout: 20 }, server().port)
    await witness.open()
  })
  afterEach(async () => {
    server().resume()
    await proxy.resume()
    await Promise.all(handlers.splice(0).map((handler) => handler.close()))
    await proxy.stop()
  })

  /** Waits until the data is committed. */
  const stored = (id: string, text: string): Promise<unknown> =>
    until(async () => JSON.stringify((await witness.read(id))?.data) === text, `${text} to be stored`, 10_000)

  /** Ends all connections, lets new ones through, and waits until the handler reads this session. */
  async function recovered(sessions: Handler, id: string): Promise<void> {
    proxy.drop()
    await proxy.resume()
    await until(
      async () => await sessions.validateId(id).catch(() => false),
      'the handler to recover',
      10_000,
    )
  }

  /** Makes a write whose answer is lost. `meanwhile` runs after the commit, before the connection is dropped. */
  async function withLostAnswer<T>(
    id: string,
    text: string,
    write: () => Promise<T>,
    meanwhile: () => Promise<unknown> = async () => {},
  ): Promise<T> {
    proxy.holdServerReplies()
    const writing = write()
    await stored(id, text)
    await meanwhile()
    proxy.drop()
    await proxy.resume()
    return writing
  }

  test('a compare-and-swap whose answer was lost is made once, because the stored data is recognized', async () => {
    const sessions = open()
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    const written = await withLostAnswer(id, '{"a":2}', () => sessions.write(id, { a: 2 }, { base }))
    expect(written).toMatchObject({ outcome: 'updated', session: { data: { a: 2 }, accesses: 2 } })
    expect((await witness.info(id))?.accesses).toBe(2)
  })

  test('an update whose answer was lost is AMBIGUOUS if it was applied: another may have counted to the same', async () => {
    const sessions = open()
    const id = newId()
    await sessions.write(id, { n: 1 })
    let held = false
    const updating = errorOf(
      sessions.update(id, (data) => {
        if (!held) proxy.holdServerReplies()
        held = true
        data.n++
      }),
    )
    await stored(id, '{"n":2}')
    proxy.drop()
    await proxy.resume()
    expect(await updating).toMatchObject({ code: 'AMBIGUOUS', outcomeUnknown: true })
    expect((await witness.read(id))?.data).toEqual({ n: 2 })
  })

  test('an update that never arrived is sent again, and counts once', async () => {
    const sessions = open()
    const id = newId()
    await sessions.write(id, { n: 1 })
    let dropped = false
    const updated = await sessions.update(id, (data) => {
      if (!dropped) proxy.drop()
      dropped = true
      data.n++
    })
    expect(updated).toMatchObject({ outcome: 'updated', session: { data: { n: 2 }, accesses: 2 } })
  })

  test.each([
    ['a writer that counts versions', true],
    ['a writer that does not count versions', false],
  ])(
    'a compare-and-swap that never arrived does not replace data with the same unseeded digest: %s',
    async (_, counts) => {
      const sessions = open()
      const id = newId()
      await sessions.write(id, JSON.parse(ONE))
      const base = await sessions.read(id)
      proxy.silence()
      const sent = calls(sessions)
      const writing = errorOf(sessions.write(id, { ...base?.data, late: true }, { base }))
      await until(() => calls(sessions) > sent, 'the write to be sent')
      if (counts) await witness.write(id, JSON.parse(OTHER))
      else await server().query('UPDATE php_session SET sess_data = $2 WHERE sess_id = $1', [id, OTHER])
      proxy.drop()
      await proxy.resume()
      expect(await writing).toMatchObject({ code: 'AMBIGUOUS', outcomeUnknown: true })
      expect((await witness.read(id))?.data).toEqual(JSON.parse(OTHER))
    },
  )

  test('a write without a base is not recognized in data with the same unseeded digest', async () => {
    const sessions = open()
    const id = newId()
    await sessions.write(id, { a: 1 })
    const replace = () => witness.write(id, JSON.parse(OTHER))
    const writing = withLostAnswer(id, ONE, () => sessions.write(id, JSON.parse(ONE)), replace)
    expect(await errorOf(writing)).toMatchObject({ code: 'AMBIGUOUS', outcomeUnknown: true })
  })

  test('a creation whose answer was lost is made once', async () => {
    const sessions = open()
    await sessions.open()
    const id = newId()
    const written = await withLostAnswer(id, '{"a":1}', () => sessions.write(id, { a: 1 }, { base: null }))
    expect(written).toMatchObject({ outcome: 'created', session: { data: { a: 1 }, accesses: 1 } })
  })

  test('a write without a base whose answer was lost is recognized, and not sent again', async () => {
    const sessions = open()
    const id = newId()
    await sessions.write(id, { a: 1 })
    const written = await withLostAnswer(id, '{"a":2}', () => sessions.write(id, { a: 2 }))
    expect(written).toMatchObject({ session: { data: { a: 2 }, accesses: 2 } })

    const write = () => sessions.write(id, { a: 3 })
    const error = await errorOf(withLostAnswer(id, '{"a":3}', write, () => witness.destroy(id)))
    expect(error).toMatchObject({ code: 'AMBIGUOUS', outcomeUnknown: true })
    expect(await witness.read(id)).toBeUndefined()
  })

  test.each([
    ['a compare-and-swap', { a: 2 }, 'a base'],
    ['a compare-and-swap that changes nothing', { a: 1 }, 'a base'],
    ['a write without a base', { a: 2 }, 'no base'],
    ['a write of an existing session', { a: 2 }, 'existing'],
  ])('an error that %s reports counts once when the answer is lost', async (_, data, kind) => {
    const sessions = open({ shortCircuit: false })
    const id = newId()
    const { session } = await sessions.write(id, { a: 1 })
    const base = kind === 'a base' ? session : kind === 'existing' ? 'existing' : undefined
    proxy.holdServerReplies()
    const writing = sessions.write(id, data, { base, errors: { errors: 1 } })
    await until(async () => (await witness.getErrors(id))?.errors === 1, 'the error to be counted')
    proxy.drop()
    await proxy.resume()
    expect((await writing).session).toMatchObject({ data, errors: 1, accesses: 2 })
    expect(await witness.getErrors(id)).toMatchObject({ errors: 1 })
  })

  test('an error that addError() or touch() reports is not sent again when the answer is lost', async () => {
    const sessions = open()
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    const reports = [() => sessions.addError(id), () => sessions.touch(id, { base, errors: { errors: 1 } })]
    for (const [n, report] of reports.entries()) {
      // Opens a connection.
      await sessions.read(id)
      proxy.holdServerReplies()
      const error = errorOf(report())
      await until(async () => (await witness.getErrors(id))?.errors === n + 1, 'the error to be counted')
      proxy.drop()
      await proxy.resume()
      expect(await error).toMatchObject({ outcomeUnknown: true })
    }
    expect(await witness.getErrors(id)).toMatchObject({ errors: 2 })
  })

  test('a compare-and-swap that did not arrive is sent again', async () => {
    const sessions = open()
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    proxy.silence()
    const before = calls(sessions)
    const writing = sessions.write(id, { a: 2 }, { base })
    await until(() => calls(sessions) > before, 'the statement to be sent')
    await sleep(100)
    expect((await witness.read(id))?.data).toEqual({ a: 1 })
    proxy.drop()
    await proxy.resume()
    expect(await writing).toMatchObject({ outcome: 'updated', session: { data: { a: 2 }, accesses: 2 } })
  })

  test('a write whose answer was lost is AMBIGUOUS if another client has written since', async () => {
    const sessions = open()
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    const write = () => sessions.write(id, { a: 2 }, { base })
    const error = await errorOf(withLostAnswer(id, '{"a":2}', write, () => witness.write(id, { b: 1 })))
    expect(error).toMatchObject({ code: 'AMBIGUOUS', outcomeUnknown: true })
    expect((await witness.read(id))?.data).toEqual({ b: 1 })
  })

  test('a write whose answer was lost is AMBIGUOUS if the server cannot be queried', async () => {
    const sessions = open()
    const id = newId()
    const base = (await sessions.write(id, { a: 1 })).session
    for (const options of [{ base }, {}]) {
      await sessions.read(id)
      proxy.holdServerReplies()
      const writing = sessions.write(id, { a: 2, options: Object.keys(options) }, options)
      await until(
        async () => (await witness.read(id))?.data.options?.length === Object.keys(options).length,
        'to be stored',
      )
      await proxy.refuse()
      proxy.drop()
      expect(await errorOf(writing)).toMatchObject({ code: 'AMBIGUOUS', outcomeUnknown: true })
      await proxy.resume()
    }
  })

  test.each([
    ['the network delivers late', false],
    ['the server was stopped for a while', true],
  ])('%s: a write that timed out does not undo a later destroy', async (_, hang) => {
    const sessions = open({ operationTimeout: 1 })
    const [created, replaced, based, touched] = Array.from({ length: 4 }, newId) as [
      string,
      string,
      string,
      string,
    ]
    await Promise.all([replaced, based, touched].map((id) => sessions.write(id, { user: 1 })))
    const base = await sessions.read(based)
    // Opens a connection for each, so that all are sent.
    await Promise.all(Array.from({ length: 10 }, () => sessions.count()))
    const destroy = async (): Promise<void> => {
      await Promise.all([created, replaced, based, touched].map((id) => witness.destroy(id)))
    }

    if (hang) server().pause()
    else proxy.silence()
    const writes = await Promise.all([
      errorOf(sessions.write(created, { user: 2 })),
      errorOf(sessions.write(replaced, { user: 2 })),
      errorOf(sessions.write(based, { user: 2 }, { base })),
      errorOf(sessions.touch(touched)),
    ])
    expect(writes.map(({ code, outcomeUnknown }) => [code, outcomeUnknown])).toEqual(
      Array(4).fill(['TIMEOUT', true]),
    )
    if (hang) {
      server().resume()
      await destroy()
    } else {
      await destroy()
      await proxy.resume()
    }
    // The late statements have been executed when no backend is active.
    await until(
      async () => {
        const [row] = await server().query<{ n: number }>(
          "SELECT count(*)::int AS n FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid()",
        )
        return row?.n === 0
      },
      'the server to be idle',
      10_000,
    )
    await sleep(300)
    for (const id of [created, replaced, based, touched]) expect(await witness.read(id)).toBeUndefined()
    expect(
      await server().query('SELECT 1 FROM php_session WHERE sess_id = ANY($1)', [
        [created, replaced, based, touched],
      ]),
    ).toEqual([])
  })

  describe('a commit that has not reached its synchronous standby', () => {
    const waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"

    /** Makes every commit wait for a standby that does not exist, until the wait is canceled. */
    async function loseStandby(): Promise<void> {
      await server().configure("SET synchronous_standby_names = 'missing'")
    }
    async function findStandby(): Promise<void> {
      await server().configure('RESET synchronous_standby_names')
    }
    async function cancelWait(): Promise<void> {
      await until(
        async () => (await server().query(`SELECT pg_cancel_backend(pid) ${waiting}`)).length > 0,
        'a commit to wait for the standby',
      )
    }
    afterEach(findStandby)

    const asked = {
      'a write without a base': (sessions, id) => sessions.write(id, { a: 2 }),
      'a write of an existing one': (sessions, id) => sessions.write(id, { a: 2 }, { base: 'existing' }),
      'a compare-and-swap': (sessions, id, base) => sessions.write(id, { a: 2 }, { base }),
      'a destroy': (sessions, id) => sessions.destroy(id),
    } satisfies Record<string, (sessions: Handler, id: string, base: SessionRecord<Data>) => Promise<unknown>>

    test.each(Object.entries(asked))(
      '%s does not resolve until another commit reaches the standby',
      async (_, ask) => {
        const sessions = open({ operationTimeout: 20 }, server().port)
        const id = newId()
        const base = (await sessions.write(id, { a: 1 })).session as SessionRecord<Data>
        await loseStandby()
        const asking = ask(sessions, id, base)
        await cancelWait()
        expect(await Promise.race([asking, sleep(1000).then(() => 'waits')])).toBe('waits')
        await findStandby()
        await asking
        expect((await witness.read(id))?.data).toEqual(ask === asked['a destroy'] ? undefined : { a: 2 })
      },
    )

    test('a touch does not wait for the standby, unless it carries metadata or durableTouches is set', async () => {
      const sessions = open({ operationTimeout: 20 }, server().port)
      const durable = open({ operationTimeout: 20, durableTouches: true }, server().port)
      const [touched, marked, strict] = [newId(), newId(), newId()]
      for (const id of [touched, marked, strict]) await witness.write(id, { a: 1 }, { lifetime: 100 })
      await loseStandby()
      // Also a commit of another connection that waits may flush, and then a wait would not be seen: one after another.
      expect(await sessions.touch(touched, { lifetime: 1000 })).toBe(true)
      for (const wait of [
        () => durable.touch(strict, { lifetime: 1000 }),
        () => sessions.touch(marked, { lifetime: 1000, custom: 'ada' }),
      ]) {
        const failed = errorOf(wait())
        await cancelWait()
        await failed
      }
      await findStandby()
      expect((await witness.read(touched))?.expires?.getTime()).toBeGreaterThan(Date.now() + 500_000)
    })

    test.each(Object.entries(asked))('%s is AMBIGUOUS if no commit reaches the standby', async (_, ask) => {
      const sessions = open({ operationTimeout: 20 }, server().port)
      const id = newId()
      const base = (await sessions.write(id, { a: 1 })).session as SessionRecord<Data>
      await loseStandby()
      const failed = errorOf(ask(sessions, id, base) as Promise<unknown>)
      let settled = false
      const settle = (): void => {
        settled = true
      }
      failed.then(settle, settle)
      await until(async () => {
        await server().query(`SELECT pg_cancel_backend(pid) ${waiting}`)
        return settled
      }, 'the write to fail')
      expect(await failed).toMatchObject({ code: 'AMBIGUOUS', outcomeUnknown: true })
    })
  })

  test('every operation fails before its deadline when the server does not answer', async () => {
    const sessions = open({ operationTimeout: 1 })
    const fresh = open({ operationTimeout: 1 })
    const base = (await sessions.write(newId(), {})).session
    proxy.silence()
    const start = performance.now()
    const errors = await Promise.all(
      [sessions, fresh].flatMap((handler) => [
        errorOf(
          handler
            .open()
            .then(() =>
              handler === sessions ? Promise.reject(Object.assign(new Error(), { code: 'TIMEOUT' })) : 0,
            ),
        ),
        errorOf(handler.read('a')),
        errorOf(handler.read('a')),
        errorOf(handler.info('b')),
        errorOf(handler.write('a', {})),
        errorOf(handler.write('c', {}, { base: null })),
        errorOf(handler.write(base?.id ?? '', { a: 1 }, { base })),
        errorOf(handler.touch('d')),
        errorOf(handler.destroy('e')),
        errorOf(handler.list()),
        errorOf(handler.count()),
        errorOf(handler.gc()),
        errorOf(handler.findByField('f')),
        errorOf(handler.destroyByField('f')),
        errorOf(handler.validateId('g')),
        errorOf(handler.addError('h')),
        errorOf(handler.getField('i')),
      ]),
    )
    expect(performance.now() - start).toBeLessThan(3000)
    for (const error of errors) expect(['TIMEOUT', 'SERVER_DOWN']).toContain(error.code)
    await recovered(sessions, base?.id ?? '')
    expect((await fresh.read(base?.id ?? ''))?.data).toEqual({})
  })

  test('20,000 requests to a stalled database fail, and it recovers', async () => {
    const sessions = open({ operationTimeout: 2 })
    const base = (await sessions.write(newId(), { a: 1 })).session
    proxy.silence()
    const start = performance.now()
    const asked = Array.from({ length: 20_000 }, (_, n) =>
      n % 2 ? sessions.read(`id${n % 5000}`) : sessions.write(`id${n % 5000}`, { n }),
    )
    const codes = new Map<string, number>()
    for (const { status, ...rest } of await Promise.allSettled(asked)) {
      const code = status === 'fulfilled' ? status : (rest as { reason: { code: string } }).reason.code
      codes.set(code, (codes.get(code) ?? 0) + 1)
    }
    expect([...codes.keys()].sort()).toEqual(['OVERLOADED', 'TIMEOUT'])
    expect(codes.get('TIMEOUT')).toBe(16_384)
    // In parallel: one after the other, they would take hours.
    expect(performance.now() - start).toBeLessThan(60_000)
    expect(sessions.status().pending).toBe(0)
    await recovered(sessions, base?.id ?? '')
    expect(
      await Promise.all(Array.from({ length: 1000 }, (_, n) => sessions.write(`after${n}`, { n }))),
    ).toHaveLength(1000)
  })

  test('a pool that may open more connections than the server accepts works with those it has', async () => {
    await server().query('CREATE ROLE few LOGIN CONNECTION LIMIT 2')
    await server().query('GRANT ALL ON php_session TO few')
    const sessions = open({
      db: `postgresql://few@127.0.0.1:${server().port}/postgres`,
      batch: false,
      operationTimeout: 20,
    })
    const ids = Array.from({ length: 50 }, newId)
    await Promise.all(ids.map((id, n) => sessions.write(id, { n }, { base: null })))
    const read = await Promise.all(ids.map((id) => sessions.read(id)))
    expect(read.map((session) => session?.data)).toEqual(ids.map((_, n) => ({ n })))
  })

  test('the caller’s pool is used, however small, and not ended', async () => {
    for (const max of [1, 2]) {
      const pool = new pg.Pool({
        connectionString: `postgresql://postgres@127.0.0.1:${proxy.port}/postgres`,
        max,
      })
      const sessions = open({ db: pool, operationTimeout: 20 })
      const id = newId()
      await sessions.write(id, {})
      const base = await sessions.read(id)
      await within(
        Promise.all(
          Array.from({ length: 100 }, async (_, n) => {
            await sessions.write(id, { [n]: 1 }, { base })
            await sessions.write(`${id}-${n}`, { n }, { custom: 'pool' })
            await Promise.all([sessions.touch(`${id}-${n}`), sessions.read(id), sessions.list({ limit: 1 })])
          }),
        ),
        20_000,
        'a small pool to serve',
      )
      expect(Object.keys((await sessions.read(id))?.data ?? {})).toHaveLength(100)
      expect(await sessions.destroyByField('pool')).toBe(100)
      expect(pool.totalCount).toBeLessThanOrEqual(max)
      await sessions.close()
      expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
      expect(pool.waitingCount).toBe(0)
      await pool.end()
    }
  })

  test('close waits for pending operations, and rejects later ones', async () => {
    const sessions = open()
    await sessions.open()
    proxy.delay(100)
    const ids = Array.from({ length: 50 }, newId)
    const working = [
      ...ids.map((id) => sessions.write(id, { id })),
      sessions.list(),
      sessions.count(),
      sessions.gc(),
      sessions.findByField('x'),
    ]
    const closing = sessions.close()
    expect(sessions.close()).toBe(closing)
    for (const late of [
      sessions.read('x'),
      sessions.write('x', {}),
      sessions.gc(),
      sessions.list(),
      sessions.open(),
      sessions.reset(),
    ]) {
      expect(await errorOf(late)).toMatchObject({ code: 'CLOSED' })
    }
    const done = await Promise.allSettled(working)
    expect(done.filter(({ status }) => status === 'rejected')).toEqual([])
    await closing
    await until(() => proxy.connections === 0, 'the connections to end')
    await sleep(200)
    expect(proxy.connections).toBe(0)
    expect(await witness.validateId(ids[49] ?? '')).toBe(true)
  })
})
