import { SessionPgsqlError } from '../../errors.ts'
import type { WriteOutcome, WriteResult } from '../../operations.ts'
import type { SaveHandler } from '../../save-handler.ts'
import type { SessionRecord } from '../../session/record.ts'
import { inTurn, type Queue } from './in-turn.ts'

/** The data of a session as it is stored, of whatever application. */
export type Stored = Record<string, unknown>

/** What a write says besides the data. */
export interface About {
  /** Seconds to live, or a function of the data as it will be stored. */
  readonly lifetime: number | ((data: Stored) => number)
  readonly address?: string | undefined
  readonly name: string
}

/**
 * One request's copy of a session: it remembers the row that the request has seen, so that what is written is
 * the request's difference from that, and nothing comes back that was destroyed meanwhile.
 */
export class WorkingCopy {
  readonly id: string
  readonly #sessions: SaveHandler<Stored>
  readonly #queue: Queue = { tail: undefined }
  /** The keys in the order in which they were read: in another order unchanged data would not be the same text. */
  readonly #order: readonly string[]
  #base: Pick<WriteResult<Stored>, 'session'> | null | undefined
  #seen: Stored | undefined
  #isCounted = false

  /** @param base as it was read; null: it is new; undefined: nothing is known of what is there */
  constructor(sessions: SaveHandler<Stored>, id: string, base: SessionRecord<Stored> | null | undefined) {
    this.#sessions = sessions
    this.id = id
    this.#base = base ? { session: base } : base
    this.#order = base ? Object.keys(base.data) : []
  }

  /** Writes the data as it is at this moment, after what was asked for before. */
  write(data: Stored, about: About): Promise<WriteOutcome> {
    const ordered = this.#inOrder(data)
    // What waits must not see what is changed meanwhile; the handler makes fast what it is given.
    const fast = this.#queue.tail === undefined ? ordered : this.#sessions.snapshot(ordered)
    return inTurn(this.#queue, () => this.#write(fast, about))
  }

  /** Moves the expiry, if it is old enough to be worth it. */
  async touch(lifetime: number): Promise<void> {
    const base = this.#base?.session
    if (base === undefined) return
    const access = !this.#isCounted
    await inTurn(this.#queue, () => this.#sessions.touch(this.id, { base, lifetime, access }))
  }

  async #write(data: Stored, about: About): Promise<WriteOutcome> {
    const base = this.#base
    const result = await this.#sessions.write(this.id, data, {
      base: base === null ? null : base?.session,
      seen: this.#seen,
      access: !this.#isCounted,
      ...about,
    })
    const { outcome } = result
    if (outcome !== 'skipped') this.#isCounted = true
    // What is gone stays so: with its old base the next write is discarded, too.
    if (outcome === 'gone') return outcome
    // What others have written is not in this copy: the next write must not take that for a deletion.
    if (outcome === 'merged' || this.#seen !== undefined) this.#seen = result.sent
    this.#base = result
    return outcome
  }

  #inOrder(data: Stored): Stored {
    if (this.#order.length === 0) return data
    const ordered: [string, unknown][] = []
    for (const key of this.#order) {
      if (Object.hasOwn(data, key)) ordered.push([key, data[key]])
    }
    const known = new Set(this.#order)
    for (const entry of Object.entries(data)) {
      if (!known.has(entry[0])) ordered.push(entry)
    }
    return Object.fromEntries(ordered)
  }
}

/**
 * The data of a record for a framework that keeps keys.
 *
 * @throws UNDECODABLE if it has none, for it was written by something else
 */
export function keysOf(record: SessionRecord<Stored>): Stored {
  const { data } = record
  if (typeof data === 'object' && data !== null && !Array.isArray(data)) return data
  throw new SessionPgsqlError(
    'UNDECODABLE',
    'The stored data of this session is not an object with keys. Was it written by something else?',
  )
}

/** Takes the keys out that a framework's session object would not show as they are; they are written back as they were. */
export function withhold(data: Stored, isShadowed: (key: string) => boolean): Stored {
  const withheld: [string, unknown][] = []
  for (const [key, value] of Object.entries(data)) {
    if (!isShadowed(key)) continue
    withheld.push([key, value])
    delete data[key]
  }
  return Object.fromEntries(withheld)
}
