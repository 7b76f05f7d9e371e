import {
  type NameStatistics,
  type ServerStatistics,
  type ServerStatus,
  SessionPgsqlError,
  type TableStatistics,
} from 'session-pgsql'
import { expect, test } from 'vitest'
import { adviceOn } from '../../src/console/advice.ts'
import type { HistoryPoint } from '../../src/console/api.ts'
import { Past, type Sample } from '../../src/console/history.ts'

const AT = new Date('2026-01-01T00:00:00Z')

const CALM: TableStatistics = {
  at: AT,
  version: '18.1',
  transaction: 1000,
  standby: false,
  exact: true,
  sampled: 1,
  scale: 1,
  sessions: 0,
  names: [],
  expiring: [],
  unswept: 0,
  errors: 0,
  warnings: 0,
  notices: 0,
  inserted: 0,
  deleted: 0,
  updated: 0,
  hotUpdated: 0,
  liveRows: 0,
  deadRows: 0,
  tableBytes: 0,
  indexBytes: 0,
  lastVacuum: null,
  standbys: [],
  integerDates: false,
  sweepIndex: true,
}

function named(name: string | null, stats: Partial<NameStatistics>): NameStatistics {
  return { name, sessions: 0, accesses: 0, errors: 0, warnings: 0, created: [], written: null, ...stats }
}

const AWAY = new SessionPgsqlError('SERVER_DOWN', 'It is away.')

function sample(seconds: number, ...tables: (Partial<TableStatistics> | undefined)[]): Sample {
  const servers = tables.map(
    (table, index): ServerStatistics => ({
      name: `db${index}`,
      table: table && { ...CALM, at: new Date(AT.getTime() + seconds * 1000), ...table },
      error: table === undefined ? AWAY : undefined,
    }),
  )
  const status = servers.map(({ name }) => ({ name }) as ServerStatus)
  return { at: new Date(AT.getTime() + seconds * 1000), milliseconds: seconds * 1000, servers, status }
}

test('what begins and ends is told once, although PostgreSQL counts a moment later than the rows are there', () => {
  const past = new Past()
  const seen = [
    { inserted: 100, sessions: 40 },
    // Ten more, which the counter knows only at the next look.
    { inserted: 100, sessions: 50 },
    { inserted: 110, sessions: 50 },
    // Five have expired and lie there still.
    { inserted: 110, sessions: 45 },
    { inserted: 110, sessions: 45 },
  ].map((table, step) => past.add(sample(step * 2, table)))
  expect(seen.map(({ begun, ended }) => [begun, ended])).toEqual([
    [0, 0],
    [0, 0],
    [10, 0],
    [0, 5],
    [0, 0],
  ])
  expect(seen.map(({ seconds }) => seconds)).toEqual([0, 2, 2, 2, 2])
})

test('of an estimate the rows that were deleted have ended', () => {
  const past = new Past()
  past.add(sample(0, { exact: false, inserted: 100, deleted: 7, sessions: 1_000_000 }))
  const point = past.add(sample(2, { exact: false, inserted: 103, deleted: 9, sessions: 1_003_217 }))
  expect(point).toMatchObject({ begun: 3, ended: 2, sessions: 1_003_217 })
})

test('of an estimate the errors are those of the sample, and its scale is no error', () => {
  const past = new Past()
  const large = { exact: false, sampled: 0.01, sessions: 10_000_000 }
  past.add(sample(0, { ...large, scale: 100, errors: 500_000, warnings: 100 }, { errors: 1 }))
  // 5,000 errors and one warning were seen, and are now 5,002 and one: each of them stands for more rows.
  const point = past.add(sample(2, { ...large, scale: 101, errors: 505_202, warnings: 101 }, { errors: 3 }))
  expect(point).toMatchObject({ errors: 204, warnings: 0, exact: false })
  expect(point.perServer).toMatchObject([
    { errors: 202, exact: false },
    { errors: 2, exact: true },
  ])
  // Another sample has other errors.
  const other = past.add(sample(4, { ...large, sampled: 0.008, scale: 120, errors: 900_000 }, { errors: 4 }))
  expect(other).toMatchObject({ errors: 1, exact: false })
  expect(past.add(sample(6, undefined, { errors: 5 }))).toMatchObject({ errors: 1, exact: true })
})

test('counters that begin anew are no traffic, and errors that end with their sessions are none', () => {
  const past = new Past()
  past.add(sample(0, { inserted: 5000, updated: 9000, errors: 5, sessions: 10 }))
  expect(past.add(sample(2, { inserted: 3, updated: 1, errors: 5, sessions: 10 }))).toMatchObject({
    begun: 0,
    ended: 0,
    accesses: 0,
  })
  expect(past.add(sample(4, { inserted: 4, updated: 5, errors: 2, sessions: 11 }))).toMatchObject({
    begun: 1,
    ended: 0,
    accesses: 4,
    errors: 0,
  })
})

test('by name: what was created, ended, accessed and noted, of all servers', () => {
  const past = new Past()
  const of = ({ perName }: HistoryPoint) =>
    perName.map(({ name, sessions, begun, ended, accesses, errors, warnings }) => [
      name,
      ...[sessions, begun, ended, accesses, errors, warnings],
    ])
  past.add(
    sample(
      0,
      { names: [named('a', { sessions: 5, accesses: 50, errors: 3, created: [2] })] },
      { names: [named('a', { sessions: 1, accesses: 4 }), named('b', { sessions: 2, accesses: 7 })] },
    ),
  )
  // Two more of a that began, the one in the second of the last look; two of a have ended, and seven accesses of others.
  const next = past.add(
    sample(
      2,
      { names: [named('a', { sessions: 5, accesses: 59, errors: 4, created: [1, 0, 3] })] },
      {
        names: [
          named('a', { sessions: 1, accesses: 4 }),
          named('b', { sessions: 2, accesses: 9, warnings: 2 }),
        ],
      },
    ),
  )
  expect(of(next)).toEqual([
    ['a', 6, 2, 2, 7, 1, 0],
    ['b', 2, 0, 0, 2, 0, 2],
  ])
  // All of b end and take along what they had; c comes, with an error at once.
  const last = past.add(
    sample(
      4,
      { names: [named('a', { sessions: 5, accesses: 60, errors: 2, created: [0, 0, 1, 0, 3] })] },
      {
        names: [
          named('a', { sessions: 1, accesses: 4 }),
          named('c', { sessions: 1, accesses: 1, errors: 1, created: [1] }),
        ],
      },
    ),
  )
  expect(of(last)).toEqual([
    ['a', 6, 0, 0, 1, 0, 0],
    ['c', 1, 1, 0, 0, 1, 0],
    ['b', 0, 0, 2, 0, 0, 0],
  ])
  const none = past.add(sample(6, undefined, { names: [] }))
  expect(of(none)).toEqual([
    ['a', 0, 0, 1, 0, 0, 0],
    ['c', 0, 0, 1, 0, 0, 0],
  ])
  expect(past.add(sample(8, undefined, undefined)).perName).toEqual([])
})

test('of a step in which sessions end and take their counters along, so many accesses as sessions were written', () => {
  const past = new Past()
  const accesses = (seconds: number, stats: Partial<NameStatistics>) =>
    past.add(sample(seconds, { names: [named('a', stats)] })).perName[0]?.accesses
  accesses(0, { sessions: 5, accesses: 500 })
  // One that was accessed a hundred times has been destroyed, one has begun, and three were accessed.
  expect(accesses(2, { sessions: 5, accesses: 404, created: [1], written: 4 })).toBe(3)
  expect(accesses(4, { sessions: 4, accesses: 407, written: 5 })).toBe(5)
  // Rows that have expired are collected, too.
  expect(accesses(6, { sessions: 4, accesses: 300, written: 2 })).toBe(2)
  // Nobody has ended: what was written beside is an error, or is filed anew.
  expect(accesses(8, { sessions: 4, accesses: 301, written: 4 })).toBe(1)
})

test('sessions that come from elsewhere have been created before, and are told as begun all the same', () => {
  const past = new Past()
  past.add(sample(0, { names: [named('a', { sessions: 5, accesses: 5 })] }))
  const point = past.add(sample(2, { names: [named('a', { sessions: 8, accesses: 8 })] }))
  expect(point.perName).toMatchObject([{ sessions: 8, begun: 3, ended: 0, accesses: 0 }])
})

test('where there are more names than are told, one that comes or goes is not traffic', () => {
  const past = new Past()
  const thirty = Array.from({ length: 30 }, (_, n) =>
    named(`site${n}`, { sessions: 100 - n, accesses: 1000 }),
  )
  // The last of them is there on the other server, too.
  const there = { names: [named('site29', { sessions: 200 }), named('elsewhere', { sessions: 1 })] }
  expect(past.add(sample(0, { names: thirty }, there)).perName).toHaveLength(30)
  const other = named('other', { sessions: 90, accesses: 5000, errors: 70 })
  const { perName } = past.add(sample(2, { names: [...thirty.slice(0, 29), other] }, there))
  const of = (wanted: string) => perName.find(({ name }) => name === wanted)
  expect(perName).toHaveLength(30)
  expect(of('other')).toMatchObject({ begun: 0, accesses: 0, errors: 0 })
  expect(of('site29')).toMatchObject({ sessions: 200, ended: 0 })
  expect(of('elsewhere')).toBeUndefined()
})

test('of an estimate by name: the parts of what PostgreSQL has counted, which add up to it', () => {
  const past = new Past()
  const large = { exact: false, sampled: 0.01, scale: 100 }
  const names = (accesses: number, created: number[], written: number) => [
    named('a', {
      sessions: 300_000,
      accesses: accesses * 100,
      created: created.map((count) => count * 100),
      written: written * 100,
    }),
    named('b', { sessions: 100_000, accesses: 100_000, written: 100 }),
  ]
  const steps = [
    { ...large, inserted: 0, updated: 0, names: names(1000, [2], 0) },
    // Nothing in the sample has moved but one row: they share as they have always done, and b a little more.
    { ...large, inserted: 40, updated: 60, deleted: 8, names: names(1000, [0, 0, 2], 0) },
    // A row of a that has been accessed a thousand times has come from another page: it is one row.
    { ...large, inserted: 80, updated: 160, deleted: 8, names: names(2000, [3, 0, 0, 0, 2], 4) },
  ]
  const [, still, moved] = steps.map((table, index) => past.add(sample(index * 2, table)))
  expect(still?.perName).toMatchObject([
    { name: 'a', begun: 30, ended: 6, accesses: 15 },
    { name: 'b', begun: 10, ended: 2, accesses: 45 },
  ])
  const [a, b] = moved?.perName ?? []
  expect((a?.begun ?? 0) + (b?.begun ?? 0)).toBeCloseTo(40)
  expect((a?.accesses ?? 0) + (b?.accesses ?? 0)).toBeCloseTo(100)
  expect(a?.begun).toBeGreaterThan(30)
  // Of the four rows that were written three are of sessions that have begun.
  expect(a?.accesses).toBeGreaterThan(30)
  expect(a?.accesses).toBeLessThan(50)
})

test('a server that is away is a gap of its own; with all away it is one of everything', () => {
  const past = new Past()
  past.add(sample(0, { sessions: 3 }, { sessions: 4 }))
  expect(past.add(sample(2, { sessions: 3 }, undefined))).toMatchObject({
    sessions: 3,
    perServer: [
      { name: 'db0', sessions: 3, up: true },
      { name: 'db1', sessions: null, begun: null, errors: null, up: false },
    ],
  })
  expect(past.add(sample(4, undefined, undefined))).toMatchObject({
    sessions: null,
    begun: null,
    errors: null,
  })
})

test('an hour is kept in steps, a day in minutes, and no more; it is told in points that a chart can show', () => {
  const past = new Past()
  const day = 26 * 3600
  for (let second = 0; second <= day; second += 2) {
    past.add(sample(second, { inserted: second, sessions: 0, names: [named('a', { accesses: second })] }))
  }
  const now = AT.getTime() + day * 1000
  const ten = past.since(10, now).points
  expect(ten).toHaveLength(301)
  expect(ten.every(({ begun, perName }) => begun === 2 && perName[0]?.accesses === 2)).toBe(true)
  const hour = past.since(60, now).points
  expect(hour).toHaveLength(600)
  expect(
    hour.every(({ begun, seconds, perName }) => begun === 6 && seconds === 6 && perName[0]?.accesses === 6),
  ).toBe(true)
  const all = past.since(1440, now).points
  expect(all.length).toBeGreaterThan(700)
  expect(all.length).toBeLessThanOrEqual(721)
  for (const of of [
    (point: HistoryPoint) => point.begun,
    (point: HistoryPoint) => point.perName[0]?.accesses,
  ]) {
    expect(all.reduce((sum, point) => sum + (of(point) ?? 0), 0)).toBeGreaterThan(85_000)
  }
})

test('marks come in the order of their times, and many sweeps do not drive out what is rare', () => {
  const past = new Past()
  const mark = (kind: 'gc' | 'failover' | 'serverUp', second: number) =>
    past.mark({ at: new Date(AT.getTime() + second * 1000).toISOString(), kind, text: '' })
  mark('serverUp', 700)
  mark('failover', 1)
  for (let second = 2; second < 700; second++) mark('gc', second)
  const { marks } = past.since(60, AT.getTime() + 1000 * 1000)
  expect([marks[0]?.kind, marks.at(-1)?.kind]).toEqual(['failover', 'serverUp'])
  expect(marks).toHaveLength(502)
})

const standby = { name: 'b', state: 'streaming', lagBytes: 0, sync: true }

test.each<[string, Partial<TableStatistics>, RegExp, string]>([
  ['a standby', { standby: true }, /standby: nothing can be written/, 'serious'],
  ['dead rows', { liveRows: 10_000, deadRows: 90_000 }, /mostly dead rows: 90,000/, 'serious'],
  ['some dead rows', { liveRows: 100_000, deadRows: 40_000 }, /does not keep up/, 'warning'],
  ['few HOT updates', { updated: 5000, hotUpdated: 500 }, /Only 10 % of the updates/, 'warning'],
  ['no index for GC', { sweepIndex: false }, /no index on sess_sweep/, 'warning'],
  ['nobody sweeps', { unswept: 5000, sessions: 20_000 }, /5,000 sessions expired/, 'warning'],
  ['lag', { standbys: [{ ...standby, lagBytes: 2 ** 30 }] }, /b is 1024 MB behind/, 'warning'],
  ['catching up', { standbys: [{ ...standby, state: 'catchup' }] }, /not streaming yet/, 'info'],
  ['2038, one day', { integerDates: true }, /end on 2038/, 'info'],
  ['2038, soon', { integerDates: true, at: new Date('2036-06-01') }, /end on 2038/, 'serious'],
])('advice on %s', (_, table, what, level) => {
  const advice = adviceOn(sample(0, table), 0)
  expect(advice).toMatchObject([{ level, what: expect.stringMatching(what) }])
  expect(advice[0]?.todo).not.toBe('')
})

test('all is well, and of small numbers nothing is said', () => {
  const table = { liveRows: 10, deadRows: 90, updated: 50, unswept: 10, sessions: 5, standbys: [standby] }
  expect(adviceOn(sample(0, CALM, table), 10)).toEqual([])
})

test('errors of an estimate are told as such', () => {
  const [advice] = adviceOn(sample(0, { exact: false, sessions: 1000 }), 60)
  expect(advice?.what).toMatch(/^About 60 errors/)
})

test('the gravest comes first, and of several servers it says which', () => {
  const advice = adviceOn(sample(0, { sweepIndex: false }, undefined), 60)
  expect(advice.map(({ level, server }) => [level, server])).toEqual([
    ['serious', 'db1'],
    ['warning', 'db0'],
    ['warning', undefined],
  ])
})
