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

/** Bytes that a note takes beside its texts, about. */
const BESIDE = 500

/** Longest message of an error that is noted, in characters: a note lies in memory. */
const LONGEST = 10_000

const COUNTERS = { error: 'errors', warning: 'warnings', notice: 'notices' } as const

/** Notes by key. Bounded: the oldest goes first. */
export class Notes {
  readonly #notes = new Map<string, Note>()
  readonly #most: number
  #weight = 0

  /** @param most bytes */
  constructor(most: number) {
    this.#most = most
  }

  get(key: string): Note | undefined {
    return this.#notes.get(key)
  }

  /** Adds to what is noted. */
  set(key: string, note: Note): void {
    const whole = { ...this.#notes.get(key), ...note }
    this.delete(key)
    this.#notes.set(key, whole)
    this.#weight += weightOf(key, whole)
    for (const oldest of this.#notes.keys()) {
      if (this.#weight <= this.#most || oldest === key) return
      this.delete(oldest)
    }
  }

  addError(key: string, level: ErrorLevel, message: string | undefined): void {
    const before = this.#notes.get(key)?.errors
    const counter = COUNTERS[level]
    this.set(key, {
      errors: {
        ...before,
        [counter]: (before?.[counter] ?? 0) + 1,
        message: message === undefined ? before?.message : message.slice(0, LONGEST).toWellFormed(),
      },
    })
  }

  delete(key: string): void {
    const note = this.#notes.get(key)
    if (note === undefined) return
    this.#notes.delete(key)
    this.#weight -= weightOf(key, note)
  }
}

function weightOf(key: string, { address, custom, errors }: Note): number {
  const texts = [key, address, custom, errors?.message]
  return BESIDE + 2 * texts.reduce((sum, text) => sum + (text?.length ?? 0), 0)
}
