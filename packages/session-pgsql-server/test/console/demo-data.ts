import type {
  Annotation,
  AuditEntries,
  HistoryPoint,
  Overview,
  SessionData,
  SessionDetail,
  SessionMetrics,
} from '../../src/console/api.ts'

/** Made-up data of a site with three servers on a busy day. */

const SERVERS = ['db1', 'db2', 'db3']
const SHARES = [0.41, 0.34, 0.25]
const NAMES = [
  { name: 'connect.sid', share: 0.7 },
  { name: 'PHPSESSID', share: 0.26 },
  { name: 'shop_admin', share: 0.03 },
  { name: null, share: 0.01 },
]
const NOW = 12_731
/** Seconds since the third server went down. */
const DOWN_FOR = 240
const iso = (at: number): string => new Date(at).toISOString()
const counted = (value: number) => ({ value: Math.round(value), exact: true })

/** A pseudo-random generator that returns the same numbers for the same seed. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** The point of the `seconds` that ended `before` seconds ago. */
export function demoPoint(now: number, before: number, seconds: number, exact = true): HistoryPoint {
  const at = now - before * 1000
  const next = random(Math.floor(at / 1000))
  const day = 1 - before / 30_000 + Math.sin(before / 700) * 0.015
  const sessions = Math.round(NOW * day)
  // The metrics of the third server are unknown since it went down.
  const lost = before < DOWN_FOR
  const all = {
    sessions,
    created: Math.round(seconds * (1 * day + next() * 0.4) + next() - 0.5),
    ended: Math.round(seconds * (0.9 + next() * 0.4)),
    accesses: Math.round(seconds * (180 * day + next() * 30)),
    errors: next() > 0.8 ? Math.ceil(next() * (lost ? 5 : 2)) : 0,
    warnings: next() > 0.7 ? Math.ceil(next() * 2) : 0,
  }
  const servers = split(all, lost ? [0.55, 0.45, 0] : SHARES, next)
  const names = split(
    all,
    NAMES.map(({ share }) => share),
    next,
  )
  return {
    at: iso(at),
    seconds,
    exact,
    ...all,
    perServer: SERVERS.map((name, index) =>
      lost && index === 2
        ? { name, up: false, exact: true, ...UNKNOWN }
        : {
            name,
            up: true,
            exact,
            ...(servers[index] ?? UNKNOWN),
            sessions: Math.round(sessions * (SHARES[index] ?? 0)),
          },
    ),
    perName: NAMES.map(({ name }, index) => ({ name, ...(names[index] ?? UNKNOWN) })),
  }
}

const UNKNOWN = { sessions: null, created: null, ended: null, accesses: null, errors: null, warnings: null }

/** Splits metrics by shares; one share gets all of a small number. */
function split(
  all: Record<keyof SessionMetrics, number>,
  shares: readonly number[],
  next: () => number,
): SessionMetrics[] {
  const lucky = next() > 0.3 ? 0 : 1
  return shares.map((share, index) => {
    const part = (of: keyof SessionMetrics): number =>
      all[of] < 6 ? (index === lucky ? all[of] : 0) : Math.round(all[of] * share)
    return {
      sessions: part('sessions'),
      created: part('created'),
      ended: part('ended'),
      accesses: part('accesses'),
      errors: part('errors'),
      warnings: part('warnings'),
    }
  })
}

export function demoHistory(
  now: number,
  minutes: number,
  exact = true,
): { points: HistoryPoint[]; annotations: Annotation[] } {
  const step = Math.max(2, (minutes * 60) / 180)
  const count = Math.floor((minutes * 60) / step)
  const points = Array.from({ length: count }, (_, index) =>
    demoPoint(now, (count - 1 - index) * step, step, exact),
  )
  const annotations: Annotation[] = [
    { at: iso(now - 47 * 60_000), kind: 'gc', text: 'GC removed 812 sessions on db2.' },
    { at: iso(now - 31 * 60_000), kind: 'serverDown', text: 'db2 is not responding (SERVER_DOWN).' },
    {
      at: iso(now - 30 * 60_000),
      kind: 'promoted',
      text: 'The primary of db2 changed from 10.0.0.12:5432 to 10.0.0.22:5432.',
    },
    { at: iso(now - 29 * 60_000), kind: 'broughtHome', text: '143 sessions moved back from db3 to db2.' },
    { at: iso(now - DOWN_FOR * 1000), kind: 'serverDown', text: 'db3 is not responding (TIMEOUT).' },
  ]
  return { points, annotations }
}

export function demoOverview(now: number): Overview {
  return {
    at: iso(now),
    sessions: counted(NOW),
    expiring: Array.from({ length: 24 }, (_, hour) => ({
      until: iso(now + (hour + 1) * 3_600_000),
      sessions: counted(900 * Math.exp(-hour / 9) + 120 * (1 + Math.sin(hour))),
    })),
    servers: [
      {
        name: 'db1',
        address: '10.0.0.11:5432',
        role: 'primary',
        health: 'up',
        since: iso(now - 9.2 * 86_400_000),
        sinceStart: false,
        share: 0.334,
        sessions: counted(5219),
        tableBytes: 48_300_000,
        indexBytes: 5_900_000,
        deadRows: 812,
        hotShare: 0.964,
        lastVacuum: iso(now - 11 * 60_000),
        version: '18.4',
        standbys: [
          { name: 'db1-standby-a', state: 'streaming', lagBytes: 0, sync: true },
          { name: 'db1-standby-b', state: 'catchup', lagBytes: 9_400_000, sync: false },
        ],
      },
      {
        name: 'db2',
        address: '10.0.0.22:5432',
        role: 'primary',
        health: 'up',
        since: iso(now - 30 * 60_000),
        sinceStart: false,
        share: 0.333,
        pendingFailback: 57,
        sessions: counted(4329),
        tableBytes: 41_800_000,
        indexBytes: 5_100_000,
        deadRows: 18_400,
        hotShare: 0.41,
        lastVacuum: null,
        version: '15.18',
      },
      {
        name: 'db3',
        address: '10.0.0.13:5432',
        role: 'unknown',
        health: 'down',
        since: iso(now - 4 * 60_000),
        sinceStart: false,
        share: 0.333,
        lastError: 'Cannot connect to 10.0.0.13:5432: connection timed out.',
      },
    ],
    advice: [
      {
        level: 'critical',
        message: 'This server is not responding: Cannot connect to 10.0.0.13:5432: connection timed out.',
        action: 'Check that it is running and reachable. `session-pgsql doctor` reports what it finds.',
        server: 'db3',
      },
      {
        level: 'warning',
        message: 'Only 41% of the updates are HOT. Each of the other updates writes to every index.',
        action:
          'Run ALTER TABLE … SET (fillfactor = 80), and drop indexes on columns that change on every access. `session-pgsql doctor` lists them.',
        server: 'db2',
      },
      {
        level: 'info',
        message: 'At least 57 rows on this server wait for failback to their home servers.',
        action: 'No action is needed. The rows move back while their home servers are reachable.',
        server: 'db2',
      },
    ],
    gc: [
      { at: iso(now - 47 * 60_000), seconds: 0.84, removed: 812, server: 'db2' },
      { at: iso(now - 58 * 60_000), seconds: 1.21, removed: 1404, server: 'db1' },
      { at: iso(now - 64 * 60_000), seconds: 0.02, removed: 0, server: 'db3' },
    ],
  }
}

const USERS = [
  'ada@example.org',
  'grace@example.org',
  'linus@example.org',
  'barbara@example.org',
  'edsger@example.org',
]

export function demoSession(index: number, now: number): SessionDetail {
  const next = random(index + 7)
  const id = Array.from(
    { length: 32 },
    () => 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_'[Math.floor(next() * 64)],
  ).join('')
  const modified = now - index * 47_000 - next() * 40_000
  const address = `203.0.113.${Math.floor(next() * 250) + 1}`
  const errors = index % 6 === 2 ? Math.ceil(next() * 4) : 0
  return {
    id,
    name: index % 4 === 3 ? 'PHPSESSID' : 'connect.sid',
    created: iso(modified - next() * 40_000_000),
    modified: iso(modified),
    expires: iso(modified + 86_400_000),
    addressCreated: address,
    addressModified: index % 9 === 4 ? '2001:db8:85a3::8a2e:370:7334' : address,
    accesses: Math.ceil(next() ** 3 * 2400),
    errors,
    warnings: index % 10 === 8 ? 2 : 0,
    notices: 0,
    errorMessage: errors > 0 ? "TypeError: Cannot read properties of undefined (reading 'total')" : null,
    field: index % 3 === 1 ? null : (USERS[index % USERS.length] ?? null),
    server: SERVERS[index % 3] as string,
  }
}

export const DEMO_DATA: SessionData = {
  bytes: 412,
  data: {
    cookie: { originalMaxAge: 86_400_000, httpOnly: true, path: '/', sameSite: 'lax' },
    user: 'ada@example.org',
    cart: [
      { article: 'Notes on the Analytical Engine', price: 24.9, count: 1 },
      { article: 'Punched cards, 500', price: 12, count: 3 },
    ],
    flash: [],
    visits: 17,
    newsletter: false,
    lastSearch: null,
  },
}

export function demoAudit(now: number): AuditEntries {
  const entry = (
    minutes: number,
    act: AuditEntries['entries'][number]['act'],
    what: string,
    count?: number,
  ) => ({
    at: iso(now - minutes * 60_000),
    role: 'operator' as const,
    address: '127.0.0.1',
    act,
    what,
    ...(count === undefined ? {} : { count }),
  })
  return {
    entries: [
      entry(2, 'end-field', 'linus@example.org', 3),
      entry(3, 'look', 'k3Jx0aPq'),
      entry(16, 'end', 'f93KwZzu, 0PqmX2ab', 2),
      entry(47, 'gc', '', 812),
      entry(52, 'sign-in', ''),
      { ...entry(53, 'sign-in-failed', ''), address: '198.51.100.23' },
    ],
  }
}
