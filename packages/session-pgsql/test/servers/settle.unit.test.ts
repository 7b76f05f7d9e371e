import { expect, test } from 'vitest'
import { settle } from '../../src/servers/settle.ts'
import type { StoredSession } from '../../src/session/stored.ts'
import { type RowCopy, recordBase, tombstone } from '../../src/table/row-copies.ts'

const NOW = 10_000

function stored(change: Partial<StoredSession> = {}): StoredSession {
  return {
    ...{ id: 'id', name: null, text: '{}', digest: 'digest of {}', created: 1000, modified: 1000 },
    ...{ expires: NOW + 500, addressCreated: null, addressModified: null, accesses: 1 },
    ...{ errors: 0, warnings: 0, notices: 0, errorMessage: null, custom: null },
    ...{ generation: 1, clock: NOW, readAt: 0, server: 'home' },
    ...change,
  }
}

/** What a stand-in keeps of a session that was read as `base`. */
function away(base: StoredSession, change: Partial<StoredSession> = {}): RowCopy {
  const session = stored({ text: '{"n":1}', ...change })
  return { session, home: 'home', base: recordBase(base), received: null, destroyed: null }
}

const bring = (row: RowCopy, there: RowCopy | undefined) =>
  settle(row, there, NOW, (mine) => mine, 'stand-in', 'home')

test('a session whose row was deleted at home, without a tombstone, does not come back', async () => {
  expect((await bring(away(stored()), undefined)).outcome).toBe('dropped')
})

test('one that had expired at home, and was swept there, lives on as its stand-in has prolonged it', async () => {
  const base = stored({ expires: NOW - 100 })
  expect((await bring(away(base), undefined)).outcome).toBe('brought')
  expect((await bring(away(base, { expires: NOW - 1 }), undefined)).outcome).toBe('dropped')
})

test('one that was read from another stand-in need never have been at home', async () => {
  expect((await bring(away(stored({ server: 'other' })), undefined)).outcome).toBe('brought')
})

test('both have moved on: the field that one side has set stays, and the later expiry', async () => {
  const session = stored({
    text: '{"m":1}',
    digest: 'another',
    custom: 'theirs',
    accesses: 4,
    expires: NOW + 900,
  })
  const there: RowCopy = { session, home: null, base: null, received: null, destroyed: null }
  const { next, outcome } = await bring(away(stored(), { accesses: 3 }), there)
  expect(outcome).toBe('merged')
  expect(next?.session).toMatchObject({ custom: 'theirs', accesses: 6, expires: NOW + 900 })
})

test('a session that was merged with what a stand-in still has, and then destroyed, does not come back from there', async () => {
  const kept = away(stored(), { generation: 2, created: 2000 })
  const row: RowCopy = { ...kept, base: null }
  const there: RowCopy = { session: stored(), home: null, base: null, received: null, destroyed: null }
  const { next } = await bring(row, there)
  const received = JSON.stringify({ from: 'other', base: null, generation: 2, row: {} })
  const ended = tombstone('id', { ...(next as RowCopy), home: null, received }, null, NOW)
  expect((await bring(row, ended)).outcome).toBe('dropped')
})
