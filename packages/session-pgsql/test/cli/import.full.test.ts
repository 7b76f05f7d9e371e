import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, type TestContext, test } from 'vitest'
import { startRedis } from '../../../session-pgsql-server/test/php/kit/peers.ts'
import { PgsqlStore } from '../../src/adapters/express.ts'
import { connectRedis } from '../../src/cli/import/redis-client.ts'
import { redisSource } from '../../src/cli/import/redis-source.ts'
import { SaveHandler } from '../../src/index.ts'
import { OLD_STORES, type OldStore } from './old-stores.ts'
import { type CommandFixture, describeWithCommand, json } from './place.ts'
import { type SignedInSite, startSignedInSite } from './signed-in-site.ts'

/** Milliseconds. */
const DAY = 86_400_000

/** Seconds by which two stores' expiry of a session may differ, since both round to whole seconds. */
const TOLERANCE = 2

let redis: Awaited<ReturnType<typeof startRedis>> | undefined
beforeAll(async () => {
  redis = await startRedis().catch(() => undefined)
})
afterAll(() => redis?.program.stop())

describeWithCommand('session-pgsql import', (setup) => {
  const closing: { close(): Promise<unknown> }[] = []
  afterEach(async () => {
    for (const one of closing.splice(0).reverse()) await one.close()
  })

  describe.each(Object.keys(OLD_STORES))('%s', (from) => {
    interface Sites {
      readonly fixture: CommandFixture
      readonly old: OldStore
      readonly oldSite: SignedInSite
      readonly newSite: SignedInSite
      /** Runs the import. */
      run(...options: string[]): ReturnType<CommandFixture['run']>
    }

    /** Starts the old site, and the new site on the same database. */
    async function startSites({ skip }: TestContext): Promise<Sites> {
      const isRedis = from === 'connect-redis'
      skip(
        isRedis && redis === undefined,
        'redis-server is not installed: the import from Redis was not tested',
      )
      const fixture = await setup({ table: false })
      const cookie = { maxAge: DAY, sameSite: 'lax', path: '/' } as const
      const old = await (OLD_STORES[from] as (typeof OLD_STORES)[string])(fixture.db, {
        redisPort: redis?.port ?? 0,
      })
      const oldSite = await startSignedInSite(old.store, cookie)
      const store = new PgsqlStore({ db: fixture.db, gcInterval: 0 })
      const newSite = await startSignedInSite(store, cookie)
      closing.push(old, oldSite, store, newSite)
      return {
        fixture,
        old,
        oldSite,
        newSite,
        run: (...options) => fixture.run(['import', ...old.options, '--json', ...options]),
      }
    }

    test('keeps users logged in, with their remaining lifetime and their cookie attributes', async (ctx) => {
      const { fixture, old, oldSite, newSite, run } = await startSites(ctx)
      const [ada, short, closes] = [oldSite.browser(), oldSite.browser(), oldSite.browser()]
      await ada.get('/sign-in?user=ada')
      await short.get('/sign-in?user=short&short')
      await closes.get('/sign-in?user=closes&closing')
      await old.corrupt('corrupt')

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
        const [row] = await fixture.database.query<{ expires: number; custom: string; name: string }>(
          'SELECT sess_expire::float8 AS expires, sess_custom AS custom, sess_name AS name FROM php_session WHERE sess_id = $1',
          [browser.id()],
        )
        expect(row).toMatchObject({ custom: '4711', name: 'connect.sid' })
        expect(Math.abs((row?.expires ?? 0) - ((await old.expiry(browser.id())) ?? 0))).toBeLessThan(
          TOLERANCE,
        )
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
      expect(JSON.parse(await moved(short).text('/cookie'))).toMatchObject({
        originalMaxAge: expect.closeTo(120_000, -3),
      })
      expect(JSON.parse(await moved(closes).text('/cookie'))).toMatchObject({ originalMaxAge: null })
      // Stored as the new site stores it: the next change of the data does not change the cookie.
      const stored = async () => {
        const [row] = await fixture.database.query<{ data: string }>(
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

    test('imports nothing twice, overwrites nothing newer and restores nothing destroyed when run again', async (ctx) => {
      const { fixture, old, oldSite, newSite, run } = await startSites(ctx)
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
      // The old store removes sessions that are no longer used on the old site.
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
      expect(await fixture.database.query('SELECT count(*)::int AS n FROM php_session')).toEqual([{ n: 6 }])
    })

    test('imports a session again if the old site extended it after it expired here', async (ctx) => {
      const { fixture, oldSite, newSite, run } = await startSites(ctx)
      const ada = oldSite.browser()
      await ada.get('/sign-in?user=ada')
      await run()
      // As if days had passed here while the old site kept using it. The recorded digest changes with the row.
      await fixture.database.query(
        'UPDATE php_session SET sess_expire = sess_expire - 200000, sess_sweep = sess_sweep - 200000',
      )
      await fixture.database.query(
        `UPDATE php_session_import SET mark = (SELECT hashtextextended(ROW(sess_data, sess_created, sess_modified, sess_expire,
           sess_addr_modified, sess_counter, sess_error, sess_warning, sess_notice, sess_err_message, sess_custom,
           sess_generation)::text COLLATE "C", 0) FROM php_session)`,
      )
      expect(await ada.clone(newSite.url).text('/user')).toBe('nobody')
      await fixture.run(['gc'])
      expect(json(await run())).toMatchObject({ moved: 0, renewed: 1, already: 0 })
      expect(await ada.clone(newSite.url).text('/user')).toBe('ada')
    })

    test('imports several batches, and shows a progress bar on a terminal', async (ctx) => {
      const { fixture, old, oldSite, run } = await startSites(ctx)
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
      expect(await fixture.database.query(table)).toEqual([{ there: null }])
      const terminal = await fixture.run(['import', ...old.options], {
        terminal: 80,
        environment: { NO_COLOR: '1' },
      })
      expect(terminal.stdout).toBe('1,204 sessions imported.\n')
      expect(terminal.stderr).toContain('100%  1,204 of 1,204')
      expect(terminal.stderr.endsWith('\r\u001b[K')).toBe(true)
      const rows = await fixture.database.query('SELECT count(*)::int AS n FROM php_session')
      expect(rows).toEqual([{ n: count + 1 }])
    })

    test('continues an interrupted import when run again', async (ctx) => {
      const { fixture, old, run } = await startSites(ctx)
      const cookie = { originalMaxAge: DAY, expires: new Date(Date.now() + DAY), path: '/' }
      await Promise.all(
        Array.from(
          { length: 1700 },
          (_, n) =>
            new Promise<void>((resolve) => old.store.set(`id-${n}`, { cookie, n } as never, () => resolve())),
        ),
      )
      const interrupt = new AbortController()
      const { code } = await fixture.run(['import', ...old.options], {
        terminal: 80,
        signal: interrupt.signal,
        onError: () => interrupt.abort('SIGINT'),
      })
      expect(code).toBe(130)
      const [first] = await fixture.database.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM php_session',
      )
      const n = first?.n as number
      expect(n).toBeGreaterThan(0)
      expect(n).toBeLessThan(1700)
      expect(json(await run())).toMatchObject({ moved: 1700 - n, already: n, removed: 0, ended: 'done' })
    })
  })

  describe('dates', () => {
    /** Creates a table of connect-pg-simple whose dates are in this time zone. */
    async function withZone(zone: string) {
      const fixture = await setup()
      await fixture.database.query(
        'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)',
      )
      const expires = new Date(Date.now() + DAY)
      const sess = { user: 'ada', cookie: { originalMaxAge: DAY, expires, path: '/' } }
      await fixture.database.query(
        `INSERT INTO session VALUES ('one', $1, $2::timestamptz AT TIME ZONE '${zone}')`,
        [sess, expires],
      )
      const run = (...options: string[]) => fixture.run(['import', '--from', 'connect-pg-simple', ...options])
      const expiry = async () => {
        const [row] = await fixture.database.query<{ at: number }>(
          'SELECT sess_expire::float8 AS at FROM php_session',
        )
        return row && row.at - expires.getTime() / 1000
      }
      return { fixture, run, expiry }
    }

    test.each(['Asia/Tokyo', 'America/New_York'])('reads dates written in %s', async (zone) => {
      const { run, expiry } = await withZone(zone)
      const wrong = await run('--zone', 'UTC')
      expect(wrong.stdout).toContain('1 with an expiry that contradicts the cookie')
      const right = await run('--zone', zone)
      expect(right.stdout).toBe(
        '0 sessions imported.\n1 imported before and changed in the old store since: updated.\n',
      )
      expect(Math.abs((await expiry()) as number)).toBeLessThan(TOLERANCE)
    })

    test('skips expired sessions, and reports their number', async () => {
      const { fixture, run } = await withZone('UTC')
      await fixture.database.query(
        "UPDATE session SET expire = now() AT TIME ZONE 'UTC' - interval '1 minute'",
      )
      const { code, stdout } = await run('--zone', 'UTC')
      expect({ code, stdout }).toEqual({ code: 0, stdout: '0 sessions imported.\n1 expired: skipped.\n' })
    })

    test('removes no session if the source is empty', async () => {
      const { fixture, run } = await withZone('UTC')
      await run('--zone', 'UTC')
      await fixture.database.query('TRUNCATE session')
      expect((await run()).stdout).toBe('0 sessions imported.\n')
      expect(await fixture.database.query('SELECT count(*)::int AS n FROM php_session')).toEqual([{ n: 1 }])
    })
  })

  test('encrypts sessions, and knows them again after they were encrypted with another key', async () => {
    const { database, db, run } = await setup({ table: false })
    await database.query(
      'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamptz NOT NULL)',
    )
    await database.query(
      `INSERT INTO session SELECT 'id-' || n, '{"secret":"known-secret"}', now() + interval '1 hour' FROM generate_series(1, 4) n`,
    )
    const [one, two] = [`one:${randomBytes(32).toString('hex')}`, `two:${randomBytes(32).toString('hex')}`]
    const runWith = async (command: string, keys: string, ...options: string[]) =>
      json(
        await run([command, '--json', ...options], { environment: { SESSION_PGSQL_ENCRYPTION_KEYS: keys } }),
      )
    const importWith = (keys: string) => runWith('import', keys, '--from', 'connect-pg-simple')
    expect(await importWith(one)).toMatchObject({ moved: 4 })
    const [stored] = await database.query<{ text: string }>(
      "SELECT string_agg(t::text, '') AS text FROM php_session t",
    )
    expect(stored?.text).not.toContain('known-secret')
    expect(await importWith(one)).toMatchObject({ moved: 0, renewed: 0, already: 4 })

    const sessions = new SaveHandler({ db, gcInterval: 0, encryption: { keys: `${two} ${one}` } })
    try {
      expect((await sessions.read('id-1'))?.data).toEqual({ secret: 'known-secret' })
      await sessions.write('id-1', { used: true }, { base: await sessions.read('id-1') })
      expect((await runWith('encrypt', `${two} ${one}`)).servers[0]).toMatchObject({ encrypted: 3, left: 0 })
      // An unused session follows its source; one that was used here does not.
      await database.query(`UPDATE session SET sess = '{"secret":"new"}' WHERE sid IN ('id-1', 'id-2')`)
      expect(await importWith(two)).toMatchObject({ moved: 0, renewed: 1, already: 3 })
      expect((await sessions.read('id-1'))?.data).toEqual({ used: true })
      expect((await sessions.read('id-2'))?.data).toEqual({ secret: 'new' })
    } finally {
      await sessions.close()
    }
  })

  test('imports each session to its home among several servers', async () => {
    const [one, two] = await Promise.all([setup({ table: false }), setup({ table: false })])
    await one.database.query(
      'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamptz NOT NULL)',
    )
    await one.database.query(
      `INSERT INTO session SELECT 'id-' || n, '{"user":"ada"}', now() + interval '1 hour' FROM generate_series(1, 40) n`,
    )
    const run = (...options: string[]) =>
      one.run(['import', '--db', two.db, '--from', 'connect-pg-simple', ...options])
    expect((await run()).stderr).toContain('--source is required')
    expect((await run('--source', one.db)).stdout).toBe('40 sessions imported.\n')
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
    expect((await run('--source', one.db)).stdout).toMatch(
      /\n39 imported before and ended in the old store since: removed/,
    )
  })

  test('prints a progress line every 10,000 sessions without a terminal', async () => {
    const fixture = await setup()
    const { query } = fixture.database
    await query(
      'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)',
    )
    await query(
      `INSERT INTO session SELECT 'id-' || n, json_build_object('text', repeat('x', CASE WHEN n % 100 = 0 THEN 100000 ELSE 100 END)),
         now() + interval '1 hour' FROM generate_series(1, 20001) n`,
    )
    const { stdout, stderr } = await fixture.run(['import', '--from', 'connect-pg-simple'])
    expect(stderr).toBe('')
    expect(stdout).toMatch(
      /^10,\d{3} sessions read\.\.\.\n20,\d{3} sessions read\.\.\.\n20,001 sessions imported\.\n$/,
    )
    const [row] = await query(
      'SELECT count(*)::int AS n FROM php_session p JOIN session s ON s.sid = p.sess_id AND s.sess::jsonb = p.sess_data::jsonb',
    )
    expect(row).toEqual({ n: 20_001 })
  })

  test('skips sessions with an invalid id or invalid data, and imports the others', async () => {
    const fixture = await setup()
    const { query } = fixture.database
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
    const ran = await fixture.run([
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

  describe('jsonl', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'session-pgsql-jsonl-')), 'sessions.jsonl')
    afterAll(() => rmSync(dirname(file), { recursive: true }))
    const write = (...lines: unknown[]) =>
      writeFileSync(
        file,
        lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
      )
    const soon = () => new Date(Date.now() + DAY).toISOString()

    test('imports each line with its expiry and custom field, and counts lines in another format', async () => {
      const fixture = await setup({ table: false })
      const run = async () =>
        json(await fixture.run(['import', '--from', 'jsonl', '--source', file, '--json']))
      write(
        { id: 'iso', data: { user: 'ada' }, expires: soon(), custom: '42' },
        { id: 'seconds', data: { user: 'ada' }, expires: Date.now() / 1000 + 3600, custom: 7 },
        { id: 'no-end', data: { cookie: { originalMaxAge: DAY, expires: soon(), path: '/' } } },
        '',
        { id: 'past', data: {}, expires: '2020-01-01T00:00:00Z' },
        { id: 'milliseconds', data: {}, expires: Date.now() + DAY },
        { id: 'no-zone', data: {}, expires: '2090-01-01T00:00:00' },
        { id: 'no-data' },
        { data: {} },
        'null',
        '{"id": "cut", "data',
      )
      expect(await run()).toMatchObject({ moved: 3, expired: 1, unreadable: 6 })
      const rows = await fixture.database.query<{ id: string; custom: string; left: number; data: string }>(
        'SELECT sess_id AS id, sess_custom AS custom, sess_expire - extract(epoch FROM now())::float8 AS left, sess_data AS data FROM php_session ORDER BY 1',
      )
      expect(rows).toEqual([
        { id: 'iso', custom: '42', left: expect.closeTo(DAY / 1000, -1), data: '{"user":"ada"}' },
        {
          ...{ id: 'no-end', custom: null, left: expect.closeTo(DAY / 1000, -1) },
          data: `{"cookie":{"originalMaxAge":${DAY},"path":"/"}}`,
        },
        { id: 'seconds', custom: '7', left: expect.closeTo(3600, -1), data: '{"user":"ada"}' },
      ])
    })

    test('a later snapshot renews and ends what was not used here', async () => {
      const fixture = await setup({ table: false })
      const run = async () =>
        json(await fixture.run(['import', '--from', 'jsonl', '--source', file, '--json']))
      const line = (id: string, n = 1) => ({ id, data: { n }, expires: soon() })
      write(line('same'), line('renewed'), line('ended'), line('used'))
      expect(await run()).toMatchObject({ moved: 4 })
      await fixture.write('used', { here: true })
      write(line('same'), line('renewed', 2), line('new'))
      expect(await run()).toMatchObject({ moved: 1, renewed: 1, removed: 1, already: 1 })
      // Renewed data counts as a write: a process that has read the session before must not overwrite it.
      const rows = 'SELECT sess_id AS id, sess_version::int AS version FROM php_session ORDER BY 1'
      expect(await fixture.database.query(rows)).toEqual([
        { id: 'new', version: 1 },
        { id: 'renewed', version: 2 },
        { id: 'same', version: 1 },
        { id: 'used', version: 2 },
      ])
    })
  })

  test('rejects invalid options, and shows no secrets', async () => {
    const { run } = await setup()
    const refused = async (...options: string[]) => {
      const { code, stderr } = await run(['import', ...options])
      expect(stderr).not.toContain('s3cret')
      return `${code} ${stderr}`
    }
    expect(await refused()).toMatch(/^2 .*--from: expected one of connect-pg-simple, /)
    expect(await refused('--from', 'memory')).toMatch(/^2 .*--from: expected/)
    expect(await refused('--from', 'connect-redis', '--zone', 'UTC')).toMatch(/^2 .*--zone does not apply to/)
    expect(await refused('--from', 'jsonl')).toMatch(/^2 .*--source is required: the file to import/)
    expect(await refused('--from', 'php-files', '--prefix', 'x')).toMatch(/^2 .*--prefix does not apply to/)
    expect(await refused('--from', 'jsonl', '--source', '/nowhere')).toMatch(
      /^2 .*cannot read the file \/nowhere \(ENOENT\)/,
    )
    expect(await refused('--from', 'phpredis', '--source', 'tcp://127.0.0.1:1?auth=s3cret')).toMatch(
      /^1 .*Cannot connect to Redis.*SERVER_DOWN/,
    )
    expect(await refused('--from', 'connect-redis', '--source', 'u:s3cret@h')).toMatch(/^2 .*expected a URL/)
    expect(await refused('--from', 'connect-redis', '--source', 'redis://u:s3cret@127.0.0.1:1')).toMatch(
      /^1 .*Cannot connect to Redis.*SERVER_DOWN/,
    )
    expect(await refused('--from', 'connect-pg-simple')).toMatch(
      /^1 .*the table session does not exist.*TABLE_MISSING/,
    )
    expect(await refused('--from', 'connect-pg-simple', '--source-table', 'php_session')).toMatch(
      /^1 .*lacks sid, sess, expire.*TABLE_UNFIT/,
    )
    expect(
      await refused('--from', 'connect-pg-simple', '--source', 'host=127.0.0.1 port=1 password=s3cret'),
    ).toMatch(/^1 .*SERVER_DOWN/)
  })
})

describe('the Redis client of the import', () => {
  let folder = ''
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'session-pgsql-client-'))
    mkdirSync(join(folder, 'node_modules', 'ioredis'), { recursive: true })
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  test('is ioredis in a project that has no other client', async ({ skip }) => {
    skip(redis === undefined, 'redis-server is not installed: the Redis client was not tested')
    // The real ioredis, with a flag that shows that it was loaded.
    const ioredis = createRequire(import.meta.url).resolve('ioredis')
    const loaded = globalThis as { loadedClient?: string }
    writeFileSync(
      join(folder, 'node_modules', 'ioredis', 'index.js'),
      `globalThis.loadedClient = 'ioredis'; module.exports = require(${JSON.stringify(ioredis)})`,
    )
    const client = await connectRedis(`redis://127.0.0.1:${redis?.port}`, folder)
    try {
      await client.send('FLUSHALL')
      const ids = Array.from({ length: 1200 }, (_, n) => `id-${n}`)
      await Promise.all(ids.map((id) => client.send('SET', `a[b]*:${id}`, `of ${id}`, 'PX', '3600000')))
      await client.send('SET', 'ab:other', 'of another')
      await client.send('HSET', 'a[b]*:hash', 'a', 'b')
      const source = redisSource(client, 'here', { prefix: 'a[b]*:' })
      const found = new Map<string, string>()
      for await (const batch of source.batches()) for (const { id, text } of batch) found.set(id, text)
      expect(found.size).toBe(1201)
      expect(found.get('id-7')).toBe('of id-7')
      expect(found.get('hash')).toBe('!')
      expect(await source.findLive(['id-1', 'none', 'id-2'])).toEqual(new Set(['id-1', 'id-2']))
      expect(loaded.loadedClient).toBe('ioredis')
    } finally {
      await client.close()
    }
  })
})
