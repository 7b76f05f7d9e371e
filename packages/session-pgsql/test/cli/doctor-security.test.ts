import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import type { Finding } from '../../src/table/finding.ts'
import { queryOnce } from '../support/connect.ts'
import { type RunOptions, type RunResult, runHere } from './command-line.ts'
import { type CommandFixture, describeWithCommand, json } from './place.ts'

const KEY = Buffer.alloc(32, 7).toString('base64')

/** The environment of an application that meets the list. */
const CLOSED = {
  SESSION_PGSQL_IDS: 'hashed',
  SESSION_PGSQL_ENCRYPTION_KEYS: `k1:${KEY}`,
  SESSION_PGSQL_MAX_LIFETIME: '43200',
}

function findings(ran: RunResult): Record<string, Finding> {
  return Object.fromEntries(json(ran).servers[0].findings.map((finding: Finding) => [finding.check, finding]))
}

function open(ran: RunResult): string[] {
  return Object.values(findings(ran)).flatMap(({ check, level }) => (level === 'ok' ? [] : [check]))
}

/** Runs a test with a role that owns the session table, and removes the role. */
async function withOwner(
  { database, db }: CommandFixture,
  work: (owner: {
    readonly role: string
    readonly url: URL
    security(environment?: Record<string, string>, options?: RunOptions): Promise<RunResult>
  }) => Promise<void>,
): Promise<void> {
  const role = `owner_${randomBytes(4).toString('hex')}`
  await database.query(`CREATE ROLE ${role} LOGIN`)
  try {
    for (const table of ['php_session', 'php_session_event']) {
      await database.query(`ALTER TABLE ${table} OWNER TO ${role}`)
    }
    const url = Object.assign(new URL(db), { username: role })
    await work({
      role,
      url,
      security: (environment = {}, options = {}) =>
        runHere(['doctor', '--security', '--json', '--db', url.href], { ...options, environment }),
    })
  } finally {
    await queryOnce(db, `DROP OWNED BY ${role}`)
    await queryOnce(db, `DROP ROLE ${role}`)
  }
}

describeWithCommand('doctor --security', (setup) => {
  test('reports what the default settings leave open, and exits with 0 without problems', async () => {
    const fixture = await setup()
    const ran = await fixture.run(['doctor', '--security', '--json'])
    expect(ran.code).toBe(0)
    expect(open(ran)).toEqual(['ids', 'encryption', 'max-lifetime', 'superuser'])
    // Checks that concern no attacker are those of doctor without the option.
    expect(findings(ran)).not.toHaveProperty('fillfactor')
    const shown = await fixture.run(['doctor', '--security'], { terminal: 80 })
    expect(shown.stdout).toMatch(/session-pgsql hash-ids\n/)
  })

  test('reports nothing for a role without power over others and settings that meet the list', async () => {
    await withOwner(await setup(), async ({ security }) => {
      const ran = await security(CLOSED)
      expect(open(ran)).toEqual([])
      expect(Object.keys(findings(ran)).sort()).toEqual(
        [
          ...['connection', 'encryption', 'grants', 'ids', 'max-lifetime', 'owner'],
          ...['schema-creators', 'statement-log', 'superuser', 'tls', 'triggers'],
        ].sort(),
      )
    })
  })

  test('reports settings of a migration as open', async () => {
    await withOwner(await setup(), async ({ security }) => {
      expect(open(await security({ ...CLOSED, SESSION_PGSQL_IDS: 'migrate' }))).toEqual(['ids'])
      const reading = { ...CLOSED, SESSION_PGSQL_ENCRYPTION_ACCEPT_PLAIN: 'true' }
      expect(findings(await security(reading)).encryption?.message).toContain('plain text is accepted')
      const notWriting = { ...reading, SESSION_PGSQL_ENCRYPTION_WRITE: 'false' }
      expect(findings(await security(notWriting)).encryption?.message).toContain('stores plain text')
    })
  })

  test('reports grants, a foreign owner, triggers and roles that may create objects', async () => {
    const fixture = await setup()
    await withOwner(fixture, async ({ role, security }) => {
      await fixture.database.query('GRANT CREATE ON SCHEMA public TO PUBLIC')
      for (const sql of [
        'GRANT SELECT ON php_session TO PUBLIC',
        `CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'`,
        'CREATE TRIGGER spy BEFORE UPDATE ON php_session FOR EACH ROW EXECUTE FUNCTION spy()',
      ]) {
        await fixture.database.query(sql)
      }
      expect(open(await security(CLOSED))).toEqual(['triggers', 'grants', 'schema-creators'])
      const other = `${role}_other`
      await fixture.database.query(`CREATE ROLE ${other}`)
      await fixture.database.query(`ALTER TABLE php_session_event OWNER TO ${other}`)
      try {
        expect(open(await security(CLOSED))).toContain('owner')
      } finally {
        await fixture.database.query(`ALTER TABLE php_session_event OWNER TO ${role}`)
        await fixture.database.query(`DROP ROLE ${other}`)
      }
    })
  })

  test('reports each logging setting that shows ids, and its SQL hides them', async () => {
    const fixture = await setup()
    await withOwner(fixture, async ({ role, security }) => {
      const plain = { ...CLOSED, SESSION_PGSQL_IDS: 'plain' }
      const shows = async (environment: Record<string, string> = plain) =>
        findings(await security(environment))['statement-log']
      expect((await shows())?.level).toBe('ok')
      for (const [setting, value] of [
        ['log_statement', 'all'],
        ['log_statement', 'mod'],
        ['log_min_duration_statement', '250'],
        ['log_min_duration_sample', '100'],
        ['log_transaction_sample_rate', '0.01'],
        ['log_parameter_max_length_on_error', '64'],
      ]) {
        await fixture.database.query(`ALTER ROLE ${role} SET ${setting} = '${value}'`)
        const found = await shows()
        expect([setting, found?.level, found?.message.includes(`${setting} =`)]).toEqual([
          setting,
          'warning',
          true,
        ])
        for (const remedy of found?.remedy ?? []) await fixture.database.query(remedy)
        expect([setting, (await shows())?.level]).toEqual([setting, 'ok'])
        await fixture.database.query(`ALTER ROLE ${role} RESET ALL`)
      }
      await fixture.database.query(`ALTER ROLE ${role} SET log_statement = 'ddl'`)
      expect((await shows())?.level).toBe('ok')
      // Hashes and encrypted data may be logged.
      await fixture.database.query(`ALTER ROLE ${role} SET log_statement = 'all'`)
      expect((await shows(CLOSED))?.message).toContain('hashes and encrypted data')
      const { SESSION_PGSQL_ENCRYPTION_KEYS: _, ...unencrypted } = CLOSED
      for (const some of [unencrypted, { ...CLOSED, SESSION_PGSQL_IDS: 'migrate' }]) {
        expect((await shows(some))?.level).toBe('warning')
      }
    })
  })

  test('takes no row for a session that several servers have left behind', async () => {
    const fixture = await setup()
    await withOwner(fixture, async ({ url, security }) => {
      await fixture.write('a'.repeat(32), { user: 'ada' })
      await queryOnce(url.href, "UPDATE php_session SET sess_destroyed = 1, sess_data = ''")
      expect(open(await security(CLOSED))).toEqual([])
    })
  })

  test('reports rows that are not stored as the settings say', async () => {
    const fixture = await setup()
    await withOwner(fixture, async ({ url, security }) => {
      await fixture.write('a'.repeat(32), { user: 'ada' })
      expect(open(await security(CLOSED))).toEqual(['stored-ids', 'stored-data'])
      await fixture.database.query('DELETE FROM php_session')
      const sessions = new SaveHandler({ db: url.href, gcInterval: 0 }, { environment: CLOSED })
      await sessions.write('b'.repeat(32), { user: 'ada' })
      await sessions.close()
      expect(open(await security(CLOSED))).toEqual([])
    })
  })

  test('reports a table that is missing as a problem, and exits with 1', async () => {
    const { run } = await setup({ table: false })
    const ran = await run(['doctor', '--security', '--json'])
    expect(ran.code).toBe(1)
    expect(findings(ran).table?.level).toBe('problem')
  })
})

test('reports TLS below verify-full to another machine, also if it is unreachable', async () => {
  const tls = async (db: string) => {
    const ran = await runHere(['doctor', '--security', '--json', '--timeout', '0.1', '--db', db])
    expect(ran.code).toBe(1)
    return findings(ran).tls
  }
  // 192.0.2.0/24 is reserved for documentation.
  for (const mode of ['disable', 'prefer', 'require']) {
    const found = await tls(`host=192.0.2.1 user=x dbname=x password=x connect_timeout=1 sslmode=${mode}`)
    expect([mode, found?.level]).toEqual([mode, 'warning'])
  }
  const verified =
    'host=db.invalid hostaddr=192.0.2.1 user=x dbname=x password=x connect_timeout=1 sslmode=verify-full sslrootcert=system'
  expect((await tls(verified))?.level).toBe('ok')
  for (const host of ['127.0.0.1', 'localhost', '/nonexistent']) {
    expect([host, (await tls(`host=${host} port=1 user=x dbname=x`))?.level]).toEqual([host, 'ok'])
  }
  const group = await tls('host=127.0.0.1,192.0.2.7 port=1,1 user=x dbname=x password=x connect_timeout=1')
  expect(group?.message).toContain('192.0.2.7')
  expect(group?.message).not.toContain('127.0.0.1')
})
