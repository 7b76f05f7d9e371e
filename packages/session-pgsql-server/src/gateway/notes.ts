import type { ErrorCounts, ErrorLevel } from 'session-pgsql'

/** What is to be stored with a session's next write. */
export interface Note {
  /** The client's address, told by `SESSION.ADDRESS`. */
  readonly address?: string
  /** The custom field of a session that is not stored yet; null empties it. */
  readonly custom?: string | null
  /** The errors of one. */
  readonly errors?: ErrorCounts
}

/** Most sessions of which something is noted. */
const MOST = 10_000

/** Longest message of an error that is noted, in characters: a note lies in memory. */
const LONGEST = 10_000

const COUNTERS = { error: 'errors', warning: 'warnings', notice: 'notices' } as const

/** Notes by key. Bounded: the oldest goes first. */
export class Notes {
  readonly #notes = new Map<string, Note>()

  get(key: string): Note | undefined {
    return this.#notes.get(key)
  }

  /** Adds to what is noted. */
  set(key: string, note: Note): void {
    const whole = { ...this.#notes.get(key), ...note }
    this.#notes.delete(key)
    this.#notes.set(key, whole)
    const [oldest] = this.#notes.keys()
    if (this.#notes.size > MOST && oldest !== undefined) this.#notes.delete(oldest)
  }

  addError(key: string, level: ErrorLevel, message: string | undefined): void {
    const before = this.#notes.get(key)?.errors
    const counter = COUNTERS[level]
    this.set(key, {
      errors: {
        ...before,
        [counter]: (before?.[counter] ?? 0) + 1,
        message: message === undefined ? before?.message : message.slice(0, LONGEST),
      },
    })
  }

  delete(key: string): void {
    this.#notes.delete(key)
  }
}
