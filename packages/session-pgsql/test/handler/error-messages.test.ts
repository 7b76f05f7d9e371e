import { inspect } from 'node:util'
import { expect, test } from 'vitest'
import { describeHandler, errorOf, type Handler, id as newId } from './kit.ts'

const SECRET = 'correct horse'

describeHandler('The error of a trigger', (kit) => {
  const changes: [string, (sessions: Handler, id: string) => Promise<unknown>][] = [
    ['write', (sessions, id) => sessions.write(id, { secret: SECRET, more: 1 })],
    ['touch', (sessions, id) => sessions.touch(id)],
    ['destroy', (sessions, id) => sessions.destroy(id)],
  ]
  // Its own states, states of PostgreSQL, and a lost connection.
  const states = [
    '38000',
    'P0001',
    '22000',
    '23514',
    '42P02',
    '42501',
    '28000',
    '08006',
    'XX000',
    '57014',
    'ZZ999',
  ]

  /** Returns sessions of a table with a trigger that raises this state with a row's data. */
  async function raising(state: string, options = {}): Promise<{ sessions: Handler; ids: string[] }> {
    const table = `raising_${state.toLowerCase()}`
    const sessions = kit.open({ table, ...options })
    const ids = changes.map(() => newId())
    for (const id of ids) await sessions.write(id, { secret: SECRET })
    await kit.query(`
        CREATE FUNCTION raise_${state}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
          RAISE EXCEPTION 'row: %', OLD.sess_data USING ERRCODE = '${state}', DETAIL = OLD.sess_data,
            HINT = OLD.sess_data, COLUMN = OLD.sess_data, TABLE = OLD.sess_data;
        END $$`)
    await kit.query(`
        CREATE TRIGGER t BEFORE UPDATE OR DELETE ON ${table} FOR EACH ROW EXECUTE FUNCTION raise_${state}()`)
    return { sessions, ids }
  }

  test.each(states)('with SQLSTATE %s contains no session data', async (state) => {
    const { sessions, ids } = await raising(state)
    const id = ids[0] as string
    for (const [what, change] of changes) {
      const error = await errorOf(change(sessions, id))
      expect([what, error]).toEqual([what, expect.objectContaining({ name: 'SessionPgsqlError' })])
      expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET)
      if (state !== '42501') expect(error).toMatchObject({ sqlState: state })
    }
  })

  test.each(['40001', '55P03'])(
    'with SQLSTATE %s, which is repeated until the deadline, contains no session data',
    async (state) => {
      const { sessions, ids } = await raising(state, { operationTimeout: 1 })
      const ending = changes.map(([, change], at) => errorOf(change(sessions, ids[at] as string)))
      for (const error of await Promise.all(ending)) {
        expect(error).toMatchObject({ name: 'SessionPgsqlError' })
        expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET)
      }
    },
  )

  test('of a constraint contains no session data', async () => {
    const sessions = kit.open({ table: 'checked' })
    await sessions.open()
    await kit.query(`ALTER TABLE checked ADD CHECK (sess_data NOT LIKE '%horse%')`)
    const error = await errorOf(sessions.write(newId(), { secret: SECRET }))
    expect(error).toMatchObject({ code: 'DATABASE', sqlState: '23514' })
    expect(inspect(error, { depth: 9, showHidden: true })).not.toContain(SECRET)
  })

  test('of PostgreSQL about a missing function names it', async () => {
    const sessions = kit.open({ table: 'broken' })
    await sessions.open()
    await kit.query('ALTER TABLE broken RENAME COLUMN sess_counter TO other')
    const error = await errorOf(sessions.write(newId(), {}))
    expect(error).toMatchObject({ code: 'TABLE_UNFIT', sqlState: '42703' })
    expect(inspect(error, { depth: 9 })).toContain('sess_counter')
  })
})
