import { expect, test, vi } from 'vitest'
import { settle } from '../../src/servers/settle.ts'
import type { StoredSession } from '../../src/session/stored.ts'
import { type RowCopy, recordBase, tombstone } from '../../src/table/row-copies.ts'

const NOW = 10_000

function stored(change: Partial<StoredSession> = {}): StoredSession {
  return {
    ...{ id: 'id', name: null, text: '{}', digest: 'digest of {}', created: 1000, modified: 1000 },
    ...{ expires: NOW + 500, addressCreated: null, addressModified: null, accesses: 1 },
    ...{ errors: 0, warnings: 0, notices: 0, errorMessage: null, custom: null },
    ...{ generation: 1, version: 1, clock: NOW, readAt: 0, server: 'home' },
    ...change,
  }
}

/** The row on a fallback server of a session that was read as `base`. */
function fallbackRow(base: StoredSession, change: Partial<StoredSession> = {}): RowCopy {
  const session = stored({ text: '{"n":1}', ...change })
  return { session, home: 'home', base: recordBase(base), received: null, destroyed: null }
}

const moveHome = (row: RowCopy, current: RowCopy | undefined) =>
  settle(row, current, NOW, (ours) => ours, 'fallback', 'home')

test('drops a session whose row was deleted on the home server without a tombstone', async () => {
  expect((await moveHome(fallbackRow(stored()), undefined)).outcome).toBe('dropped')
})

test('keeps a session that GC removed at home after expiry but whose lifetime the fallback server extended', async () => {
  const base = stored({ expires: NOW - 100 })
  expect((await moveHome(fallbackRow(base), undefined)).outcome).toBe('brought')
  expect((await moveHome(fallbackRow(base, { expires: NOW - 1 }), undefined)).outcome).toBe('dropped')
})

test('keeps a session without a row at home if it was read from another fallback server', async () => {
  expect((await moveHome(fallbackRow(stored({ server: 'other' })), undefined)).outcome).toBe('brought')
})

test('keeps the custom field that one side has set and the later expiry when both sides changed', async () => {
  const session = stored({
    text: '{"m":1}',
    digest: 'another',
    custom: 'theirs',
    accesses: 4,
    expires: NOW + 900,
  })
  const current: RowCopy = { session, home: null, base: null, received: null, destroyed: null }
  const { next, outcome } = await moveHome(fallbackRow(stored(), { accesses: 3 }), current)
  expect(outcome).toBe('merged')
  expect(next?.session).toMatchObject({ custom: 'theirs', accesses: 6, expires: NOW + 900 })
})

test('does not mix the data of two users who logged in on the two sides', async () => {
  const base = stored({ custom: 'guest' })
  const move = async (ours: string | null, theirs: string | null) => {
    const session = stored({ text: '{"su":true}', digest: 'another', custom: theirs })
    const current: RowCopy = { session, home: null, base: null, received: null, destroyed: null }
    const merge = vi.fn((ours: string) => ours)
    const { next } = await settle(
      fallbackRow(base, { custom: ours }),
      current,
      NOW,
      merge,
      'fallback',
      'home',
    )
    return { isOfTwo: merge.mock.lastCall?.at(3), custom: next?.session.custom }
  }
  expect(await move('2', '1')).toEqual({ isOfTwo: true, custom: '2' })
  expect(await move(null, '1')).toEqual({ isOfTwo: true, custom: null })
  expect(await move('1', '1')).toEqual({ isOfTwo: false, custom: '1' })
  expect(await move('guest', '1')).toEqual({ isOfTwo: false, custom: '1' })
  expect(await move('2', 'guest')).toEqual({ isOfTwo: false, custom: '2' })
})

test('does not merge a creation with itself that was repeated on the fallback server', async () => {
  const row: RowCopy = { ...fallbackRow(stored(), { text: '{"n":[1]}', generation: 2 }), base: null }
  const home = stored({ text: '{"n":[1]}' })
  const current: RowCopy = { session: home, home: null, base: null, received: null, destroyed: null }
  const { next } = await settle(row, current, NOW, () => '{"n":[1,1]}', 'fallback', 'home')
  expect(next?.session).toMatchObject({ text: '{"n":[1]}', generation: 1 })
})

test('drops the row of a fallback server that was merged at home before the session was destroyed', async () => {
  const created = fallbackRow(stored(), { generation: 2, created: 2000 })
  const row: RowCopy = { ...created, base: null }
  const current: RowCopy = { session: stored(), home: null, base: null, received: null, destroyed: null }
  const { next } = await moveHome(row, current)
  const received = JSON.stringify({ from: 'other', base: null, generation: 2, row: {} })
  const destroyed = tombstone('id', { ...(next as RowCopy), home: null, received }, null, NOW)
  expect((await moveHome(row, destroyed)).outcome).toBe('dropped')
})
