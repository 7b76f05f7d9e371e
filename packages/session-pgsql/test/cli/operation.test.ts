import { describe, expect, test } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import type { FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { runHere } from './command-line.ts'
import { describeWithCommand, json } from './place.ts'

describeWithCommand('operation by the command line', (place) => {
  describe('init', () => {
    test('creates the table, and the second time says that it is there', async () => {
      const { run } = await place({ table: false })
      expect((await run(['list'])).stderr).toContain('TABLE_MISSING')
      const first = await run(['init', '--json'])
      expect(first.code).toBe(0)
      expect(json(first).servers).toEqual([
        expect.objectContaining({ table: '"public"."php_session"', created: true, error: null }),
      ])
      expect(json(await run(['init', '--json'])).servers[0].created).toBe(false)
      expect((await run(['init'])).stdout).toMatch(/is there\n$/)
      expect((await run(['list'])).stdout).toBe('No sessions.\n')
    })

    test('--print writes what makes a table that has all; with an odd name, too', async () => {
      const { database, run } = await place({ table: false })
      const table = 'app."odd ""name"'.replace('app.', 'public.')
      const { code, stdout } = await run(['init', '--print', '--role', "o'brien", '--table', table])
      expect(code).toBe(0)
      expect(await database.query("SELECT 1 FROM pg_class WHERE relname LIKE 'odd%'")).toEqual([])
      const ddl = stdout.split('\n--')[0] as string
      for (const statement of ddl.split(';\n').filter((text) => text.trim() !== '')) {
        await database.query(statement)
      }
      expect(stdout).toContain('GRANT SELECT, INSERT, UPDATE, DELETE ON "public"."odd ""name" TO "o\'brien";')
      const report = json(await run(['doctor', '--json', '--table', table]))
      expect(report.problems).toBe(0)
      const levels = Object.fromEntries(
        report.servers[0].findings.map((one: never) => [one['check'], one['level']]),
      )
      expect(levels).toMatchObject({
        table: 'ok',
        columns: 'ok',
        'own-columns': 'ok',
        'sweep-index': 'ok',
        fillfactor: 'ok',
      })

      const { statements } = json(await run(['init', '--print', '--json']))
      expect(statements).toHaveLength(8)
    })

    test('makes the journal, too, in which gc notes what it has removed', async () => {
      const { database, run } = await place({ table: false })
      const journal = 'SELECT event_kind, event_about FROM php_session_event'
      expect((await run(['init'])).code).toBe(0)
      await database.query('DROP TABLE php_session_event')
      expect((await run(['init'])).stdout).toMatch(/is there\n$/)
      expect(await database.query(journal)).toEqual([])
      expect((await run(['gc'])).code).toBe(0)
      expect(await database.query(journal)).toEqual([])
      await database.query("INSERT INTO php_session (sess_id, sess_expire) VALUES ('old', 1), ('older', 1)")
      expect((await run(['gc'])).stdout).toBe('2 expired sessions removed.\n')
      const [entry] = await database.query<{ event_kind: string; event_about: string }>(journal)
      expect(entry?.event_kind).toBe('gc')
      expect(JSON.parse(entry?.event_about ?? '')).toEqual({ removed: 2, seconds: expect.any(Number) })
      // Only init makes it.
      await database.query('DROP TABLE php_session_event')
      await database.query("INSERT INTO php_session (sess_id, sess_expire) VALUES ('old', 1)")
      expect(await run(['gc'])).toMatchObject({ code: 0, stderr: '', stdout: '1 expired session removed.\n' })
      expect(await database.query("SELECT 1 FROM pg_class WHERE relname = 'php_session_event'")).toEqual([])
    })
  })

  test('status tells settings, roles and numbers, never a password', async () => {
    const { database, run, write } = await place()
    await write('one', {})
    await write('two', {}, { lifetime: 0 })
    await database.query("UPDATE php_session SET sess_expire = 1 WHERE sess_id = 'two'")
    const asked = await run(['status', '--json'], { environment: { SESSION_PGSQL_GC_INTERVAL: '77' } })
    expect(asked.code).toBe(0)
    const { settings, servers } = json(asked)
    expect(settings).toMatchObject({ gcInterval: 77, createTable: true, operationTimeout: 5 })
    expect(servers).toEqual([
      expect.objectContaining({ role: 'primary', health: 'up', active: 1, expired: 1, error: null }),
    ])
    expect(servers[0]).toMatchObject({ errors: 0, lastError: null })
    expect(servers[0].calls).toBeGreaterThan(2)
    expect(Math.abs(Date.parse(servers[0].since) - Date.now())).toBeLessThan(60_000)
    expect((await run(['status'])).stdout).toMatch(
      /SERVER +ROLE +HEALTH +TABLE +ACTIVE +EXPIRED\n.* primary +up .* 1 +1\n/,
    )
    const down = await runHere([
      'status',
      '--db',
      'host=127.0.0.1 port=1 user=u password=s3cret dbname=d',
      '--json',
    ])
    expect(down.code).toBe(1)
    expect(json(down).servers[0]).toMatchObject({
      health: 'down',
      error: { code: 'SERVER_DOWN' },
      lastError: expect.stringContaining('cannot be reached'),
    })
    expect(json(down).servers[0].errors).toBeGreaterThan(0)
    expect(down.stdout + down.stderr).not.toContain('s3cret')
  })

  test('status --watch redraws: an outage is seen, and what it was is still there afterwards', async () => {
    const { db } = await place()
    const url = new URL(db)
    const proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
    url.host = `${proxy.host}:${proxy.port}`
    const interrupt = new AbortController()
    const looks = ['']
    const watching = runHere(['status', '--watch', '--db', url.href], {
      terminal: 200,
      environment: { NO_COLOR: '1' },
      signal: interrupt.signal,
      onOutput(text) {
        if (text === '\u001b[H\u001b[2J') looks.push('')
        else looks[looks.length - 1] += text
      },
    })
    try {
      const last = (): string => looks.at(-1) as string
      const figures = (): string | undefined => /SINCE +CALLS +ERRORS +LAST ERROR\n(.*)\n/.exec(last())?.[1]
      await until(() => figures(), 'the first look')
      expect(last()).toMatch(/ primary +up /)
      expect(figures()).toMatch(/ \d+s ago +\d+ +0 +-$/)
      await proxy.refuse()
      proxy.drop()
      await until(() => / down /.test(last()) && figures(), 'the outage to be seen')
      expect(looks.length).toBeGreaterThan(1)
      expect(figures()).toMatch(/ago +\d+ +[1-9]\d* +\S.*cannot be reached/)
      await proxy.resume()
      await until(() => / up /.test(last()) && figures(), 'the end of the outage')
      expect(figures()).toMatch(/ago +\d+ +[1-9]\d* +\S.*cannot be reached/)
    } finally {
      interrupt.abort('SIGINT')
      await watching
      await proxy.stop()
    }
  })

  describe('gc', () => {
    const fill = (database: FreshDatabase, expired: number, active: number) =>
      database.query(
        `INSERT INTO php_session (sess_id, sess_data, sess_expire)
         SELECT 'x' || n, '{}', extract(epoch FROM now())::bigint + CASE WHEN n <= ${expired} THEN -3600 ELSE 3600 END
         FROM generate_series(1, ${expired + active}) n`,
      )

    test('--dry-run counts, gc removes, and says so', async () => {
      const { database, run } = await place()
      await fill(database, 2500, 10)
      // Filed under an hour that has not come: gc does not look at it, and so it is not promised.
      await database.query(
        `UPDATE php_session SET sess_expire = extract(epoch FROM now())::bigint - 600, sess_sweep = extract(epoch FROM now())::bigint + 3000 WHERE sess_id = 'x2501'`,
      )
      expect((await run(['gc', '--dry-run'])).stdout).toBe('2,500 expired sessions to be removed.\n')
      expect(json(await run(['gc', '--dry-run', '--json']))).toMatchObject({ dryRun: true, removed: 2500 })
      const swept = await run(['gc'])
      expect(swept).toEqual({ code: 0, stdout: '2,500 expired sessions removed.\n', stderr: '' })
      expect(json(await run(['gc', '--json']))).toEqual({
        dryRun: false,
        removed: 0,
        servers: [{ server: expect.any(String), removed: 0, ended: 'done', error: null }],
      })
      expect(await run(['gc', '--quiet'])).toEqual({ code: 0, stdout: '', stderr: '' })
      expect(await database.query('SELECT count(*)::int AS n FROM php_session')).toEqual([{ n: 10 }])
    })

    test('keeps what keepExpired keeps, by flag and by environment', async () => {
      const { database, run } = await place()
      await fill(database, 3, 1)
      expect((await run(['gc', '--keep-expired', '--dry-run'])).stdout).toBe(
        '3 expired sessions to be emptied or removed.\n',
      )
      expect((await run(['gc'], { environment: { SESSION_PGSQL_KEEP_EXPIRED: 'on' } })).stdout).toBe(
        '3 expired sessions emptied or removed.\n',
      )
      expect(await database.query("SELECT count(*)::int AS n FROM php_session WHERE sess_data = ''")).toEqual(
        [{ n: 3 }],
      )
      expect((await run(['gc', '--keep-expired', '--dry-run'])).stdout).toMatch(/^0 /)
    })

    test('shows its progress on a terminal, and stops after a batch when it is interrupted', async () => {
      const { database, run } = await place()
      await fill(database, 5000, 0)
      const interrupt = new AbortController()
      const { code, stdout, stderr } = await run(['gc'], {
        terminal: 80,
        environment: { NO_COLOR: '1' },
        signal: interrupt.signal,
        onError: (text) => {
          if (text.includes('20%')) interrupt.abort('SIGINT')
        },
      })
      expect(stderr).toContain('[####----------------]  20%  1,000 of 5,000')
      expect(stderr.endsWith('\r\u001b[K')).toBe(true)
      expect(code).toBe(130)
      const left = 5000 - Number(stdout.match(/^([\d,]+) expired/)?.[1]?.replace(',', ''))
      expect(stdout).toContain('Interrupted')
      expect(left).toBeGreaterThan(0)
      expect(await database.query('SELECT count(*)::int AS n FROM php_session')).toEqual([{ n: left }])
    })

    test('leaves it to another process that is at it', async () => {
      const { database, run } = await place()
      await fill(database, 3, 0)
      const { Client } = await import('pg')
      const other = new Client({ connectionString: database.db as string })
      await other.connect()
      try {
        await other.query('BEGIN')
        await other.query(
          `SELECT pg_advisory_xact_lock(hashtext('session_pgsql gc'), hashtext('"public"."php_session"'))`,
        )
        const { code, stdout } = await run(['gc'])
        expect(code).toBe(0)
        expect(stdout).toContain('another process is at it')
      } finally {
        await other.end()
      }
      expect((await run(['gc'])).stdout).toBe('3 expired sessions removed.\n')
    })
  })

  test('mistakes of the command line have exit code 2 and show no secrets', async () => {
    const { run } = await place()
    const secret = 'postgresql://u:s3cret@h/db'
    for (const argv of [
      ['nonsense'],
      ['list', 'argument'],
      ['list', '--sort', 'shoe-size'],
      ['list', '--limit', 'many'],
      ['list', '--limit', '0'],
      ['list', '--after', 'nonsense'],
      ['list', '--json=yes'],
      ['list', '--field'],
      ['list', '--timeout', '0'],
      ['list', '--table', 'a.b.c'],
      ['init', '--role', 'web'],
    ]) {
      const { code, stderr } = await run(argv)
      expect({ argv, code }).toEqual({ argv, code: 2 })
      expect(stderr).toMatch(/^session-pgsql: /)
    }
    for (const argv of [
      [secret],
      ['list', secret],
      ['list', `--bd=${secret}`],
      ['list', `--${secret}`],
      ['list', '--timeout', secret],
      ['list', '--db', `${secret}?nonsense=1`],
    ]) {
      const { code, stdout, stderr } = await runHere(argv)
      expect(code).toBe(2)
      expect(stdout + stderr).not.toContain('s3cret')
    }
    const asJson = await runHere(['list', '--json', '--limit', '0'])
    expect(JSON.parse(asJson.stderr)).toEqual({ error: { code: 'USAGE', message: expect.any(String) } })
  })

  test('--help of every command fits 80 columns and tells of its flags and its JSON', async () => {
    const general = await runHere(['--help'])
    expect(general.code).toBe(0)
    const names = [...general.stdout.matchAll(/^ {2}([a-z]+) {2,}[a-z]/gm)].map(([, name]) => name as string)
    expect(names).toEqual(['init', 'doctor', 'status', 'list', 'show', 'destroy', 'gc', 'drain', 'import'])
    for (const argv of [
      ['help'],
      ...names.map((name) => [name, '--help']),
      ...names.map((name) => ['help', name]),
    ]) {
      const { code, stdout } = await runHere(argv)
      expect(code).toBe(0)
      for (const line of stdout.split('\n')) expect([line, line.length <= 80]).toEqual([line, true])
      if (argv[0] !== 'help') expect(stdout).toMatch(/Examples\n.*JSON:.*--db DATABASE/s)
    }
    expect((await runHere([])).code).toBe(2)
    expect((await runHere(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+/)
  })
})
