import type { Health } from './health.ts'
import type { Server } from './server.ts'

/** One of several servers, among which sessions are spread. */
export interface Member {
  readonly name: string
  readonly weight: number
  readonly server: Server
  readonly health: Health
  /** Rows that belong elsewhere, at the last look; at most so many as are brought at a time. */
  waiting: number
  /** What became of those that this process has brought home from here. */
  readonly failbacks: { brought: number; merged: number; dropped: number }
}
