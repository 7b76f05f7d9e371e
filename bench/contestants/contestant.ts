import type { PoolConfig } from 'pg'
import type { SessionData } from '../sessions.ts'

/**
 * What can be asked of a store. `writeBased`: a write that tells whether somebody else has written since.
 * `visit`: a request that changes nothing, which is a read and a touch of what was read.
 */
export type Operation = 'read' | 'write' | 'writeBased' | 'touch' | 'visit'

/** How to reach the table; travels to worker processes as JSON. */
export type Where = Pick<PoolConfig, 'host' | 'port' | 'user' | 'database' | 'options'>

/** What a contestant is told, as JSON. */
export interface ContestantOptions {
  readonly where: Where
  readonly redisPort: number | undefined
  readonly sessions: number
  readonly bytes: number
  /** What is peculiar to this contestant. */
  readonly own?: Record<string, unknown>
}

/** A store in the race, in a process of its own. */
export interface Contestant {
  /** Before the clock starts: what it must know of these sessions to do the operation with them. */
  prepare?(operation: Operation, ids: readonly string[]): Promise<void>
  /** One operation; rejects if it fails, or if there is no such session. `data` is for those that write. */
  readonly operations: { readonly [O in Operation]?: (id: string) => Promise<unknown> }
  close(): Promise<void>
}

/** The default export of a contestant's file. */
export type MakeContestant = (options: ContestantOptions) => Promise<Contestant>

/** The data for a write: the same as ever but for one counter. One object, for nobody keeps it. */
export class NextData {
  readonly #data: SessionData

  constructor(data: SessionData) {
    this.#data = data
  }

  next(): SessionData {
    this.#data.views++
    return this.#data
  }
}
