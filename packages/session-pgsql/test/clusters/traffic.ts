import type { SaveHandler, SessionPgsqlError, SessionRecord } from '../../src/index.ts'

type Data = Record<string, number>
type Handler = SaveHandler<Data>

/** Small, seeded, and the same everywhere: a walk is repeated by its seed. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Sessions that each several callers share: each caller counts up a key of its own in them. */
const CALLERS_OF_ONE = 3

interface Shared {
  readonly id: string
  /** By caller: what was acknowledged last. */
  readonly acknowledged: Map<string, number>
  /** Somebody has set out to create it: that is done once, for an id that was destroyed may be created again. */
  begun: boolean
  destroyed: boolean
  /** A destroy was sent and not answered: it may be either. */
  doubtful: boolean
  accesses: number
}

/**
 * Traffic as of an application, with a history of what was acknowledged. Each caller reads its session, or goes
 * on with the record that it has, and writes its own key, counted up by one. Now and then a session is destroyed,
 * and a new one takes its place.
 */
export class Traffic {
  readonly errors: SessionPgsqlError[] = []
  /** What must never be, as sentences. */
  readonly broken: string[] = []
  acknowledged = 0
  /** When the last write was acknowledged, in milliseconds of `performance.now()`. */
  lastAt = 0
  /** The longest time without any acknowledged write. */
  longestPause = 0
  /** The longest call. */
  slowest = 0
  readonly #random: () => number
  readonly #sessions: Shared[] = []
  readonly #all: Shared[] = []
  readonly #callers: Promise<void>[] = []
  readonly #prefix: string
  #running = true

  constructor(handlers: readonly Handler[], callers: number, seed: number) {
    this.#random = randomOf(seed)
    this.#prefix = `traffic-${seed.toString(36)}-`
    for (let place = 0; place < callers / CALLERS_OF_ONE; place++) this.#sessions.push(this.#fresh())
    this.lastAt = performance.now()
    for (let caller = 0; caller < callers; caller++) {
      this.#callers.push(
        this.#call(
          `c${caller}`,
          caller % this.#sessions.length,
          handlers[caller % handlers.length] as Handler,
        ),
      )
    }
  }

  async stop(): Promise<void> {
    this.#running = false
    await Promise.all(this.#callers)
  }

  /** Reads everything once more. */
  async check(handler: Handler): Promise<void> {
    for (const session of this.#all) {
      const record = await handler.read(session.id)
      if (session.destroyed) {
        if (record !== undefined) this.broken.push(`${session.id} was destroyed, and is back`)
        continue
      }
      if (session.doubtful && record === undefined) continue
      for (const [caller, value] of session.acknowledged) {
        const found = record?.data[caller] ?? 0
        if (found < value)
          this.broken.push(`${session.id}: ${caller} had ${value} acknowledged, and has ${found}`)
      }
    }
  }

  get ids(): string[] {
    return this.#all.filter(({ destroyed }) => !destroyed).map(({ id }) => id)
  }

  #fresh(): Shared {
    const session: Shared = {
      id: `${this.#prefix}${this.#all.length}`,
      acknowledged: new Map(),
      begun: false,
      destroyed: false,
      doubtful: false,
      accesses: 0,
    }
    this.#all.push(session)
    return session
  }

  async #call(caller: string, place: number, handler: Handler): Promise<void> {
    const known = new Map<Shared, SessionRecord<Data>>()
    while (this.#running) {
      const session = this.#sessions[place] as Shared
      const start = performance.now()
      try {
        if (this.#random() < 0.01) await this.#end(session, place, handler)
        else await this.#count(session, caller, known, handler)
      } catch (error) {
        this.errors.push(error as SessionPgsqlError)
      }
      this.slowest = Math.max(this.slowest, performance.now() - start)
      await new Promise((resolve) => setTimeout(resolve, 5 + this.#random() * 20))
    }
  }

  async #end(session: Shared, place: number, handler: Handler): Promise<void> {
    if (this.#sessions[place] !== session || session.acknowledged.size === 0) return
    // From now on nobody takes it up any more; what is under way is.
    this.#sessions[place] = this.#fresh()
    session.doubtful = true
    await handler.destroy(session.id)
    session.destroyed = true
  }

  async #count(
    session: Shared,
    caller: string,
    known: Map<Shared, SessionRecord<Data>>,
    handler: Handler,
  ): Promise<void> {
    const read = this.#random() < 0.5 || !known.has(session) ? await handler.read(session.id) : undefined
    if (read !== undefined && session.destroyed) this.broken.push(`${session.id} was destroyed, and was read`)
    const base = read ?? known.get(session)
    if (base === undefined) {
      if (session.begun) return
      session.begun = true
    }
    const next = Math.max(base?.data[caller] ?? 0, session.acknowledged.get(caller) ?? 0) + 1
    const { outcome, session: written } = await handler.write(
      session.id,
      { ...base?.data, [caller]: next },
      { base: base ?? null },
    )
    if (outcome === 'gone' || written === undefined) {
      known.delete(session)
      if (this.#sessions.includes(session))
        this.broken.push(`${session.id}: a write was discarded, and nobody had destroyed it`)
      return
    }
    known.set(session, written)
    if (session.destroyed) return
    session.acknowledged.set(caller, next)
    session.accesses = written.accesses
    this.acknowledged++
    const now = performance.now()
    this.longestPause = Math.max(this.longestPause, now - this.lastAt)
    this.lastAt = now
  }
}
