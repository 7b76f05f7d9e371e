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
  /** By key: the greatest number that was acknowledged. */
  readonly acknowledged: Map<string, number>
  /** How many writes were acknowledged: each is one access. */
  writes: number
  /** Somebody has set out to create it: that is done once, for an id that was destroyed may be created again. */
  begun: boolean
  destroyed: boolean
  /** A destroy was sent and not answered: it may be either. */
  doubtful: boolean
}

/** What has to be there, as it was known when a look began. */
interface Due {
  readonly acknowledged: ReadonlyMap<string, number>
  readonly writes: number
  readonly destroyed: boolean
  readonly period: number
}

/**
 * Traffic as of an application, with a history of what was acknowledged. Each caller reads its session, or goes
 * on with the record that it has, and writes its own key, counted up by one; and beside it a key that is never
 * written again, so that a write that was lost is not covered by the next one. Now and then a session is
 * destroyed, and a new one takes its place; that the old one stays away is looked at from then on.
 *
 * Every read must show all that was acknowledged before it began, while it is *calm*. Where sessions lie on
 * independent servers it is not calm from a fault on until all is at home again: a stand-in does not know what it
 * was not told. A group is one place, and it is always calm there.
 */
export class Traffic {
  readonly errors: SessionPgsqlError[] = []
  /** Those of calls that began and ended while it was calm: there is no reason for any. */
  readonly errorsInCalm: SessionPgsqlError[] = []
  /** What must never be, as sentences. */
  readonly broken: string[] = []
  acknowledged = 0
  /** When the last write was acknowledged, in milliseconds of `performance.now()`. */
  lastAt = 0
  /** The longest time without any acknowledged write. */
  longestPause = 0
  /** The longest call, of those that began since `measure()`. */
  slowest = 0
  #measured = 0
  readonly #random: () => number
  readonly #sessions: Shared[] = []
  readonly #all: Shared[] = []
  readonly #callers: Promise<void>[] = []
  readonly #underWay = new Set<Promise<void>>()
  readonly #prefix: string
  #running = true
  #calm = true
  /** Counts what has ended the calm. */
  #period = 0
  /** Looks that were held against all that was acknowledged before. */
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

  /** From now on a server may be away, or its sessions elsewhere. */
  trouble(): void {
    this.#calm = false
    this.#period++
  }

  /** Forgets the longest call. */
  measure(): void {
    this.#measured = performance.now()
    this.slowest = 0
  }

  /**
   * It is calm when all are up, for everybody, and everything is at home; and still is when every call has ended
   * that was under way then: one that began at a stand-in may leave its row there after all.
   *
   * @param settled resolves when it looks so
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

  /** Resolves when every call has ended that is under way now. */
  async round(): Promise<void> {
    await Promise.all(this.#underWay)
  }

  /** Reads everything once more. All must be at home. */
  async check(handler: Handler): Promise<void> {
    for (const session of this.#all) {
      const due = this.#due(session)
      this.#compare(session, due, await handler.read(session.id))
    }
  }

  #due({ acknowledged, writes, destroyed }: Shared): Due {
    return { acknowledged: new Map(acknowledged), writes, destroyed, period: this.#period }
  }

  /** Whether it was calm all the time since. */
  #wasCalm({ period }: Pick<Due, 'period'>): boolean {
    return this.#calm && period === this.#period
  }

  #compare(session: Shared, due: Due, record: SessionRecord<Data> | undefined): void {
    this.checked++
    const { id } = session
    if (due.destroyed) {
      if (record !== undefined) this.broken.push(`${id} was destroyed, and is back`)
      return
    }
    if (record === undefined) {
      if (!session.doubtful && due.writes > 0)
        this.broken.push(`${id} had ${due.writes} writes acknowledged, and is absent`)
      return
    }
    for (const [key, value] of due.acknowledged) {
      const found = record.data[key] ?? 0
      if (found < value) this.broken.push(`${id}: ${key} had ${value} acknowledged, and has ${found}`)
    }
    if (record.accesses < due.writes)
      this.broken.push(`${id} had ${due.writes} writes acknowledged, and counts ${record.accesses} accesses`)
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
        const ended = call.catch(() => {}).finally(() => this.#underWay.delete(ended))
        this.#underWay.add(ended)
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
    // From now on nobody takes it up any more; what is under way is.
    this.#sessions[place] = this.#fresh()
    session.doubtful = true
    await handler.destroy(session.id)
    session.destroyed = true
  }

  /** One of those that were destroyed lately. */
  async #lookBack(handler: Handler): Promise<void> {
    const ended = this.#all.filter(({ destroyed }) => destroyed).slice(-10)
    const session = ended[Math.floor(this.#random() * ended.length)]
    if (session === undefined) return
    const due = this.#due(session)
    const record = await handler.read(session.id)
    if (this.#wasCalm(due)) this.#compare(session, due, record)
  }

  async #count(
    session: Shared,
    caller: string,
    known: Map<Shared, SessionRecord<Data>>,
    handler: Handler,
  ): Promise<void> {
    let read: SessionRecord<Data> | undefined
    if (this.#random() < 0.5 || !known.has(session)) {
      const due = this.#due(session)
      read = await handler.read(session.id)
      if (this.#wasCalm(due)) this.#compare(session, due, read)
    }
    const base = read ?? known.get(session)
    if (base === undefined) {
      if (session.begun) return
      session.begun = true
    }
    const due = this.#due(session)
    const next = Math.max(base?.data[caller] ?? 0, session.acknowledged.get(caller) ?? 0) + 1
    const mine = { [caller]: next, [`${caller}:${next}`]: 1 }
    const { outcome, session: written } = await handler.write(
      session.id,
      { ...base?.data, ...mine },
      { base: base ?? null },
    )
    if (outcome === 'gone' || written === undefined) {
      known.delete(session)
      if (this.#sessions.includes(session))
        this.broken.push(`${session.id}: a write was discarded, and nobody had destroyed it`)
      return
    }
    if (this.#wasCalm(due)) {
      if (due.destroyed) this.broken.push(`${session.id} was destroyed, and was written: ${outcome}`)
      if (written.accesses <= (base?.accesses ?? 0))
        this.broken.push(`${session.id}: ${base?.accesses} accesses were read, ${written.accesses} written`)
    }
    // Whatever it was merged with, what was written is in it.
    for (const [key, value] of Object.entries(mine)) {
      const found = written.data[key] ?? 0
      if (found < value)
        this.broken.push(`${session.id}: ${key} was written as ${value}, and the answer has ${found}`)
    }
    known.set(session, written)
    if (session.destroyed) return
    for (const [key, value] of Object.entries(mine)) {
      session.acknowledged.set(key, Math.max(value, session.acknowledged.get(key) ?? 0))
    }
    session.writes++
    this.acknowledged++
    const now = performance.now()
    this.longestPause = Math.max(this.longestPause, now - this.lastAt)
    this.lastAt = now
  }
}
