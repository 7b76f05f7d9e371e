import { expect, test } from 'vitest'
import { SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { describeWithCommand, json } from '../cli/place.ts'

describeWithCommand('session-pgsql import while ids are moved to the hashed form', (setup) => {
  /** Creates a table of connect-pg-simple with these sessions. */
  async function withSource(...sids: string[]) {
    const fixture = await setup()
    const { query } = fixture.database
    await query(
      'CREATE TABLE session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamptz NOT NULL)',
    )
    const add = async (sid: string): Promise<void> => {
      const sess = JSON.stringify({ cookie: { originalMaxAge: null }, sid: sid.length })
      await query("INSERT INTO session VALUES ($1, $2, now() + interval '1 day')", [sid, sess])
    }
    for (const sid of sids) await add(sid)
    return {
      fixture,
      query,
      add,
      end: (sid: string) => query('DELETE FROM session WHERE sid = $1', [sid]),
      run: async (ids: string) =>
        json(await fixture.run(['import', '--from', 'connect-pg-simple', '--ids', ids, '--json'])),
      async with<T>(ids: SaveHandlerOptions['ids'], work: (sessions: SaveHandler) => Promise<T>): Promise<T> {
        const sessions = new SaveHandler({ db: fixture.db, ids, gcInterval: 0 })
        try {
          return await work(sessions)
        } finally {
          await sessions.close()
        }
      },
      async forms(table = 'php_session'): Promise<string[]> {
        const rows = await query<{ sess_id: string }>(
          `SELECT sess_id FROM ${table} WHERE sess_id <> 'h1:' ORDER BY sess_id COLLATE "C"`,
        )
        return rows.map(({ sess_id }) => sess_id)
      },
    }
  }

  test('imports nothing twice, restores nothing destroyed and removes what has ended, in each step', async () => {
    const source = await withSource('stays', 'destroyed-here', 'ends-there', 'ends-later')
    expect(await source.run('plain')).toMatchObject({ moved: 4, renewed: 0, removed: 0, already: 0 })
    await source.with('plain', (sessions) => sessions.destroyListed('destroyed-here'))
    await source.end('ends-there')
    await source.add('second')
    expect(await source.run('migrate')).toMatchObject({ moved: 1, renewed: 0, removed: 1, already: 3 })
    expect(await source.forms()).toEqual(['ends-later', hashedId('second'), 'stays'].sort())

    expect((await source.fixture.run(['hash-ids'])).code).toBe(0)
    const all = ['stays', 'destroyed-here', 'ends-later', 'second']
    expect(await source.forms('php_session_import')).toEqual(all.map(hashedId).sort())

    await source.end('ends-later')
    await source.add('third')
    for (const [ids, moved, removed] of [
      ['migrate', 1, 1] as const,
      ['hashed', 0, 0] as const,
      ['plain', 0, 0] as const,
    ]) {
      expect([ids, await source.run(ids)]).toEqual([
        ids,
        expect.objectContaining({ moved, removed, renewed: 0 }),
      ])
    }
    expect(await source.forms()).toEqual(['stays', 'second', 'third'].map(hashedId).sort())
    expect((await source.with('hashed', (sessions) => sessions.read('third')))?.data).toMatchObject({
      sid: 5,
    })
  })

  test('imports no session whose id begins as a stored form does', async () => {
    const source = await withSource('one', hashedId('one'))
    expect(await source.run('plain')).toMatchObject({ moved: 1, unreadable: 1 })
    expect(await source.forms()).toEqual(['one'])
  })

  test('into a new table with hashed ids stores no id, also in the ledger', async () => {
    const source = await withSource('one', 'two')
    expect(await source.run('hashed')).toMatchObject({ moved: 2 })
    await source.end('two')
    expect(await source.run('hashed')).toMatchObject({ moved: 0, already: 1, removed: 1 })
    const tables = ['php_session', 'php_session_import']
    for (const table of tables) expect(await source.forms(table)).toEqual([hashedId('one')])
    // A process with plain ids learns that the table has hashed ones.
    expect((await source.with('plain', (sessions) => sessions.read('one')))?.data).toMatchObject({ sid: 3 })
  })
})
