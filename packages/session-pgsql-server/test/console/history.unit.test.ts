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
import { HistoryBuffer, type Sample } from '../../src/console/history.ts'

const AT = new Date('2026-01-01T00:00:00Z')

const EMPTY: TableStatistics = {
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

const DOWN = new SessionPgsqlError('SERVER_DOWN', 'It is down.')

function sample(seconds: number, ...tables: (Partial<TableStatistics> | undefined)[]): Sample {
  const servers = tables.map(
    (table, index): ServerStatistics => ({
      name: `db${index}`,
      table: table && { ...EMPTY, at: new Date(AT.getTime() + seconds * 1000), ...table },
      error: table === undefined ? DOWN : undefined,
    }),
  )
  const status = servers.map(({ name }) => ({ name }) as ServerStatus)
  return { at: new Date(AT.getTime() + seconds * 1000), milliseconds: seconds * 1000, servers, status }
}

test('counts created and ended sessions once, although PostgreSQL counts later than the rows are visible', () => {
  const history = new HistoryBuffer()
  const points = [
    { inserted: 100, sessions: 40 },
    // Ten more rows, which the counter includes only in the next sample.
    { inserted: 100, sessions: 50 },
    { inserted: 110, sessions: 50 },
    // Five have expired, and their rows still exist.
    { inserted: 110, sessions: 45 },
    { inserted: 110, sessions: 45 },
  ].map((table, step) => history.add(sample(step * 2, table)))
  expect(points.map(({ created, ended }) => [created, ended])).toEqual([
    [0, 0],
    [0, 0],
    [10, 0],
    [0, 5],
    [0, 0],
  ])
  expect(points.map(({ seconds }) => seconds)).toEqual([0, 2, 2, 2, 2])
})

test('counts deleted rows as ended in a sampled table', () => {
  const history = new HistoryBuffer()
  history.add(sample(0, { exact: false, inserted: 100, deleted: 7, sessions: 1_000_000 }))
  const point = history.add(sample(2, { exact: false, inserted: 103, deleted: 9, sessions: 1_003_217 }))
  expect(point).toMatchObject({ created: 3, ended: 2, sessions: 1_003_217 })
})

test('estimates errors from the sample, and does not count a change of its scale as errors', () => {
  const history = new HistoryBuffer()
  const large = { exact: false, sampled: 0.01, sessions: 10_000_000 }
  history.add(sample(0, { ...large, scale: 100, errors: 500_000, warnings: 100 }, { errors: 1 }))
  // The sample had 5,000 errors and one warning and now has 5,002 and one. Each stands for more rows than before.
  const point = history.add(
    sample(2, { ...large, scale: 101, errors: 505_202, warnings: 101 }, { errors: 3 }),
  )
  expect(point).toMatchObject({ errors: 204, warnings: 0, exact: false })
  expect(point.perServer).toMatchObject([
    { errors: 202, exact: false },
    { errors: 2, exact: true },
  ])
  // A new sample has other rows, so its errors are no growth.
  const other = history.add(
    sample(4, { ...large, sampled: 0.008, scale: 120, errors: 900_000 }, { errors: 4 }),
  )
  expect(other).toMatchObject({ errors: 1, exact: false })
  expect(history.add(sample(6, undefined, { errors: 5 }))).toMatchObject({ errors: 1, exact: true })
})

test('reports no traffic when the counters are reset, and no negative errors when sessions with errors end', () => {
  const history = new HistoryBuffer()
  history.add(sample(0, { inserted: 5000, updated: 9000, errors: 5, sessions: 10 }))
  expect(history.add(sample(2, { inserted: 3, updated: 1, errors: 5, sessions: 10 }))).toMatchObject({
    created: 0,
    ended: 0,
    accesses: 0,
  })
  expect(history.add(sample(4, { inserted: 4, updated: 5, errors: 2, sessions: 11 }))).toMatchObject({
    created: 1,
    ended: 0,
    accesses: 4,
    errors: 0,
  })
})

test('adds up the metrics of each name over all servers', () => {
  const history = new HistoryBuffer()
  const of = ({ perName }: HistoryPoint) =>
    perName.map(({ name, sessions, created, ended, accesses, errors, warnings }) => [
      name,
      ...[sessions, created, ended, accesses, errors, warnings],
    ])
  history.add(
    sample(
      0,
      { names: [named('a', { sessions: 5, accesses: 50, errors: 3, created: [2] })] },
      { names: [named('a', { sessions: 1, accesses: 4 }), named('b', { sessions: 2, accesses: 7 })] },
    ),
  )
  // Two more sessions of a, one of them created in the second of the last sample; two of a have ended, and others had
  // seven accesses.
  const next = history.add(
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
  // All sessions of b end, and their counters with them. A session of c is new and has an error already.
  const last = history.add(
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
  const none = history.add(sample(6, undefined, { names: [] }))
  expect(of(none)).toEqual([
    ['a', 0, 0, 1, 0, 0, 0],
    ['c', 0, 0, 1, 0, 0, 0],
  ])
  expect(history.add(sample(8, undefined, undefined)).perName).toEqual([])
})

test('counts written sessions as accesses when ended sessions have lowered the sum of the counters', () => {
  const history = new HistoryBuffer()
  const accesses = (seconds: number, stats: Partial<NameStatistics>) =>
    history.add(sample(seconds, { names: [named('a', stats)] })).perName[0]?.accesses
  accesses(0, { sessions: 5, accesses: 500 })
  // One session with a hundred accesses was destroyed, one was created, and three were accessed.
  expect(accesses(2, { sessions: 5, accesses: 404, created: [1], written: 4 })).toBe(3)
  expect(accesses(4, { sessions: 4, accesses: 407, written: 5 })).toBe(5)
  // The same if GC removes expired rows.
  expect(accesses(6, { sessions: 4, accesses: 300, written: 2 })).toBe(2)
  // No session has ended: the other writes recorded an error or changed sess_sweep.
  expect(accesses(8, { sessions: 4, accesses: 301, written: 4 })).toBe(1)
})

test('counts sessions that moved here from another server as created', () => {
  const history = new HistoryBuffer()
  history.add(sample(0, { names: [named('a', { sessions: 5, accesses: 5 })] }))
  const point = history.add(sample(2, { names: [named('a', { sessions: 8, accesses: 8 })] }))
  expect(point.perName).toMatchObject([{ sessions: 8, created: 3, ended: 0, accesses: 0 }])
})

test('reports no traffic for a name that enters or leaves the 30 names with the most sessions', () => {
  const history = new HistoryBuffer()
  const thirty = Array.from({ length: 30 }, (_, n) =>
    named(`site${n}`, { sessions: 100 - n, accesses: 1000 }),
  )
  // The last of them exists on the other server, too.
  const there = { names: [named('site29', { sessions: 200 }), named('elsewhere', { sessions: 1 })] }
  expect(history.add(sample(0, { names: thirty }, there)).perName).toHaveLength(30)
  const other = named('other', { sessions: 90, accesses: 5000, errors: 70 })
  const { perName } = history.add(sample(2, { names: [...thirty.slice(0, 29), other] }, there))
  const of = (wanted: string) => perName.find(({ name }) => name === wanted)
  expect(perName).toHaveLength(30)
  expect(of('other')).toMatchObject({ created: 0, accesses: 0, errors: 0 })
  expect(of('site29')).toMatchObject({ sessions: 200, ended: 0 })
  expect(of('elsewhere')).toBeUndefined()
})

test('splits the counts of PostgreSQL among the names of a sampled table, without losing any', () => {
  const history = new HistoryBuffer()
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
    // Only one row of the sample has changed, so the names share by all their rows, and b gets a little more.
    { ...large, inserted: 40, updated: 60, deleted: 8, names: names(1000, [0, 0, 2], 0) },
    // A row of a with a thousand accesses has moved here from another page. It counts as one row.
    { ...large, inserted: 80, updated: 160, deleted: 8, names: names(2000, [3, 0, 0, 0, 2], 4) },
  ]
  const [, still, moved] = steps.map((table, index) => history.add(sample(index * 2, table)))
  expect(still?.perName).toMatchObject([
    { name: 'a', created: 30, ended: 6, accesses: 15 },
    { name: 'b', created: 10, ended: 2, accesses: 45 },
  ])
  const [a, b] = moved?.perName ?? []
  expect((a?.created ?? 0) + (b?.created ?? 0)).toBeCloseTo(40)
  expect((a?.accesses ?? 0) + (b?.accesses ?? 0)).toBeCloseTo(100)
  expect(a?.created).toBeGreaterThan(30)
  // Three of the four written rows are new sessions.
  expect(a?.accesses).toBeGreaterThan(30)
  expect(a?.accesses).toBeLessThan(50)
})

test('has unknown values for a server that is down, and unknown totals if all are down', () => {
  const history = new HistoryBuffer()
  history.add(sample(0, { sessions: 3 }, { sessions: 4 }))
  expect(history.add(sample(2, { sessions: 3 }, undefined))).toMatchObject({
    sessions: 3,
    perServer: [
      { name: 'db0', sessions: 3, up: true },
      { name: 'db1', sessions: null, created: null, errors: null, up: false },
    ],
  })
  expect(history.add(sample(4, undefined, undefined))).toMatchObject({
    sessions: null,
    created: null,
    errors: null,
  })
})

test('keeps an hour by sample and a day by minute, and returns at most as many points as a chart can show', () => {
  const history = new HistoryBuffer()
  const day = 26 * 3600
  for (let second = 0; second <= day; second += 2) {
    history.add(sample(second, { inserted: second, sessions: 0, names: [named('a', { accesses: second })] }))
  }
  const now = AT.getTime() + day * 1000
  const ten = history.since(10, now).points
  expect(ten).toHaveLength(301)
  expect(ten.every(({ created, perName }) => created === 2 && perName[0]?.accesses === 2)).toBe(true)
  const hour = history.since(60, now).points
  expect(hour).toHaveLength(600)
  expect(
    hour.every(
      ({ created, seconds, perName }) => created === 6 && seconds === 6 && perName[0]?.accesses === 6,
    ),
  ).toBe(true)
  const all = history.since(1440, now).points
  expect(all.length).toBeGreaterThan(700)
  expect(all.length).toBeLessThanOrEqual(721)
  for (const of of [
    (point: HistoryPoint) => point.created,
    (point: HistoryPoint) => point.perName[0]?.accesses,
  ]) {
    expect(all.reduce((sum, point) => sum + (of(point) ?? 0), 0)).toBeGreaterThan(85_000)
  }
})

test('returns annotations by time, and keeps rare ones when garbage collections are many', () => {
  const history = new HistoryBuffer()
  const annotate = (kind: 'gc' | 'failover' | 'serverUp', second: number) =>
    history.annotate({ at: new Date(AT.getTime() + second * 1000).toISOString(), kind, text: '' })
  annotate('serverUp', 700)
  annotate('failover', 1)
  for (let second = 2; second < 700; second++) annotate('gc', second)
  const { annotations } = history.since(60, AT.getTime() + 1000 * 1000)
  expect([annotations[0]?.kind, annotations.at(-1)?.kind]).toEqual(['failover', 'serverUp'])
  expect(annotations).toHaveLength(502)
})

const standby = { name: 'b', state: 'streaming', lagBytes: 0, sync: true }

test.each<[string, Partial<TableStatistics>, RegExp, string]>([
  ['a standby', { standby: true }, /standby and accepts no writes/, 'critical'],
  ['dead rows', { liveRows: 10_000, deadRows: 90_000 }, /more dead rows than live rows: 90,000/, 'critical'],
  ['some dead rows', { liveRows: 100_000, deadRows: 40_000 }, /does not keep up/, 'warning'],
  ['few HOT updates', { updated: 5000, hotUpdated: 500 }, /Only 10% of the updates/, 'warning'],
  ['no index for GC', { sweepIndex: false }, /no index on sess_sweep/, 'warning'],
  ['GC does not run', { unswept: 5000, sessions: 20_000 }, /5,000 sessions expired/, 'warning'],
  ['lag', { standbys: [{ ...standby, lagBytes: 2 ** 30 }] }, /b lags 1024 MB behind/, 'warning'],
  ['catching up', { standbys: [{ ...standby, state: 'catchup' }] }, /not streaming yet/, 'info'],
  ['2038, in many years', { integerDates: true }, /overflow on 2038/, 'info'],
  ['2038, soon', { integerDates: true, at: new Date('2036-06-01') }, /overflow on 2038/, 'critical'],
])('gives advice on: %s', (_, table, message, level) => {
  const advice = adviceOn(sample(0, table), 0)
  expect(advice).toMatchObject([{ level, message: expect.stringMatching(message) }])
  expect(advice[0]?.action).not.toBe('')
})

test('gives no advice if all is well or the numbers are small', () => {
  const table = { liveRows: 10, deadRows: 90, updated: 50, unswept: 10, sessions: 5, standbys: [standby] }
  expect(adviceOn(sample(0, EMPTY, table), 10)).toEqual([])
})

test('says "About" if the number of errors is an estimate', () => {
  const [advice] = adviceOn(sample(0, { exact: false, sessions: 1000 }), 60)
  expect(advice?.message).toMatch(/^About 60 errors/)
})

test('returns the most severe advice first, and names the server if there are several', () => {
  const advice = adviceOn(sample(0, { sweepIndex: false }, undefined), 60)
  expect(advice.map(({ level, server }) => [level, server])).toEqual([
    ['critical', 'db1'],
    ['warning', 'db0'],
    ['warning', undefined],
  ])
})
