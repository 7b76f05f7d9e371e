import pg from 'pg'
import { expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { runHere } from '../cli/command-line.ts'
import { describeWithCommand, json } from '../cli/place.ts'
import type { Data } from '../handler/kit.ts'
import { eventually } from '../support/wait.ts'

const SPEC = 'user_id:bigint:index,tenant:text:index,plan:jsonb:index,note:text'
const columns = {
  user_id: { type: 'bigint', value: (data: Data) => data.user_id, index: true },
  tenant: { type: 'text', value: (data: Data) => data.tenant, index: true },
} as const

describeWithCommand('session-pgsql init --columns', (setup) => {
  const INDEXES = `SELECT pg_get_indexdef(indexrelid) AS def FROM pg_index
    WHERE indrelid = 'php_session'::regclass AND indisvalid ORDER BY 1`

  test('adds columns and indexes to an existing table, once', async () => {
    const { database, run, write } = await setup()
    await write('old', { user_id: 7 })
    const before = (await database.query(INDEXES)).length
    const finding = async () => {
      const { servers } = json(await run(['doctor', '--columns', SPEC, '--json']))
      return servers[0].findings.find(({ check }: { check: string }) => check === 'columns-option')
    }
    expect(await finding()).toMatchObject({
      level: 'warning',
      remedy: [`session-pgsql init --columns ${SPEC}`],
    })
    const first = json(await run(['init', '--columns', SPEC, '--json']))
    expect(first.servers[0]).toMatchObject({
      created: false,
      columns: ['user_id', 'tenant', 'plan', 'note', 'sess_filled'],
      error: null,
    })
    expect(first.servers[0].indexes).toHaveLength(4)
    const defs = (await database.query<{ def: string }>(INDEXES)).map(({ def }) => def).join('\n')
    expect(defs).toMatch(/btree \(user_id\)/)
    expect(defs).toMatch(/hash \(tenant\)/)
    expect(defs).toMatch(/gin \(plan jsonb_path_ops\)/)
    expect(defs).toMatch(/\(sess_id\) WHERE .*sess_filled.*'note,plan,tenant,user_id'/)
    const again = json(await run(['init', '--columns', SPEC, '--json']))
    expect(again.servers[0]).toMatchObject({ columns: [], indexes: [], error: null })
    expect(await finding()).toMatchObject({ level: 'ok' })
    await database.query('DROP INDEX php_session_user_id_idx')
    expect((await finding()).message).toContain('no index on user_id')
    await run(['init', '--columns', SPEC])
    expect(await database.query(INDEXES)).toHaveLength(before + 4)
    expect((await run(['init', '--columns', SPEC])).stdout).toMatch(/already exists\n$/)
  })

  test('replaces the index of unfilled rows when the columns change', async () => {
    const { database, run } = await setup({ table: false })
    await run(['init', '--columns', 'user_id:bigint:index'])
    const { stdout } = await run(['init', '--columns', 'user_id:bigint:index,tenant:text'])
    expect(stdout).toMatch(/columns added: tenant\n.*CREATE INDEX CONCURRENTLY .*'tenant,user_id'/)
    const defs = (await database.query<{ def: string }>(INDEXES)).map(({ def }) => def)
    expect(defs.filter((def) => def.includes('sess_filled'))).toEqual([
      expect.stringContaining("'tenant,user_id'"),
    ])
  })

  test('creates a new table as --print shows it', async () => {
    const [created, printed] = [await setup({ table: false }), await setup({ table: false })]
    expect((await created.run(['init', '--columns', SPEC])).code).toBe(0)
    const { statements } = json(await printed.run(['init', '--print', '--columns', SPEC, '--json']))
    for (const statement of statements.filter((text: string) => !text.startsWith('GRANT'))) {
      await printed.database.query(statement)
    }
    const definition = async ({ database }: typeof created) => [
      await database.query(`SELECT attname, format_type(atttypid, atttypmod), attnum FROM pg_attribute
        WHERE attrelid = 'php_session'::regclass AND attnum > 0 ORDER BY attnum`),
      await database.query(INDEXES),
    ]
    expect(await definition(printed)).toEqual(await definition(created))
    const again = json(await printed.run(['init', '--columns', SPEC, '--json']))
    expect(again.servers[0]).toMatchObject({ columns: [], indexes: [] })
  })

  test('does not stall requests behind a long-running reader of the table', async () => {
    const { database, db, run, write } = await setup()
    await write('one', { n: 1 })
    const reader = new pg.Client({ connectionString: db })
    await reader.connect()
    const sessions = new SaveHandler<Data>({ db, gcInterval: 0, operationTimeout: 2 })
    try {
      await reader.query('BEGIN')
      await reader.query('SELECT 1 FROM php_session')
      let ended = false
      const init = run(['init', '--columns', SPEC]).finally(() => {
        ended = true
      })
      let attempts = 0
      let waiting = false
      while (attempts < 2) {
        const [{ n } = { n: 0 }] = await database.query<{ n: number }>(
          `SELECT count(*)::int AS n FROM pg_locks WHERE relation = 'php_session'::regclass AND NOT granted
             AND mode = 'AccessExclusiveLock'`,
        )
        if (n > 0 && !waiting) attempts++
        waiting = n > 0
        // It would time out if it waited behind ADD COLUMN for as long as the reader reads.
        expect((await sessions.read('one'))?.data).toEqual({ n: 1 })
      }
      expect(ended).toBe(false)
      await reader.query('COMMIT')
      expect(await init).toMatchObject({ code: 0, stderr: '' })
    } finally {
      await sessions.close()
      await reader.end()
    }
  })

  test('creates indexes without blocking writes, and replaces one that was abandoned', async () => {
    const { database, db, run } = await setup()
    await run(['init', '--columns', 'user_id:bigint'])
    const sessions = new SaveHandler<Data>({ db, columns, gcInterval: 0 })
    const writer = new pg.Client({ connectionString: db })
    await writer.connect()
    try {
      await sessions.write('one', { user_id: 1 })
      await writer.query('BEGIN')
      await writer.query("UPDATE php_session SET sess_name = 'x'")
      const init = run(['init', '--columns', 'user_id:bigint:index'])
      await eventually(async () => {
        expect(await database.query('SELECT 1 FROM pg_stat_progress_create_index')).toHaveLength(1)
      })
      expect((await sessions.write('two', { user_id: 2 })).outcome).toBe('created')
      const second = await run(['init', '--columns', 'user_id:bigint:index'])
      expect(second.stderr).toContain('Another process is creating an index')
      await writer.query('ROLLBACK')
      expect((await init).code).toBe(0)
      await database.query(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'php_session_user_id_idx'::regclass",
      )
      const repaired = json(await run(['init', '--columns', 'user_id:bigint:index', '--json']))
      expect(repaired.servers[0].indexes).toEqual([expect.stringContaining('("user_id")')])
      expect(await sessions.destroyWhere({ user_id: 2 })).toBe(1)
    } finally {
      await sessions.close()
      await writer.end()
    }
  })

  test('says what to run if the user does not own the table', async () => {
    const { database, db, run } = await setup()
    const role = `guest_${process.pid}`
    await database.query(`CREATE ROLE ${role} LOGIN`)
    try {
      await database.query(`GRANT USAGE ON SCHEMA public TO ${role}`)
      await database.query(
        `GRANT SELECT, INSERT, UPDATE, DELETE ON php_session, php_session_event TO ${role}`,
      )
      const url = new URL(db)
      url.username = role
      const { code, stderr } = await runHere(['init', '--columns', 'user_id:bigint', '--db', url.href])
      expect(code).toBe(1)
      expect(stderr).toContain(
        `${role} does not own "public"."php_session". Run as its owner: ALTER TABLE "public"."php_session" ADD COLUMN IF NOT EXISTS "user_id" bigint, ADD COLUMN IF NOT EXISTS sess_filled text;`,
      )
      expect((await run(['init', '--columns', 'user_id:bigint'])).code).toBe(0)
    } finally {
      await database.query(`DROP OWNED BY ${role}`)
      await database.query(`DROP ROLE ${role}`)
    }
  })

  test('a list and a filter of a process without functions know the columns from the environment', async () => {
    const { db, run } = await setup({ table: false })
    const environment = { SESSION_PGSQL_COLUMNS: 'user_id:bigint:index,tenant:text:index' }
    await run(['init'], { environment })
    const sessions = new SaveHandler<Data>({ db, columns, gcInterval: 0 })
    await sessions.write('one', { user_id: 1, tenant: 'a' })
    await sessions.close()
    const { sessions: listed } = json(await run(['list', '--json'], { environment }))
    expect(listed).toEqual([expect.objectContaining({ columns: { user_id: 1, tenant: 'a' } })])
    const found = async (...where: string[]) =>
      json(await run(['list', '--json', ...where.flatMap((one) => ['--where', one])], { environment }))
        .sessions.length
    expect(await found('user_id=1', 'tenant=a')).toBe(1)
    expect(await found('user_id=1', 'tenant=b')).toBe(0)
    expect((await run(['list', '--where', 'user_id'], { environment })).code).toBe(2)
    expect((await run(['list', '--where', 'user_id=1'])).stderr).toContain('Unknown column')
    expect((await run(['destroy', '--where', 'user_id=1'], { environment })).stdout).toBe(
      '1 session destroyed.\n',
    )
    expect((await run(['destroy', '--where', 'user_id=1', 'one'], { environment })).code).toBe(2)
  })

  test('import leaves the columns to fillColumns, of new sessions and of those that it updates', async () => {
    const { database, db, run } = await setup({ table: false })
    await run(['init', '--columns', 'user_id:bigint:index,tenant:text:index'])
    await database.query('CREATE TABLE session (sid varchar PRIMARY KEY, sess json, expire timestamp(6))')
    const sessions = new SaveHandler<Data>({ db, columns, gcInterval: 0 })
    const store = (user: number) =>
      database.query(
        `INSERT INTO session VALUES ('one', $1, now() + interval '1 day')
         ON CONFLICT (sid) DO UPDATE SET sess = excluded.sess`,
        [JSON.stringify({ cookie: { originalMaxAge: 86_400_000 }, user_id: user })],
      )
    try {
      for (const user of [1, 2]) {
        await store(user)
        const { code, stderr } = await run([
          'import',
          '--from',
          'connect-pg-simple',
          '--source',
          db,
          '--json',
        ])
        expect([code, stderr]).toEqual([0, ''])
        await expect(sessions.destroyWhere({ user_id: 9 })).rejects.toMatchObject({
          code: 'COLUMNS_UNFILLED',
        })
        expect(await sessions.fillColumns()).toBe(1)
        expect(await sessions.count({ where: { user_id: user } })).toBe(1)
      }
      expect(await sessions.destroyWhere({ user_id: 2 })).toBe(1)
    } finally {
      await sessions.close()
    }
  })
})
