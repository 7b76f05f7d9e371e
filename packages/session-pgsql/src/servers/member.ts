import type { Health } from './health.ts'
import type { Server } from './server.ts'

/** One of several independent servers that share the sessions. */
export interface Member {
  readonly name: string
  readonly weight: number
  readonly server: Server
  readonly health: Health
  /** Rows on it that belong on another server, counted at the last scan up to one batch. */
  waiting: number
  /** Rows that this process has moved from it to their home servers, by outcome. */
  readonly failbacks: { brought: number; merged: number; dropped: number }
}

/** The servers in the order in which they are used for an id: the home server, then its fallbacks. */
export type Ranking = readonly [home: Member, ...others: Member[]]
