import type { ErrorCounts, ErrorLevel } from 'session-pgsql'
import { BoundedMap } from './bounded-map.ts'

/** Metadata to be stored with a session's next write. */
export interface PendingUpdate {
  /** The client's address, from `SESSION.ADDRESS`. */
  readonly address?: string
  /** The custom field of a session that is not stored yet; null clears it. */
  readonly custom?: string | null
  /** The errors of a session that is not stored yet. */
  readonly errors?: ErrorCounts
}

/** Estimated bytes of an update besides its texts. */
const OVERHEAD = 500

/** Characters of an error message that are kept. */
const MAX_MESSAGE = 10_000

const COUNTERS = { error: 'errors', warning: 'warnings', notice: 'notices' } as const

/** Metadata by key, bounded in memory: the oldest is dropped first. */
export class PendingMetadata {
  readonly #updates: BoundedMap<string, PendingUpdate>

  constructor(maxBytes: number) {
    this.#updates = new BoundedMap(maxBytes, sizeOf)
  }

  get(key: string): PendingUpdate | undefined {
    return this.#updates.get(key)
  }

  /** Adds to the update of a key. */
  set(key: string, update: PendingUpdate): void {
    this.#updates.set(key, { ...this.#updates.get(key), ...update })
  }

  addError(key: string, level: ErrorLevel, message: string | undefined): void {
    const before = this.#updates.get(key)?.errors
    const counter = COUNTERS[level]
    this.set(key, {
      errors: {
        ...before,
        [counter]: (before?.[counter] ?? 0) + 1,
        // The cut may split a character in two.
        message: message === undefined ? before?.message : message.slice(0, MAX_MESSAGE).toWellFormed(),
      },
    })
  }

  delete(key: string): void {
    this.#updates.delete(key)
  }

  /** Removes an update that was stored. What was added during the write stays for the next write. */
  stored(key: string, update: PendingUpdate | undefined): void {
    if (this.#updates.get(key) === update) this.#updates.delete(key)
  }
}

function sizeOf({ address, custom, errors }: PendingUpdate, key: string): number {
  const texts = [key, address, custom, errors?.message]
  return OVERHEAD + 2 * texts.reduce((sum, text) => sum + (text?.length ?? 0), 0)
}
