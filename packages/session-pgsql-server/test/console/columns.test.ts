import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { consoles } from './kit.ts'

describeOnEveryKind(
  'own columns in the console',
  (server) => {
    const start = consoles()

    test('are searched and shown, by a console that does not have the functions', async () => {
      const database = await server.freshDatabase()
      const columns = {
        user_id: { type: 'bigint', value: (data: { user?: number }) => data.user, index: true },
        plan: { type: 'jsonb', value: (data: { user?: number }) => ({ of: data.user ?? null }) },
        seen: { type: 'timestamptz', value: () => new Date(0) },
      } as const
      const site = new SaveHandler({ db: database.db, gcInterval: 0, columns })
      await site.write('one', { user: 7 })
      await site.write('two', {})
      await site.close()
      const types = {
        user_id: { type: 'bigint' },
        plan: { type: 'jsonb' },
        seen: { type: 'timestamptz' },
      } as const
      const { browser } = await start(database, { handler: { columns: types } })
      const one = browser()
      await one.me()
      const found = await one.get('/api/sessions?by=column.user_id&q=7')
      expect(found.json).toMatchObject({ columns: ['user_id', 'seen'], total: { value: 1, exact: true } })
      const shown = { user_id: '7', plan: '{"of":7}', seen: '1970-01-01T00:00:00.000Z' }
      expect(found.json.sessions).toEqual([expect.objectContaining({ id: 'one', columns: shown })])
      const detail = (await one.get('/api/session?id=one')).json
      expect(detail.columns).toEqual(shown)
      // The page links these alone: a search by jsonb is refused.
      expect(detail.searchable).toEqual(['user_id', 'seen'])
      expect((await one.get('/api/session?id=two')).json.columns.user_id).toBe(null)
      for (const bad of ['by=column.user_id&q=seven', 'by=column.plan&q=1', 'by=column.other&q=1']) {
        expect([bad, (await one.get(`/api/sessions?${bad}`)).status]).toEqual([bad, 400])
      }
      expect((await one.get('/api/sessions?by=column.plan&q=1')).json.error).toContain(
        'one of id, field, address, error, column.user_id, column.seen; received "column.plan"',
      )
    })

    test('are absent where the console knows of none', async () => {
      const database = await server.freshDatabase()
      const { browser, sessions } = await start(database)
      await sessions.write('one', {})
      const one = browser()
      await one.me()
      const { json } = await one.get('/api/sessions')
      expect(json).not.toHaveProperty('columns')
      expect(json.sessions[0]).not.toHaveProperty('columns')
      expect((await one.get('/api/session?id=one')).json).not.toHaveProperty('searchable')
    })
  },
  ['postgres'],
)
