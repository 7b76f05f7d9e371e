import { expect, test } from 'vitest'
import { phpBytesCodec, SaveHandler, type SaveHandlerOptions } from '../../src/index.ts'
import { describeOnEveryServer } from '../support/servers.ts'

/** Sessions in PHP's format with overlapping changes. */
describeOnEveryServer('A save handler with the codec php', (server) => {
  let db: SaveHandlerOptions['db']

  async function withSession(stored: string, use: (handler: SaveHandler, id: string) => Promise<void>) {
    const database = await server.freshDatabase()
    db = database.db
    const handler = new SaveHandler({ db: database.db, codec: 'php', gcInterval: 0 })
    try {
      await handler.open()
      const id = handler.createId()
      await database.query(
        'INSERT INTO php_session (sess_id, sess_data, sess_expire) VALUES ($1, $2, extract(epoch FROM now())::bigint + 600)',
        [id, stored],
      )
      await use(handler, id)
    } finally {
      await handler.close()
      await database.drop()
    }
  }

  test('reads what PHP wrote, and keeps both of two overlapping changes', () =>
    withSession('user|s:3:"ada";n|i:1;price|d:2;', async (handler, id) => {
      const one = await handler.read(id)
      const other = await handler.read(id)
      await handler.write(id, { ...one?.data, n: 2 }, { base: one })
      const { outcome } = await handler.write(id, { ...other?.data, city: 'Paris' }, { base: other })
      expect(outcome).toBe('merged')
      const [row] = (await handler.list({ text: true })) as { text?: string }[]
      expect(row?.text).toBe('user|s:3:"ada";n|i:2;price|d:2;city|s:5:"Paris";')
    }))

  test('keeps the later scalar and both elements if two requests add the same keys', () =>
    withSession('n|i:1;', async (handler, id) => {
      const one = await handler.read(id)
      const other = await handler.read(id)
      await handler.write(id, { ...one?.data, user: 'ada', tie: [1] }, { base: one })
      const ours = { ...other?.data, user: 'eve', tie: [2] }
      expect(await handler.write(id, ours, { base: other })).toMatchObject({
        outcome: 'merged',
        session: { data: { n: 1, user: 'eve', tie: [1, 2] } },
      })
    }))

  test("keeps the changes of a handler with PHP's bytes and of one with its values", () =>
    withSession('user|s:3:"ada";n|i:1;', async (values, id) => {
      const bytes = new SaveHandler<Uint8Array>({ db, codec: phpBytesCodec('php'), gcInterval: 0 })
      try {
        const one = await values.read(id)
        const other = await bytes.read(id)
        expect(String(other?.data)).toBe('user|s:3:"ada";n|i:1;')
        await values.write(id, { ...one?.data, n: 2 }, { base: one })
        const ours = Buffer.from('user|s:3:"ada";n|i:1;city|s:2:"\xff\0";', 'latin1')
        const { outcome, session, sent } = await bytes.write(id, ours, { base: other })
        expect(outcome).toBe('merged')
        expect(Buffer.from(sent)).toEqual(ours)
        expect(Buffer.from(session?.data ?? []).toString('latin1')).toBe(
          'user|s:3:"ada";n|i:2;city|s:2:"\xff\0";',
        )
        expect((await values.read(id))?.data).toMatchObject({ n: 2, city: Buffer.from([255, 0]) })
        await expect(bytes.write(id, Buffer.from('no session'))).rejects.toMatchObject({
          code: 'INVALID_DATA',
        })
      } finally {
        await bytes.close()
      }
    }))

  test('merges keys that share a reference together, also in a cycle', () =>
    withSession('a|a:1:{i:0;i:1;}b|R:1;ring|a:1:{s:4:"self";R:3;}free|i:1;', async (handler, id) => {
      const one = await handler.read(id)
      const other = await handler.read(id)
      await handler.write(id, { ...one?.data, free: 2 }, { base: one })
      const changed = other?.data as { a: unknown[] }
      changed.a.push(5)
      const { outcome, session } = await handler.write(id, changed, { base: other })
      expect(outcome).toBe('merged')
      expect(session?.data).toMatchObject({ free: 2 })
      const data = session?.data as { a: unknown; b: unknown }
      expect(data.a).toBe(data.b)
      expect(data.a).toEqual([1, 5])
    }))
})
