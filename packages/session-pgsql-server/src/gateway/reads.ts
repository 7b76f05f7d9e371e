import { isUtf8 } from 'node:buffer'
import type { SessionRecord, WriteResult } from 'session-pgsql'

/** Bytes that a session takes beside its data, about. */
const BESIDE = 1000

/** What a client has read under one key, and so what its next write is a change of. */
export interface KnownSession {
  /** null: there was nothing. */
  readonly base: SessionRecord<unknown> | null
  /** What the client holds itself, where that is not the base's data: after a write that merged. */
  readonly seen: unknown
  /** Whether the request that is under way has been counted as an access: it has written, or moved the expiry. */
  counted: boolean
  /** How many bytes it holds, at most. */
  readonly weight: number
}

/** @param key under which there was nothing */
export function nothingRead(key: string): KnownSession {
  return { base: null, seen: undefined, counted: false, weight: BESIDE + 2 * key.length }
}

/** @param bytes its data, as it was given out */
export function sessionRead(record: SessionRecord<unknown>, bytes: Uint8Array): KnownSession {
  const { errorMessage, custom } = record
  const texts = 2 * ((errorMessage?.length ?? 0) + (custom?.length ?? 0))
  return {
    base: withoutData(record),
    seen: undefined,
    counted: false,
    weight: BESIDE + texts + textWeight(bytes),
  }
}

/** What a client knows after its write. Decoded when it is asked for: PHP's next request reads first, and nobody asks. */
export class WrittenSession implements KnownSession {
  counted = true
  readonly weight: number
  readonly #result: WriteResult<unknown>

  /**
   * @param sent what the client has sent
   * @param stored what is stored now: after a merge that is something else
   */
  constructor(result: WriteResult<unknown>, sent: Uint8Array, stored: Uint8Array) {
    this.#result = result
    this.weight = BESIDE + textWeight(sent) + textWeight(stored)
  }

  get base(): SessionRecord<unknown> | null {
    const { session } = this.#result
    return session === undefined ? null : withoutData(session)
  }

  get seen(): unknown {
    return this.#result.sent
  }
}

/** A base is compared by its text. Its data, which may take twenty times as much where it is decoded, nobody needs or counts. */
function withoutData(record: SessionRecord<unknown>): SessionRecord<unknown> {
  return Object.assign(record, { data: undefined })
}

/** What the text that is stored for these bytes takes: two bytes a character, and three characters for what no text holds. */
function textWeight(bytes: Uint8Array): number {
  return bytes.length * (isUtf8(bytes) && !bytes.includes(0) ? 2 : 6)
}

/** What one connection has read. Bounded: the oldest goes first, and a write without it is best effort. */
export class Reads {
  readonly #known = new Map<string, KnownSession>()
  readonly #most: number
  readonly #all: AllReads
  #weight = 0

  /** @param most bytes */
  constructor(most: number, all: AllReads) {
    this.#most = most
    this.#all = all
  }

  get(key: string): KnownSession | undefined {
    return this.#known.get(key)
  }

  set(key: string, session: KnownSession): void {
    this.delete(key)
    this.#known.set(key, session)
    this.#weight += session.weight
    this.#all.add(session, () => this.delete(key))
    for (const oldest of this.#known.keys()) {
      if (this.#weight <= this.#most || oldest === key) return
      this.delete(oldest)
    }
  }

  delete(key: string): void {
    const session = this.#known.get(key)
    if (session === undefined) return
    this.#known.delete(key)
    this.#weight -= session.weight
    this.#all.delete(session)
  }

  /** All of it, which is forgotten. */
  *take(): Generator<[string, KnownSession]> {
    for (const [key, session] of this.#known) {
      this.delete(key)
      yield [key, session]
    }
  }
}

/** What all connections that are there have read: bounded together, for there may be many that stay. */
export class AllReads {
  readonly #known = new Map<KnownSession, () => void>()
  readonly #most: number
  #weight = 0

  /** @param most bytes */
  constructor(most: number) {
    this.#most = most
  }

  /** @param forget called when there is no room for it any more */
  add(session: KnownSession, forget: () => void): void {
    this.#known.set(session, forget)
    this.#weight += session.weight
    for (const [oldest, forgetOldest] of this.#known) {
      if (this.#weight <= this.#most || oldest === session) return
      forgetOldest()
    }
  }

  delete(session: KnownSession): void {
    if (this.#known.delete(session)) this.#weight -= session.weight
  }
}

/** Seconds for which it is remembered what a connection had read that has ended: its client may come back on another. */
const REMEMBERED = 60

/**
 * What connections had read when they ended. Of those that had read the same key a request under way is kept before
 * one that has written since or moved the expiry, for that was its end as a rule. Of two under way it is the older:
 * against it a merge takes nothing for a deletion that was none. Of two that are done it is the newer.
 */
export class LeftReads {
  readonly #left = new Map<string, { session: KnownSession; until: number }>()
  readonly #most: number
  #weight = 0

  /** @param most bytes */
  constructor(most: number) {
    this.#most = most
  }

  leave(reads: Reads): void {
    const now = performance.now()
    for (const [key, { until }] of this.#left) {
      if (until > now) break
      this.take(key)
    }
    for (const [key, session] of reads.take()) {
      const before = this.#left.get(key)
      if (before !== undefined && !before.session.counted) continue
      this.take(key)
      this.#left.set(key, { session, until: now + REMEMBERED * 1000 })
      this.#weight += session.weight
    }
    for (const key of this.#left.keys()) {
      if (this.#weight <= this.#most) return
      this.take(key)
    }
  }

  /** Once: whoever takes it has it from then on. */
  take(key: string): KnownSession | undefined {
    const left = this.#left.get(key)
    if (left === undefined) return undefined
    this.#left.delete(key)
    this.#weight -= left.session.weight
    return left.until > performance.now() ? left.session : undefined
  }
}
