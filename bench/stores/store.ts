import type { PoolConfig } from 'pg'
import type { SessionData } from '../sessions.ts'

/**
 * An operation of a store. `writeBased`: a write with a base, which detects the changes of others. `visit`: a request
 * that changes nothing, which is a read and a touch with the record read.
 */
export type Operation = 'read' | 'write' | 'writeBased' | 'touch' | 'visit'

/** The connection to the database of the tables. Sent to worker processes as JSON. */
export type ConnectionConfig = Pick<PoolConfig, 'host' | 'port' | 'user' | 'database' | 'options'>

/** What a store is created with. Sent to its process as JSON. */
export interface StoreOptions {
  readonly connection: ConnectionConfig
  readonly sessions: number
  readonly bytes: number
  /** Options of this store only. */
  readonly own?: Record<string, unknown>
}

/** A store under measurement, in its own process. */
export interface BenchStore {
  /** Prepares the operation on these sessions, before the measurement starts. */
  prepare?(operation: Operation, ids: readonly string[]): Promise<void>
  /** The operations. Each rejects if it fails or if the session does not exist. */
  readonly operations: { readonly [O in Operation]?: (id: string) => Promise<unknown> }
  close(): Promise<void>
}

/** The default export of a store's module. */
export type CreateStore = (options: StoreOptions) => Promise<BenchStore>

/** The data for a write, always the same object with one counter increased. No store keeps the object. */
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
