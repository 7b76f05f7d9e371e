import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { startRedis } from '../../../session-pgsql-server/test/php/kit/peers.ts'
import { PgsqlStore } from '../../src/adapters/express.ts'
import { connectRedis } from '../../src/cli/import/redis-client.ts'
import { redisSource } from '../../src/cli/import/redis-source.ts'
import { SaveHandler } from '../../src/index.ts'
import { OLD_STORES, type OldStore } from './old-stores.ts'
import { describeWithCommand, json, type Place } from './place.ts'
import { type SignedInSite, startSignedInSite } from './signed-in-site.ts'

/** Milliseconds. */
const DAY = 86_400_000

/** Seconds by which two reckonings of one moment may differ: whole seconds on either side. */
const CLOSE = 2

let redis: Awaited<ReturnType<typeof startRedis>> | undefined
beforeAll(async () => {
  redis = await startRedis().catch(() => undefined)
})
afterAll(() => redis?.program.stop())

describeWithCommand('sessions of another store', (newPlace) => {
  const closing: { close(): Promise<unknown> }[] = []
  afterEach(async () => {
    for (const one of closing.splice(0).reverse()) await one.close()
  })

  describe.each(Object.keys(OLD_STORES))('%s', (from) => {
    interface Move {
      readonly place: Place
      readonly old: OldStore
      readonly oldSite: SignedInSite
      readonly newSite: SignedInSite
      /** Runs the import. */
      run(...flags: string[]): ReturnType<Place['run']>
    }

    /** The old site with its visitors, and the new one in the same database. */
    async function move({ skip }: TestContext): Promise<Move> {
      const isRedis = from === 'connect-redis'
      skip(isRedis && redis === undefined, 'no redis-server on this machine: nothing was moved from one')
      const place = await newPlace({ table: false })
      const cookie = { maxAge: DAY, sameSite: 'lax', path: '/' } as const
      const old = await (OLD_STORES[from] as (typeof OLD_STORES)[string])(place.db, {
        redisPort: redis?.port ?? 0,
      })
      const oldSite = await startSignedInSite(old.store, cookie)
      const store = new PgsqlStore({ db: place.db, gcInterval: 0 })
      const newSite = await startSignedInSite(store, cookie)
      closing.push(old, oldSite, store, newSite)
      return {
        place,
        old,
        oldSite,
        newSite,
        run: (...flags) => place.run(['import', ...old.flags, '--json', ...flags]),
      }
    }

    test('everybody stays signed in, with what is left of their time and their cookie', async (ctx) => {
      const { place, old, oldSite, newSite, run } = await move(ctx)
      const [ada, short, closes] = [oldSite.browser(), oldSite.browser(), oldSite.browser()]
      await ada.get('/sign-in?user=ada')
      await short.get('/sign-in?user=short&short')
      await closes.get('/sign-in?user=closes&closing')
      await old.spoil('spoilt')

      const ran = await run('--field-from', 'passport.user')
      expect(ran.stderr).toBe('')
      expect(json(ran)).toEqual({
        from,
        dryRun: false,
        moved: 3,
        renewed: 0,
        removed: 0,
        already: 0,
        expired: 0,
        unreadable: 1,
        misdated: 0,
        ended: 'done',
      })
      expect(ran.code).toBe(1)

      for (const browser of [ada, short, closes]) {
        const [row] = await place.database.query<{ expires: number; custom: string; name: string }>(
          'SELECT sess_expire::float8 AS expires, sess_custom AS custom, sess_name AS name FROM php_session WHERE sess_id = $1',
          [browser.id()],
        )
        expect(row).toMatchObject({ custom: '4711', name: 'connect.sid' })
        expect(Math.abs((row?.expires ?? 0) - ((await old.expiry(browser.id())) ?? 0))).toBeLessThan(CLOSE)
      }
      const moved = (browser: typeof ada) => browser.clone(newSite.url)
      expect(await moved(ada).text('/user')).toBe('ada')
      expect(await moved(short).text('/user')).toBe('short')
      expect(await moved(closes).text('/user')).toBe('closes')
      expect(JSON.parse(await moved(ada).text('/cookie'))).toMatchObject({
        originalMaxAge: DAY,
        sameSite: 'lax',
        httpOnly: true,
        path: '/',
      })
      expect(JSON.parse(await moved(short).text('/cookie'))).toMatchObject({ originalMaxAge: 120_000 })
      expect(JSON.parse(await moved(closes).text('/cookie'))).toMatchObject({ originalMaxAge: null })
      // As the new site writes it: the next change of the data leaves the cookie as it is.
      const stored = async () => {
        const [row] = await place.database.query<{ data: string }>(
          'SELECT sess_data AS data FROM php_session WHERE sess_id = $1',
          [ada.id()],
        )
        return JSON.parse(row?.data as string)
      }
      const before = await stored()
      expect(before.cookie).not.toHaveProperty('expires')
      await moved(ada).text('/set/cart/full')
      expect(await stored()).toEqual({ ...before, cart: 'full' })
    })

    test('run again: nothing twice, nothing newer overwritten, nobody brought back', async (ctx) => {
      const { place, old, oldSite, newSite, run } = await move(ctx)
      const names = [
        'stays',
        'used',
        'signedOutHere',
        'usedThere',
        'signedOutThere',
        'both',
        'movedOn',
      ] as const
      const browsers = Object.fromEntries(names.map((name) => [name, oldSite.browser()]))
      for (const [name, browser] of Object.entries(browsers)) await browser.get(`/sign-in?user=${name}`)
      const there = (name: (typeof names)[number]) => browsers[name] as ReturnType<SignedInSite['browser']>
      const here = (name: (typeof names)[number]) => there(name).clone(newSite.url)
      const seen = { removed: 0, expired: 0, unreadable: 0, misdated: 0, ended: 'done' }
      expect(json(await run())).toMatchObject({ moved: 7, renewed: 0, already: 0, ...seen })
      expect(json(await run())).toMatchObject({ moved: 0, renewed: 0, already: 7, ...seen })

      await here('used').text('/set/cart/here')
      await here('signedOutHere').text('/sign-out')
      await there('usedThere').text('/set/cart/there')
      await there('signedOutThere').text('/sign-out')
      await there('both').text('/set/cart/there')
      await here('both').text('/set/cart/here')
      await here('movedOn').text('/set/cart/here')
      // As the old store does with what is no longer used there.
      await new Promise((resolve) => old.store.destroy(there('movedOn').id(), resolve))
      const late = oldSite.browser()
      await late.get('/sign-in?user=late')

      expect(json(await run())).toMatchObject({ moved: 1, renewed: 1, already: 4, ...seen, removed: 1 })
      expect(json(await run())).toMatchObject({ moved: 0, renewed: 0, already: 6, ...seen })
      expect(await here('stays').text('/user')).toBe('stays')
      expect(await here('used').text('/get/cart')).toBe('here')
      expect(await here('signedOutHere').text('/user')).toBe('nobody')
      expect(await here('usedThere').text('/get/cart')).toBe('there')
      expect(await here('signedOutThere').text('/user')).toBe('nobody')
      expect(await here('both').text('/get/cart')).toBe('here')
      expect(await here('movedOn').text('/get/cart')).toBe('here')
      expect(await late.clone(newSite.url).text('/user')).toBe('late')
      expect(await place.database.query('SELECT count(*)::int AS n FROM php_session')).toEqual([{ n: 6 }])
    })

    test('one that was prolonged there after it had expired here comes again, whatever GC did', async (ctx) => {
      const { place, oldSite, newSite, run } = await move(ctx)
      const ada = oldSite.browser()
      await ada.get('/sign-in?user=ada')
      await run()
      // As if days had passed here; there it was used all the time. Its mark goes with it.
      await place.database.query(
        'UPDATE php_session SET sess_expire = sess_expire - 200000, sess_sweep = sess_sweep - 200000',
      )
      await place.database.query(
        `UPDATE php_session_import SET mark = (SELECT hashtextextended(ROW(sess_data, sess_created, sess_modified, sess_expire,
           sess_addr_modified, sess_counter, sess_error, sess_warning, sess_notice, sess_err_message, sess_custom,
           sess_generation)::text COLLATE "C", 0) FROM php_session)`,
      )
      expect(await ada.clone(newSite.url).text('/user')).toBe('nobody')
      await place.run(['gc'])
      expect(json(await run())).toMatchObject({ moved: 0, renewed: 1, already: 0 })
      expect(await ada.clone(newSite.url).text('/user')).toBe('ada')
    })

    test('more than one part, told line by line, and on a terminal by a bar', async (ctx) => {
      const { place, old, oldSite, run } = await move(ctx)
      const count = 1203
      const template = {
        user: 'u',
        cookie: { originalMaxAge: DAY, expires: new Date(Date.now() + DAY), path: '/' },
      }
      await Promise.all(
        Array.from(
          { length: count },
          (_, n) =>
            new Promise<void>((resolve, reject) =>
              old.store.set(`id-${n}`, { ...template, n } as never, (error) =>
                error ? reject(error) : resolve(),
              ),
            ),
        ),
      )
      await oldSite.browser().get('/sign-in?user=ada')
      expect(json(await run('--dry-run'))).toMatchObject({ dryRun: true, moved: count + 1 })
      const table = "SELECT to_regclass('php_session') AS there"
      expect(await place.database.query(table)).toEqual([{ there: null }])
      const terminal = await place.run(['import', ...old.flags], {
        terminal: 80,
        environment: { NO_COLOR: '1' },
      })
      expect(terminal.stdout).toBe('1,204 sessions moved.\n')
      expect(terminal.stderr).toContain('100%  1,204 of 1,204')
      expect(terminal.stderr.endsWith('\r\u001b[K')).toBe(true)
      const rows = await place.database.query('SELECT count(*)::int AS n FROM php_session')
      expect(rows).toEqual([{ n: count + 1 }])
    })

    test('interrupted in the middle, it goes on when it is run again', async (ctx) => {
      const { place, old, run } = await move(ctx)
      const cookie = { originalMaxAge: DAY, expires: new Date(Date.now() + DAY), path: '/' }
      await Promise.all(
        Array.from(
          { length: 1700 },
          (_, n) =>
            new Promise<void>((resolve) => old.store.set(`id-${n}`, { cookie, n } as never, () => resolve())),
        ),
      )
      const interrupt = new AbortController()
      const { code } = await place.run(['import', ...old.flags], {
        terminal: 80,
        signal: interrupt.signal,
        onError: () => interrupt.abort('SIGINT'),
      })
      expect(code).toBe(130)
      const [first] = await place.database.query<{ n: number }>('SELECT count(*)::int AS n FROM php_session')
      const n = first?.n as number
      expect(n).toBeGreaterThan(0)
      expect(n).toBeLessThan(1700)
      expect(json(await run())).toMatchObject({ moved: 1700 - n, already: n, removed: 0, ended: 'done' })
    })
  })

  describe('dates', () => {
    /** A table of connect-pg-simple's, as it is written under a time zone. */
    async function under(zone: string) {
      const place = await newPlace()
      await place.database.query(
        'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)',
      )
      const expires = new Date(Date.now() + DAY)
      const sess = { user: 'ada', cookie: { originalMaxAge: DAY, expires, path: '/' } }
      await place.database.query(
        `INSERT INTO session VALUES ('one', $1, $2::timestamptz AT TIME ZONE '${zone}')`,
        [sess, expires],
      )
      const run = (...flags: string[]) => place.run(['import', '--from', 'connect-pg-simple', ...flags])
      const expiry = async () => {
        const [row] = await place.database.query<{ at: number }>(
          'SELECT sess_expire::float8 AS at FROM php_session',
        )
        return row && row.at - expires.getTime() / 1000
      }
      return { place, run, expiry }
    }

    test.each(['Asia/Tokyo', 'America/New_York'])('written under %s', async (zone) => {
      const { run, expiry } = await under(zone)
      const wrong = await run('--zone', 'UTC')
      expect(wrong.stdout).toContain('1 expire at another time than their cookies say')
      const right = await run('--zone', zone)
      expect(right.stdout).toBe('0 sessions moved.\n1 moved before and changed there since: renewed.\n')
      expect(Math.abs((await expiry()) as number)).toBeLessThan(CLOSE)
    })

    test('expired ones are left, and said', async () => {
      const { place, run } = await under('UTC')
      await place.database.query("UPDATE session SET expire = now() AT TIME ZONE 'UTC' - interval '1 minute'")
      const { code, stdout } = await run('--zone', 'UTC')
      expect({ code, stdout }).toEqual({ code: 0, stdout: '0 sessions moved.\n1 expired: left there.\n' })
    })

    test('an emptied source ends nobody', async () => {
      const { place, run } = await under('UTC')
      await run('--zone', 'UTC')
      await place.database.query('TRUNCATE session')
      expect((await run()).stdout).toBe('0 sessions moved.\n')
      expect(await place.database.query('SELECT count(*)::int AS n FROM php_session')).toEqual([{ n: 1 }])
    })
  })

  test('among several servers each session comes to its home', async () => {
    const [one, two] = await Promise.all([newPlace({ table: false }), newPlace({ table: false })])
    await one.database.query(
      'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamptz NOT NULL)',
    )
    await one.database.query(
      `INSERT INTO session SELECT 'id-' || n, '{"user":"ada"}', now() + interval '1 hour' FROM generate_series(1, 40) n`,
    )
    const run = (...flags: string[]) =>
      one.run(['import', '--db', two.db, '--from', 'connect-pg-simple', ...flags])
    expect((await run()).stderr).toContain('expected --source')
    expect((await run('--source', one.db)).stdout).toBe('40 sessions moved.\n')
    const counts = await Promise.all(
      [one, two].map(({ database }) => database.query('SELECT count(*)::int AS n FROM php_session')),
    )
    const [first, second] = counts.map(([row]) => (row as { n: number }).n) as [number, number]
    expect([first > 0, second > 0, first + second]).toEqual([true, true, 40])
    const handler = new SaveHandler({ db: [one.db, two.db], gcInterval: 0 })
    try {
      const ids = Array.from({ length: 40 }, (_, n) => `id-${n + 1}`)
      const found = await Promise.all(ids.map((id) => handler.read(id)))
      expect(found.filter((record) => record?.data.user === 'ada')).toHaveLength(40)
    } finally {
      await handler.close()
    }
    await one.database.query("DELETE FROM session WHERE sid <> 'id-1'")
    expect((await run('--source', one.db)).stdout).toMatch(/\n39 moved before and ended there since: removed/)
  })

  test('without a terminal a line now and then', async () => {
    const place = await newPlace()
    const { query } = place.database
    await query(
      'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)',
    )
    await query(
      `INSERT INTO session SELECT 'id-' || n, json_build_object('text', repeat('x', CASE WHEN n % 100 = 0 THEN 100000 ELSE 100 END)),
         now() + interval '1 hour' FROM generate_series(1, 20001) n`,
    )
    const { stdout, stderr } = await place.run(['import', '--from', 'connect-pg-simple'])
    expect(stderr).toBe('')
    expect(stdout).toMatch(
      /^10,\d{3} sessions looked at \.\.\.\n20,\d{3} sessions looked at \.\.\.\n20,001 sessions moved\.\n$/,
    )
    const [row] = await query(
      'SELECT count(*)::int AS n FROM php_session p JOIN session s ON s.sid = p.sess_id AND s.sess::jsonb = p.sess_data::jsonb',
    )
    expect(row).toEqual({ n: 20_001 })
  })

  test('what cannot be: ids, data and text that the table or the rules refuse', async () => {
    const place = await newPlace()
    const { query } = place.database
    await query('CREATE TABLE app_sessions (sid varchar, sess text, expire timestamptz)')
    const rows = [
      ['good', '{"a":1}'],
      ['id with blanks', '{}'],
      ['list', '[1]'],
      ['broken', '{"a"'],
      ['none', null],
      ['nul', '{"a":"\\u0000"}'],
      ['proto', '{"__proto__":{"x":1},"cookie":null}'],
    ]
    for (const row of rows)
      await query("INSERT INTO app_sessions VALUES ($1, $2, now() + interval '1 hour')", row)
    const ran = await place.run([
      'import',
      '--from',
      'connect-pg-simple',
      '--source-table',
      'app_sessions',
      '--json',
    ])
    expect(json(ran)).toMatchObject({ moved: 3, unreadable: 4 })
    expect(await query('SELECT sess_id, sess_data FROM php_session ORDER BY 1')).toEqual([
      { sess_id: 'good', sess_data: '{"a":1}' },
      { sess_id: 'nul', sess_data: '{"a":"\\u0000"}' },
      { sess_id: 'proto', sess_data: '{"__proto__":{"x":1},"cookie":null}' },
    ])
  })

  test('mistakes are told, without secrets', async () => {
    const { run } = await newPlace()
    const refused = async (...flags: string[]) => {
      const { code, stderr } = await run(['import', ...flags])
      expect(stderr).not.toContain('s3cret')
      return `${code} ${stderr}`
    }
    expect(await refused()).toMatch(/^2 .*expected --from with one of connect-pg-simple, /)
    expect(await refused('--from', 'memory')).toMatch(/^2 .*expected --from/)
    expect(await refused('--from', 'connect-redis', '--zone', 'UTC')).toMatch(/^2 .*--zone does not go with/)
    expect(await refused('--from', 'connect-redis', '--source', 'u:s3cret@h')).toMatch(/^2 .*expected a URL/)
    expect(await refused('--from', 'connect-redis', '--source', 'redis://u:s3cret@127.0.0.1:1')).toMatch(
      /^1 .*Redis cannot be reached.*SERVER_DOWN/,
    )
    expect(await refused('--from', 'connect-pg-simple')).toMatch(/^1 .*no table session .*TABLE_MISSING/)
    expect(await refused('--from', 'connect-pg-simple', '--source-table', 'php_session')).toMatch(
      /^1 .*lacks sid, sess, expire.*TABLE_UNFIT/,
    )
    expect(
      await refused('--from', 'connect-pg-simple', '--source', 'host=127.0.0.1 port=1 password=s3cret'),
    ).toMatch(/^1 .*SERVER_DOWN/)
  })
})

describe('the client for Redis', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'session-pgsql-client-'))
    mkdirSync(join(folder, 'node_modules', 'ioredis'), { recursive: true })
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test('is ioredis in a project that has only that', async ({ skip }) => {
    skip(redis === undefined, 'no redis-server on this machine: nothing was read from one')
    // The real one, that says that it was taken.
    const ioredis = createRequire(import.meta.url).resolve('ioredis')
    const taken = globalThis as { takenClient?: string }
    writeFileSync(
      join(folder, 'node_modules', 'ioredis', 'index.js'),
      `globalThis.takenClient = 'ioredis'; module.exports = require(${JSON.stringify(ioredis)})`,
    )
    const client = await connectRedis(`redis://127.0.0.1:${redis?.port}`, folder)
    try {
      await client.send('FLUSHALL')
      const ids = Array.from({ length: 1200 }, (_, n) => `id-${n}`)
      await Promise.all(ids.map((id) => client.send('SET', `a[b]*:${id}`, `of ${id}`, 'PX', '3600000')))
      await client.send('SET', 'ab:other', 'of another')
      await client.send('HSET', 'a[b]*:hash', 'a', 'b')
      const source = redisSource(client, 'here', 'a[b]*:')
      const found = new Map<string, string>()
      for await (const part of source.parts()) for (const { id, text } of part) found.set(id, text)
      expect(found.size).toBe(1201)
      expect(found.get('id-7')).toBe('of id-7')
      expect(found.get('hash')).toBe('')
      expect(await source.alive(['id-1', 'none', 'id-2'])).toEqual(new Set(['id-1', 'id-2']))
      expect(taken.takenClient).toBe('ioredis')
    } finally {
      await client.close()
    }
  })
})
