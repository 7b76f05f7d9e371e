import type { ServerStatus } from './servers/server.ts'
import type { ColumnDefinitions } from './session/columns.ts'
import type { EndedSession } from './session/ended.ts'
import type { SessionRecord } from './session/record.ts'

/** The arguments, results and events of a save handler. */

/** The error levels of `session_pgsql_add_error()` of the C extension. */
export type ErrorLevel = 'error' | 'warning' | 'notice'

/** Increments of a session's error counters. */
export interface ErrorCounts {
  readonly errors?: number | undefined
  readonly warnings?: number | undefined
  readonly notices?: number | undefined
  /** The message of the last error. */
  readonly message?: string | undefined
}

/** A session's error counters, as `session_pgsql_get_error()` of the C extension returns them. */
export interface SessionErrors {
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  /** The message of the last error; null if there was none. */
  readonly message: string | null
}

export interface WriteOptions<Data> {
  /**
   * The state of the session that the write expects. Default: create or replace the session.
   *
   * - a record: the session is as read. If another request has changed its data, that is a conflict, resolved by the
   *   option `conflict`. If it was destroyed, the outcome is `gone`.
   * - `null`: no session exists. If one exists, the data is merged into it.
   * - `'existing'`: update an existing session only.
   */
  readonly base?: SessionRecord<Data> | null | 'existing' | undefined
  /**
   * The data from which the caller started; the caller's change is the difference between this and the data. Default:
   * the data of `base`. After a write that merged, pass its `session` as `base` and its `sent` as `seen`: otherwise the
   * next write would take the other request's keys for deleted by the caller.
   */
  readonly seen?: Data | undefined
  /**
   * `'error'`: if another request has changed the session since `base`, or created one that must be absent, this write
   * rejects with CONFLICT and changes nothing. Default: the option `conflict` of the save handler.
   */
  readonly conflict?: 'error' | undefined
  /** Seconds until the session expires, or a function that returns them for the data to be stored. Default: `gcMaxlifetime`. */
  readonly lifetime?: number | ((data: Data) => number) | undefined
  /**
   * The session that a new one continues under another id: the new one began when that did, for `maxLifetime`. Without
   * it, a new session begins with this write. Ignored if the session exists.
   */
  readonly since?: SessionRecord<Data> | undefined
  /** The client's IP address, stored as `addressModified`, and at creation also as `addressCreated`. */
  readonly address?: string | undefined
  /** The name of the session cookie, stored at creation. Default: the option `name`. */
  readonly name?: string | undefined
  /**
   * The custom field; null clears it. Default: unchanged. With it, unchanged data is written too. If this write and
   * another since `base` set it to different values, this one replaces the session: with `conflict: 'merge'` too, the
   * data of two users is not merged.
   */
  readonly custom?: string | null | undefined
  /** Increments of the error counters. With it, unchanged data is written too. */
  readonly errors?: ErrorCounts | undefined
  /** Whether the write counts as an access. Count one for each request and id. Default: true */
  readonly access?: boolean | undefined
}

export interface TouchOptions<Data> {
  /** Seconds until the session expires. Default: `gcMaxlifetime`. */
  readonly lifetime?: number | undefined
  /**
   * The record to touch. A session that was created later under the same id is not touched, and the expiry may become
   * earlier while the data is unchanged. Without it, a touch never makes the expiry earlier.
   */
  readonly base?: SessionRecord<Data> | undefined
  /** The custom field; null clears it. Default: unchanged. */
  readonly custom?: string | null | undefined
  /** Increments of the error counters. */
  readonly errors?: ErrorCounts | undefined
  /** Whether the touch counts as an access. Default: true */
  readonly access?: boolean | undefined
}

export type WriteOutcome = 'created' | 'updated' | 'merged' | 'skipped' | 'gone'

export interface WriteResult<Data, Columns = ColumnDefinitions> {
  /**
   * - `created`, `updated`: the data was stored as given
   * - `merged`: the data was merged with a change of another request
   * - `skipped`: the data is unchanged and nothing was sent (`shortCircuit`), so a destroy would not be noticed
   * - `gone`: the write was discarded, because the session was destroyed, has expired, or its id is in use for a new
   *   session
   */
  readonly outcome: WriteOutcome
  /** The stored session, for use as the next `base`; undefined if the outcome is `gone`. */
  readonly session: SessionRecord<Data, Columns> | undefined
  /** A copy of the data as sent, for use as the next `seen`. */
  readonly sent: Data
}

/** The options of `update`: those of `write` except the ones that the function determines. */
export interface UpdateOptions<Data> extends Omit<WriteOptions<Data>, 'base' | 'seen' | 'conflict'> {
  /**
   * The session to update. Default: `'existing'`.
   *
   * - a record: the session that it was read from, with all later changes. If that was destroyed and its id is in use
   *   for a new session, the outcome is `gone`.
   * - `null`: a session that does not exist is created, and the function receives empty data.
   * - `'existing'`: the session of this id, if it exists.
   */
  readonly base?: SessionRecord<Data> | null | 'existing' | undefined
}

export interface UpdateResult<Data, Value, Columns = ColumnDefinitions> extends WriteResult<Data, Columns> {
  /** The return value of the function, from the call whose result was written; undefined if the outcome is `gone`. */
  readonly value: Value | undefined
}

/** The options of `destroyByField`. */
export interface DestroyByFieldOptions {
  /** Ids of sessions that are not destroyed, for example that of the request's own. Default: none. */
  readonly except?: string | readonly string[] | undefined
}

/** The options of `limitByField`. */
export interface LimitByFieldOptions {
  /**
   * The id of a session that does not end, and counts as one of those that are left: that of the request's own. Several
   * ids are those of one session whose id is changing. Default: none.
   */
  readonly keep?: string | readonly string[] | undefined
}

/** The options of `destroyAll`. */
export interface DestroyAllOptions {
  /** Only sessions of this name (the option `name` with which they were created). Default: all. */
  readonly name?: string | undefined
}

interface EntryBase {
  /** Unique. */
  readonly id: string
  /** The server that the event concerns and on which the entry is stored, named as in `status()`. */
  readonly server: string
  /** When it occurred, by that database's clock. */
  readonly at: Date
  /** True if this save handler wrote the entry, and so has also emitted it as an event. */
  readonly own: boolean
}

/** An entry of `journal()`: an event of a save handler in this or another process. */
export type JournalEntry =
  /** Sweeps of one process that removed or emptied sessions; those within a minute may share an entry. `seconds` is their duration. */
  | (EntryBase & { readonly kind: 'gc'; readonly removed: number; readonly seconds: number })
  /** The server `to` became the fallback of `from`, which is down. One entry of each process, however long it lasts. */
  | (EntryBase & { readonly kind: 'failover'; readonly from: string; readonly to: string })
  /** Another host has become the primary of a replicated group. */
  | (EntryBase & {
      readonly kind: 'promoted'
      readonly from: string
      readonly to: string
      readonly timeline: number
    })
  /** Sessions that one process has moved from a fallback server back to their home server, counted by outcome. */
  | (EntryBase & {
      readonly kind: 'broughtHome'
      readonly from: string
      readonly to: string
      readonly brought: number
      readonly merged: number
      readonly dropped: number
    })

/** The result of `sweep()` for one server. */
export interface ServerSweep {
  /** The server's name, as in `status()`. */
  readonly server: string
  /** The number of sessions removed or emptied; 0 if there is an error, although some may have been. */
  readonly removed: number
  /**
   * `done`: nothing is left; `busy`: other transactions, usually of another process that is sweeping the server, have
   * locked the rest; `interrupted`: `close()` was called; undefined: the sweep failed with `error`.
   */
  readonly ended: 'done' | 'busy' | 'interrupted' | undefined
  readonly error: Error | undefined
}

/** The result of `countDue()` for one server. */
export interface ServerDue {
  /** The server's name, as in `status()`. */
  readonly server: string
  /** The number of sessions that `gc()` would remove or empty. */
  readonly count: number
  /** False if there are at least `count`. */
  readonly exact: boolean
  /** Why the count failed, if it did. */
  readonly error: Error | undefined
}

/** The events of a save handler. */
export interface SaveHandlerEvents {
  /** A write was discarded, because its session was destroyed, has expired, or its id is in use for a new session. */
  gone: [event: { id: string }]
  /** A write found that another request had changed the session. It is resolved by the option `conflict`. */
  conflict: [event: { id: string }]
  /** With several servers: this one cannot be reached, and gets no more requests until a probe succeeds. */
  serverDown: [event: { server: string; error: Error }]
  /** With several servers: a server that was down can be reached again. */
  serverUp: [event: { server: string }]
  /** A request was served by the fallback server `to`, because the home server `from` is down. */
  failover: [event: { from: string; to: string }]
  /**
   * With several hosts in one entry: another host has become the primary, and is used from now on. `from` and `to` are
   * hosts as in `status()`. `timeline` is PostgreSQL's timeline, which each promotion increments.
   */
  promoted: [event: { server: string; from: string; to: string; timeline: number }]
  /**
   * A session was moved back from a fallback server to its home server: unchanged; merged with a change of the home
   * server; or dropped, because it was destroyed there.
   */
  broughtHome: [event: { id: string; from: string; to: string; outcome: 'brought' | 'merged' | 'dropped' }]
  /** A server was swept, by `gc()`, `sweep()` or at `gcInterval`. Not emitted if other transactions have locked all that is due. */
  gc: [event: { server: string; removed: number; seconds: number }]
  /**
   * With the option `announce`: a session has ended, in any process. Emitted at least once for each session that a
   * process with `announce` has ended, soon after the commit; for `expired`, when garbage collection removes the session. A
   * database role can forge it, so before anything that cannot be undone, read the session.
   */
  ended: [event: EndedSession & { server: string }]
  /**
   * With `announce`: sessions may have ended on this server without the event `ended`, because the connection was lost, or
   * PostgreSQL could not announce them. Check the sessions that you depend on with `read`.
   */
  missed: [event: { server: string }]
  /** Background work, such as a garbage collection, failed. Without a listener, the first error of each code is logged. */
  error: [error: Error]
}

/** The settings in force and the state of each server, like `session_pgsql_status()` of the C extension. */
export interface HandlerStatus {
  /** The settings in force, for people to read; without passwords. */
  readonly settings: Record<string, unknown>
  /** Operations that run or wait. */
  readonly pending: number
  readonly servers: readonly ServerStatus[]
}
