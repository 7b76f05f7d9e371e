import pg from 'pg'
import { describe, expect, test, vi } from 'vitest'
import { startProxy } from '../support/proxy.ts'
import type { FreshDatabase } from '../support/servers.ts'
import { until } from '../support/wait.ts'
import { runHere } from './command-line.ts'
import { describeWithCommand, json } from './place.ts'

/** Returns a client with an open transaction that holds a lock. */
async function lockedBy(database: FreshDatabase, statement: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.db as string, application_name: 'stuck' })
  await client.connect()
  await client.query(`BEGIN; ${statement}`)
  return client
}

describeWithCommand('session-pgsql: init, status and gc', (setup) => {
  describe('init', () => {
    test('creates the table, and reports the second time that it exists', async () => {
      const { run } = await setup({ table: false })
      expect((await run(['list'])).stderr).toContain('TABLE_MISSING')
      const first = await run(['init', '--json'])
      expect(first.code).toBe(0)
      expect(json(first).servers).toEqual([
        expect.objectContaining({ table: '"public"."php_session"', created: true, error: null }),
      ])
      expect(json(await run(['init', '--json'])).servers[0].created).toBe(false)
      expect((await run(['init'])).stdout).toMatch(/already exists\n$/)
      expect((await run(['list'])).stdout).toBe('No sessions.\n')
    })

    test('prints SQL that creates a complete table, even with a special name', async () => {
      const { database, run } = await setup({ table: false })
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
        report.servers[0].findings.map(({ check, level }: { check: string; level: string }) => [
          check,
          level,
        ]),
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

    test('creates the journal, and gc records in it how many sessions it has removed', async () => {
      const { database, run } = await setup({ table: false })
      const journal = 'SELECT event_kind, event_about FROM php_session_event'
      expect((await run(['init'])).code).toBe(0)
      await database.query('DROP TABLE php_session_event')
      expect((await run(['init'])).stdout).toMatch(/already exists\n$/)
      expect(await database.query(journal)).toEqual([])
      expect((await run(['gc'])).code).toBe(0)
      expect(await database.query(journal)).toEqual([])
      await database.query("INSERT INTO php_session (sess_id, sess_expire) VALUES ('old', 1), ('older', 1)")
      expect((await run(['gc'])).stdout).toBe('2 expired sessions removed.\n')
      const [entry] = await database.query<{ event_kind: string; event_about: string }>(journal)
      expect(entry?.event_kind).toBe('gc')
      expect(JSON.parse(entry?.event_about ?? '')).toEqual({ removed: 2, seconds: expect.any(Number) })
      // Only init creates the journal.
      await database.query('DROP TABLE php_session_event')
      await database.query("INSERT INTO php_session (sess_id, sess_expire) VALUES ('old', 1)")
      expect(await run(['gc'])).toMatchObject({ code: 0, stderr: '', stdout: '1 expired session removed.\n' })
      expect(await database.query("SELECT 1 FROM pg_class WHERE relname = 'php_session_event'")).toEqual([])
    })
  })

  test('status shows settings, roles and session counts, but no password', async () => {
    const { database, run, write } = await setup()
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
      /SERVER +ROLE +HEALTH +TABLE +ACTIVE +EXPIRED\n.* primary +up .* 1 +1\n[\s\S]*\n\nSETTINGS OF THIS COMMAND\ntable +php_session\n/,
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

  test('status --watch shows an outage, and its error also after recovery', async () => {
    const { db } = await setup()
    const url = new URL(db)
    const proxy = await startProxy({ host: url.hostname, port: Number(url.port) })
    url.host = `${proxy.host}:${proxy.port}`
    const interrupt = new AbortController()
    const screens = ['']
    const watching = runHere(['status', '--watch', '--db', url.href], {
      terminal: 200,
      environment: { NO_COLOR: '1' },
      signal: interrupt.signal,
      onOutput(text) {
        if (text === '\u001b[H\u001b[2J') screens.push('')
        else screens[screens.length - 1] += text
      },
    })
    try {
      const last = (): string => screens.at(-1) as string
      const counters = (): string | undefined => /SINCE +CALLS +ERRORS +LAST ERROR\n(.*)\n/.exec(last())?.[1]
      await until(() => counters(), 'the first output')
      expect(last()).toMatch(/ primary +up /)
      expect(counters()).toMatch(/ \d+s ago +\d+ +0 +-$/)
      await proxy.refuse()
      proxy.drop()
      await until(() => / down /.test(last()) && counters(), 'status to show the outage')
      expect(screens.length).toBeGreaterThan(1)
      expect(counters()).toMatch(/ago +\d+ +[1-9]\d* +\S.*cannot be reached/)
      await proxy.resume()
      await until(() => / up /.test(last()) && counters(), 'status to show the recovery')
      expect(counters()).toMatch(/ago +\d+ +[1-9]\d* +\S.*cannot be reached/)
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

    test('counts with --dry-run, removes without it, and prints the number', async () => {
      const { database, run } = await setup()
      await fill(database, 2500, 10)
      // Its sweep hour is in the future: gc does not remove it, so --dry-run does not count it.
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

    test('keeps the rows with keepExpired, set by an option or the environment', async () => {
      const { database, run } = await setup()
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

    test('shows its progress on a terminal, and ends after the current batch when interrupted', async () => {
      const { database, run } = await setup()
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

    test('removes no live session after a clock was set forward during the run, and ends with an error', async () => {
      const { database, run } = await setup()
      await fill(database, 3000, 0)
      const { now } = Date
      try {
        const { code, stderr } = await run(['gc'], {
          terminal: 80,
          // The database's clock advances by two hours: sessions that expired an hour ago are live.
          onError: (text) => {
            if (text.includes('1,000 of')) vi.spyOn(Date, 'now').mockImplementation(() => now() - 7_200_000)
          },
        })
        expect(code).toBe(1)
        expect(stderr).toMatch(/CLOCK_IMPLAUSIBLE|7,?\d+ seconds ahead/)
      } finally {
        vi.restoreAllMocks()
      }
      expect(await database.query('SELECT count(*)::int AS n FROM php_session')).toEqual([{ n: 2000 }])
    })

    test('shows no percentage if there is nothing to remove', async () => {
      const { run } = await setup()
      const { stdout, stderr } = await run(['gc'], { terminal: 80 })
      expect(stdout).toBe('0 expired sessions removed.\n')
      expect(stderr).not.toContain('%')
    })

    test('waits for a transaction that has locked expired sessions', async () => {
      const { database, run } = await setup()
      await fill(database, 3, 0)
      const other = await lockedBy(database, 'SELECT FROM php_session FOR UPDATE')
      const ran = run(['gc', '--quiet'])
      const swept = () =>
        database.query(
          "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query LIKE '%SKIP LOCKED%'",
        )
      await until(async () => (await swept()).length > 0, 'a batch that finds the rows locked')
      await other.end()
      expect(await ran).toEqual({ code: 0, stdout: '', stderr: '' })
      expect((await run(['gc'])).stdout).toBe('0 expired sessions removed.\n')
    })

    test.each([
      ['sessions', 'SELECT FROM php_session FOR UPDATE', 'busy'],
      ['the table', 'LOCK TABLE php_session', null],
    ])(
      'names the process that keeps %s locked for longer than the timeout, with exit code 1',
      async (_, lock, ended) => {
        const { database, run } = await setup()
        await fill(database, 3, 0)
        const other = await lockedBy(database, lock)
        try {
          const { rows } = await other.query('SELECT pg_backend_pid() AS pid')
          const ran = await run(['gc', '--quiet', '--timeout', '1'])
          expect(ran).toMatchObject({ code: 1, stdout: '' })
          expect(ran.stderr).toContain(
            `locked by process ${rows[0].pid} (database user postgres, stuck, for `,
          )
          expect(json(await run(['gc', '--json', '--timeout', '1']))).toMatchObject({
            removed: 0,
            servers: [{ ended, error: { code: 'TIMEOUT' } }],
          })
        } finally {
          await other.end()
        }
        expect(await run(['gc'])).toMatchObject({ code: 0, stdout: '3 expired sessions removed.\n' })
      },
    )
  })

  test('exits with 2 on an invalid command line, and shows no secrets', async () => {
    const { run } = await setup()
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

  test('--help of every command fits 80 columns, and has options, examples and JSON output', async () => {
    const general = await runHere(['--help'])
    expect(general.code).toBe(0)
    const names = [...general.stdout.matchAll(/^ {2}([a-z]+) {2,}[a-z]/gm)].map(([, name]) => name as string)
    const all = ['init', 'doctor', 'status', 'list', 'show', 'destroy', 'gc', 'encrypt', 'drain', 'import']
    expect(names).toEqual(all)
    for (const argv of [
      ['help'],
      ...names.map((name) => [name, '--help']),
      ...names.map((name) => ['help', name]),
    ]) {
      const { code, stdout } = await runHere(argv)
      expect(code).toBe(0)
      for (const line of stdout.split('\n')) expect([line, line.length <= 80]).toEqual([line, true])
      if (argv[0] !== 'help')
        expect(stdout).toMatch(/Examples:\n.*JSON output:\n.*General options:\n.*--db DATABASE/s)
    }
    expect((await runHere([])).code).toBe(2)
    expect((await runHere(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+/)
  })
})
