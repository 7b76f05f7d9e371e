/**
 * What the console's page and its server say to each other: types alone, used by both.
 *
 * Everything is JSON under /api. A request that changes something is a POST and carries the header
 * `X-CSRF-Token` with what `GET /api/me` gave. Failures are `ApiFailure` with a status: 400 what was asked
 * cannot be, 401 sign in first, 403 not for this role or without the token, 404, 413, 429 too many failures,
 * 503 the database does not answer. Dates are ISO strings, durations seconds, sizes bytes.
 */

export interface ApiFailure {
  /** In words for the person who looks at the page. */
  readonly error: string
  /** The library's code, where it came from there. */
  readonly code?: string
  /** With 503, of several servers: others do answer. */
  readonly partial?: true
}

export type Role = 'operator' | 'reader'

/** GET /api/me. Without a password on loopback everybody is an operator and `signedIn` is true. */
export interface Me {
  readonly signedIn: boolean
  readonly role?: Role
  readonly csrfToken?: string
  /** Whether there is a password at all: else there is nothing to sign out of. */
  readonly passwordNeeded: boolean
}

/** POST /api/sign-in; 204, or 401, or 429. POST /api/sign-out: 204. */
export interface SignIn {
  readonly password: string
}

/** A number that may be an estimate: of a sample, or of the planner. */
export interface Amount {
  readonly value: number
  readonly exact: boolean
}

/** GET /api/overview: how it is now. While no server answers it is 200 all the same, with the servers and why. */
export interface Overview {
  readonly at: string
  /** Missing while no server answers. */
  readonly sessions?: Amount
  /** What expires in each of the next 24 hours; the first is from now. Empty while no server answers. */
  readonly expiring: readonly { readonly until: string; readonly sessions: Amount }[]
  readonly servers: readonly ServerOverview[]
  /** Something that wants attention, the gravest first. Empty: all is well. */
  readonly advice: readonly Advice[]
  readonly gc: readonly GcRun[]
}

export interface Advice {
  readonly level: 'info' | 'warning' | 'serious'
  /** A plain sentence: what is so. */
  readonly what: string
  /** And what to do about it. */
  readonly todo: string
  /** The server it is about. */
  readonly server?: string
}

export interface GcRun {
  readonly at: string
  readonly seconds: number
  readonly removed: number
  readonly server?: string
  readonly failed?: string
}

export interface ServerOverview {
  readonly name: string
  readonly address?: string
  readonly role: 'primary' | 'standby' | 'unknown'
  readonly health: 'up' | 'down' | 'unknown'
  readonly since: string
  /** The part of the ids whose home it is, 0 to 1. */
  readonly share: number
  readonly lastError?: string
  /** Rows that belong elsewhere and wait to be brought home. */
  readonly away?: number
  /** What follows is missing while it is down. */
  readonly sessions?: Amount
  readonly tableBytes?: number
  readonly indexBytes?: number
  readonly deadRows?: number
  /** Part of the updates that were HOT, 0 to 1; null before the first update. */
  readonly hotShare?: number | null
  readonly lastVacuum?: string | null
  /** Its standbys, as it sees them; on a standby how far it is behind. */
  readonly standbys?: readonly {
    readonly name: string
    readonly state: string
    readonly lagBytes: number | null
    readonly sync: boolean
  }[]
  readonly version?: string
}

/**
 * GET /api/history?minutes=60: how it was. GET /api/live is a stream of server-sent events: `point` with a
 * `HistoryPoint`, `mark` with a `HistoryMark`, about one every two seconds.
 */
export interface History {
  readonly points: readonly HistoryPoint[]
  readonly marks: readonly HistoryMark[]
}

/** What went on; null: the database did not answer. */
export interface Figures {
  /** How many there are. */
  readonly sessions: number | null
  readonly begun: number | null
  readonly ended: number | null
  readonly accesses: number | null
  /** Calls of sessions' error counters, as their sums have grown. */
  readonly errors: number | null
  readonly warnings: number | null
}

/** null: sessions of another writer, without a name. */
export interface NameFigures extends Figures {
  readonly name: string | null
}

export interface ServerFigures extends Figures {
  readonly name: string
  readonly up: boolean
  /** false: its sessions, errors and warnings are estimates. */
  readonly exact: boolean
}

/** What went on in the seconds before `at`. */
export interface HistoryPoint extends Figures {
  readonly at: string
  readonly seconds: number
  /** false: estimated are the sessions, errors and warnings of a server, and all of the names. */
  readonly exact: boolean
  readonly perServer: readonly ServerFigures[]
  /** The 30 names with the most sessions. A name without any is told of as long as it has rows. */
  readonly perName: readonly NameFigures[]
}

export interface HistoryMark {
  readonly at: string
  readonly kind: 'serverDown' | 'serverUp' | 'failover' | 'promoted' | 'broughtHome' | 'gc' | 'consoleStarted'
  readonly text: string
}

/**
 * GET /api/sessions?by=&q=&name=&order=&after=&limit=
 * by: `id` (what the id begins with), `field`, `address`, `error` (what the last message contains), or nothing. A search that no index serves and that
 * the time limit cuts off is 400 with what to do instead, never a slow query.
 */
export interface SessionsPage {
  readonly sessions: readonly SessionRow[]
  /** For `after`. */
  readonly next?: string
  /** How many there are in all, if that can be said cheaply. */
  readonly total?: Amount
  /** What `order` may be with this search; the others would sort more than the limit allows. */
  readonly orders: readonly string[]
}

export interface SessionRow {
  readonly id: string
  readonly name: string | null
  readonly created: string | null
  readonly modified: string | null
  readonly expires: string | null
  readonly addressCreated: string | null
  readonly addressModified: string | null
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly errorMessage: string | null
  readonly field: string | null
}

/** GET /api/session?id=…: SessionRow with the server that is its home. */
export interface SessionDetail extends SessionRow {
  readonly server?: string
}

/** POST /api/session/data { id }: a look at the data, which is noted in the audit log. */
export interface SessionData {
  /** The data as a tree of plain values, or undefined if it does not decode; then `text` is what is stored. */
  readonly data?: unknown
  readonly text?: string
  readonly bytes: number
}

/** POST /api/end: ends what is named. `count` is what the person was told; if it is more than that by now, 400. */
export type End = { readonly ids: readonly string[] } | { readonly field: string; readonly count: number }

export interface Ended {
  readonly ended: number
}

/** GET /api/count?field=…: how many there are, asked before an end of all of them. */
export interface Count {
  readonly count: number
}

/** GET /api/gc: what a garbage collection would do now, asked before one. */
export interface Garbage {
  /** How many sessions it would remove or empty, on the servers that have answered; not exact: so many at least. */
  readonly due: Amount
  /** Whether it empties them and keeps their rows: the console's own setting `keepExpired`. */
  readonly keeps: boolean
  /** Servers that could not be asked. */
  readonly away: readonly string[]
}

/** POST /api/gc */
export interface Collected {
  /** How many were removed or emptied. */
  readonly removed: number
  /** Servers where another process is at it, and was left to it. */
  readonly busy: readonly string[]
  /** Servers that could not be swept. */
  readonly failed: readonly string[]
}

/** GET /api/audit?limit=: the newest first. */
export interface Audit {
  readonly entries: readonly AuditEntry[]
}

export interface AuditEntry {
  readonly at: string
  /** Missing: somebody who was not let in. */
  readonly role?: Role
  readonly address: string
  readonly act: 'sign-in' | 'sign-in-failed' | 'sign-out' | 'look' | 'end' | 'end-field' | 'gc'
  /** What it was done to: ids are shortened to their first eight characters. */
  readonly what: string
  readonly count?: number
}
