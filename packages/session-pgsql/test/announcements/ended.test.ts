import { describe, expect, test } from 'vitest'
import type { EndedSession, SaveHandlerOptions } from '../../src/index.ts'
import { hashedId } from '../../src/session/stored-id.ts'
import { type Data, describeHandler, expireAgo, type Handler, id, type Kit } from '../handler/kit.ts'
import { eventually } from '../support/wait.ts'

/** Opens a handler that listens, with what it receives. */
async function listening(kit: Kit, options: SaveHandlerOptions<Data> = {}) {
  const ended: EndedSession[] = []
  const handler = kit.open({ announce: true, ...options })
  const missed: string[] = []
  const errors: Error[] = []
  handler.on('ended', ({ server: _, ...session }) => ended.push(session))
  handler.on('missed', ({ server }) => missed.push(server))
  handler.on('error', (error) => errors.push(error))
  await handler.open()
  const of = (id: string): EndedSession[] => ended.filter((one) => one.id === id)
  return { handler, ended, missed, errors, of }
}

describeHandler('Announcements of ended sessions', (kit) => {
  if (kit.server.kind === 'pgbouncer') {
    test.skip('not through PgBouncer: it delivers nothing in transaction mode', () => {})
    return
  }

  const create = async (handler: Handler, custom: string): Promise<string> => {
    const one = id()
    await handler.write(one, { n: 1 }, { custom, base: null })
    return one
  }

  test('every process emits ended for a session that another one destroys', async () => {
    const one = await listening(kit)
    const other = await listening(kit)
    const ending = kit.open({ announce: true })
    const session = await create(ending, 'u1')
    expect(await ending.destroy(session)).toBe(true)
    const expected = [{ id: session, custom: 'u1', reason: 'destroyed' }]
    await eventually(() => expect([one.of(session), other.of(session)]).toEqual([expected, expected]))
  })
})
