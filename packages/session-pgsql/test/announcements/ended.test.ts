import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import { createSessions, type WebSession } from '../../src/adapters/web.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { channelOf } from '../../src/table/announcements.ts'
import { optionsFor, startSite } from '../express/site.ts'
import { type Data, describeHandler, errorOf, expireAgo, type Handler, id } from '../handler/kit.ts'
import { describeOnEveryKind } from '../support/servers.ts'
import { eventually } from '../support/wait.ts'
import { type Listening, listening as listenWith, TO_LISTENERS } from './listening.ts'

describeHandler('Announcements of ended sessions', (kit) => {
  if (kit.server.kind === 'pgbouncer') {
    test.skip('not through PgBouncer in transaction mode, which delivers nothing', () => {})
    return
  }
  const isPglite = kit.server.kind === 'pglite'
  const listening = (options = {}) => listenWith(kit.open({ announce: true, ...options }))

  async function create(handler: Handler, custom: string, options: object = {}): Promise<string> {
    const one = id()
    await handler.write(one, { n: 1 }, { custom, base: null, ...options })
    return one
  }

  /** Returns what was received until now: announcements arrive in the order of the commits. */
  async function received({ handler, ended, of }: Listening): Promise<typeof ended> {
    const last = await create(handler, 'last')
    await handler.destroy(last)
    await eventually(() => expect(of(handler.storedId(last))).toHaveLength(1))
    return ended.splice(0).filter(({ custom }) => custom !== 'last')
  }

  test('all processes emit ended for a session that another process destroys', async () => {
    const listeners = [await listening(), await listening()]
    const ending = kit.open({ announce: true })
    const session = await create(ending, 'u1')
    expect(await ending.destroy(session)).toBe(true)
    const expected = { id: session, custom: 'u1', reason: 'destroyed' }
    for (const { of } of listeners) await eventually(() => expect(of(session)).toEqual([expected]))
  })

  describe('emits ended for', () => {
    const WAYS: Record<string, (handler: Handler, user: string, ids: string[]) => Promise<unknown>> = {
      destroy: (handler, _, ids) => Promise.all(ids.map((one) => handler.destroy(one))),
      destroyListed: (handler, _, ids) => Promise.all(ids.map((one) => handler.destroyListed(one))),
      destroyByField: (handler, user) => handler.destroyByField(user),
      destroyAll: (handler, user) => handler.destroyAll({ name: user }),
      endDevice: async (handler, user) => {
        for (const { handle } of await handler.devices(user)) await handler.endDevice(user, handle)
      },
    }
    test.each(Object.keys(WAYS))('%s', async (way) => {
      const receiver = await listening()
      const user = `user-${way}`
      const ids = await Promise.all([1, 2, 3].map(() => create(receiver.handler, user, { name: user })))
      await WAYS[way]?.(kit.open({ announce: true }), user, ids)
      const found = await received(receiver)
      expect(found.map((one) => one.id).sort()).toEqual(ids.sort())
      expect(new Set(found.map(({ reason, custom }) => `${reason} ${custom}`))).toEqual(
        new Set([`destroyed ${user}`]),
      )
    })

    test('destroyByField with except, but not for the exception', async () => {
      const receiver = await listening()
      const [own, other] = [
        await create(receiver.handler, 'except'),
        await create(receiver.handler, 'except'),
      ]
      await receiver.handler.destroyByField('except', { except: own })
      expect(await received(receiver)).toEqual([{ id: other, custom: 'except', reason: 'destroyed' }])
    })

    test('limitByField, with the reason limited', async () => {
      const receiver = await listening()
      const old = await create(receiver.handler, 'limit')
      const own = await create(receiver.handler, 'limit')
      expect(await receiver.handler.limitByField('limit', 1, { keep: own })).toBe(1)
      expect(await received(receiver)).toEqual([{ id: old, custom: 'limit', reason: 'limited' }])
    })

    test('destroyWhere', async () => {
      const columns = { n: { type: 'bigint', value: (data: Data) => data.n } } as const
      const receiver = await listening({ table: 'announced_columns', columns })
      const one = await create(receiver.handler, 'where')
      await (receiver.handler as { destroyWhere(where: object): Promise<number> }).destroyWhere({ n: 1 })
      expect(await received(receiver)).toEqual([{ id: one, custom: 'where', reason: 'destroyed' }])
    })

    test('garbage collection, with the reason expired', async () => {
      const receiver = await listening({ table: 'announced_gc' })
      const one = await create(receiver.handler, 'gc')
      await expireAgo(kit, one, 7200, 'announced_gc')
      await kit.query('UPDATE announced_gc SET sess_sweep = 0')
      expect(await receiver.handler.gc()).toBe(1)
      expect(await received(receiver)).toEqual([{ id: one, custom: 'gc', reason: 'expired' }])
    })

    test('garbage collection with keepExpired, when the row is emptied and not again when it is deleted', async () => {
      const table = 'announced_kept'
      const receiver = await listening({ table, keepExpired: true, keepExpiredFor: 86_400 })
      const one = await create(receiver.handler, 'kept')
      await expireAgo(kit, one, 7200, table)
      await kit.query(`UPDATE ${table} SET sess_sweep = 0`)
      await receiver.handler.gc()
      await expireAgo(kit, one, 100_000, table)
      await kit.query(`UPDATE ${table} SET sess_sweep = 0`)
      await receiver.handler.gc()
      expect(await kit.query(`SELECT FROM ${table}`)).toEqual([])
      expect(await received(receiver)).toEqual([{ id: one, custom: 'kept', reason: 'expired' }])
    })

    test('the destroy of a session that has expired, which garbage collection will not find', async () => {
      const receiver = await listening()
      const one = await create(receiver.handler, 'late')
      await expireAgo(kit, one, 3)
      expect(await receiver.handler.destroy(one)).toBe(false)
      expect(await received(receiver)).toEqual([{ id: one, custom: 'late', reason: 'destroyed' }])
    })

    test('each of many sessions in a batch', async () => {
      const receiver = await listening()
      const ids = await Promise.all(Array.from({ length: 100 }, () => create(receiver.handler, 'many')))
      await Promise.all(ids.map((one) => receiver.handler.destroy(one)))
      expect((await received(receiver)).map((one) => one.id).sort()).toEqual(ids.sort())
    })
  })

  test.each(['hashed', 'migrate'] as const)('has the hashed form of the id with ids: %s', async (ids) => {
    const receiver = await listening({ table: `announced_${ids}`, ids })
    const one = await create(receiver.handler, 'h')
    await receiver.handler.destroy(one)
    expect(receiver.handler.storedId(one)).toBe(hashedId(one))
    expect(await received(receiver)).toEqual([{ id: hashedId(one), custom: 'h', reason: 'destroyed' }])
  })

  test("has the hashed form with ids: 'migrate' also for a row with a plain id, however it ends", async () => {
    const table = 'announced_forms'
    const plain = kit.open({ table })
    const ids = [await create(plain, 'f'), await create(plain, 'f')]
    const receiver = await listening({ table, ids: 'migrate' })
    await receiver.handler.destroy(ids[0] as string)
    await receiver.handler.destroyByField('f')
    const forms = (await received(receiver)).map((one) => one.id)
    expect(forms).toEqual(ids.map((one) => receiver.handler.storedId(one)))
  })

  test('an announcement contains neither data nor keys of an encrypted session', async () => {
    const { handler, ended } = await listening({
      table: 'announced_sealed',
      encryption: { keys: [{ id: 'k', key: randomBytes(32) }] },
    })
    const one = await create(handler, 'sealed')
    await handler.destroy(one)
    await eventually(() => expect(ended).toEqual([{ id: one, custom: 'sealed', reason: 'destroyed' }]))
  })

  test('a process emits nothing for another table', async () => {
    const receiver = await listening()
    const others = [kit.open({ announce: true, table: 'announced_other' })]
    if (!isPglite) {
      await kit.query('CREATE SCHEMA IF NOT EXISTS other')
      others.push(kit.open({ announce: true, table: 'other.php_session' }))
    }
    for (const other of others) await other.destroy(await create(other, 'other'))
    expect(await received(receiver)).toEqual([])
  })

  test('the channel of two long names of tables differs, and fits into the 63 bytes of a name', () => {
    const table = (last: string) => channelOf({ schema: 's'.repeat(63), table: 't'.repeat(62) + last })
    expect(table('a')).not.toBe(table('b'))
    expect(channelOf({ schema: 'a', table: 'b' })).not.toBe(channelOf({ schema: 'b', table: 'a' }))
    expect(table('a').length).toBeLessThan(64)
  })

  test.each([
    ['of two bytes', 'é'.repeat(300), 'é'.repeat(200)],
    ['of four bytes', '😀'.repeat(5000), '😀'.repeat(200)],
    ['that JSON escapes', '\u0001'.repeat(5000), '\u0001'.repeat(200)],
  ])('has the first 200 characters of a long custom field, %s', async (_, custom, sent) => {
    const receiver = await listening()
    const one = await create(receiver.handler, custom)
    expect(await receiver.handler.destroy(one)).toBe(true)
    expect(await received(receiver)).toEqual([{ id: one, custom: sent, reason: 'destroyed' }])
  })

  test('all processes emit missed for a session whose id is too long to announce, and the others are announced', async () => {
    const listeners = [await listening(), await listening()]
    const writer = kit.open({ idPattern: /.*/s, announce: true })
    const long = 'x'.repeat(2000)
    await writer.write(long, {}, { base: null })
    const short = await create(writer, 'short')
    expect(await Promise.all([writer.destroy(long), writer.destroy(short)])).toEqual([true, true])
    for (const receiver of listeners) {
      expect(await received(receiver)).toEqual([{ id: short, custom: 'short', reason: 'destroyed' }])
      expect(receiver.missed).toHaveLength(1)
    }
  })

  test('ignores forged announcements that it cannot read', async () => {
    const receiver = await listening()
    const channel = channelOf({ schema: 'public', table: 'php_session' })
    const forged = [
      ...['', 'x', '{', 'null', '[]', '7', '"a"', '{"id":1,"custom":null,"reason":"destroyed"}'],
      ...['{"id":"a","custom":{},"reason":"destroyed"}', '{"id":"a","custom":null,"reason":"x"}'],
      ...[
        '{"id":"a","custom":null}',
        '{"check":"x"}',
        '{"check":{}}',
        '{"missed":1}',
        '{"__proto__":{"id":"a"}}',
      ],
    ]
    for (const payload of forged) await kit.query('SELECT pg_notify($1, $2)', [channel, payload])
    expect(await received(receiver)).toEqual([])
    expect([receiver.missed, receiver.errors]).toEqual([[], []])
  })

  test('a listener that throws does not stop the others', async () => {
    const receiver = await listening()
    receiver.handler.on('ended', () => {
      throw new Error('from a listener')
    })
    const ids = [await create(receiver.handler, 'throw'), await create(receiver.handler, 'throw')]
    await receiver.handler.destroyByField('throw')
    await eventually(() => expect(receiver.ended).toHaveLength(2))
    expect(receiver.ended.map((one) => one.id).sort()).toEqual(ids.sort())
  })

  test('a logout that is rolled back announces nothing', async () => {
    const table = 'announced_rollback'
    const receiver = await listening({ table })
    const one = await create(receiver.handler, 'kept')
    await kit.query(`
      CREATE FUNCTION announced_refuse() RETURNS trigger LANGUAGE plpgsql
      AS $$ BEGIN IF OLD.sess_custom = 'kept' THEN RAISE 'refused'; END IF; RETURN NULL; END $$`)
    await kit.query(`
      CREATE CONSTRAINT TRIGGER refuse AFTER DELETE ON ${table} DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION announced_refuse()`)
    expect(await errorOf(receiver.handler.destroy(one))).toMatchObject({ code: 'DATABASE' })
    expect(
      await errorOf(
        receiver.handler.limitByField('kept', 1).then(() => receiver.handler.destroyByField('kept')),
      ),
    ).toMatchObject({ code: 'DATABASE' })
    expect(await received(receiver)).toEqual([])
    expect(await receiver.handler.read(one)).toMatchObject({ data: { n: 1 } })
  })

  test('neither announces nor listens without announce', async () => {
    const receiver = await listening()
    const off = await listening({ announce: false })
    const listeners = isPglite ? 0 : (await kit.query(TO_LISTENERS)).length
    const one = await create(off.handler, 'off')
    await off.handler.destroy(one)
    expect(await received(receiver)).toEqual([])
    expect(off.ended).toEqual([])
    if (!isPglite) expect(listeners).toBe(1)
  })
})

describeOnEveryKind('Adapters announce', (server) => {
  test('in Express, the old id after regenerate, and the id after a logout', async () => {
    const site = await startSite({ ...optionsFor(await server.freshDatabase()), announce: true }, (app) => {
      app.get('/login', (req, res) => {
        const old = req.sessionID
        req.session.regenerate(() => {
          req.session.user = 'ada'
          res.json([old, req.sessionID])
        })
      })
      app.get('/logout', (req, res) => req.session.destroy(() => res.end()))
    })
    try {
      const { ended } = await listenWith(site.store.handler as unknown as Handler)
      const browser = site.browser()
      await browser.get('/login')
      const ids = JSON.parse((await browser.get('/login')).text)
      await eventually(() => expect(ended.map((one) => one.id)).toEqual([ids[0]]))
      await browser.get('/logout')
      await eventually(() => expect(ended.map((one) => one.id)).toEqual(ids))
    } finally {
      await site.close()
    }
  })

  test('in session-pgsql/web, all ids of a session after its logout', async () => {
    const options = { ...optionsFor(await server.freshDatabase()), announce: true }
    const sessions = createSessions<Data>({ ...options, secret: 'a secret for the tests' })
    try {
      const { ended } = await listenWith(sessions.handler as unknown as Handler)
      let cookie = ''
      const visit = async (work: (session: WebSession<Data>) => void): Promise<void> => {
        const session = await sessions.session(new Request('http://example.org/', { headers: { cookie } }))
        work(session)
        cookie = (await session.commit())?.header.split(';')[0] ?? cookie
      }
      await visit((session) => session.set('a', 1))
      await visit((session) => session.regenerate())
      const ids = (await sessions.handler.list()).map(({ id }) => id)
      expect(ids).toHaveLength(2)
      await visit((session) => session.destroy())
      await eventually(() => expect(ended.map((one) => one.id).sort()).toEqual(ids.sort()))
    } finally {
      await sessions.close()
    }
  })
})

describeHandler(
  'The connection that listens',
  (kit) => {
    if (kit.server.kind === 'pgbouncer') {
      test.skip('not through PgBouncer in transaction mode, which delivers nothing', () => {})
      return
    }
    const pids = async (): Promise<number[]> =>
      (await kit.query<{ pid: number }>(TO_LISTENERS)).map(({ pid }) => pid)

    test('is opened for a listener of ended or missed, and closed with the handler', async () => {
      const silent = kit.open({ announce: true })
      await silent.open()
      expect(await pids()).toEqual([])
      silent.on('missed', () => {})
      await silent.open()
      expect(await pids()).toHaveLength(1)
      await silent.close()
      await eventually(async () => expect(await pids()).toEqual([]))
    })

    test("is not one of the caller's pool", async () => {
      const pool = new pg.Pool({ connectionString: kit.database().db as string, max: 1 })
      try {
        const { handler, ended } = await listenWith(kit.open({ announce: true, db: pool }))
        const { rows } = await pool.query('SELECT pg_backend_pid() AS pid')
        expect(await pids()).not.toContain(rows[0].pid)
        expect(pool.totalCount).toBe(1)
        await handler.write('pooled', {}, { base: null })
        await handler.destroy('pooled')
        await eventually(() => expect(ended).toHaveLength(1))
        await handler.close()
        await eventually(async () => expect(await pids()).toEqual([]))
        expect((await pool.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
      } finally {
        await pool.end()
      }
    })

    test('is opened again after it was lost; the process emits missed, and ended from then on', async () => {
      const { handler, ended, missed, errors } = await listenWith(kit.open({ announce: true }))
      for (const round of [1, 2]) {
        const [pid] = await pids()
        await kit.query('SELECT pg_terminate_backend($1)', [pid])
        await eventually(() => expect(missed).toHaveLength(round))
        await handler.write('lost', {}, { base: null })
        await handler.destroy('lost')
        await eventually(() => expect(ended).toHaveLength(round))
      }
      expect(errors).toEqual([])
    })

    test('is opened again after reset, and the process emits missed', async () => {
      const { handler, missed } = await listenWith(kit.open({ announce: true, db: kit.database().db }))
      await handler.reset()
      await eventually(() => expect(missed).toHaveLength(1))
    })
  },
  'postgres only',
)
