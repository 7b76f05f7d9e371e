import { randomBytes } from 'node:crypto'
import { SaveHandler } from 'session-pgsql'
import { expect, test } from 'vitest'
import { describeOnEveryKind } from '../../../session-pgsql/test/support/servers.ts'
import { consoles } from './kit.ts'

const KEYS = [{ id: 'one', key: randomBytes(32).toString('base64') }]
const MARKER = 'known-secret-data'

describeOnEveryKind(
  'the console, with encrypted sessions',
  (server) => {
    const start = consoles()

    test('shows data and error messages with the key, and everything else without it', async () => {
      const database = await server.freshDatabase()
      const { db } = database
      const site = new SaveHandler({ db, gcInterval: 0, encryption: { keys: KEYS } })
      try {
        const errors = { errors: 1, message: `${MARKER} message` }
        await site.write('one', { secret: MARKER }, { custom: 'user', errors })
      } finally {
        await site.close()
      }
      const [withKey, without] = await Promise.all([
        start(database, { handler: { encryption: { keys: KEYS } } }),
        start(database),
      ])

      const operator = withKey.browser()
      await operator.me()
      const shown = await operator.get('/api/session?id=one')
      expect(shown.json).toMatchObject({ field: 'user', errors: 1, errorMessage: `${MARKER} message` })
      expect((await operator.post('/api/session/data', { id: 'one' })).json.data).toEqual({ secret: MARKER })
      const search = await operator.get('/api/sessions?by=error&q=known')
      expect(search.status).toBe(400)
      expect(search.json.error).toContain('encrypted')

      const keyless = without.browser()
      await keyless.me()
      const replies = [
        await keyless.get('/api/session?id=one'),
        await keyless.get('/api/sessions'),
        await keyless.post('/api/session/data', { id: 'one' }),
        await keyless.get('/api/overview'),
      ]
      expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200])
      expect(replies[0]?.json).toMatchObject({ field: 'user', errors: 1, errorMessage: null })
      expect(replies[1]?.json.sessions).toMatchObject([{ id: 'one', field: 'user' }])
      expect(replies[2]?.json).toEqual({ unreadable: expect.stringContaining('the key "one"') })
      for (const { text } of [...replies, shown]) expect(text).not.toMatch(/e1\.one\./)
      for (const { text } of replies) expect(text).not.toContain(MARKER)
      expect((await keyless.post('/api/end', { ids: ['one'] })).json).toEqual({ ended: 1 })
    })
  },
  ['postgres'],
)
