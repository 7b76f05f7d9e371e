import type { SaveHandler, SaveHandlerEvents } from 'session-pgsql'
import type { GcRun, History, HistoryMark, HistoryPoint } from './api.ts'
import { Past, type Sample } from './history.ts'
import { Ring } from './ring.ts'

/** Milliseconds between two looks. */
const STEP = 2000

/** Milliseconds for which a failover between the same two servers is told but once. */
const FAILOVER_AGAIN = 60_000

const RUNS = 50

export interface Listener {
  point(point: HistoryPoint): void
  mark(mark: HistoryMark): void
}

type Listeners = { [Event in keyof SaveHandlerEvents]?: (...args: SaveHandlerEvents[Event]) => void }

/** Looks at the servers every two seconds, remembers how it was, and tells whoever listens. */
export class Watch {
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  readonly #sessions: SaveHandler<any>
  readonly #past = new Past()
  readonly #runs = new Ring<GcRun>(RUNS)
  readonly #listeners = new Set<Listener>()
  readonly #handlers: Listeners
  readonly #failovers = new Map<string, number>()
  readonly #broughtHome = new Map<string, number>()
  #latest: Sample | undefined
  #looking: Promise<Sample> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  constructor(sessions: SaveHandler<any>) {
    this.#sessions = sessions
    this.#handlers = {
      failover: ({ from, to }) => this.#onFailover(from, to),
      broughtHome: ({ from, to }) => {
        const way = `from ${from} to ${to}`
        this.#broughtHome.set(way, (this.#broughtHome.get(way) ?? 0) + 1)
      },
      gc: ({ server, removed, seconds }) => {
        this.#runs.push({ at: now(), seconds, removed, server })
        if (removed > 0) this.#mark('gc', `Garbage collection removed ${removed} on ${server}.`)
      },
    }
  }

  start(): void {
    for (const [event, listener] of Object.entries(this.#handlers)) {
      this.#sessions.on(event as 'gc', listener as () => void)
    }
    // After the first look: a mark before it would lie outside of every picture.
    void this.#step().then(() => this.#mark('consoleStarted', 'The console was started.'))
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const [event, listener] of Object.entries(this.#handlers)) {
      this.#sessions.off(event as 'gc', listener as () => void)
    }
  }

  /** The last look, at most some seconds old; the first is waited for. */
  async latest(): Promise<Sample> {
    return this.#latest ?? this.look()
  }

  /** Looks now: after a change, or when nobody has looked yet. */
  look(): Promise<Sample> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  history(minutes: number): History {
    return this.#past.since(minutes)
  }

  /** Garbage collections that this process has done, the newest first. */
  get runs(): GcRun[] {
    return this.#runs.toArray().reverse()
  }

  /** Of one that was asked for here and has failed; the others tell of themselves. */
  failed(run: Omit<GcRun, 'at'>): void {
    this.#runs.push({ at: now(), ...run })
  }

  /** @returns what ends it */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async #step(): Promise<void> {
    const begun = performance.now()
    // Rejects once the handler is closed, and what goes wrong before that is in the sample.
    await this.look().catch(() => {})
    if (this.#stopped) return
    this.#timer = setTimeout(() => void this.#step(), Math.max(STEP / 4, STEP - (performance.now() - begun)))
    this.#timer.unref()
  }

  async #look(): Promise<Sample> {
    const servers = await this.#sessions.statistics(this.#latest?.servers)
    const sample = {
      at: new Date(),
      milliseconds: performance.now(),
      servers,
      status: this.#sessions.status().servers,
    }
    const before = this.#latest
    this.#latest = sample
    const point = this.#past.add(sample)
    for (const listener of this.#listeners) listener.point(point)
    if (before !== undefined) this.#compare(before, sample)
    for (const [way, count] of this.#broughtHome) {
      this.#mark(
        'broughtHome',
        `${count} ${count === 1 ? 'session was' : 'sessions were'} brought home ${way}.`,
      )
    }
    this.#broughtHome.clear()
    return sample
  }

  /** What the servers have become since the last look. */
  #compare(before: Sample, after: Sample): void {
    for (const [index, { name, table, error }] of after.servers.entries()) {
      const was = before.servers[index]
      if (was === undefined) continue
      if (was.table !== undefined && table === undefined) {
        this.#mark('serverDown', `${name} gives no answer (${error?.code ?? 'unknown'}).`)
      }
      if (was.table === undefined && table !== undefined) this.#mark('serverUp', `${name} answers again.`)
      const [here, there] = [after.status[index]?.address, before.status[index]?.address]
      if (here !== undefined && there !== undefined && here !== there) {
        this.#mark('promoted', `${name} is ${here} now; it was ${there}.`)
      }
    }
  }

  #onFailover(from: string, to: string): void {
    const way = `${from} ${to}`
    const last = this.#failovers.get(way)
    this.#failovers.set(way, performance.now())
    if (last !== undefined && performance.now() - last < FAILOVER_AGAIN) return
    this.#mark('failover', `${to} stands in for ${from}.`)
  }

  #mark(kind: HistoryMark['kind'], text: string): void {
    const mark = { at: now(), kind, text }
    this.#past.mark(mark)
    for (const listener of this.#listeners) listener.mark(mark)
  }
}

function now(): string {
  return new Date().toISOString()
}
