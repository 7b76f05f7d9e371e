import type { SaveHandler, SessionPgsqlError, SessionRecord } from '../../src/index.ts'

type Data = Record<string, number>
type Handler = SaveHandler<Data>

/** Returns a seeded random number generator with the same sequence on every machine, to repeat a run. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let bits = Math.imul(state ^ (state >>> 15), state | 1)
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61)
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The number of callers that share a session. Each increments a key of its own in it. */
const CALLERS_OF_ONE = 3

interface Shared {
  readonly id: string
  /** By key: the greatest acknowledged number. */
  readonly acknowledged: Map<string, number>
  /** The number of acknowledged writes; each is one access. */
  writes: number
  /** A caller has begun to create it. Done once, because a destroyed id may be created again. */
  begun: boolean
  destroyed: boolean
  /** A destroy was sent and not acknowledged: the session may or may not exist. */
  doubtful: boolean
}

/** What a read must return at least, as known when it began. */
interface Expected {
  readonly acknowledged: ReadonlyMap<string, number>
  readonly writes: number
  readonly destroyed: boolean
  readonly period: number
}

/**
 * Traffic like that of an application, with a history of acknowledged writes. Each caller reads its session, or
 * continues with the record that it has, and increments its own key. It also writes a key once only, so that the next
 * write does not hide a lost one. From time to time a session is destroyed and replaced by a new one; from then on,
 * the old one must stay absent.
 *
 * While it is *calm*, every read must return all that was acknowledged before it began. With independent servers it is
 * not calm from a fault until every row is at home again, because a fallback server does not have all sessions. With a
 * replicated group it is always calm.
 */
export class Traffic {
  readonly errors: SessionPgsqlError[] = []
  /** Errors of calls that began and ended while it was calm; none is expected. */
  readonly errorsInCalm: SessionPgsqlError[] = []
  /** Violations, as sentences. */
  readonly broken: string[] = []
  acknowledged = 0
  /** When the last write was acknowledged, in milliseconds of `performance.now()`. */
  lastAt = 0
  /** The longest time between two acknowledged writes. */
  longestPause = 0
  /** The duration of the longest call that began since `measure()`. */
  slowest = 0
  #measured = 0
  readonly #random: () => number
  readonly #sessions: Shared[] = []
  readonly #all: Shared[] = []
  readonly #callers: Promise<void>[] = []
  readonly #inProgress = new Set<Promise<void>>()
  readonly #prefix: string
  #running = true
  #calm = true
  /** Counts the calls of `trouble()`. */
  #period = 0
  /** The number of reads that were checked. */
  checked = 0

  constructor(handlers: readonly Handler[], callers: number, seed: number) {
    this.#random = randomOf(seed)
    this.#prefix = `traffic-${seed.toString(36)}-`
    for (let place = 0; place < callers / CALLERS_OF_ONE; place++) this.#sessions.push(this.#fresh())
    this.lastAt = performance.now()
    for (const handler of handlers) handler.on('serverDown', () => this.trouble())
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

  /** From now on a server may be down, and rows may be on other servers. */
  trouble(): void {
    this.#calm = false
    this.#period++
  }

  /** Resets `slowest`. */
  measure(): void {
    this.#measured = performance.now()
    this.slowest = 0
  }

  /**
   * Waits until it is calm: every process finds all servers up, and every row is at home. This must also hold after
   * every call in progress has ended, because such a call may still write to a fallback server.
   *
   * @param settled resolves when servers and rows are in this state
   */
  async calmAfter(settled: () => Promise<void>): Promise<void> {
    for (;;) {
      const period = this.#period
      await settled()
      await this.round()
      await settled()
      if (period !== this.#period) continue
      this.#calm = true
      return
    }
  }

  /** Resolves when every call that is now in progress has ended. */
  async round(): Promise<void> {
    await Promise.all(this.#inProgress)
  }

  /** Reads and checks every session. Every row must be at home. */
  async check(handler: Handler): Promise<void> {
    for (const session of this.#all) {
      const expected = this.#expected(session)
      this.#compare(session, expected, await handler.read(session.id))
    }
  }

  #expected({ acknowledged, writes, destroyed }: Shared): Expected {
    return { acknowledged: new Map(acknowledged), writes, destroyed, period: this.#period }
  }

  /** Returns true if it has been calm since. */
  #wasCalm({ period }: Pick<Expected, 'period'>): boolean {
    return this.#calm && period === this.#period
  }

  #compare(session: Shared, expected: Expected, record: SessionRecord<Data> | undefined): void {
    this.checked++
    const { id } = session
    if (expected.destroyed) {
      if (record !== undefined) this.broken.push(`${id} was destroyed, and is back`)
      return
    }
    if (record === undefined) {
      if (!session.doubtful && expected.writes > 0)
        this.broken.push(`${id} had ${expected.writes} writes acknowledged, and is absent`)
      return
    }
    for (const [key, value] of expected.acknowledged) {
      const found = record.data[key] ?? 0
      if (found < value) this.broken.push(`${id}: ${key} had ${value} acknowledged, and has ${found}`)
    }
    if (record.accesses < expected.writes)
      this.broken.push(
        `${id} had ${expected.writes} writes acknowledged, and counts ${record.accesses} accesses`,
      )
  }

  get ids(): string[] {
    return this.#all.filter(({ destroyed }) => !destroyed).map(({ id }) => id)
  }

  #fresh(): Shared {
    const session: Shared = {
      id: `${this.#prefix}${this.#all.length}`,
      acknowledged: new Map(),
      writes: 0,
      begun: false,
      destroyed: false,
      doubtful: false,
    }
    this.#all.push(session)
    return session
  }

  async #call(caller: string, place: number, handler: Handler): Promise<void> {
    const known = new Map<Shared, SessionRecord<Data>>()
    while (this.#running) {
      const session = this.#sessions[place] as Shared
      const start = performance.now()
      const period = this.#period
      try {
        const kind = this.#random()
        const call =
          kind < 0.01
            ? this.#end(session, place, handler)
            : kind < 0.03
              ? this.#lookBack(handler)
              : this.#count(session, caller, known, handler)
        const ended = call.catch(() => {}).finally(() => this.#inProgress.delete(ended))
        this.#inProgress.add(ended)
        await call
      } catch (error) {
        this.errors.push(error as SessionPgsqlError)
        if (this.#wasCalm({ period })) this.errorsInCalm.push(error as SessionPgsqlError)
      }
      if (start >= this.#measured) this.slowest = Math.max(this.slowest, performance.now() - start)
      await new Promise((resolve) => setTimeout(resolve, 5 + this.#random() * 20))
    }
  }

  async #end(session: Shared, place: number, handler: Handler): Promise<void> {
    if (this.#sessions[place] !== session || session.acknowledged.size === 0) return
    // From now on no caller begins a call with it; calls in progress continue.
    this.#sessions[place] = this.#fresh()
    session.doubtful = true
    await handler.destroy(session.id)
    session.destroyed = true
  }

  /** Reads one of the sessions destroyed last. */
  async #lookBack(handler: Handler): Promise<void> {
    const ended = this.#all.filter(({ destroyed }) => destroyed).slice(-10)
    const session = ended[Math.floor(this.#random() * ended.length)]
    if (session === undefined) return
    const expected = this.#expected(session)
    const record = await handler.read(session.id)
    if (this.#wasCalm(expected)) this.#compare(session, expected, record)
  }

  async #count(
    session: Shared,
    caller: string,
    known: Map<Shared, SessionRecord<Data>>,
    handler: Handler,
  ): Promise<void> {
    let read: SessionRecord<Data> | undefined
    if (this.#random() < 0.5 || !known.has(session)) {
      const expected = this.#expected(session)
      read = await handler.read(session.id)
      if (this.#wasCalm(expected)) this.#compare(session, expected, read)
    }
    const base = read ?? known.get(session)
    if (base === undefined) {
      if (session.begun) return
      session.begun = true
    }
    const expected = this.#expected(session)
    const next = Math.max(base?.data[caller] ?? 0, session.acknowledged.get(caller) ?? 0) + 1
    const ours = { [caller]: next, [`${caller}:${next}`]: 1 }
    const options = { base: base ?? null }
    const { outcome, session: written } =
      this.#random() < 0.3
        ? await handler.update(session.id, (data) => void Object.assign(data, ours), options)
        : await handler.write(session.id, { ...base?.data, ...ours }, options)
    if (outcome === 'gone' || written === undefined) {
      known.delete(session)
      if (this.#sessions.includes(session))
        this.broken.push(`${session.id}: a write was discarded without a destroy`)
      return
    }
    if (this.#wasCalm(expected)) {
      if (expected.destroyed) this.broken.push(`${session.id} was destroyed, and was written: ${outcome}`)
      if (written.accesses <= (base?.accesses ?? 0))
        this.broken.push(`${session.id}: ${base?.accesses} accesses were read, ${written.accesses} written`)
    }
    // Whatever it was merged with, it contains what was written.
    for (const [key, value] of Object.entries(ours)) {
      const found = written.data[key] ?? 0
      if (found < value)
        this.broken.push(`${session.id}: ${key} was written as ${value}, and the answer has ${found}`)
    }
    known.set(session, written)
    if (session.destroyed) return
    for (const [key, value] of Object.entries(ours)) {
      session.acknowledged.set(key, Math.max(value, session.acknowledged.get(key) ?? 0))
    }
    session.writes++
    this.acknowledged++
    const now = performance.now()
    this.longestPause = Math.max(this.longestPause, now - this.lastAt)
    this.lastAt = now
  }
}
