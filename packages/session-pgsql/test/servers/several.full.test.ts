import { writeFile } from 'node:fs/promises'
import pg from 'pg'
import { describe, expect, test } from 'vitest'
import type { SaveHandler } from '../../src/index.ts'
import { runHere } from '../cli/command-line.ts'
import { startWorker } from '../support/processes.ts'
import { promote } from '../support/standby.ts'
import { eventually, sleep, until, within } from '../support/wait.ts'
import { type Data, severalServers } from './kit.ts'
import type { TerminatedResult } from './workers/terminated.ts'

/** Several entries of `db`: real independent servers with real faults. The cases of every run are in several.test.ts. */
describe('sessions sharded over three servers, with faults that take longer', () => {
  const { names, servers, server, handlerOf, idsOf, idOf, places, fallbackRows, isDown, proxyTo } =
    severalServers()

  test.each([
    ['one', ['a']],
    ['all', ['a', 'b', 'c']],
  ])('sends few requests to a server that is down: %s down', async (_, down) => {
    const sessions = handlerOf()
    await sessions.open()
    await Promise.all(down.map((name) => server(name).kill9()))
    await sessions.read(idOf('a')).catch(() => {})
    const calls = (): number => sessions.status().servers[0]?.calls as number
    const before = calls()
    const begun = performance.now()
    const ask = async (): Promise<void> => {
      while (performance.now() < begun + 1000) {
        await sessions.read(idOf('a')).catch(() => {})
        await sleep(1)
      }
    }
    await Promise.all(Array.from({ length: 10 }, ask))
    // One every 50 to 100 ms, and the probes.
    expect(calls() - before).toBeLessThan(30)
  })

  test('rejects with SERVER_DOWN at once when all servers are down, and recovers with the first that answers', async () => {
    const sessions = handlerOf()
    const id = idOf('a')
    await sessions.write(id, {}, { base: null })
    await Promise.all(['a', 'b', 'c'].map((name) => server(name).kill9()))
    await expect(sessions.read(id)).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    const start = performance.now()
    await expect(sessions.read(id)).rejects.toMatchObject({ code: 'SERVER_DOWN' })
    expect(performance.now() - start).toBeLessThan(1000)
    await server('c').start()
    await eventually(async () =>
      expect(await sessions.write(idOf('a'), {}, { base: null })).toMatchObject({ outcome: 'created' }),
    )
  })

  test('no request waits longer than operationTimeout for a server that hangs, and later ones do not wait', async () => {
    const sessions = handlerOf({ operationTimeout: 5 })
    const ids = idsOf('b', 10)
    const records = await Promise.all(
      ids.map(async (id) => (await sessions.write(id, { n: 0 }, { base: null })).session),
    )
    server('b').pause()
    try {
      const start = performance.now()
      const results = await Promise.all(ids.map((id, n) => sessions.write(id, { n }, { base: records[n] })))
      expect(results.every(({ outcome }) => outcome === 'updated')).toBe(true)
      expect(performance.now() - start).toBeLessThan(5000)
      expect(isDown(sessions, 'b')).toBe(true)
      // From now on no request is sent to it.
      const calls = sessions.status().servers[1]?.calls
      await Promise.all(ids.map((id) => sessions.read(id)))
      expect(sessions.status().servers[1]?.calls).toBeLessThanOrEqual((calls ?? 0) + 1)
    } finally {
      server('b').resume()
    }
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    for (const [n, id] of ids.entries()) expect((await sessions.read(id))?.data).toEqual({ n })
  })

  test('merges both changes when only one of two processes finds the home server down', async () => {
    const proxy = await proxyTo('a')
    const cut = handlerOf({}, [proxy.port])
    const whole = handlerOf()
    const outcomes: string[] = []
    for (const one of [cut, whole]) one.on('broughtHome', ({ outcome }) => outcomes.push(outcome))
    const [both, left, gone] = idsOf('a', 3) as [string, string, string]
    for (const id of [both, left, gone]) await whole.write(id, { keep: 1, drop: 1 }, { base: null })
    const seen = new Map(
      await Promise.all([both, left, gone].map(async (id) => [id, await cut.read(id)] as const)),
    )
    await proxy.refuse()
    proxy.drop()

    await cut.write(both, { keep: 1, ours: 1 }, { base: seen.get(both) })
    expect(isDown(cut, 'a')).toBe(true)
    await whole.write(both, { keep: 1, drop: 1, theirs: 1 }, { base: await whole.read(both) })
    await cut.write(left, { keep: 2, drop: 1 }, { base: seen.get(left) })
    await cut.write(gone, { keep: 3 }, { base: seen.get(gone) })
    await whole.destroy(gone)

    // The other process moves the rows back, while this one still writes to the fallback server.
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    await cut.write(left, { keep: 2, drop: 1, late: 1 }, { base: seen.get(left), seen: { keep: 2, drop: 1 } })
    await proxy.resume()
    await eventually(async () => {
      expect(isDown(cut, 'a')).toBe(false)
      expect(await fallbackRows()).toBe(0)
    })
    // One access for the creation and for the write on each side.
    expect(await whole.read(both)).toMatchObject({ data: { keep: 1, ours: 1, theirs: 1 }, accesses: 3 })
    expect((await whole.read(both))?.data).not.toHaveProperty('drop')
    expect((await whole.read(left))?.data).toMatchObject({ keep: 2, late: 1 })
    expect(await cut.read(gone)).toBeUndefined()
    expect(await whole.read(gone)).toBeUndefined()
    expect(outcomes).toContain('merged')
    expect(outcomes).toContain('dropped')
  })

  test('merges lists, but not two logins, of two processes of which one finds the home server down', async () => {
    const proxy = await proxyTo('a')
    const [cut, whole] = [handlerOf({}, [proxy.port]), handlerOf()]
    const [lists, logins] = idsOf('a', 2) as [string, string]
    await whole.write(lists, { cart: ['x', 'y'] }, { base: null })
    await whole.write(logins, { cart: ['x'] }, { base: null })
    const seen = await Promise.all([lists, logins].map((id) => cut.read(id)))
    await proxy.refuse()
    proxy.drop()

    await cut.write(lists, { cart: ['y', 'ours'] }, { base: seen[0] })
    await cut.write(logins, { cart: ['x'], user: 2 }, { base: seen[1], custom: '2' })
    expect(isDown(cut, 'a')).toBe(true)
    await whole.write(lists, { cart: ['x', 'y', 'theirs'] }, { base: await whole.read(lists) })
    await whole.write(
      logins,
      { cart: ['x'], user: 1, su: true },
      { base: await whole.read(logins), custom: '1' },
    )

    await proxy.resume()
    await eventually(async () => {
      expect(isDown(cut, 'a')).toBe(false)
      expect(await fallbackRows()).toBe(0)
    })
    expect((await whole.read(lists))?.data).toEqual({ cart: ['y', 'theirs', 'ours'] })
    expect(await whole.read(logins)).toMatchObject({ custom: '2' })
    expect((await whole.read(logins))?.data).toEqual({ cart: ['x'], user: 2 })
  })

  test('a session destroyed and created again while its home server was down does not get the old data back', async () => {
    const sessions = handlerOf()
    const id = idOf('c')
    await sessions.write(id, { secret: 'old' }, { base: null })
    await server('c').kill9()
    await sessions.destroy(id)
    expect((await sessions.write(id, { fresh: 1 }, { base: null })).outcome).toBe('created')
    await server('c').start()
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    expect((await sessions.read(id))?.data).toEqual({ fresh: 1 })
    expect(await places(id)).toEqual(['c'])
  })

  test("a write with base: 'existing' on a session created while its home server was down replaces the session there", async () => {
    const sessions = handlerOf()
    const id = idOf('c')
    await sessions.write(id, { user: 'ada', n: 1 })
    await server('c').kill9()
    await sessions.write(id, { n: 2 }, { base: null })
    expect((await sessions.write(id, { n: 3 }, { base: 'existing' })).outcome).toBe('updated')
    await server('c').start()
    await eventually(async () => expect(await places(id)).toEqual(['c']))
    // As on one server: the creation was merged with the stored session, the later write replaces all of it.
    expect((await sessions.read(id))?.data).toEqual({ n: 3 })
  })

  test('a write without a base while the home server is down replaces the session there', async () => {
    const sessions = handlerOf()
    const [once, twice, merged] = idsOf('c', 3) as [string, string, string]
    const old = await Promise.all(
      [once, twice, merged].map(async (id) => (await sessions.write(id, { user: 'ada', n: 1 })).session),
    )
    await server('c').kill9()
    const written = await sessions.write(once, { n: 2 })
    expect(written.outcome).toBe('created')
    await sessions.write(twice, { n: 2, a: 1 }, { base: null })
    expect((await sessions.write(twice, { n: 3 })).outcome).toBe('updated')
    // The caller took it for absent, but the home server has it.
    await sessions.write(merged, { n: 2 }, { base: null })
    await server('c').start()
    await eventually(async () => {
      expect(isDown(sessions, 'c')).toBe(false)
      expect(await fallbackRows()).toBe(0)
    })
    expect((await sessions.read(once))?.data).toEqual({ n: 2 })
    expect((await sessions.read(twice))?.data).toEqual({ n: 3 })
    expect((await sessions.read(merged))?.data).toEqual({ user: 'ada', n: 2 })
    for (const id of [once, twice, merged]) expect(await places(id)).toEqual(['c'])
    // As after any such write: a later write is merged with it, whichever of the two versions it read.
    const before = await sessions.write(once, { user: 'ada', n: 1, x: 1 }, { base: old[0] })
    expect(before.session?.data).toEqual({ n: 2, x: 1 })
    const after = await sessions.write(once, { n: 2, y: 1 }, { base: written.session })
    expect(after.session?.data).toEqual({ n: 2, x: 1, y: 1 })
  })

  const creations: Record<string, (sessions: SaveHandler<Data>, id: string) => Promise<unknown>> = {
    'after a read that found nothing': (sessions, id) => sessions.write(id, { fresh: 1 }, { base: null }),
    'with a write without a base': (sessions, id) => sessions.write(id, { fresh: 1 }),
    'after a destroy': async (sessions, id) => {
      await sessions.destroy(id)
      await sessions.write(id, { fresh: 1 }, { base: null })
    },
    'and writes it twice': async (sessions, id) => {
      const { session } = await sessions.write(id, { fresh: 1 })
      await sessions.write(id, { fresh: 2 }, { base: session })
      await sessions.write(id, { fresh: 3 })
    },
  }

  test.each(Object.entries(creations))(
    'a session that a request creates again while its home server is down (%s) and then destroys does not get the old data back',
    async (_, create) => {
      const sessions = handlerOf()
      const id = idOf('c')
      const old = (await sessions.write(id, { user: 'ada' }, { base: null })).session
      await server('c').kill9()
      await create(sessions, id)
      expect(await sessions.destroy(id)).toBe(true)
      await server('c').start()
      await eventually(async () => {
        expect(isDown(sessions, 'c')).toBe(false)
        expect(await fallbackRows()).toBe(0)
      })
      expect(await sessions.read(id)).toBeUndefined()
      expect(await places(id)).toEqual(['c (tombstone)'])
      expect((await sessions.write(id, { back: 1 }, { base: old })).outcome).toBe('gone')
    },
  )

  test('keeps what the home server wrote since when a process dies between the two commits of a failback', async () => {
    const sessions = handlerOf()
    const outcomes: string[] = []
    sessions.on('broughtHome', ({ outcome }) => outcomes.push(outcome))
    const [known, fresh, moved] = idsOf('a', 3) as [string, string, string]
    const before = new Map(
      await Promise.all(
        [known, moved].map(
          async (id) => [id, (await sessions.write(id, { n: 1 }, { base: null })).session] as const,
        ),
      ),
    )
    await server('a').kill9()
    for (const id of [known, fresh, moved]) {
      await sessions.write(id, { n: 2 }, { base: before.get(id) ?? null, custom: 'two' })
    }
    for (const one of [server('b'), server('c')]) {
      await one.query(
        `CREATE OR REPLACE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no''; END'`,
      )
      await one.query('CREATE TRIGGER no BEFORE DELETE ON php_session FOR EACH ROW EXECUTE FUNCTION no()')
    }
    await server('a').start()
    await eventually(async () => {
      expect(isDown(sessions, 'a')).toBe(false)
      for (const id of [known, fresh, moved]) {
        expect((await places(id)).length).toBe(2)
        expect((await sessions.read(id))?.data).toEqual({ n: 2 })
      }
    })
    for (const id of [known, fresh]) {
      const { outcome, session } = await sessions.write(
        id,
        { n: 3 },
        { base: await sessions.read(id), custom: 'three' },
      )
      expect([outcome, session?.accesses]).toEqual(['updated', id === known ? 3 : 2])
    }
    await sessions.write(moved, { n: 2, home: 1 }, { base: await sessions.read(moved) })
    expect(outcomes).toEqual([])
    for (const one of [server('b'), server('c')]) {
      // Another process that still finds the home server down has continued on the fallback server. In one transaction: a
      // failback in between would commit at home, and fail to delete the row once more.
      await one.query(
        `UPDATE php_session SET sess_data = '{"n":2,"away":1}' WHERE sess_id = '${moved}' AND sess_home IS NOT NULL;
         DROP TRIGGER no ON php_session`,
      )
    }
    await eventually(async () => expect(await fallbackRows()).toBe(0))
    expect(await sessions.read(known)).toMatchObject({ data: { n: 3 }, custom: 'three', accesses: 3 })
    expect(await sessions.read(fresh)).toMatchObject({ data: { n: 3 }, custom: 'three', accesses: 2 })
    expect((await sessions.read(moved))?.data).toEqual({ n: 2, home: 1, away: 1 })
    expect(outcomes.sort()).toEqual(['brought', 'brought', 'merged'])
    const remembered = await server('a').query('SELECT 1 FROM php_session WHERE sess_base IS NOT NULL')
    expect(remembered.length).toBeLessThanOrEqual(2)
  })

  test('a request continues on the fallback server when the home server hangs during failback', async () => {
    const proxy = await proxyTo('a')
    const sessions = handlerOf({ operationTimeout: 30 }, [proxy.port])
    const id = idOf('a')
    const { session: base } = await sessions.write(id, { n: 1 }, { base: null })
    await proxy.refuse()
    proxy.drop()
    const { session } = await sessions.write(id, { n: 2 }, { base })
    const holder = new pg.Client(server('a').url())
    await holder.connect()
    try {
      await holder.query('BEGIN')
      await holder.query('SELECT 1 FROM php_session WHERE sess_id = $1 FOR UPDATE', [id])
      await proxy.resume()
      await until(
        async () =>
          (await server('a').query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")).length >
          0,
        'the failback to wait for the lock',
      )
      server('a').pause()
      const written = await within(
        sessions.write(id, { n: 3 }, { base: session }),
        8000,
        'the fallback server',
      )
      expect(written.outcome).toBe('updated')
    } finally {
      server('a').resume()
      await holder.end()
    }
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    expect(await sessions.read(id)).toMatchObject({ data: { n: 3 }, accesses: 3 })
  })

  test('a slow server does not slow down sessions of other servers', async () => {
    const sessions = handlerOf({ operationTimeout: 20 })
    const [slow, fast] = [idsOf('a', 50), idOf('b')]
    await Promise.all([...slow, fast].map((id) => sessions.write(id, {}, { base: null })))
    const lock = new pg.Client(server('a').url())
    await lock.connect()
    let waiting = slow.length
    try {
      await lock.query('BEGIN; LOCK TABLE php_session')
      const reads = slow.map(async (id) => {
        await sessions.read(id)
        waiting--
      })
      const blocked = () => server('a').query("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
      await until(async () => (await blocked()).length > 0, 'a read to wait for the lock')
      for (let n = 0; n < 5; n++) expect(await sessions.read(fast)).toBeDefined()
      expect(waiting).toBe(slow.length)
      await lock.query('COMMIT')
      await Promise.all(reads)
    } finally {
      await lock.end()
    }
    // On a machine that is busy enough, the ping may have timed out.
    await eventually(() => expect(isDown(sessions, 'a')).toBe(false))
    for (const id of slow) expect(await sessions.read(id)).toBeDefined()
  })

  test('passes over a server that accepts connections but never answers', async () => {
    const proxy = await proxyTo('a')
    const sessions = handlerOf({}, [proxy.port])
    const [known, fresh] = idsOf('a', 2) as [string, string]
    const { session } = await sessions.write(known, { n: 1 }, { base: null })
    proxy.silence()
    const results = await within(
      Promise.all([
        sessions.write(known, { n: 2 }, { base: session }),
        sessions.write(fresh, { n: 3 }, { base: null }),
      ]),
      5000,
      'the fallback server to answer',
    )
    expect(results.map(({ outcome }) => outcome)).toEqual(['updated', 'created'])
    expect(isDown(sessions, 'a')).toBe(true)
    // A new handler has no connection yet, and passes the server over too.
    const later = handlerOf({}, [proxy.port])
    const read = await within(later.read(known), 5000, 'the new handler')
    expect(read?.data).toEqual({ n: 2 })
    await proxy.resume()
    await eventually(async () => {
      for (const id of [known, fresh]) expect(await places(id)).toEqual(['a'])
    })
    expect((await sessions.read(known))?.data).toEqual({ n: 2 })
    expect((await sessions.read(fresh))?.data).toEqual({ n: 3 })
  })

  test('reset() opens new connections to all servers', async () => {
    const sessions = handlerOf()
    const ids = ['a', 'b', 'c'].map(idOf)
    const connections = async (): Promise<number[][]> => {
      await Promise.all(ids.map((id) => sessions.write(id, {})))
      const found = await Promise.all(
        servers.slice(0, 3).map((one) =>
          one.query<{ pid: number }>(
            // Without the connection of this query.
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
          ),
        ),
      )
      return found.map((rows) => rows.map(({ pid }) => pid))
    }
    const before = await connections()
    expect(before.map((pids) => pids.length > 0)).toEqual([true, true, true])
    await sessions.reset()
    await eventually(async () => {
      const after = await connections()
      for (const [n, pids] of after.entries()) {
        expect(pids.length).toBeGreaterThan(0)
        expect(pids.filter((pid) => before[n]?.includes(pid))).toEqual([])
      }
    })
  })

  test.each(['destroyed', 'expired'])(
    'does not find a session on its former home server that was replaced on a fourth and then %s',
    async (how) => {
      const [replaced, created] = idsOf('d', 2, 4) as [string, string]
      const three = handlerOf()
      for (const id of [replaced, created]) await three.write(id, { v: 1 })
      const four = handlerOf({}, [], 4)
      await four.write(replaced, { v: 2 }, { lifetime: how === 'expired' ? 0.2 : 1000 })
      // The former home server cannot be asked.
      const [old] = (await places(created)) as [string]
      if (how === 'destroyed') {
        await server(old).kill9()
        await four.write(created, { v: 2 }, { base: null })
        await server(old).start()
        await eventually(() => expect(isDown(four, old)).toBe(false))
        expect(await four.destroy(created)).toBe(true)
        expect(await four.read(created)).toBeUndefined()
        expect(await four.destroy(replaced)).toBe(true)
      } else {
        await sleep(1500)
        await server('d').query('DELETE FROM php_session WHERE sess_id = $1', [replaced])
      }
      expect(await four.read(replaced)).toBeUndefined()
    },
  )

  test('does not deadlock when rows are moved in both directions at once over one connection each', async () => {
    const three = handlerOf()
    // Each of two servers is the home server of the other's rows.
    const ids = ['a', 'b'].flatMap((name) => idsOf(name, 10, 2))
    const there = ids.map((_, n) => names[Number(n < 10)] as string)
    await three.open()
    for (const [n, id] of ids.entries()) {
      await server(there[n] as string).query(
        `INSERT INTO php_session (sess_id, sess_data, sess_created, sess_expire, sess_counter)
         SELECT $1, $2, floor(extract(epoch FROM now())), floor(extract(epoch FROM now())) + 1000, 1`,
        [id, JSON.stringify({ n })],
      )
    }
    const two = handlerOf({ poolSize: 1 }, [], 2)
    const read = await within(Promise.all(ids.map((id) => two.read(id))), 20_000, 'all to be read')
    expect(read.map((session) => session?.data)).toEqual(ids.map((_, n) => ({ n })))
  })

  test('drain empties a server with weight=0 while it is in use, and every session survives', async () => {
    const before = handlerOf()
    const ids = ['a', 'b', 'c'].flatMap((name) => idsOf(name, 4))
    await Promise.all(ids.map((id, n) => before.write(id, { n }, { base: null })))
    const db = servers.slice(0, 3).map((one, index) => {
      const weight = index === 2 ? 0 : 1
      return `host=${one.host} port=${one.port} dbname=postgres user=postgres name=${names[index]} weight=${weight}`
    })
    const leaving = handlerOf({ db })
    expect(leaving.status().servers.map(({ share }) => share)).toEqual([0.5, 0.5, 0])
    for (const [n, id] of ids.entries()) {
      if (n % 2 === 0) expect((await leaving.read(id))?.data).toEqual({ n })
    }
    const flags = db.flatMap((one) => ['--db', one])
    const ran = await runHere(['drain', 'c', '--json', ...flags])
    expect(ran).toMatchObject({ code: 0, stderr: '' })
    expect(JSON.parse(ran.stdout)).toMatchObject({ server: 'c', left: 0 })
    const without = handlerOf({ db: db.slice(0, 2) })
    for (const [n, id] of ids.entries()) expect((await without.read(id))?.data).toEqual({ n })
    const wrong = await runHere(['drain', 'nobody', ...flags])
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('there are a, b, c') })

    const status = await runHere(['status', '--json', ...flags])
    expect(JSON.parse(status.stdout).servers).toMatchObject([
      { name: 'a', share: 0.5, away: 0 },
      { name: 'b', share: 0.5 },
      { name: 'c', share: 0, active: 0 },
    ])
  })

  test.each(['default_transaction_read_only', 'a standby'])(
    'treats a read-only server (%s) as down',
    async (how) => {
      const sessions = handlerOf({ operationTimeout: 20 })
      const [id, other] = idsOf('c', 2) as [string, string]
      const record = (await sessions.write(id, { n: 1 }, { base: null })).session
      await sessions.write(other, { n: 1 }, { base: null })
      const c = server('c')
      const standby = `${c.dataDir}/standby.signal`
      if (how === 'a standby') {
        await c.stop()
        await writeFile(standby, '')
        await c.start()
      } else {
        await c.configure('SET default_transaction_read_only = on')
      }
      expect((await sessions.write(id, { n: 2 }, { base: record })).outcome).toBe('updated')
      expect(isDown(sessions, 'c')).toBe(true)
      expect((await sessions.read(id))?.data).toEqual({ n: 2 })
      expect(await places(id)).toHaveLength(2)
      // Another process that only reads.
      const reader = handlerOf()
      await eventually(async () => {
        await reader.read(other)
        expect(isDown(reader, 'c')).toBe(true)
        expect((await reader.read(id))?.data).toEqual({ n: 2 })
      })
      if (how === 'a standby') {
        await promote(c)
      } else {
        await c.configure('RESET default_transaction_read_only')
      }
      await eventually(async () => expect(await places(id)).toEqual(['c']))
      expect((await sessions.read(id))?.data).toEqual({ n: 2 })
    },
  )

  test('finds a session that another process moved back before this one found the home server up', async () => {
    const proxy = await proxyTo('b')
    const [late, early] = [handlerOf({}, [undefined, proxy.port]), handlerOf()]
    const ids = idsOf('b', 3)
    for (const id of ids) await late.write(id, { n: 1 }, { base: null })
    await proxy.refuse()
    proxy.drop()
    const since = performance.now()
    for (const id of ids) await late.write(id, { n: 2 })
    await early.open()
    await eventually(async () => {
      for (const id of ids) expect(await places(id)).toEqual(['b'])
    })
    // Between two probes, which are 3.1, 6.3 and 11.3 s after the server was found down.
    const elapsed = performance.now() - since
    await sleep((elapsed < 5000 ? 4500 : 8500) - elapsed)
    await proxy.resume()
    expect(isDown(late, 'b')).toBe(true)
    expect(await late.touch(ids[0] as string)).toBe(true)
    for (const id of ids) expect((await late.read(id))?.data).toEqual({ n: 2 })
  })

  test('failback makes one session of a creation whose answer was lost and that was repeated on the fallback server', async () => {
    const proxy = await proxyTo('a')
    const sessions = handlerOf({}, [proxy.port])
    const id = idOf('a')
    await sessions.open()
    await sessions.read(id)
    proxy.holdServerReplies()
    const created = await sessions.write(id, { n: 1 }, { base: null })
    expect(created.outcome).toBe('created')
    expect((await places(id)).length).toBe(2)
    await proxy.resume()
    await eventually(async () => {
      expect(isDown(sessions, 'a')).toBe(false)
      expect(await places(id)).toEqual(['a'])
    })
    expect(await sessions.touch(id, { base: created.session })).toBe(true)
    const { outcome } = await sessions.write(id, { n: 2 }, { base: created.session })
    expect(outcome).toBe('updated')
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
    // A new generation of the id is a new session.
    await sessions.destroy(id)
    await sessions.write(id, { fresh: 1 }, { base: null })
    expect((await sessions.write(id, { n: 3 }, { base: created.session })).outcome).toBe('gone')
  })

  test.each([
    ['a write', 'lost its answer', 'hold'],
    ['a write', 'never arrived', 'silence'],
    ['a touch', 'lost its answer', 'hold'],
    ['a touch', 'never arrived', 'silence'],
  ])(
    'counts an error once if %s that reports it %s at home and was repeated on the fallback server',
    async (what, _, how) => {
      const proxy = await proxyTo('a')
      const sessions = handlerOf({}, [proxy.port])
      const id = idOf('a')
      const { session: base } = await sessions.write(id, { n: 1 }, { base: null })
      if (how === 'hold') proxy.holdServerReplies()
      else proxy.silence()
      const report = { base, errors: { errors: 1 } }
      if (what === 'a write') await sessions.write(id, { n: 2 }, report)
      else expect(await sessions.touch(id, report)).toBe(true)
      expect(await places(id)).toHaveLength(2)
      const [atHome] = await server('a').query(
        'SELECT sess_error::int AS errors FROM php_session WHERE sess_id = $1',
        [id],
      )
      expect(atHome).toEqual({ errors: how === 'hold' ? 1 : 0 })
      // From now on the two rows differ, and are merged.
      await sessions.write(id, { n: 3 }, { base: await sessions.read(id) })
      // What was held back does not arrive late.
      proxy.drop()
      await proxy.resume()
      await eventually(async () => {
        expect(isDown(sessions, 'a')).toBe(false)
        expect(await places(id)).toEqual(['a'])
      })
      expect(await sessions.read(id)).toMatchObject({ data: { n: 3 }, errors: 1, accesses: 3 })
    },
  )

  test('moves a session back from a third server after the home server and its fallback went down in turn', async () => {
    const sessions = handlerOf()
    const id = idOf('a')
    await server('a').kill9()
    const { session } = await sessions.write(id, { n: 1 }, { base: null })
    const fallback = (await places(id))[0] as string
    await server(fallback).kill9()
    expect((await sessions.write(id, { n: 2 }, { base: session })).outcome).toBe('updated')
    await server('a').start()
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
    await server(fallback).start()
    await eventually(async () => {
      expect(isDown(sessions, fallback)).toBe(false)
      expect(await fallbackRows()).toBe(0)
    })
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
  })

  test('does not retain the results of finished requests', async () => {
    const db = names.slice(0, 3).map((name) => `${server(name).conninfo()} name=${name}`)
    const module = new URL('./workers/many-reads.ts', import.meta.url)
    const worker = await startWorker<number>(module, { db }, { execArgv: ['--expose-gc'] })
    // 10,000 records of 5 kB.
    expect(await worker.result).toBeLessThan(15)
  })

  test('on SIGTERM under load, close() waits for writes in progress, loses no acknowledged write, and lets the process exit', async () => {
    const db = names.slice(0, 3).map((name) => `${server(name).conninfo()} name=${name}`)
    const module = new URL('./workers/terminated.ts', import.meta.url)
    const worker = await startWorker<TerminatedResult>(module, { db })
    expect(await worker.receive()).toBe('busy')
    await worker.kill('SIGTERM')
    const { acknowledged, codes, inProgress, failed, unfinished } = await worker.result
    expect(inProgress).toBeGreaterThan(0)
    expect({ failed, unfinished }).toEqual({ failed: 0, unfinished: 0 })
    expect(codes).toEqual(['CLOSED'])
    const sessions = handlerOf()
    for (const [id, n] of Object.entries(acknowledged)) {
      expect((await sessions.read(id))?.data).toEqual({ n })
    }
    expect(Object.keys(acknowledged)).toHaveLength(50)
  })

  test('close() waits for a write in progress while a server is down and a probe is due', async () => {
    const sessions = handlerOf()
    const id = idOf('a')
    await sessions.write(id, {}, { base: null })
    await server('a').kill9()
    const write = sessions.write(id, { v: 2 })
    await within(sessions.close(), 10_000, 'close')
    expect((await write).outcome).toBe('created')
  })
})
