import { expect, test, vi } from 'vitest'
import { settle } from '../../src/servers/settle.ts'
import { MAX_EXPIRY_GRACE, type StoredSession } from '../../src/session/stored.ts'
import { AT_HOME, type RowCopy, recordBase } from '../../src/table/row-copies.ts'
import { tombstone, UNKNOWN_TIME } from '../../src/table/tombstones.ts'

const NOW = 10_000

function stored(change: Partial<StoredSession> = {}): StoredSession {
  return {
    ...{
      id: 'id',
      name: null,
      text: '{}',
      digest: 'digest of {}',
      created: 1000,
      began: 1000,
      modified: 1000,
    },
    ...{ expires: NOW + 500, addressCreated: null, addressModified: null, accesses: 1 },
    ...{ errors: 0, warnings: 0, notices: 0, errorMessage: null, custom: null },
    ...{ generation: 1, version: 1, clock: NOW, readAt: 0, server: 'home' },
    ...change,
  }
}

/** The row on a fallback server of a session that was read as `base`. */
function fallbackRow(base: StoredSession, change: Partial<StoredSession> = {}): RowCopy {
  const session = stored({ text: '{"n":1}', ...change })
  return { ...AT_HOME, session, home: 'home', base: recordBase(base) }
}

/** The row on the home server. */
const homeRow = (session: StoredSession): RowCopy => ({ ...AT_HOME, session })

const moveHome = (row: RowCopy, current: RowCopy | undefined, mayBeElsewhere = false) =>
  settle(row, current, { from: 'fallback', to: 'home', clock: NOW, mayBeElsewhere, merge: (ours) => ours })

/** A tombstone of the fallback server. */
function ended(row: RowCopy | undefined, destroyed: number): RowCopy {
  return tombstone('id', row, { home: 'home', clock: NOW, destroyed, mayBeElsewhere: false, lifetime: 100 })
}

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
  const { next, outcome } = await moveHome(fallbackRow(stored(), { accesses: 3 }), homeRow(session))
  expect(outcome).toBe('merged')
  expect(next?.session).toMatchObject({ custom: 'theirs', accesses: 6, expires: NOW + 900 })
})

test('merges with a row at home that was changed and changed back, because its version is another one', async () => {
  const merge = vi.fn((ours: string) => ours)
  const move = { from: 'fallback', to: 'home', clock: NOW, mayBeElsewhere: false, merge }
  const base = stored()
  const unchanged = await settle(fallbackRow(base), homeRow(stored()), move)
  expect([unchanged.outcome, merge.mock.calls]).toEqual(['brought', []])
  expect((await settle(fallbackRow(base), homeRow(stored({ version: 3 })), move)).outcome).toBe('merged')
  expect(merge.mock.calls).toEqual([['{"n":1}', '{}', '{}', false]])
})

test('does not mix the data of two users who logged in on the two sides', async () => {
  const base = stored({ custom: 'guest' })
  const move = async (ours: string | null, theirs: string | null) => {
    const session = stored({ text: '{"su":true}', digest: 'another', custom: theirs })
    const current: RowCopy = homeRow(session)
    const merge = vi.fn((ours: string) => ours)
    const { next } = await settle(fallbackRow(base, { custom: ours }), current, {
      ...{ from: 'fallback', to: 'home', clock: NOW, mayBeElsewhere: false },
      merge,
    })
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
  const current: RowCopy = homeRow(home)
  const { next } = await settle(row, current, {
    ...{ from: 'fallback', to: 'home', clock: NOW, mayBeElsewhere: false },
    merge: () => '{"n":[1,1]}',
  })
  expect(next?.session).toMatchObject({ text: '{"n":[1]}', generation: 1 })
})

test('drops the row of a fallback server that was merged at home before the session was destroyed', async () => {
  const created = fallbackRow(stored(), { generation: 2, created: 2000 })
  const row: RowCopy = { ...created, base: null }
  const { next } = await moveHome(row, homeRow(stored()))
  const received = JSON.stringify({ from: 'other', base: null, generation: 2, row: {} })
  const destroyed = tombstone(
    'id',
    { ...(next as RowCopy), home: null, received },
    { home: null, clock: NOW, destroyed: NOW, mayBeElsewhere: false, lifetime: 100 },
  )
  expect((await moveHome(row, destroyed)).outcome).toBe('dropped')
})

test('a tombstone without a generation ends the sessions that were created before by the clock of the home server', async () => {
  const tombstone = ended(undefined, 2000)
  expect((await moveHome(tombstone, homeRow(stored({ created: 2000 })))).outcome).toBe('brought')
  expect((await moveHome(tombstone, homeRow(stored({ created: 2001 })))).outcome).toBe('dropped')
})

test('a tombstone of a process that never reached the home server ends whatever session it finds there', async () => {
  const { next, outcome } = await moveHome(ended(undefined, UNKNOWN_TIME), homeRow(stored({ created: NOW })))
  expect(outcome).toBe('brought')
  expect(next?.destroyed).not.toBeNull()
})

test('a tombstone without a generation ends a session whose time of creation is not comparable', async () => {
  const session = stored({ created: 9000, generation: -9_000_000_000 })
  expect((await moveHome(ended(undefined, 2000), homeRow(session))).outcome).toBe('brought')
})

test('a tombstone with a generation ends no other one', async () => {
  const tombstone = ended(fallbackRow(stored()), UNKNOWN_TIME)
  expect((await moveHome(tombstone, homeRow(stored()))).outcome).toBe('brought')
  expect((await moveHome(tombstone, homeRow(stored({ generation: 2 })))).outcome).toBe('dropped')
})

test('drops a tombstone of an id that no server has, and keeps one that a third server may need', async () => {
  expect((await moveHome(ended(undefined, 2000), undefined)).outcome).toBe('dropped')
  expect((await moveHome(ended(undefined, 2000), undefined, true)).outcome).toBe('brought')
  expect((await moveHome(ended(fallbackRow(stored()), 2000), undefined)).outcome).toBe('brought')
})

test('a tombstone is kept as long as the session that it ends would have lived', async () => {
  const { next } = await moveHome(ended(undefined, 2000), homeRow(stored({ expires: NOW + 5000 })))
  expect(next?.keptUntil).toBe(NOW + 5000 + MAX_EXPIRY_GRACE)
  const endless = await moveHome(ended(undefined, 2000), homeRow(stored({ expires: NOW + 1e9 })))
  expect(endless.next?.keptUntil).toBe(NOW + 30 * 86_400)
})

test('does not merge a write twice that was repeated on the fallback server after its answer was lost', async () => {
  const base = stored({ text: '[1]' })
  const counts = { errors: 0, warnings: 0, notices: 0 }
  const row: RowCopy = {
    ...fallbackRow(base, { text: '[1,2,3]', accesses: 3 }),
    base: recordBase(base, { lost: { text: '[1,2]', accesses: 2, ...counts } }),
  }
  // The home server applied the write, and nothing changed it since.
  const home = homeRow(stored({ text: '[1,2]', digest: 'another', accesses: 2, version: 2 }))
  const merge = vi.fn(async () => '[1,2,2,3]')
  const options = { from: 'fallback', to: 'home', clock: NOW, mayBeElsewhere: false, merge }
  const { next } = await settle(row, home, options)
  expect(next?.session).toMatchObject({ text: '[1,2,3]', accesses: 3 })
  expect(merge).not.toHaveBeenCalled()
})
