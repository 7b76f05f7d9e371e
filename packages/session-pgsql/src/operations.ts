import type { ServerStatus } from './servers/server.ts'
import type { SessionRecord } from './session/record.ts'

/** What can be asked of a save handler, and what it answers. */

/** The seed's levels: `session_pgsql_add_error()`. */
export type ErrorLevel = 'error' | 'warning' | 'notice'

/** What to add to a session's error counters. */
export interface ErrorCounts {
  readonly errors?: number | undefined
  readonly warnings?: number | undefined
  readonly notices?: number | undefined
  /** The last error's message. */
  readonly message?: string | undefined
}

/** The seed's `session_pgsql_get_error()`. */
export interface SessionErrors {
  readonly errors: number
  readonly warnings: number
  readonly notices: number
  readonly message: string | null
}

export interface WriteOptions<Data> {
  /**
   * What the session is taken to be. A record: write only if it is still that; if somebody else has changed
   * the data it is a conflict, if it was destroyed the outcome is `gone`. `null`: it must be absent, else the
   * data is merged into what is there. `'existing'`: update only. Left out: create or replace.
   */
  readonly base?: SessionRecord<Data> | null | 'existing' | undefined
  /**
   * What the data looked like when the caller was last in step with the table; the caller's change is the
   * difference between this and the data. Default: the base's data. After a write that merged, `base` is its
   * result and `seen` is what was sent: otherwise the next write would read the other side's keys as
   * deletions.
   */
  readonly seen?: Data | undefined
  /**
   * `'error'`: where somebody else has changed the session since the base, or made one that must be absent, this
   * write fails with CONFLICT and changes nothing. Default: as the setting `conflict` says.
   */
  readonly conflict?: 'error' | undefined
  /** Seconds to live from now, or a function of the data as it will be stored. Default: `gcMaxlifetime`. */
  readonly lifetime?: number | ((data: Data) => number) | undefined
  /** The client's address, kept as `addressModified`, and at the creation as `addressCreated`. */
  readonly address?: string | undefined
  /** The cookie's name, kept at the creation. Default: the setting `name`. */
  readonly name?: string | undefined
  /** The custom field's new value, null to empty it; left out: as it is. Forces the write. */
  readonly custom?: string | null | undefined
  /** What to add to the error counters. Forces the write. */
  readonly errors?: ErrorCounts | undefined
  /** `false`: this is not another access. Count one for each request and id. Default: true. */
  readonly access?: boolean | undefined
}

export interface TouchOptions<Data> {
  /** Seconds to live from now. Default: `gcMaxlifetime`. */
  readonly lifetime?: number | undefined
  /**
   * The record that the caller speaks for. Only that life of the id is touched, and as long as the data is
   * still the same the expiry may be shortened. Without it a touch never shortens.
   */
  readonly base?: SessionRecord<Data> | undefined
  readonly custom?: string | null | undefined
  readonly errors?: ErrorCounts | undefined
  readonly access?: boolean | undefined
}

export type WriteOutcome = 'created' | 'updated' | 'merged' | 'skipped' | 'gone'

export interface WriteResult<Data> {
  /**
   * - `created`, `updated`: as asked
   * - `merged`: with what somebody else had written
   * - `skipped`: nothing had changed and nothing was sent (short circuit), so it cannot know of a destroy
   * - `gone`: the session was destroyed, has expired, or its id has begun another life; the write was discarded
   */
  readonly outcome: WriteOutcome
  /** The session as it is stored now, fit to be the next base; undefined with `gone`. */
  readonly session: SessionRecord<Data> | undefined
  /** A fresh copy of the data as it was sent: the `seen` of the next write. */
  readonly sent: Data
}

/** The options of `update`: those of `write` but for what the function itself decides. */
export interface UpdateOptions<Data> extends Omit<WriteOptions<Data>, 'base' | 'seen' | 'conflict'> {
  /**
   * Which session to update. A record: the session that it was read from, with all later changes; if it was ended and
   * its id is used again, the outcome is `gone`. `null`: a session that does not exist is created, and the function is
   * given empty data. `'existing'` or left out: the session of this id, if there is one.
   */
  readonly base?: SessionRecord<Data> | null | 'existing' | undefined
}

export interface UpdateResult<Data, Value> extends WriteResult<Data> {
  /** The return value of the function, from the call whose result was written; undefined with `gone`. */
  readonly value: Value | undefined
}

interface JournalNote {
  /** No two entries have the same. */
  readonly id: string
  /** The server that it concerns and on which it was noted, by its name in `status()`. */
  readonly server: string
  /** By that database's clock. */
  readonly at: Date
  /** Whether this save handler has noted it; then it was also an event. */
  readonly own: boolean
}

/** What `journal()` tells: what save handlers told as events, in whatever process. */
export type JournalEntry =
  /** A sweep that has removed or emptied sessions. What one process sweeps within a minute may be one entry. */
  | (JournalNote & { readonly kind: 'gc'; readonly removed: number; readonly seconds: number })
  /** A server has begun to stand in for another. Told once by each process, for as long as it goes on. */
  | (JournalNote & { readonly kind: 'failover'; readonly from: string; readonly to: string })
  /** Another host has become a group's primary. */
  | (JournalNote & {
      readonly kind: 'promoted'
      readonly from: string
      readonly to: string
      readonly timeline: number
    })
  /** What one process has brought home in some seconds, and what came of it: how many sessions of each. */
  | (JournalNote & {
      readonly kind: 'broughtHome'
      readonly from: string
      readonly to: string
      readonly brought: number
      readonly merged: number
      readonly dropped: number
    })

/** What `sweep()` has done on one server. */
export interface ServerSweep {
  /** As in `status()`. */
  readonly server: string
  /** How many sessions were removed or emptied; with an error it is not known. */
  readonly removed: number
  /**
   * `done`: nothing is left; `busy`: another process is at it, and was left to it; `interrupted`: by `close()`;
   * undefined: it has failed, and `error` says why.
   */
  readonly ended: 'done' | 'busy' | 'interrupted' | undefined
  readonly error: Error | undefined
}

/** What `countDue()` says of one server. */
export interface ServerDue {
  /** As in `status()`. */
  readonly server: string
  readonly count: number
  /** false: so many at least. */
  readonly exact: boolean
  /** Why it could not be counted, if so. */
  readonly error: Error | undefined
}

/** The session events: `gone` and `conflict` tell of a session by its id, `error` of what went wrong in the background. */
export interface SaveHandlerEvents {
  /** A write was discarded, for its session had been destroyed, had expired, or its id has begun another life. */
  gone: [event: { id: string }]
  /** Somebody else had changed a session; it is settled as `conflict` says. */
  conflict: [event: { id: string }]
  /** With several servers: this one cannot be reached, and is not asked any more until a probe finds it alive. */
  serverDown: [event: { server: string; error: Error }]
  serverUp: [event: { server: string }]
  /** A request was served by another server than its session's home, which is down. */
  failover: [event: { from: string; to: string }]
  /**
   * With several hosts in one entry: another one has become the group's primary, and is used from now on. Hosts are
   * named as in `status()`; `timeline` is PostgreSQL's count of the promotions.
   */
  promoted: [event: { server: string; from: string; to: string; timeline: number }]
  /**
   * What another server kept of a session has come to its home: as it was; merged with what had changed at home;
   * or dropped, for it was destroyed there.
   */
  broughtHome: [event: { id: string; from: string; to: string; outcome: 'brought' | 'merged' | 'dropped' }]
  /** A server was swept, by `gc()` or at `gcInterval`, in so many seconds. Not told where another process was at it. */
  gc: [event: { server: string; removed: number; seconds: number }]
  /** Something failed that no caller waits for, such as a garbage collection. Without a listener it is logged once. */
  error: [error: Error]
}

/** The settings in force and how each server is: the seed's `session_pgsql_status()`. */
export interface HandlerStatus {
  /** As they are in force, for people; without passwords. */
  readonly settings: Record<string, unknown>
  /** Operations under way or waiting. */
  readonly pending: number
  readonly servers: readonly ServerStatus[]
}
