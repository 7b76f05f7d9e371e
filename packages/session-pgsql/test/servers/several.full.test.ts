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

/** Several entries of `db`: faults one on top of the other, and what takes long. The rest is in several.test.ts. */
describe('sessions on three servers, and what can go wrong', () => {
  const { names, servers, server, handlerOf, idsOf, idOf, places, marked, isDown, proxyTo } = severalServers()

  test.each([
    ['one', ['a']],
    ['all', ['a', 'b', 'c']],
  ])('requests do not ask one that is down over and over: %s down', async (_, down) => {
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
    // Every 50 to 100 ms, and its own probes.
    expect(calls() - before).toBeLessThan(30)
  })

  test('all are down: a typed error at once; healed at the first that answers', async () => {
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

  test('one hangs: nobody waits longer than operationTimeout, and soon nobody waits at all', async () => {
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
      // Now it is not asked any more.
      const calls = sessions.status().servers[1]?.calls
      await Promise.all(ids.map((id) => sessions.read(id)))
      expect(sessions.status().servers[1]?.calls).toBeLessThanOrEqual((calls ?? 0) + 1)
    } finally {
      server('b').resume()
    }
    await eventually(async () => expect(await marked()).toBe(0))
    for (const [n, id] of ids.entries()) expect((await sessions.read(id))?.data).toEqual({ n })
  })

  test('one process sees the home as down, another does not: both changes come together', async () => {
    const proxy = await proxyTo('a')
    const cut = handlerOf({}, [proxy.port])
    const whole = handlerOf()
    const conflicts: string[] = []
    for (const one of [cut, whole]) one.on('broughtHome', ({ outcome }) => conflicts.push(outcome))
    const [both, left, gone] = idsOf('a', 3) as [string, string, string]
    for (const id of [both, left, gone]) await whole.write(id, { keep: 1, drop: 1 }, { base: null })
    const seen = new Map(
      await Promise.all([both, left, gone].map(async (id) => [id, await cut.read(id)] as const)),
    )
    await proxy.refuse()
    proxy.drop()

    await cut.write(both, { keep: 1, mine: 1 }, { base: seen.get(both) })
    expect(isDown(cut, 'a')).toBe(true)
    await whole.write(both, { keep: 1, drop: 1, theirs: 1 }, { base: await whole.read(both) })
    await cut.write(left, { keep: 2, drop: 1 }, { base: seen.get(left) })
    await cut.write(gone, { keep: 3 }, { base: seen.get(gone) })
    await whole.destroy(gone)

    // The other process brings home what it sees on the stand-in, while this one still writes there.
    await eventually(async () => expect(await marked()).toBe(0))
    await cut.write(left, { keep: 2, drop: 1, late: 1 }, { base: seen.get(left), seen: { keep: 2, drop: 1 } })
    await proxy.resume()
    await eventually(async () => {
      expect(isDown(cut, 'a')).toBe(false)
      expect(await marked()).toBe(0)
    })
    // Created, and written once on each side.
    expect(await whole.read(both)).toMatchObject({ data: { keep: 1, mine: 1, theirs: 1 }, accesses: 3 })
    expect((await whole.read(both))?.data).not.toHaveProperty('drop')
    expect((await whole.read(left))?.data).toMatchObject({ keep: 2, late: 1 })
    expect(await cut.read(gone)).toBeUndefined()
    expect(await whole.read(gone)).toBeUndefined()
    expect(conflicts).toContain('merged')
    expect(conflicts).toContain('dropped')
  })

  test('an id that was destroyed and begun anew while its home was away does not get the old data back', async () => {
    const sessions = handlerOf()
    const id = idOf('c')
    await sessions.write(id, { secret: 'old' }, { base: null })
    await server('c').kill9()
    await sessions.destroy(id)
    expect((await sessions.write(id, { fresh: 1 }, { base: null })).outcome).toBe('created')
    await server('c').start()
    await eventually(async () => expect(await marked()).toBe(0))
    expect((await sessions.read(id))?.data).toEqual({ fresh: 1 })
    expect(await places(id)).toEqual(['c'])
  })

  test('what is written without a base while its home was away replaces what lay there', async () => {
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
    // It was taken for absent, and is not.
    await sessions.write(merged, { n: 2 }, { base: null })
    await server('c').start()
    await eventually(async () => {
      expect(isDown(sessions, 'c')).toBe(false)
      expect(await marked()).toBe(0)
    })
    expect((await sessions.read(once))?.data).toEqual({ n: 2 })
    expect((await sessions.read(twice))?.data).toEqual({ n: 3 })
    expect((await sessions.read(merged))?.data).toEqual({ user: 'ada', n: 2 })
    for (const id of [once, twice, merged]) expect(await places(id)).toEqual(['c'])
    // As after any such write: what was under way is laid over it, whichever of the two it had read.
    const before = await sessions.write(once, { user: 'ada', n: 1, x: 1 }, { base: old[0] })
    expect(before.session?.data).toEqual({ n: 2, x: 1 })
    const after = await sessions.write(once, { n: 2, y: 1 }, { base: written.session })
    expect(after.session?.data).toEqual({ n: 2, x: 1, y: 1 })
  })

  const begun: Record<string, (sessions: SaveHandler<Data>, id: string) => Promise<unknown>> = {
    'after a read that found nothing': (sessions, id) => sessions.write(id, { fresh: 1 }, { base: null }),
    'by a write without a base': (sessions, id) => sessions.write(id, { fresh: 1 }),
    'after it was destroyed once before': async (sessions, id) => {
      await sessions.destroy(id)
      await sessions.write(id, { fresh: 1 }, { base: null })
    },
    'and written twice': async (sessions, id) => {
      const { session } = await sessions.write(id, { fresh: 1 })
      await sessions.write(id, { fresh: 2 }, { base: session })
      await sessions.write(id, { fresh: 3 })
    },
  }

  test.each(Object.entries(begun))(
    'an id that was begun anew while its home was away (%s) and then destroyed does not get the old data back',
    async (_, begin) => {
      const sessions = handlerOf()
      const id = idOf('c')
      const old = (await sessions.write(id, { user: 'ada' }, { base: null })).session
      await server('c').kill9()
      await begin(sessions, id)
      expect(await sessions.destroy(id)).toBe(true)
      await server('c').start()
      await eventually(async () => {
        expect(isDown(sessions, 'c')).toBe(false)
        expect(await marked()).toBe(0)
      })
      expect(await sessions.read(id)).toBeUndefined()
      expect(await places(id)).toEqual(['c (tombstone)'])
      expect((await sessions.write(id, { back: 1 }, { base: old })).outcome).toBe('gone')
    },
  )

  test('whoever brings a row may die before it is gone from where it came: what home has written since stays', async () => {
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
      // Somebody who still sees the home as down has gone on with this one.
      await one.query(
        `UPDATE php_session SET sess_data = '{"n":2,"away":1}' WHERE sess_id = $1 AND sess_home IS NOT NULL`,
        [moved],
      )
      await one.query('DROP TRIGGER no ON php_session')
    }
    await eventually(async () => expect(await marked()).toBe(0))
    expect(await sessions.read(known)).toMatchObject({ data: { n: 3 }, custom: 'three', accesses: 3 })
    expect(await sessions.read(fresh)).toMatchObject({ data: { n: 3 }, custom: 'three', accesses: 2 })
    expect((await sessions.read(moved))?.data).toEqual({ n: 2, home: 1, away: 1 })
    expect(outcomes.sort()).toEqual(['brought', 'brought', 'merged'])
    const noted = await server('a').query('SELECT 1 FROM php_session WHERE sess_base IS NOT NULL')
    expect(noted.length).toBeLessThanOrEqual(2)
  })

  test('home hangs while a row is brought there: its stand-in goes on with it', async () => {
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
        'the row to be brought',
      )
      server('a').pause()
      const written = await within(sessions.write(id, { n: 3 }, { base: session }), 8000, 'the stand-in')
      expect(written.outcome).toBe('updated')
    } finally {
      server('a').resume()
      await holder.end()
    }
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    expect(await sessions.read(id)).toMatchObject({ data: { n: 3 }, accesses: 3 })
  })

  test('one that is slow does not slow the sessions of the others', async () => {
    const proxy = await proxyTo('a')
    const sessions = handlerOf({}, [proxy.port])
    const [slow, quick] = [idsOf('a', 50), idOf('b')]
    await Promise.all([...slow, quick].map((id) => sessions.write(id, {}, { base: null })))
    proxy.delay(150)
    let waiting = slow.length
    const reads = slow.map(async (id) => {
      expect(await sessions.read(id)).toBeDefined()
      waiting--
    })
    for (let n = 0; n < 5; n++) expect(await sessions.read(quick)).toBeDefined()
    expect(waiting).toBe(slow.length)
    await Promise.all(reads)
    expect(isDown(sessions, 'a')).toBe(false)
  })

  test('one is half-open: it takes connections and says nothing, and is passed over', async () => {
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
      'the stand-in to take over',
    )
    expect(results.map(({ outcome }) => outcome)).toEqual(['updated', 'created'])
    expect(isDown(sessions, 'a')).toBe(true)
    // One that begins meanwhile has no connection yet, and finds out all the same.
    const later = handlerOf({}, [proxy.port])
    const read = await within(later.read(known), 5000, 'a handler that has just begun')
    expect(read?.data).toEqual({ n: 2 })
    await proxy.resume()
    await eventually(async () => {
      for (const id of [known, fresh]) expect(await places(id)).toEqual(['a'])
    })
    expect((await sessions.read(known))?.data).toEqual({ n: 2 })
    expect((await sessions.read(fresh))?.data).toEqual({ n: 3 })
  })

  test('reset() makes new connections to all', async () => {
    const sessions = handlerOf()
    const ids = ['a', 'b', 'c'].map(idOf)
    const connections = async (): Promise<number[][]> => {
      await Promise.all(ids.map((id) => sessions.write(id, {})))
      const found = await Promise.all(
        servers.slice(0, 3).map((one) =>
          one.query<{ pid: number }>(
            // Without the one that asks.
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
    'a fourth joins: what was replaced there, and then %s, is not found at its old place again',
    async (how) => {
      const [replaced, begun] = idsOf('d', 2, 4) as [string, string]
      const three = handlerOf()
      for (const id of [replaced, begun]) await three.write(id, { v: 1 })
      const four = handlerOf({}, [], 4)
      await four.write(replaced, { v: 2 }, { lifetime: how === 'expired' ? 0.2 : 1000 })
      // The old place cannot be asked.
      const [old] = (await places(begun)) as [string]
      if (how === 'destroyed') {
        await server(old).kill9()
        await four.write(begun, { v: 2 }, { base: null })
        await server(old).start()
        await eventually(() => expect(isDown(four, old)).toBe(false))
        expect(await four.destroy(begun)).toBe(true)
        expect(await four.read(begun)).toBeUndefined()
        expect(await four.destroy(replaced)).toBe(true)
      } else {
        await sleep(1500)
        await server('d').query('DELETE FROM php_session WHERE sess_id = $1', [replaced])
      }
      expect(await four.read(replaced)).toBeUndefined()
    },
  )

  test('what is brought in both directions at once, over few connections, does not wait for itself', async () => {
    const three = handlerOf()
    // Of two servers each is home to what the other has.
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

  test('one that is to go is emptied while it is in use: weight=0, drain, and nobody is logged out', async () => {
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
    'one is read-only (%s): it is passed over as if it were down',
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
        await c.query('ALTER SYSTEM SET default_transaction_read_only = on')
        await c.query('SELECT pg_reload_conf()')
      }
      expect((await sessions.write(id, { n: 2 }, { base: record })).outcome).toBe('updated')
      expect(isDown(sessions, 'c')).toBe(true)
      expect((await sessions.read(id))?.data).toEqual({ n: 2 })
      expect(await places(id)).toHaveLength(2)
      // Another process, that only reads.
      const reader = handlerOf()
      await eventually(async () => {
        await reader.read(other)
        expect(isDown(reader, 'c')).toBe(true)
        expect((await reader.read(id))?.data).toEqual({ n: 2 })
      })
      if (how === 'a standby') {
        await promote(c)
      } else {
        await c.query('ALTER SYSTEM RESET default_transaction_read_only')
        await c.query('SELECT pg_reload_conf()')
      }
      await eventually(async () => expect(await places(id)).toEqual(['c']))
      expect((await sessions.read(id))?.data).toEqual({ n: 2 })
    },
  )

  test('one process sees that home is back before another does: what it has brought is not absent for that one', async () => {
    const proxy = await proxyTo('b')
    const [late, quick] = [handlerOf({}, [undefined, proxy.port]), handlerOf()]
    const ids = idsOf('b', 3)
    for (const id of ids) await late.write(id, { n: 1 }, { base: null })
    await proxy.refuse()
    proxy.drop()
    const since = performance.now()
    for (const id of ids) await late.write(id, { n: 2 })
    await quick.open()
    await eventually(async () => {
      for (const id of ids) expect(await places(id)).toEqual(['b'])
    })
    // Between two probes: they come 3.1, 6.3 and 11.3 s after it was found down.
    const elapsed = performance.now() - since
    await sleep((elapsed < 5000 ? 4500 : 8500) - elapsed)
    await proxy.resume()
    expect(isDown(late, 'b')).toBe(true)
    expect(await late.touch(ids[0] as string)).toBe(true)
    for (const id of ids) expect((await late.read(id))?.data).toEqual({ n: 2 })
  })

  test('a creation whose answer was lost, done again elsewhere, is one session when both come together', async () => {
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
    // Another life of the id is another one.
    await sessions.destroy(id)
    await sessions.write(id, { fresh: 1 }, { base: null })
    expect((await sessions.write(id, { n: 3 }, { base: created.session })).outcome).toBe('gone')
  })

  test('home and its stand-in fall one after the other: what the third has kept comes home', async () => {
    const sessions = handlerOf()
    const id = idOf('a')
    await server('a').kill9()
    const { session } = await sessions.write(id, { n: 1 }, { base: null })
    const standIn = (await places(id))[0] as string
    await server(standIn).kill9()
    expect((await sessions.write(id, { n: 2 }, { base: session })).outcome).toBe('updated')
    await server('a').start()
    await eventually(async () => expect(await places(id)).toEqual(['a']))
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
    await server(standIn).start()
    await eventually(async () => {
      expect(isDown(sessions, standIn)).toBe(false)
      expect(await marked()).toBe(0)
    })
    expect((await sessions.read(id))?.data).toEqual({ n: 2 })
  })

  test('nothing is kept of what was asked and answered', async () => {
    const db = names.slice(0, 3).map((name) => `${server(name).conninfo()} name=${name}`)
    const module = new URL('./workers/many-reads.ts', import.meta.url)
    const worker = await startWorker<number>(module, { db }, { execArgv: ['--expose-gc'] })
    // 10,000 records of 5 kB.
    expect(await worker.result).toBeLessThan(15)
  })

  test('SIGTERM under load: close() ends what is under way, nothing acknowledged is lost, and the process ends', async () => {
    const db = names.slice(0, 3).map((name) => `${server(name).conninfo()} name=${name}`)
    const module = new URL('./workers/terminated.ts', import.meta.url)
    const worker = await startWorker<TerminatedResult>(module, { db })
    expect(await worker.receive()).toBe('busy')
    await worker.kill('SIGTERM')
    const { acknowledged, codes, underWay, cut, left } = await worker.result
    expect(underWay).toBeGreaterThan(0)
    expect({ cut, left }).toEqual({ cut: 0, left: 0 })
    expect(codes).toEqual(['CLOSED'])
    const sessions = handlerOf()
    for (const [id, n] of Object.entries(acknowledged)) {
      expect((await sessions.read(id))?.data).toEqual({ n })
    }
    expect(Object.keys(acknowledged)).toHaveLength(50)
  })

  test('close ends what is under way, with a server down and a probe waiting', async () => {
    const sessions = handlerOf()
    const id = idOf('a')
    await sessions.write(id, {}, { base: null })
    await server('a').kill9()
    const under = sessions.write(id, { v: 2 })
    await within(sessions.close(), 10_000, 'close')
    expect((await under).outcome).toBe('created')
  })
})
