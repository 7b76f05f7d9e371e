import { isUtf8 } from 'node:buffer'
import type { SessionRecord, WriteResult } from 'session-pgsql'
import { BoundedMap } from './bounded-map.ts'

/**
 * What clients have read, by key: the base of what they write next. All of it is bounded; a write whose base was
 * evicted creates the session or replaces it.
 */

/** Estimated bytes of a known session besides its texts. */
const OVERHEAD = 1000

/** Seconds for which the reads of a closed connection are kept: its client may come back on another connection. */
const KEPT = 60

/** What a client knows about the session under one key. */
export interface KnownSession {
  /** null: there was no session. */
  readonly base: SessionRecord<unknown> | null
  /** What the client itself holds, if that is not the base's data: after a write that was merged. */
  readonly seen: unknown
  /** True if the access of the current PHP request has been counted: it has written, or extended the expiry. */
  counted: boolean
  /** Estimate of the bytes that it takes in memory; constant. */
  readonly bytes: number
}

/** @param key the key under which there was no session */
export function absentSession(key: string): KnownSession {
  return { base: null, seen: undefined, counted: false, bytes: OVERHEAD + 2 * key.length }
}

/** @param data PHP's bytes, as the client received them */
export function readSession(record: SessionRecord<unknown>, data: Uint8Array): KnownSession {
  const { errorMessage, custom } = record
  const metadata = 2 * ((errorMessage?.length ?? 0) + (custom?.length ?? 0))
  return {
    base: withoutData(record),
    seen: undefined,
    counted: false,
    bytes: OVERHEAD + metadata + textBytes(data),
  }
}

/**
 * What a client knows after its write. Base and data are decoded when they are asked for; usually they are not, because
 * PHP's next request reads first.
 */
export class WrittenSession implements KnownSession {
  counted = true
  readonly bytes: number
  readonly #result: WriteResult<unknown>

  /**
   * @param sent PHP's bytes, as the client sent them
   * @param stored PHP's bytes, as they are stored: after a merge not the same
   */
  constructor(result: WriteResult<unknown>, sent: Uint8Array, stored: Uint8Array) {
    this.#result = result
    this.bytes = OVERHEAD + textBytes(sent) + textBytes(stored)
  }

  get base(): SessionRecord<unknown> | null {
    const { session } = this.#result
    return session === undefined ? null : withoutData(session)
  }

  get seen(): unknown {
    return this.#result.sent
  }
}

/**
 * A base is compared by its text. Its decoded data can take twenty times the memory, is not counted in `bytes`, and is
 * not needed.
 */
function withoutData(record: SessionRecord<unknown>): SessionRecord<unknown> {
  return Object.assign(record, { data: undefined })
}

/** Bytes of the text that is stored for PHP's bytes: 2 for a character, and 3 characters for a byte that is escaped. */
function textBytes(data: Uint8Array): number {
  return data.length * (isUtf8(data) && !data.includes(0) ? 2 : 6)
}

/** The reads of one connection. */
export class ConnectionReads {
  readonly #known: BoundedMap<string, KnownSession>
  readonly #budget: ReadBudget

  /** @param budget shared with the other connections */
  constructor(maxBytes: number, budget: ReadBudget) {
    this.#known = new BoundedMap(
      maxBytes,
      ({ bytes }) => bytes,
      (_key, evicted) => budget.remove(evicted),
    )
    this.#budget = budget
  }

  get(key: string): KnownSession | undefined {
    return this.#known.get(key)
  }

  set(key: string, session: KnownSession): void {
    this.delete(key)
    this.#known.set(key, session)
    this.#budget.add(session, () => this.delete(key))
  }

  delete(key: string): void {
    const session = this.#known.delete(key)
    if (session !== undefined) this.#budget.remove(session)
  }

  /** Removes and returns everything. */
  *drain(): Generator<[string, KnownSession]> {
    for (const [key, session] of this.#known.entries()) {
      this.delete(key)
      yield [key, session]
    }
  }
}

/** Bounds the reads of all open connections together, because persistent connections may be many. */
export class ReadBudget {
  readonly #forget: BoundedMap<KnownSession, () => void>

  constructor(maxBytes: number) {
    this.#forget = new BoundedMap(
      maxBytes,
      (_forget, { bytes }) => bytes,
      (_session, forget) => forget(),
    )
  }

  /** @param forget called when the session is evicted */
  add(session: KnownSession, forget: () => void): void {
    this.#forget.set(session, forget)
  }

  remove(session: KnownSession): void {
    this.#forget.delete(session)
  }
}

/**
 * The reads of connections that closed. If several had read the same key, one is kept:
 * - a PHP request in progress before one that has written or extended the expiry, which usually was its end
 * - the older one of two requests in progress: against it, a merge takes nothing for a deletion that was none
 * - the newer one of two requests that have ended
 */
export class ClosedReads {
  readonly #kept: BoundedMap<string, { readonly session: KnownSession; readonly until: number }>

  constructor(maxBytes: number) {
    this.#kept = new BoundedMap(maxBytes, ({ session }) => session.bytes)
  }

  /** Takes over the reads of a connection that closed. */
  add(reads: ConnectionReads): void {
    const now = performance.now()
    for (const [key, { until }] of this.#kept.entries()) {
      if (until > now) break
      this.#kept.delete(key)
    }
    for (const [key, session] of reads.drain()) {
      const before = this.#kept.get(key)
      if (before !== undefined && !before.session.counted) continue
      this.#kept.set(key, { session, until: now + KEPT * 1000 })
    }
  }

  /** Removes what is kept under a key and returns it. */
  take(key: string): KnownSession | undefined {
    const kept = this.#kept.delete(key)
    return kept !== undefined && kept.until > performance.now() ? kept.session : undefined
  }
}
