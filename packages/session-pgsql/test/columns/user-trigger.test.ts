import pg from 'pg'
import { expect, test } from 'vitest'
import { SaveHandler } from '../../src/index.ts'
import { describeWithCommand, json } from '../cli/place.ts'
import type { Data } from '../handler/kit.ts'

const columns = {
  user_id: { type: 'bigint', value: (data: Data) => data.user_id, index: true },
} as const

const PRINT = ['init', '--print', '--json', '--columns', 'user_id:bigint:index']

describeWithCommand('the trigger on a table of users', (setup) => {
  async function site() {
    const { database, db, run } = await setup({ table: false })
    const { statements } = json(await run([...PRINT, '--user-trigger', 'users']))
    await database.query('CREATE TABLE users (id integer PRIMARY KEY, name text)')
    for (const statement of statements.filter((text: string) => !text.startsWith('GRANT'))) {
      await database.query(statement)
    }
    const handlers = [0, 1].map(() => new SaveHandler<Data>({ db, columns, gcInterval: 0, poolSize: 5 }))
    const pool = new pg.Pool({ connectionString: db, max: 6 })
    const close = async () => {
      await Promise.all([pool.end(), ...handlers.map((handler) => handler.close())])
    }
    return { database, handlers, pool, close }
  }

  test('ends the sessions of deleted users under load, and no deadlock reaches the application or a session', async () => {
    const { database, handlers, pool, close } = await site()
    const [USERS, DEVICES] = [24, 4]
    try {
      await pool.query('INSERT INTO users SELECT n FROM generate_series(1, $1::int) n', [USERS])
      const sessions = Array.from({ length: USERS * DEVICES }, (_, n) => ({
        id: `s${n}`,
        user_id: 1 + (n % USERS),
      }))
      const [first] = handlers as [SaveHandler<Data>]
      await Promise.all(sessions.map(({ id, user_id }) => first.write(id, { user_id, n: 0 }, { base: null })))
      const records = await Promise.all(
        handlers.map((one) => Promise.all(sessions.map(({ id }) => one.read(id)))),
      )
      let deleting = true
      const outcomes: Record<string, number> = {}
      const requests = async (handler: SaveHandler<Data>, bases: (typeof records)[number]): Promise<void> => {
        for (let n = 1; deleting; n++) {
          // Logins of the same users, in the same batches.
          const logins = sessions.map(({ user_id }, index) =>
            handler.write(
              `login${bases === records[0]}-${n}-${index}`,
              { user_id },
              { base: null, lifetime: 60 },
            ),
          )
          const written = await Promise.all(
            sessions.map(({ id, user_id }, index) =>
              n % 3 === 2
                ? handler.touch(id).then(() => 'touched')
                : handler
                    .write(id, { user_id, n }, { base: bases[index] ?? null })
                    .then(({ outcome, session }) => {
                      if (session !== undefined) bases[index] = session
                      return outcome
                    }),
            ),
          )
          for (const { outcome } of await Promise.all(logins)) expect(outcome).toBe('created')
          for (const outcome of written) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
        }
      }
      // Deletes one by one and many at once, some in a transaction that has deleted another user before.
      const deletions = async (users: readonly number[]): Promise<void> => {
        const client = await pool.connect()
        try {
          for (let at = 0; at < users.length; at += 4) {
            const [one, two, ...others] = users.slice(at, at + 4)
            await client.query('BEGIN')
            await client.query('DELETE FROM users WHERE id = $1', [one])
            await client.query('DELETE FROM users WHERE id = $1', [two])
            await client.query('COMMIT')
            await client.query('DELETE FROM users WHERE id = ANY($1)', [others])
          }
        } finally {
          client.release()
        }
      }
      // In descending order, as a batch may not lock them.
      const deleted = Array.from({ length: USERS - 4 }, (_, n) => USERS - 4 - n)
      const parts = [0, 1, 2, 3, 4].map((part) => deleted.filter((user) => user % 5 === part))
      const [, ...served] = await Promise.all([
        Promise.all(parts.map(deletions)).finally(() => {
          deleting = false
        }),
        ...handlers.map((handler, index) => requests(handler, records[index] as (typeof records)[number])),
      ])
      expect(served).toEqual([undefined, undefined])
      const left = await database.query<{ n: number }>(
        "SELECT count(*)::int AS n, min(user_id)::int AS first FROM php_session WHERE sess_id LIKE 's%'",
      )
      expect(left).toEqual([{ n: 4 * DEVICES, first: USERS - 3 }])
      expect(outcomes.gone).toBeGreaterThan(0)
    } finally {
      await close()
    }
  })

  test('a locked user delays no login, and a session may be saved before its user is committed', async () => {
    const { handlers, pool, close } = await site()
    const client = await pool.connect()
    try {
      const [sessions] = handlers as [SaveHandler<Data>]
      await pool.query("INSERT INTO users VALUES (1, 'locked')")
      await client.query('BEGIN')
      await client.query('UPDATE users SET id = 1 WHERE id = 1')
      await client.query("INSERT INTO users VALUES (2, 'signing up')")
      const logins = Array.from({ length: 64 }, (_, n) => sessions.write(`l${n}`, { user_id: 1 + (n % 3) }))
      const outcomes = (await Promise.all(logins)).map(({ outcome }) => outcome)
      expect(new Set(outcomes)).toEqual(new Set(['created']))
      await client.query('COMMIT')
    } finally {
      client.release()
      await close()
    }
  })

  test('a role that may only delete users ends their sessions', async () => {
    const { database, handlers, pool, close } = await site()
    const role = `deleter_${process.pid}`
    const client = await pool.connect()
    try {
      await handlers[0]?.write('a', { user_id: 1 })
      await database.query(`CREATE ROLE ${role}`)
      await database.query(`GRANT SELECT, INSERT, DELETE ON users TO ${role}`)
      await client.query(`SET ROLE ${role}`)
      await client.query("SET search_path = 'pg_temp'; INSERT INTO public.users VALUES (1)")
      await client.query('DELETE FROM public.users')
      expect(await handlers[0]?.count()).toBe(0)
      await expect(client.query('SELECT * FROM public.php_session')).rejects.toThrow('permission denied')
    } finally {
      await client.query('RESET ROLE')
      client.release()
      await database.query(`DROP OWNED BY ${role}`)
      await database.query(`DROP ROLE ${role}`)
      await close()
    }
  })

  test('is printed for other names, and needs one of the own columns', async () => {
    const { run } = await setup({ table: false })
    const printed = await run([
      ...['init', '--print', '--table', 'app.sessions', '--columns', 'owner:uuid'],
      ...['--user-trigger', 'Accounts', '--user-key', 'uid', '--user-column', 'owner'],
    ])
    expect(printed.stdout).toContain(`WHERE "owner" = CAST(OLD."uid" AS uuid);`)
    expect(printed.stdout).toContain('AFTER DELETE ON "app"."Accounts" FOR EACH ROW')
    for (const argv of [
      ['init', '--print', '--user-trigger', 'users'],
      ['init', '--columns', 'user_id:bigint', '--user-trigger', 'users'],
      ['init', '--print', '--columns', 'user_id:bigint', '--user-key', 'id'],
    ]) {
      expect((await run(argv)).code).toBe(2)
    }
  })
})
