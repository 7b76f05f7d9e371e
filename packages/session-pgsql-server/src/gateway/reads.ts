import { isUtf8 } from 'node:buffer'
import type { SessionRecord, WriteResult } from 'session-pgsql'
import { BoundedMap } from './bounded-map.ts'

/**
 * What clients have read, by key: the base of what they write next. When memory is short, texts are dropped and etags
 * stay: they tell whether a session is still as the client has read it, but a conflict cannot be merged without the text.
 */

/** Sessions that one connection knows. PHP reads one in a request, and a second one if it regenerates the id. */
const MAX_KNOWN = 128

/** Seconds for which the reads of a closed connection are kept: its client may come back on another connection. */
const KEPT = 60

/** Reads of closed connections that are kept. */
const MAX_CLOSED = 50_000

/** The state of a session that a client has read or written, with its data. */
export interface KnownText {
  /** null: there was no session. */
  readonly base: SessionRecord<unknown> | null
  /** What the client itself holds, if that is not the base's data: after a write that was merged. */
  readonly seen: unknown
  /** Estimate of the bytes that it takes in memory; constant. */
  readonly textBytes: number
}

/** What a client knows about the session under one key. */
export class KnownSession {
  /** True if the access of the current PHP request has been counted. */
  counted = false
  /** True if the PHP request that has read it has probably ended: it has written, or extended the expiry. */
  ended = false
  #text: KnownText | undefined
  #etag: string | undefined

  /** @param etag undefined: the one of `text.base`, which is asked for it when the text is dropped */
  constructor(etag: string | undefined, text: KnownText) {
    this.#etag = etag
    this.#text = text
  }

  /** Undefined if it was dropped. */
  get text(): KnownText | undefined {
    return this.#text
  }

  /** The `etag` of the record that the client knows; undefined if there was no session. */
  get etag(): string | undefined {
    return this.#etag ?? this.#text?.base?.etag
  }

  dropText(): void {
    this.#etag = this.etag
    this.#text = undefined
  }
}

/** What a client knows if there was no session. */
export function absentSession(): KnownSession {
  return new KnownSession(undefined, { base: null, seen: undefined, textBytes: 0 })
}

/** @param data PHP's bytes, as the client received them */
export function readSession(record: SessionRecord<unknown>, data: Uint8Array): KnownSession {
  const { errorMessage, custom } = record
  const metadata = 2 * ((errorMessage?.length ?? 0) + (custom?.length ?? 0))
  return new KnownSession(undefined, {
    base: withoutData(record),
    seen: undefined,
    textBytes: metadata + textBytes(data),
  })
}

/**
 * What a client knows after its write. Base and data are decoded when they are asked for; usually they are not, because
 * PHP's next request reads first.
 *
 * @param sent PHP's bytes, as the client sent them
 * @param stored PHP's bytes, as they are stored: after a merge not the same
 */
export function writtenSession(
  result: WriteResult<unknown>,
  sent: Uint8Array,
  stored: Uint8Array,
): KnownSession {
  const known = new KnownSession(undefined, {
    get base() {
      const { session } = result
      return session === undefined ? null : withoutData(session)
    },
    get seen() {
      return result.sent
    },
    textBytes: textBytes(sent) + textBytes(stored),
  })
  known.counted = true
  known.ended = true
  return known
}

/**
 * A base is compared by its text. Its decoded data can take twenty times the memory, is not counted in `textBytes`, and
 * is not needed.
 */
function withoutData(record: SessionRecord<unknown>): SessionRecord<unknown> {
  return Object.assign(record, { data: undefined })
}

/** Bytes of the text that is stored for PHP's bytes: 2 for a character, and 3 characters for a byte that is escaped. */
function textBytes(data: Uint8Array): number {
  return data.length * (isUtf8(data) && !data.includes(0) ? 2 : 6)
}

/** The texts of one session, the oldest first. */
interface SessionTexts {
  readonly known: Set<KnownSession>
  bytes: number
}

/**
 * Bounds the texts of all connections together. When it is exceeded, the session that takes most memory loses its oldest
 * text: a user who opens many connections, or many large sessions, takes nothing from the sessions of others.
 */
export class TextBudget {
  readonly #maxBytes: number
  readonly #sessions = new Map<string, SessionTexts>()
  /** Keys of sessions by the binary logarithm of their bytes: largest first without sorting. */
  readonly #bySize: Set<string>[] = Array.from({ length: 64 }, () => new Set())
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  add(key: string, known: KnownSession): void {
    const bytes = known.text?.textBytes ?? 0
    if (bytes === 0) return
    const texts = this.#sessions.get(key) ?? { known: new Set(), bytes: 0 }
    texts.known.add(known)
    this.#resize(key, texts, bytes)
    while (this.#bytes > this.#maxBytes) this.#dropOne()
  }

  remove(key: string, known: KnownSession): void {
    const texts = this.#sessions.get(key)
    if (texts?.known.delete(known)) this.#resize(key, texts, -(known.text?.textBytes ?? 0))
  }

  #dropOne(): void {
    const [largest] = this.#bySize.findLast((keys) => keys.size > 0) ?? []
    const texts = this.#sessions.get(largest as string) as SessionTexts
    const [oldest] = texts.known
    this.remove(largest as string, oldest as KnownSession)
    oldest?.dropText()
  }

  #resize(key: string, texts: SessionTexts, bytes: number): void {
    const before = this.#sessions.has(key) ? sizeClass(texts.bytes) : undefined
    texts.bytes += bytes
    this.#bytes += bytes
    const after = texts.known.size > 0 ? sizeClass(texts.bytes) : undefined
    if (before === after) return
    if (before !== undefined) this.#bySize[before]?.delete(key)
    if (after === undefined) {
      this.#sessions.delete(key)
    } else {
      this.#sessions.set(key, texts)
      this.#bySize[after]?.add(key)
    }
  }
}

function sizeClass(bytes: number): number {
  return Math.floor(Math.log2(bytes + 1))
}

/** The reads of one connection: the last 128. */
export class ConnectionReads {
  readonly #known: BoundedMap<string, KnownSession>
  readonly #budget: TextBudget

  constructor(budget: TextBudget) {
    this.#known = new BoundedMap(
      MAX_KNOWN,
      () => 1,
      (key, evicted) => budget.remove(key, evicted),
    )
    this.#budget = budget
  }

  get(key: string): KnownSession | undefined {
    return this.#known.get(key)
  }

  set(key: string, session: KnownSession): void {
    this.delete(key)
    this.#known.set(key, session)
    this.#budget.add(key, session)
  }

  delete(key: string): void {
    const session = this.#known.delete(key)
    if (session !== undefined) this.#budget.remove(key, session)
  }

  /** Removes and returns everything. */
  *drain(): Generator<[string, KnownSession]> {
    for (const [key, session] of this.#known.entries()) {
      this.delete(key)
      yield [key, session]
    }
  }
}

/**
 * The reads of closed connections whose PHP request was in progress: it had not written or extended the expiry, which
 * usually ends it. If several had read the same key, the older one is kept: against it, a merge takes nothing for a
 * deletion that was none.
 */
export class ClosedReads {
  readonly #budget: TextBudget
  readonly #kept: BoundedMap<string, { readonly session: KnownSession; readonly until: number }>

  constructor(budget: TextBudget) {
    this.#budget = budget
    this.#kept = new BoundedMap(
      MAX_CLOSED,
      () => 1,
      (key, { session }) => budget.remove(key, session),
    )
  }

  /** Takes over the reads of a connection that closed. */
  add(reads: ConnectionReads): void {
    const now = performance.now()
    for (const [key, { until }] of this.#kept.entries()) {
      if (until > now) break
      this.#remove(key)
    }
    for (const [key, session] of reads.drain()) {
      if (session.ended || this.#kept.get(key) !== undefined) continue
      this.#kept.set(key, { session, until: now + KEPT * 1000 })
      this.#budget.add(key, session)
    }
  }

  /** Removes what is kept under a key and returns it. */
  take(key: string): KnownSession | undefined {
    const kept = this.#remove(key)
    return kept !== undefined && kept.until > performance.now() ? kept.session : undefined
  }

  #remove(key: string): { readonly session: KnownSession; readonly until: number } | undefined {
    const kept = this.#kept.delete(key)
    if (kept !== undefined) this.#budget.remove(key, kept.session)
    return kept
  }
}
