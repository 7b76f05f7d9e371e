import {
  type ServerStatistics,
  type ServerStatus,
  SessionPgsqlError,
  type TableStatistics,
} from 'session-pgsql'
import { expect, test } from 'vitest'
import { adviceOn } from '../../src/console/advice.ts'
import { Past, type Sample } from '../../src/console/history.ts'

const AT = new Date('2026-01-01T00:00:00Z')

const CALM: TableStatistics = {
  at: AT,
  version: '18.1',
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

const AWAY = new SessionPgsqlError('SERVER_DOWN', 'It is away.')

function sample(seconds: number, ...tables: (Partial<TableStatistics> | undefined)[]): Sample {
  const servers = tables.map(
    (table, index): ServerStatistics => ({
      name: `db${index}`,
      table: table && { ...CALM, ...table },
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

test('of an estimate nobody knows the errors: its sums move with what a row of the sample stands for', () => {
  const past = new Past()
  const large = { exact: false, sessions: 10_000_000, errors: 500_000, warnings: 100 }
  past.add(sample(0, large, { errors: 1 }))
  const point = past.add(sample(2, { ...large, errors: 505_000, warnings: 101 }, { errors: 3 }))
  expect(point).toMatchObject({ errors: null, warnings: null, begun: 0, sessions: 10_000_000 })
  expect(past.add(sample(4, undefined, { errors: 4 }))).toMatchObject({ errors: 1 })
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

test('a server that is away is a gap of its own; with all away it is one of everything', () => {
  const past = new Past()
  past.add(sample(0, { sessions: 3 }, { sessions: 4 }))
  expect(past.add(sample(2, { sessions: 3 }, undefined))).toMatchObject({
    sessions: 3,
    perServer: [
      { name: 'db0', sessions: 3, up: true },
      { name: 'db1', sessions: null, up: false },
    ],
  })
  expect(past.add(sample(4, undefined, undefined))).toMatchObject({
    sessions: null,
    begun: null,
    errors: null,
  })
})

test('an hour is kept in steps, a day in minutes, and no more', () => {
  const past = new Past()
  const day = 26 * 3600
  for (let second = 0; second <= day; second += 2) past.add(sample(second, { inserted: second, sessions: 0 }))
  const now = AT.getTime() + day * 1000
  const hour = past.since(60, now).points
  expect(hour).toHaveLength(1800)
  expect(hour.every(({ begun }) => begun === 2)).toBe(true)
  const all = past.since(1440, now).points
  expect(all.length).toBeGreaterThan(1430)
  expect(all.length).toBeLessThanOrEqual(1441)
  expect(all.reduce((sum, { begun }) => sum + (begun ?? 0), 0)).toBeGreaterThan(85_000)
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

test('the gravest comes first, and of several servers it says which', () => {
  const advice = adviceOn(sample(0, { sweepIndex: false }, undefined), 60)
  expect(advice.map(({ level, server }) => [level, server])).toEqual([
    ['serious', 'db1'],
    ['warning', 'db0'],
    ['warning', undefined],
  ])
})
