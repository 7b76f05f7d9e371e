import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { rank } from '../../src/servers/placement.ts'
import { runHere } from '../cli/command-line.ts'
import { json } from '../cli/place.ts'
import { COUNT_HOSTILE_CALLS, CREATE_HOSTILE_SCHEMA } from '../support/hostile-schema.ts'
import { describeOnEveryServer, type FreshDatabase } from '../support/servers.ts'
import { eventually } from '../support/wait.ts'
import { type Data, expireAgo, id as newId } from './kit.ts'
import { EXTENSION_TABLE } from './table-kit.ts'

const PATHS = [
  ['before pg_catalog', 'hostile,pg_catalog,public'],
  ['before public', 'hostile,public'],
] as const

describeOnEveryServer(
  'With a hostile schema on the search path',
  (server) => {
    describe.each(PATHS)('%s', (_, path) => {
      const databases: FreshDatabase[] = []
      beforeAll(async () => {
        for (let count = 0; count < 2; count++) databases.push(await server.freshDatabase())
        for (const database of databases) await database.query(CREATE_HOSTILE_SCHEMA)
      })

      /** Returns the conninfo of the first or the second database. */
      function conninfo(index = 0): string {
        const { hostname, port, pathname, username } = new URL(databases[index]?.db as string)
        return (
          `host=${hostname} port=${port} dbname=${pathname.slice(1)} user=${username} name=${'ab'[index]} ` +
          `target_session_attrs=read-write options='-c search_path=${path}'`
        )
      }
      const query: FreshDatabase['query'] = (sql, parameters) =>
        (databases[0] as FreshDatabase).query(sql, parameters)

      /** Calls `work` with a save handler that must not report errors in the background. */
      async function using(
        options: SaveHandlerOptions<Data>,
        work: (sessions: SaveHandler<Data>) => Promise<void>,
      ): Promise<void> {
        const reported: unknown[] = []
        const report = (message: string, error: unknown) => reported.push(message, error)
        const sessions = new SaveHandler<Data>({
          db: conninfo(),
          table: 'public.php_session',
          gcInterval: 0,
          logger: { debug: report, info() {}, warn: report, error: report },
          ...options,
        })
        try {
          await work(sessions)
        } finally {
          await sessions.close()
        }
        expect(reported).toEqual([])
      }

      async function run(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
        return runHere([...argv, '--db', conninfo(), '--table', 'public.php_session', '--json'])
      }

      afterAll(async () => {
        for (const database of databases) {
          expect(await database.query(COUNT_HOSTILE_CALLS)).toEqual([{ calls: '0' }])
        }
      })

      test('ends of sessions are announced and received', async () => {
        await using({ announce: true, table: 'public.announced' }, async (sessions) => {
          const reasons: string[] = []
          sessions.on('ended', ({ reason }) => reasons.push(reason))
          await sessions.open()
          for (const id of ['a', 'b', 'c']) await sessions.write(id, {}, { custom: 'u', base: null })
          await expireAgo({ query }, 'a', 7200, 'public.announced')
          await query('UPDATE public.announced SET sess_sweep = 0 WHERE sess_id = $1', ['a'])
          expect(await sessions.gc()).toBe(1)
          expect(await sessions.limitByField('u', 1, { keep: 'c' })).toBe(1)
          expect(await sessions.destroy('c')).toBe(true)
          await eventually(() => expect(reasons).toEqual(['expired', 'limited', 'destroyed']))
        })
        await using(
          { announce: true, table: 'public.announced', db: [conninfo(0), conninfo(1)] },
          async (sessions) => {
            const ended: string[] = []
            sessions.on('ended', ({ id }) => ended.push(id))
            await sessions.open()
            await sessions.write('several', {}, { base: null })
            expect(await sessions.destroy('several')).toBe(true)
            await eventually(() => expect(ended).toEqual(['several']))
          },
        )
      })

      test('own columns are added, filled, listed, filtered and destroyed by', async () => {
        const values: Record<string, unknown> = {
          ...{ text: 'a', bigint: 7, integer: 7, boolean: true, jsonb: { n: 7 }, timestamptz: new Date(0) },
          uuid: '0b1c0a2e-7e3b-4b0a-9c1d-0123456789ab',
        }
        const types = Object.keys(values)
        const columns = Object.fromEntries(
          types.map((type) => [`c_${type}`, { type, value: () => values[type], index: true }]),
        ) as SaveHandlerOptions<Data>['columns']
        const spec = types.map((type) => `c_${type}:${type}:index`).join(',')
        const table = `public.owned_${path.length}`
        for (const round of [1, 2]) {
          const argv = ['init', '--columns', spec, '--db', conninfo(), '--table', table, '--json']
          if (round === 1) await using({ table }, (sessions) => sessions.open())
          expect(json(await runHere(argv)).servers[0]).toMatchObject({ error: null })
        }
        await using({ table }, async (sessions) => {
          await sessions.write('unfilled', {})
        })
        await using({ table, columns }, async (sessions) => {
          expect(await sessions.fillColumns()).toBe(1)
          await sessions.write('one', { n: 1 }, { base: null })
          await sessions.write('one', { n: 2 }, { base: await sessions.read('one') })
          await sessions.write('one', { n: 3 }, { base: 'existing', custom: 'c' })
          const where = Object.fromEntries(types.map((type) => [`c_${type}`, values[type]]))
          expect((await sessions.list({ where }))[0]?.columns).toEqual(where)
          expect(await sessions.count({ where })).toBe(2)
          expect(await sessions.destroyWhere(where)).toBe(2)
        })
      })

      test('an unqualified function is a hostile one', async () => {
        const client = new pg.Client(databases[0]?.db as string)
        await client.connect()
        await client.query(`SET search_path = ${path}; BEGIN`)
        await expect(client.query('SELECT 1::bigint >= 1::double precision')).rejects.toThrow(
          'hostile operator',
        )
        await client.query("ROLLBACK; SELECT setval('hostile.calls', 1, false)")
        await client.end()
      })

      test('the table is created with the types of PostgreSQL, and inspected', async () => {
        expect(await run('init')).toMatchObject({ code: 0, stderr: '' })
        const columns = await query(`
          SELECT DISTINCT c.relname, t.typnamespace::regnamespace::text, l.collnamespace::regnamespace::text
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_collation l ON l.oid = a.attcollation
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'`)
        expect(columns.length).toBeGreaterThan(0)
        for (const { typnamespace, collnamespace } of columns) {
          expect([typnamespace, collnamespace ?? 'pg_catalog']).toEqual(['pg_catalog', 'pg_catalog'])
        }
        const findings = json(await run('doctor')).servers[0].findings as { level: string }[]
        expect(findings.filter(({ level }) => level === 'problem')).toEqual([])
      })

      async function liveAndEnd(sessions: SaveHandler<Data>, user: string): Promise<void> {
        const id = newId()
        expect((await sessions.write(id, { a: 1 }, { base: null, custom: 'c' })).outcome).toBe('created')
        const base = await sessions.read(id)
        expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('updated')
        expect((await sessions.write(id, { a: 1, b: 1 }, { base })).outcome).toBe('merged')
        expect((await sessions.write(id, { a: 5, c: 1 }, { base: null })).outcome).toBe('merged')
        expect((await sessions.write(id, { a: 3 })).outcome).toBe('updated')
        expect((await sessions.write(id, { a: 4 })).outcome).toBe('updated')
        expect((await sessions.write(id, { a: 5 }, { base: 'existing', address: '::1' })).outcome).toBe(
          'updated',
        )
        expect(await sessions.touch(id, { lifetime: 9000, errors: { errors: 1 } })).toBe(true)
        expect(await sessions.touch(id)).toBe(true)
        expect(await sessions.setField(id, user)).toBe(true)
        expect(await sessions.addError(id, 'notice', 'message')).toBe(true)
        expect(await sessions.info(id)).toMatchObject({ custom: user, errors: 1, notices: 1 })
        expect(await sessions.destroyByField(user)).toBe(1)
        expect((await sessions.write(id, {}, { base })).outcome).toBe('gone')
        expect(await sessions.touch(id, { base })).toBe(false)
      }

      test.each([true, false])('sessions live and end (batched: %s)', async (batch) => {
        await using({ batch }, async (sessions) => {
          await liveAndEnd(sessions, 'user')
          // Statements for several requests differ from those for one.
          await Promise.all(['one', 'two', 'three'].map((user) => liveAndEnd(sessions, user)))
          const many = Array.from({ length: 40 }, () => newId())
          await Promise.all(many.map((one) => sessions.write(one, {}, { custom: 'many' })))
          expect((await Promise.all(many.map((one) => sessions.destroy(one)))).filter(Boolean)).toHaveLength(
            40,
          )
        })
      })

      test('requests that lose every round write while they hold the row lock', async () => {
        await using({}, async (other) => {
          let rounds = 0
          const id = newId()
          const conflict = async (ours: Data): Promise<Data> => {
            if (++rounds <= 2) await other.write(id, { round: rounds })
            return ours
          }
          await using({ conflict }, async (sessions) => {
            const base = (await sessions.write(id, { n: 0 })).session
            await other.write(id, { n: 1 })
            expect((await sessions.write(id, { n: 2 }, { base })).outcome).toBe('merged')
            expect(rounds).toBe(3)
            expect(await sessions.destroy(id)).toBe(true)
          })
        })
      })

      test('sessions of a user end by field, by limit, by lifetime and all at once', async () => {
        const table = 'public.limited'
        await using({ table, maxLifetime: 9000 }, async (sessions) => {
          const ids = [newId(), newId(), newId(), newId()] as [string, string, string, string]
          const [first, second, third, continued] = ids
          for (const id of [first, second, third]) await sessions.write(id, { n: 1 }, { custom: 'user' })
          const since = await sessions.read(first)
          await sessions.write(continued, { n: 1 }, { base: null, custom: 'user', since })
          expect((await sessions.read(continued))?.endsAt).toEqual(since?.endsAt)
          expect(await sessions.touch(second, { lifetime: 90_000 })).toBe(true)
          const updated = await sessions.update(second, (data) => void data.n++)
          expect(updated).toMatchObject({ outcome: 'updated', session: { data: { n: 2 } } })
          expect(await sessions.limitByField('user', 2, { keep: [first, second] })).toBe(1)
          expect(await sessions.destroyByField('user', { except: [second] })).toBe(2)
          await query('UPDATE limited SET sess_began = sess_began - 10000')
          expect(await sessions.read(second)).toBeUndefined()
          await sessions.write(third, {})
          expect(await sessions.destroyAll()).toBeGreaterThan(0)
          expect(await sessions.count()).toBe(0)
        })
      })

      test('touches that are durable', async () => {
        await using({ durableTouches: true }, async (sessions) => {
          const id = newId()
          await sessions.write(id, {})
          expect(await sessions.touch(id)).toBe(true)
          expect(await sessions.touch(id, { base: await sessions.read(id) })).toBe(true)
        })
      })

      test('ids are moved to their hashed form', async () => {
        const table = 'public.hashed_ids'
        const ids = Array.from({ length: 20 }, () => newId())
        await using({ table }, async (sessions) => {
          for (const id of ids) await sessions.write(id, { n: 1 }, { custom: 'user' })
          expect(await sessions.tryLock(ids[0] as string, 'owner', 60)).toBe(true)
        })
        const exercise = (mode: 'migrate' | 'hashed') =>
          using({ table, ids: mode }, async (sessions) => {
            const [id, created] = [ids.pop() as string, newId()]
            const base = await sessions.read(id)
            expect((await sessions.write(id, { n: 2 }, { base })).outcome).toBe('updated')
            expect((await sessions.write(id, { m: 1 }, { base })).outcome).toBe('merged')
            await sessions.write(created, {}, { base: null, custom: 'user' })
            expect(await sessions.touch(created)).toBe(true)
            expect(await sessions.lockOwner(ids[0] as string)).toBe('owner')
            expect(await sessions.findByField('user')).toHaveLength(ids.length + 2)
            for (const one of [id, created]) expect(await sessions.destroy(one)).toBe(true)
          })
        await exercise('migrate')
        const hashed = await runHere(['hash-ids', '--db', conninfo(), '--table', table, '--json'])
        expect(hashed).toMatchObject({ code: 0, stderr: '' })
        expect(json(hashed)).toMatchObject({ left: 0, ended: 'done' })
        await exercise('migrate')
        await exercise('hashed')
      })

      test('sessions are encrypted', async () => {
        const table = 'public.encrypted'
        const key = randomBytes(32).toString('base64')
        const encryption = { keys: [{ id: 'one', key }] }
        const id = newId()
        await using({ table }, (sessions) => sessions.write(id, { n: 1 }).then(() => {}))
        const argv = ['--db', conninfo(), '--table', table, '--json']
        const environment = { SESSION_PGSQL_ENCRYPTION_KEYS: `one:${key}` }
        const encrypted = await runHere(['encrypt', ...argv], { environment })
        expect(encrypted).toMatchObject({ code: 0, stderr: '' })
        await using({ table, encryption }, async (sessions) => {
          const base = await sessions.read(id)
          expect(base?.data).toEqual({ n: 1 })
          expect((await sessions.write(id, { n: 2 }, { base })).outcome).toBe('updated')
          expect((await sessions.write(id, { n: 1, m: 1 }, { base })).outcome).toBe('merged')
          expect(await sessions.addError(id, 'error', 'message')).toBe(true)
          expect(await sessions.list()).toHaveLength(1)
        })
        const checked = await runHere(['doctor', '--security', ...argv], { environment })
        const findings = json(checked).servers[0].findings as { level: string }[]
        expect(findings.filter(({ level }) => level === 'problem')).toEqual([])
      })

      test('locks', async () => {
        await using({}, async (sessions) => {
          const id = newId()
          expect(await sessions.lockOwner(id)).toBeUndefined()
          expect(await sessions.tryLock(id, 'one', 30)).toBe(true)
          expect(await sessions.tryLock(id, 'one', 30)).toBe(true)
          expect(await sessions.tryLock(id, 'other', 30)).toBe(false)
          expect(await sessions.lockOwner(id)).toBe('one')
          expect(await sessions.unlock(id, 'other')).toBe(false)
          expect(await sessions.unlock(id, 'one')).toBe(true)
          await sessions.gc()
        })
      })

      test('lists, counts and statistics', async () => {
        await using({}, async (sessions) => {
          const ids = [newId(), newId(), newId()]
          const address = '10.1.2.3'
          for (const id of ids) await sessions.write(id, {}, { name: 'listed', custom: 'field', address })
          await sessions.addError(ids[0] as string, 'error', 'What Happened')
          const filters = { name: 'listed', field: 'field', address, idPrefix: 'test-' }
          for (const order of ['id', 'created', 'modified', 'expires', 'accesses', 'errors'] as const) {
            for (const sign of ['', '-'] as const) {
              const found: string[] = []
              let after: string | undefined
              do {
                const page = await sessions.list({ ...filters, order: `${sign}${order}`, limit: 2, after })
                found.push(...page.map(({ id }) => id))
                after = page.next
              } while (after !== undefined)
              expect(found.sort()).toEqual([...ids].sort())
            }
          }
          expect(await sessions.list({ errorMessage: 'happened' })).toHaveLength(1)
          expect(await sessions.list({ id: ids[0] as string, active: 'all' as never })).toHaveLength(1)
          expect(await sessions.count({ ...filters, timeLimit: 10 })).toBe(3)
          expect(await sessions.count({ ...filters, active: false })).toBe(0)
          expect(await sessions.findByField('field')).toHaveLength(3)
          const before = await sessions.statistics()
          expect(before[0]?.error).toBeUndefined()
          const [after] = await sessions.statistics(before)
          expect(after?.table?.names).toContainEqual(expect.objectContaining({ name: 'listed', sessions: 3 }))
          for (const id of ids) await sessions.destroy(id)
        })
      })

      test('statistics of a large table, from a sample', async () => {
        await using({ table: 'public.large' }, async (sessions) => {
          await sessions.open()
          await query('ALTER TABLE large ALTER COLUMN sess_data SET STORAGE PLAIN')
          await query(`
            INSERT INTO large (sess_id, sess_name, sess_data, sess_expire)
            SELECT 'id' || n, 'sampled', repeat('d', 7000), 4000000000 FROM generate_series(1, 2100) n`)
          const [server] = await sessions.statistics()
          expect(server?.error).toBeUndefined()
          expect(server?.table).toMatchObject({ exact: false, names: [{ name: 'sampled' }] })
        })
      })

      test.each([
        ['deletes', {}, 0],
        ['empties', { keepExpired: true }, 1],
        ['empties, and later deletes', { keepExpired: true, keepExpiredFor: 3600 }, 0],
      ] as const)('garbage collection %s, with and without its index', async (_what, options, kept) => {
        for (const indexed of [true, false]) {
          const table = `swept_${indexed}_${newId().replaceAll(/\W/g, '_')}`
          await using({ ...options, table: `public.${table}` }, async (sessions) => {
            await sessions.write('expired', { a: 1 })
            await sessions.write('live', { a: 1 })
            if (!indexed) await query(`DROP INDEX ${table}_sess_sweep_idx`)
            await query(`UPDATE ${table} SET sess_sweep = 0`)
            await expireAgo({ query }, 'expired', 5000, table)
            await sessions.reset()
            const due = (await sessions.countDue({ timeLimit: 10 }))[0]
            expect(due).toMatchObject({ count: 1, error: undefined })
            expect(await sessions.sweep()).toMatchObject([{ removed: 1, ended: 'done', error: undefined }])
            expect(await query(`SELECT sess_id FROM ${table} WHERE sess_data = ''`)).toHaveLength(kept)
            expect(await sessions.gc()).toBe(0)
          })
        }
      })

      test('the journal', async () => {
        await using({}, async (sessions) => {
          const id = newId()
          await sessions.write(id, {})
          await expireAgo({ query }, id, 100)
          await query('UPDATE php_session SET sess_sweep = 0')
          expect(await sessions.gc()).toBe(1)
        })
        await using({}, async (sessions) => {
          expect(await sessions.journal({ seconds: 60 })).toContainEqual(
            expect.objectContaining({ kind: 'gc', removed: 1 }),
          )
        })
      })

      test('the table of the C extension', async () => {
        await query(EXTENSION_TABLE.replace('php_session', 'extension'))
        await using({ table: 'public.extension', createTable: false }, async (sessions) => {
          const id = newId()
          await sessions.write(id, { a: 1 })
          const base = await sessions.read(id)
          expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('updated')
          expect(await sessions.touch(id, { base: await sessions.read(id) })).toBe(true)
          expect(await sessions.destroy(id)).toBe(true)
        })
      })

      test('sessions on fallback servers', async () => {
        const db = [conninfo(0), conninfo(1), 'host=127.0.0.1 port=1 name=c user=nobody']
        await using({ db, logger: undefined }, async (sessions) => {
          sessions.on('error', () => {})
          await sessions.open()
          const placed = ['a', 'b', 'c'].map((name) => ({ name, weight: 1 }))
          const many = Array.from({ length: 500 }, () => newId())
          const [home, fallback] = ['c', 'a'].map((name, place) =>
            many.filter((id) => rank(id, placed)[place]?.name === name),
          ) as [string[], string[]]
          const ids = home.filter((id) => fallback.includes(id)).slice(0, 12)
          for (const id of ids) {
            expect((await sessions.write(id, { a: 1 })).outcome).toBe('created')
            const base = await sessions.read(id)
            expect((await sessions.write(id, { a: 2 }, { base })).outcome).toBe('updated')
            expect(await sessions.touch(id, { base })).toBe(true)
          }
          const [row] = await query(
            'SELECT count(*)::int AS count FROM php_session WHERE sess_home IS NOT NULL',
          )
          expect(row?.count).toBe(12)
          for (const id of ids.slice(6)) expect(await sessions.destroy(id)).toBe(true)
        })
      })

      test('the command', async () => {
        await using({}, async (sessions) => {
          const id = newId()
          await sessions.write(id, { a: 1 }, { custom: 'user' })
          for (const argv of [['list'], ['show', id], ['status'], ['gc', '--dry-run'], ['gc']]) {
            expect(await run(...argv)).toMatchObject({ code: 0, stderr: '' })
          }
          const drained = await run('drain', 'a', '--db', conninfo(1))
          expect(drained).toMatchObject({ code: 0, stderr: '' })
          expect(json(drained).brought).toBeGreaterThan(0)
          await sessions.write(id, { a: 1 }, { custom: 'user' })
          expect(await run('destroy', id)).toMatchObject({ code: 0, stderr: '' })
        })
      })

      test.each([
        ['table', 'LOCK TABLE public.php_session'],
        ['sessions', 'SELECT FROM public.php_session FOR UPDATE'],
      ])('gc, which names who has locked %s', async (_, lock) => {
        await using({}, async (sessions) => {
          const id = newId()
          await sessions.write(id, {})
          await expireAgo({ query }, id, 5000)
          await query('UPDATE php_session SET sess_sweep = 0')
        })
        const holder = new pg.Client(databases[0]?.db as string)
        await holder.connect()
        try {
          await holder.query(`BEGIN; ${lock}`)
          // On a busy machine, the time may be up before the first batch.
          await eventually(async () => {
            const locked = await run('gc', '--timeout', '1')
            expect(json(locked).servers[0].error.message).toContain('locked by process')
          })
        } finally {
          await holder.end()
        }
        expect(json(await run('gc')).removed).toBe(1)
      })

      test.each(['timestamp', 'timestamptz'])('an import with the type %s', async (type) => {
        await query(`CREATE TABLE public.old_${type} (sid varchar PRIMARY KEY, sess json, expire ${type})`)
        const cookie = `{"cookie":{"originalMaxAge":9000000},"user":1}`
        const insert = (id: string) =>
          query(`INSERT INTO public.old_${type} VALUES ($1, $2, now() + interval '1 hour')`, [id, cookie])
        const imported = () =>
          run('import', '--from', 'connect-pg-simple', '--source-table', `public.old_${type}`)
        for (const id of ['one', 'two', 'three']) await insert(`${type}-${id}`)
        expect(json(await imported())).toMatchObject({ moved: 3, unreadable: 0 })
        await query(`UPDATE public.old_${type} SET sess = '{"cookie":{},"user":2}' WHERE sid = '${type}-one'`)
        await query(`DELETE FROM public.old_${type} WHERE sid = '${type}-two'`)
        expect(json(await imported())).toMatchObject({ renewed: 1, removed: 1, already: 1 })
      })
    })
  },
  ['postgres'],
)
