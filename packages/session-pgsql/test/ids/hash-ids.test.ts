import pg from 'pg'
import { expect, test } from 'vitest'
import { Server } from '../../src/servers/server.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { resolveSettings } from '../../src/settings/settings.ts'
import { type HashedIds, type HashIdsOptions, hashIds } from '../../src/table/hash-ids.ts'
import { runHere } from '../cli/command-line.ts'
import { calls, describeHandler, type Kit } from '../handler/kit.ts'
import { eventually } from '../support/wait.ts'
import { newTable as anyTable } from './table.ts'

/** As `newTable` of ids/table.ts, with what `hash-ids` does. */
function newTable(kit: Kit) {
  const { table, open } = anyTable(kit)
  const { db } = kit.database()
  return {
    table,
    open,
    /** Runs `hash-ids` in this process. */
    async hash(
      signal: AbortSignal = new AbortController().signal,
      onProgress?: HashIdsOptions['onProgress'],
    ): Promise<HashedIds> {
      const settings = resolveSettings({ db, table, ids: 'migrate' })
      const [entry] = settings.db
      const server = new Server(entry as NonNullable<typeof entry>, settings, {})
      try {
        return await hashIds(server.table, { deadline: () => performance.now() + 10_000, signal, onProgress })
      } finally {
        await server.close()
      }
    },
    async forms(of = table): Promise<string[]> {
      const rows = await kit.query<{ sess_id: string }>(
        `SELECT sess_id FROM ${of} WHERE sess_id <> 'h1:' ORDER BY sess_id COLLATE "C"`,
      )
      return rows.map(({ sess_id }) => sess_id)
    },
  }
}

describeHandler(
  'session-pgsql hash-ids',
  (kit) => {
    const { id } = kit

    test('hashes the ids of sessions, locks and imports, and leaves everything else', async () => {
      const { table, open, hash, forms } = newTable(kit)
      const sessions = open('migrate')
      const plain = open('plain')
      await plain.open()
      await kit.query(`ALTER TABLE ${table} ADD COLUMN own text`)
      const ids = Array.from({ length: 2000 }, id)
      await Promise.all(ids.map((x, n) => plain.write(x, { n }, { custom: `user ${n % 7}` })))
      await kit.query(`UPDATE ${table} SET own = sess_id || '!'`)
      const [x, y] = ids as [string, string]
      await plain.tryLock(x, 'owner', 60)
      await plain.tryLock('without-a-session', 'owner', 60)
      await kit.query(
        `CREATE TABLE ${table}_import (sess_id text COLLATE "C" PRIMARY KEY, source text NOT NULL, run bigint NOT NULL, mark bigint)`,
      )
      await kit.query(`INSERT INTO ${table}_import VALUES ($1, 's', 1, 2), ('ended-here', 's', 1, 3)`, [y])
      const everything = `SELECT sess_data, sess_custom, sess_version, sess_generation, sess_created, sess_counter, own
        FROM ${table} WHERE sess_id <> 'h1:' ORDER BY own`
      const before = await kit.query(everything)

      expect(await hash()).toEqual({ sessions: 2000, duplicates: 0, locks: 2, imports: 2, left: 0 })
      expect(await kit.query(everything)).toEqual(before)
      expect(await forms()).toEqual(ids.map(hashedId).sort())
      expect(await forms(`${table}_lock`)).toEqual([x, 'without-a-session'].map(hashedId).sort())
      expect(await forms(`${table}_import`)).toEqual([y, 'ended-here'].map(hashedId).sort())
      expect(await sessions.lockOwner(x)).toBe('owner')
      expect((await open('hashed').read(y))?.data).toEqual({ n: 1 })
      // Again, it finds nothing.
      expect(await hash()).toEqual({ sessions: 0, duplicates: 0, locks: 0, imports: 0, left: 0 })
    })

    test('computes the hash of any id as the processes do', async () => {
      const { open, hash, forms } = newTable(kit)
      const ids = ['a', '~'.repeat(256), 'ä€😀', ...Array.from({ length: 100 }, (_, n) => `id-${n}`)]
      const plain = open('plain', { idPattern: /.+/su })
      for (const x of ids) await plain.write(x, {})
      await hash()
      expect(await forms()).toEqual(ids.map(hashedId).sort())
    })

    test('can be interrupted and run again', async () => {
      const { open, hash, forms } = newTable(kit)
      const plain = open('plain')
      const filler = 'x'.repeat(1000)
      await Promise.all(Array.from({ length: 1500 }, () => plain.write(id(), { filler })))
      const interrupt = new AbortController()
      const first = await hash(interrupt.signal, () => interrupt.abort())
      expect(first.sessions).toBeGreaterThan(0)
      expect(first.sessions).toBeLessThan(1500)
      const second = await hash()
      expect(first.sessions + second.sessions).toBe(1500)
      expect((await forms()).every((form) => form.startsWith('h1:'))).toBe(true)
    })

    test('removes the plain row of a session that also has a hashed row', async () => {
      const { table, open, hash, forms } = newTable(kit)
      const x = id()
      await open('hashed').write(x, { form: 'hashed' })
      await kit.query(`INSERT INTO ${table} (sess_id, sess_data) VALUES ($1, '{"form":"plain"}')`, [x])
      expect(await hash()).toMatchObject({ sessions: 0, duplicates: 1 })
      expect(await forms()).toEqual([hashedId(x)])
      expect((await open('hashed').read(x))?.data).toEqual({ form: 'hashed' })
    })

    test('waits for rows that other transactions have locked', async () => {
      const { table, open, hash, forms } = newTable(kit)
      const [x, y] = [id(), id()]
      const plain = open('plain')
      await plain.write(x, {})
      await plain.write(y, {})
      const locker = new pg.Client({ connectionString: kit.database().db as string })
      await locker.connect()
      try {
        await locker.query('BEGIN')
        await locker.query(`SELECT FROM ${table} WHERE sess_id = $1 FOR UPDATE`, [x])
        const hashed = hash()
        await eventually(async () => expect(await forms()).toContain(hashedId(y)))
        expect(await forms()).toContain(x)
        await locker.query('COMMIT')
        expect(await hashed).toMatchObject({ sessions: 2, left: 0 })
      } finally {
        await locker.end()
      }
    })

    test('that has locked a row loses no write to it, and no destroy', async () => {
      const { table, open, forms } = newTable(kit)
      const sessions = open('migrate')
      const plain = open('plain')
      const ids = Array.from({ length: 5 }, id)
      for (const x of ids) await plain.write(x, { a: 1 })
      // The plain process has made its statements; the first hashed row will appear while they wait.
      const bases = await Promise.all(ids.map((x) => plain.read(x)))
      const hasher = new pg.Client({ connectionString: kit.database().db as string })
      await hasher.connect()
      try {
        await hasher.query('BEGIN')
        await hasher.query(
          `INSERT INTO ${table} (sess_id, sess_expire, sess_destroyed, sess_sweep) VALUES ('h1:', NULL, 0, NULL)`,
        )
        for (const x of ids)
          await hasher.query(`UPDATE ${table} SET sess_id = $1 WHERE sess_id = $2`, [hashedId(x), x])
        const [a, b, c, d, e] = ids as [string, string, string, string, string]
        const before = [plain, sessions].map(calls)
        const results = Promise.all([
          plain.write(a, { a: 1, b: 1 }, { base: bases[0] }),
          plain.touch(b, { base: bases[1] }),
          plain.destroy(c),
          sessions.write(d, { a: 1, b: 1 }, { base: bases[3] }),
          sessions.destroy(e),
        ])
        // A locked row is tried again with another statement: each has met the locks several times.
        await eventually(() => {
          for (const [n, one] of [plain, sessions].entries())
            expect(calls(one)).toBeGreaterThan((before[n] as number) + 10)
        })
        await hasher.query('COMMIT')
        const [first, touched, destroyed, second, alsoDestroyed] = await results
        expect([first.outcome, touched, destroyed]).toEqual(['updated', true, true])
        expect([second.outcome, alsoDestroyed]).toEqual(['updated', true])
        expect(await forms()).toEqual([a, b, d].map(hashedId).sort())
      } finally {
        await hasher.end()
      }
    })

    test('is a command', async () => {
      const { table, open, forms } = newTable(kit)
      const x = id()
      await open('plain').write(x, { a: 1 })
      const db = ['--db', kit.database().db as string, '--table', table]
      const { code, stdout } = await runHere(['hash-ids', ...db, '--json'])
      expect([code, JSON.parse(stdout)]).toEqual([
        0,
        { sessions: 1, duplicates: 0, locks: 0, imports: 0, left: 0, ended: 'done' },
      ])
      expect(await forms()).toEqual([hashedId(x)])
      for (const name of [x, hashedId(x)]) {
        const shown = await runHere(['show', name, '--full-ids', '--data', ...db, '--json'])
        expect(JSON.parse(shown.stdout)).toMatchObject({ sessions: [{ id: hashedId(x), text: '{"a":1}' }] })
      }
      expect((await runHere(['destroy', x, ...db])).code).toBe(0)
      await open('hashed').write(x, {})
      expect((await runHere(['destroy', hashedId(x), ...db])).code).toBe(0)
      expect(await forms()).toEqual([])
      const several = await runHere(['hash-ids', '--db', 'host=a', '--db', 'host=b'])
      expect([several.code, several.stderr]).toEqual([2, expect.stringContaining('one entry')])
    })
  },
  'postgres only',
)
