/**
 * The contract between the console's page and its server: types only, used by both.
 *
 * Everything is JSON under /api. A request that changes something is a POST with the header `X-CSRF-Token`, whose
 * value `GET /api/me` returns. Failures are an `ApiError` with a status: 400 invalid request, 401 not signed in,
 * 403 wrong role or missing token, 404, 409 still running, 413, 429 too many failed sign-ins, 503 the database is
 * not responding. Dates are ISO strings, durations are seconds, sizes are bytes.
 */

export interface ApiError {
  /** A message for the user of the page. */
  readonly error: string
  /** The library's error code, if the error comes from the library. */
  readonly code?: string
  /** With 503 and several servers: true if other servers respond. */
  readonly partial?: true
}

export type Role = 'operator' | 'reader'

/** GET /api/me */
export interface Me {
  readonly signedIn: boolean
  readonly role?: Role
  readonly csrfToken?: string
  /** The secret that `SignInRequest` takes: a password, or the token of a console without passwords. */
  readonly signInWith: 'password' | 'token'
}

/** POST /api/sign-in: 204, 401 or 429. POST /api/sign-out: 204. `password` may be the token. */
export interface SignInRequest {
  readonly password: string
}

/** A number that may be an estimate: from a sample of the table, or from the planner's statistics. */
export interface Amount {
  readonly value: number
  readonly exact: boolean
}

/** GET /api/overview: the current state. The status is 200 even if no server responds; then the servers say why. */
export interface Overview {
  readonly at: string
  /** Absent if no server responds. */
  readonly sessions?: Amount
  /** Sessions that expire in each of the next 24 hours, from now on. Empty if no server responds. */
  readonly expiring: readonly { readonly until: string; readonly sessions: Amount }[]
  readonly servers: readonly ServerOverview[]
  /** Issues that need attention, the most severe first. Empty if there are none. */
  readonly advice: readonly Advice[]
  readonly gc: readonly GcRun[]
}

export interface Advice {
  readonly level: 'info' | 'warning' | 'critical'
  /** One sentence: the issue. */
  readonly message: string
  /** What to do about it. */
  readonly action: string
  /** The server that has the issue. */
  readonly server?: string
}

export interface GcRun {
  readonly at: string
  readonly seconds: number
  readonly removed: number
  readonly server?: string
  /** The error code, if the run failed. */
  readonly failed?: string
}

export interface ServerOverview {
  readonly name: string
  readonly address?: string
  readonly role: 'primary' | 'standby' | 'unknown'
  readonly health: 'up' | 'down' | 'unknown'
  /** When `health` last changed, as this process has seen it. */
  readonly since: string
  /** True if `health` has not changed since the console's first sample: `since` is the console's own start. */
  readonly sinceStart: boolean
  /** The share of the ids whose home server this is, 0 to 1. */
  readonly share: number
  readonly lastError?: string
  /** Rows on this server that wait for failback to their home server. */
  readonly pendingFailback?: number
  /** This and all following properties are absent while the server is down. */
  readonly sessions?: Amount
  readonly tableBytes?: number
  readonly indexBytes?: number
  readonly deadRows?: number
  /** The share of updates that were HOT, 0 to 1; null before the first update. */
  readonly hotShare?: number | null
  readonly lastVacuum?: string | null
  /** On a primary: its standbys. On a standby: its own lag. */
  readonly standbys?: readonly {
    readonly name: string
    readonly state: string
    readonly lagBytes: number | null
    readonly sync: boolean
  }[]
  readonly version?: string
}

/**
 * GET /api/history?minutes=60: the past. GET /api/live is a stream of server-sent events: `point` with a
 * `HistoryPoint`, about every two seconds, and `annotation` with an `Annotation`.
 */
export interface History {
  readonly points: readonly HistoryPoint[]
  readonly annotations: readonly Annotation[]
}

/** Metrics of one interval; null if the database did not respond. */
export interface SessionMetrics {
  /** The number of active sessions at the end of the interval. */
  readonly sessions: number | null
  readonly created: number | null
  readonly ended: number | null
  readonly accesses: number | null
  /** The growth of the sum of the sessions' error counters. */
  readonly errors: number | null
  readonly warnings: number | null
}

/** `name` is null for sessions that another program has written without a cookie name. */
export interface NameMetrics extends SessionMetrics {
  readonly name: string | null
}

export interface ServerMetrics extends SessionMetrics {
  readonly name: string
  readonly up: boolean
  /** False if its sessions, errors and warnings are estimates. */
  readonly exact: boolean
}

/** Metrics of the `seconds` before `at`. */
export interface HistoryPoint extends SessionMetrics {
  readonly at: string
  readonly seconds: number
  /** False if a server's sessions, errors and warnings are estimates; then all metrics by name are estimates, too. */
  readonly exact: boolean
  readonly perServer: readonly ServerMetrics[]
  /** The 30 names with the most sessions. A name whose sessions have all expired is included while its rows exist. */
  readonly perName: readonly NameMetrics[]
}

/** An event that the charts mark on their time axis. */
export interface Annotation {
  readonly at: string
  readonly kind: 'serverDown' | 'serverUp' | 'failover' | 'promoted' | 'broughtHome' | 'gc' | 'consoleStarted'
  readonly text: string
}

/**
 * GET /api/sessions?by=&q=&name=&order=&after=&limit=
 * `by` is `id` (prefix of the id), `field`, `address`, `error` (substring of the last error message), `column.` and the
 * name of an own column, or empty. If no index serves the search and it exceeds the time limit, the answer is 400 with
 * advice.
 */
export interface SessionsPage {
  readonly sessions: readonly SessionRow[]
  /** The value for `after` that returns the next page. Absent on the last page. */
  readonly next?: string
  /** The number of all matching sessions, if it is cheap to determine. */
  readonly total?: Amount
  /** The servers that cannot be reached, whose sessions the list lacks. Absent if it is complete. */
  readonly missing?: readonly string[]
  /** The values of `order` that this search allows; the others would sort more rows than the time limit permits. */
  readonly orders: readonly string[]
  /** The own columns that `by` can name. Absent if there are none. */
  readonly columns?: readonly string[]
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
  /** The values of the own columns as text, by name. Absent if the console knows of none. */
  readonly columns?: Readonly<Record<string, string | null>>
}

/** GET /api/session?id=…: one session and its home server. */
export interface SessionDetail extends SessionRow {
  readonly server?: string
  /** The own columns that `by` can name. Absent if there are none. */
  readonly searchable?: readonly string[]
}

/** POST /api/session/data { id }: the data of one session. The audit log records the request. */
export interface SessionData {
  /** The data as a tree of plain values; undefined if the data cannot be decoded. */
  readonly data?: unknown
  /** The stored text, if the data cannot be decoded. */
  readonly text?: string
  /** Why the data is not shown: it is encrypted, and the console cannot decrypt it. */
  readonly unreadable?: string
  /** Absent with `unreadable`. */
  readonly bytes?: number
}

/**
 * POST /api/end: ends the given sessions. `count` is the number that the user confirmed; if more sessions have the
 * field by then, the answer is 400 and no session ends. `all`: ends the sessions of all users.
 */
export type EndRequest =
  | { readonly ids: readonly string[] }
  | { readonly field: string; readonly count: number }
  | { readonly all: true }

export interface EndResult {
  readonly ended: number
}

/** GET /api/count?field=…: the number of sessions with this field, requested before all of them are ended. */
export interface CountResult {
  readonly count: number
}

/** GET /api/gc: what a garbage collection would do now, requested before one is started. */
export interface GcPreview {
  /** Sessions that GC would remove or empty on the servers that responded. A lower bound if not exact. */
  readonly due: Amount
  /** True if GC empties sessions and keeps their rows: the console's own setting `keepExpired`. */
  readonly keepsRows: boolean
  /** Servers that did not respond. */
  readonly unreachable: readonly string[]
}

/** POST /api/gc */
export interface GcResult {
  /** Sessions that were removed or emptied. */
  readonly removed: number
  /** Servers that were skipped because another process was collecting. */
  readonly busy: readonly string[]
  /** Servers on which GC failed. */
  readonly failed: readonly string[]
}

/** GET /api/audit?limit=: the newest entries first. */
export interface AuditEntries {
  readonly entries: readonly AuditEntry[]
}

/**
 * One line of the audit file, which also has the `number` of the line and the hash of the `previous` one. The property
 * names and values are a stored format.
 */
export interface AuditEntry {
  readonly at: string
  /** Absent for a failed sign-in. */
  readonly role?: Role
  readonly address: string
  readonly act: 'sign-in' | 'sign-in-failed' | 'sign-out' | 'look' | 'end' | 'end-field' | 'end-all' | 'gc'
  /** The target. Ids are shortened to at most eight characters. */
  readonly what: string
  readonly count?: number
  /** The number of earlier entries of this act that were not recorded, because there were too many. */
  readonly omitted?: number
}
