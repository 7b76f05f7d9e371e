import { randomBytes } from 'node:crypto'
import { expect, test, vi } from 'vitest'
import type { Finding } from '../../src/table/finding.ts'
import { queryOnce } from '../support/connect.ts'
import { type RunResult, runHere } from './command-line.ts'
import { describeWithCommand, json } from './place.ts'

/** The table as the C extension creates it. */
const SEED_TABLE = `
  CREATE TABLE php_session (
    sess_id text PRIMARY KEY, sess_name text, sess_data text, sess_created integer, sess_modified integer,
    sess_expire integer, sess_addr_created text, sess_addr_modified text, sess_counter integer,
    sess_error integer, sess_warning integer, sess_notice integer, sess_err_message text, sess_custom text)`

/** Returns the findings by check. */
function findings(ran: RunResult): Record<string, Finding> {
  return Object.fromEntries(json(ran).servers[0].findings.map((finding: Finding) => [finding.check, finding]))
}

function levels(ran: RunResult): Record<string, string> {
  return Object.fromEntries(Object.entries(findings(ran)).map(([check, { level }]) => [check, level]))
}

describeWithCommand('doctor', (setup) => {
  test('reports no problem for a new table, and warns about a superuser', async () => {
    const { run } = await setup()
    const ran = await run(['doctor', '--json'])
    expect(ran.code).toBe(0)
    // The test servers run without fsync.
    expect(Object.entries(levels(ran)).filter(([, level]) => level !== 'ok')).toEqual([
      ['superuser', 'warning'],
      ['durability', 'warning'],
    ])
    const shown = await run(['doctor'], { terminal: 80, environment: { NO_COLOR: '1' } })
    expect(shown.stdout).toMatch(/ {2}warning {2}superuser .* is a superuser/)
    expect(shown.stdout).toMatch(/\n0 problems, 2 warnings, \d+ ok\.\n$/)
  })

  test('reports a missing table as a problem', async () => {
    const { run } = await setup({ table: false })
    const ran = await run(['doctor', '--json'])
    expect(ran.code).toBe(1)
    expect(findings(ran).table).toMatchObject({
      level: 'problem',
      remedy: ['session-pgsql init', expect.any(String)],
    })
  })

  test("reports what the C extension's table lacks, with SQL that fixes all of it", async () => {
    const { database, run } = await setup({ table: false })
    await database.query(SEED_TABLE)
    await database.query('CREATE INDEX by_expiry ON php_session (sess_expire)')
    await database.query("INSERT INTO php_session (sess_id, sess_data, sess_expire) VALUES ('old', '{}', 1)")
    const ran = await run(['doctor', '--json'])
    expect(ran.code).toBe(0)
    const expected = {
      'own-columns': 'warning',
      'integer-dates': 'warning',
      'sweep-index': 'warning',
      'field-index': 'warning',
      'touched-indexes': 'warning',
      fillfactor: 'warning',
      sweeping: 'warning',
    }
    expect(levels(ran)).toMatchObject(expected)
    for (const check of Object.keys(expected)) {
      for (const remedy of findings(ran)[check]?.remedy ?? []) {
        if (remedy.endsWith(';')) await database.query(remedy)
      }
    }
    expect((await run(['gc'])).stdout).toMatch(/^1 expired/)
    const fixed = await run(['doctor', '--json'])
    for (const check of Object.keys(expected)) expect([check, levels(fixed)[check]]).toEqual([check, 'ok'])
  })

  test('names the missing GRANT for a role without privileges, and that GRANT is sufficient', async () => {
    const { database, db, run } = await setup()
    const role = `web_${randomBytes(4).toString('hex')}`
    await database.query(`CREATE ROLE ${role} LOGIN`)
    try {
      const url = new URL(db)
      url.username = role
      const asRole = (...argv: string[]) => runHere(['doctor', '--db', url.href, '--json', ...argv])
      const before = await asRole()
      expect(before.code).toBe(1)
      const { privileges, superuser, table } = findings(before)
      expect(privileges).toMatchObject({ level: 'problem' })
      expect(privileges?.message).toContain('lacks SELECT, INSERT, UPDATE, DELETE')
      expect(superuser?.level).toBe('ok')
      expect(table?.level).toBe('ok')
      for (const remedy of privileges?.remedy ?? []) await database.query(remedy)
      const after = await asRole()
      expect(after.code).toBe(0)
      expect(findings(after).privileges?.level).toBe('ok')
      expect((await run(['doctor'])).code).toBe(0)

      // Without the journal, sessions still work, but the console shows less.
      expect(findings(after).journal).toMatchObject({
        level: 'warning',
        remedy: [expect.stringMatching(/^GRANT/)],
      })
      await database.query('DROP TABLE php_session_event')
      expect(findings(await run(['doctor', '--json'])).journal?.level).toBe('ok')
      const { journal } = findings(await asRole())
      expect(journal).toMatchObject({
        level: 'warning',
        message: expect.stringContaining('may not create it'),
      })
      for (const remedy of journal?.remedy ?? []) await database.query(remedy)
      expect(findings(await asRole()).journal?.level).toBe('ok')
      await database.query('DROP TABLE php_session_event')
      await database.query('CREATE TABLE php_session_event (event_id text)')
      expect(findings(await asRole()).journal).toMatchObject({ level: 'warning', remedy: [] })
    } finally {
      await queryOnce(db, `DROP OWNED BY ${role}`)
      await queryOnce(db, `DROP ROLE ${role}`)
    }
  })

  test('warns of what other roles can do to the tables, and its SQL takes it from them', async () => {
    const { database, db, run } = await setup({ table: false })
    const [web, other] = ['web', 'other'].map((name) => `${name}_${randomBytes(4).toString('hex')}`)
    for (const role of [web, other]) await database.query(`CREATE ROLE ${role} LOGIN`)
    await database.query('DO $$ BEGIN CREATE ROLE anon; EXCEPTION WHEN duplicate_object THEN NULL; END $$')
    await database.query(`GRANT CREATE ON SCHEMA public TO PUBLIC, ${other}`)
    const as = (role: string | undefined, ...argv: string[]) =>
      runHere([...argv, '--db', Object.assign(new URL(db), { username: role }).href, '--json'])
    try {
      expect((await as(other, 'init')).code).toBe(0)
      for (const sql of [
        `GRANT SELECT, INSERT, UPDATE, DELETE ON php_session TO ${web}`,
        'GRANT SELECT ON php_session TO PUBLIC',
        'GRANT SELECT (event_about) ON php_session_event TO anon',
        `CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
        'CREATE TRIGGER "Spy" BEFORE UPDATE ON php_session FOR EACH ROW EXECUTE FUNCTION spy()',
        'CREATE RULE quiet AS ON INSERT TO php_session_event DO NOTHING',
        'ALTER TABLE php_session_event ENABLE ROW LEVEL SECURITY',
      ]) {
        await database.query(sql)
      }
      const expected = {
        owner: `"public"."php_session" belongs to the role ${other}, "public"."php_session_event" belongs`,
        triggers: 'TRIGGER "Spy" ON "public"."php_session", RULE "quiet" ON "public"."php_session_event"',
        'row-security': '"public"."php_session_event"',
        grants: '"public"."php_session" is open to PUBLIC; "public"."php_session_event" is open to "anon"',
        'schema-creators': `PUBLIC, ${other} may create objects in the schema public`,
      }
      // A superuser is a member of every role, which must not hide anything.
      for (const ran of [await as(web, 'doctor'), await run(['doctor', '--json'])]) {
        for (const [check, message] of Object.entries(expected)) {
          expect(findings(ran)[check]).toMatchObject({
            level: 'warning',
            message: expect.stringContaining(message),
          })
        }
      }
      await database.query('ALTER TABLE php_session ENABLE ROW LEVEL SECURITY')
      expect(findings(await as(web, 'doctor'))['row-security']?.level).toBe('problem')

      const found = findings(await as(web, 'doctor'))
      for (const check of Object.keys(expected)) {
        for (const remedy of found[check]?.remedy ?? []) await database.query(remedy)
      }
      const fixed = findings(await as(web, 'doctor'))
      for (const check of Object.keys(expected)) expect([check, fixed[check]?.level]).toEqual([check, 'ok'])
    } finally {
      await queryOnce(db, `DROP OWNED BY ${web}, ${other} CASCADE`)
      await queryOnce(db, `DROP ROLE ${web}, ${other}`)
      await queryOnce(db, 'DROP OWNED BY anon; DROP ROLE anon')
    }
  })

  test('reports each fault of the structure as a problem, with SQL that fixes it', async () => {
    const { database, run } = await setup()
    await database.query('ALTER TABLE php_session DROP COLUMN sess_warning')
    const lacking = await run(['doctor', '--json'])
    expect(lacking.code).toBe(1)
    expect(findings(lacking).columns?.message).toContain('lacks sess_warning')
    for (const remedy of findings(lacking).columns?.remedy ?? []) await database.query(remedy)

    await database.query('ALTER TABLE php_session DROP CONSTRAINT php_session_pkey')
    const doubled = await run(['doctor', '--json'])
    expect(findings(doubled).columns).toMatchObject({ level: 'problem' })
    for (const remedy of findings(doubled).columns?.remedy ?? []) await database.query(remedy)
    expect((await run(['doctor'])).code).toBe(0)

    await database.query('ALTER TABLE php_session ALTER COLUMN sess_counter TYPE text')
    const unfit = await run(['doctor', '--json'])
    expect(unfit.code).toBe(1)
    expect(findings(unfit).columns?.message).toContain('sess_counter')
  })

  test('warns about an unlogged table, disabled autovacuum and few HOT updates', async () => {
    const { database, run } = await setup()
    await database.query(
      "INSERT INTO php_session (sess_id, sess_data, sess_sweep) SELECT 'id' || n, repeat('d', 300), n FROM generate_series(1, 2000) n",
    )
    // Every update changes the indexed column, so no update is HOT.
    await database.query('UPDATE php_session SET sess_sweep = sess_sweep + 1')
    await database.query('ALTER TABLE php_session SET (autovacuum_enabled = off)')
    await database.query('ALTER TABLE php_session SET UNLOGGED')
    // PostgreSQL updates its statistics with a delay.
    await expect
      .poll(async () => levels(await run(['doctor', '--json'])), { timeout: 15_000, interval: 500 })
      .toMatchObject({ unlogged: 'warning', autovacuum: 'warning', 'hot-updates': 'warning' })
  }, 60_000)

  test('warns about an invalid index, with SQL that drops it', async () => {
    const { database, run } = await setup()
    await database.query("INSERT INTO php_session (sess_id, sess_name) VALUES ('a', 'same'), ('b', 'same')")
    await expect(
      database.query('CREATE UNIQUE INDEX CONCURRENTLY "Odd" ON php_session (sess_name)'),
    ).rejects.toThrow()
    const found = findings(await run(['doctor', '--json']))['broken-indexes']
    expect(found).toMatchObject({ level: 'warning', remedy: ['DROP INDEX CONCURRENTLY public."Odd";'] })
    for (const remedy of found?.remedy ?? []) await database.query(remedy)
    expect(levels(await run(['doctor', '--json']))).not.toHaveProperty('broken-indexes')
  })

  test('warns about a wrong clock; beyond a minute it is a problem, and gc refuses to run', async () => {
    const { run } = await setup()
    const rightTime = Date.now
    const clock = vi.spyOn(Date, 'now')
    try {
      clock.mockImplementation(() => rightTime() - 30_000)
      const slightly = await run(['doctor', '--json'])
      expect(slightly.code).toBe(0)
      expect(findings(slightly).clock).toMatchObject({ level: 'warning' })
      expect(findings(slightly).clock?.message).toMatch(/is (29|3\d) s ahead of this machine's/)
      clock.mockImplementation(() => rightTime() + 90_000)
      const badly = await run(['doctor', '--json'])
      expect(badly.code).toBe(1)
      expect(findings(badly).clock).toMatchObject({ level: 'problem' })
      const swept = await run(['gc'])
      expect(swept.code).toBe(1)
      expect(swept.stderr).toContain('CLOCK_IMPLAUSIBLE')
    } finally {
      clock.mockRestore()
    }
  })

  test('reports an unreachable server as a problem', async () => {
    const { run } = await setup()
    const down = await runHere(['doctor', '--json', '--db', 'host=127.0.0.1 port=1 user=u password=s3cret'])
    expect(down.code).toBe(1)
    expect(findings(down).connection?.level).toBe('problem')
    expect(down.stdout + down.stderr).not.toContain('s3cret')
    const both = await run(['doctor', '--json', '--db', 'host=127.0.0.1 port=1 user=u'])
    expect(both.code).toBe(1)
    expect(json(both).servers).toHaveLength(2)
  })
})
