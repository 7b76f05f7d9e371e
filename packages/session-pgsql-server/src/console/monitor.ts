import type { JournalEntry, SaveHandler, SaveHandlerEvents } from 'session-pgsql'
import type { Annotation, GcRun, History, HistoryPoint } from './api.ts'
import { byTime, HistoryBuffer, type Sample } from './history.ts'
import type { Startup } from './overview.ts'
import { RingBuffer } from './ring-buffer.ts'

/** Milliseconds within which equal events, reported by several processes, count as one. */
const DEDUPLICATION_WINDOW = 60_000

/** Seconds of the journal that are read: at first and after an outage of a server, and otherwise. */
const FULL_JOURNAL = 86_400
const RECENT_JOURNAL = 120

/** The maximum number of journal entries that are remembered as read: more than the journals of several servers hold. */
const MAX_READ = 20_000

const MAX_GC_RUNS = 50

export interface Subscriber {
  point(point: HistoryPoint): void
  annotation(annotation: Annotation): void
}

type EventListeners = { [Event in keyof SaveHandlerEvents]?: (...args: SaveHandlerEvents[Event]) => void }

/** Samples the servers, every two seconds by default, keeps the history and notifies subscribers. */
export class Monitor {
  // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
  readonly #sessions: SaveHandler<any>
  readonly #interval: number
  readonly #history = new HistoryBuffer()
  readonly #gcRuns = new RingBuffer<GcRun>(MAX_GC_RUNS)
  readonly #subscribers = new Set<Subscriber>()
  readonly #eventListeners: EventListeners
  /** When an event that several processes report was last reported, by its text: milliseconds since 1970. */
  readonly #lastReported = new Map<string, number>()
  /** Sessions that moved back and have no annotation yet, by the pair of servers. */
  readonly #movedBack = new Map<string, { readonly count: number; readonly at: string }>()
  /** The ids of the journal entries that were read. */
  readonly #readEntries = new Set<string>()
  readonly #createdAt = Date.now()
  /** Whether the next read of the journal must cover a whole day. */
  #needsFullJournal = true
  #latest: Sample | undefined
  /** When the first sample was taken, in milliseconds since 1970. */
  #sampledAt: number | undefined
  #sampling: Promise<Sample> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  /** @param interval milliseconds between two samples */
  // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
  constructor(sessions: SaveHandler<any>, interval = 2000) {
    this.#sessions = sessions
    this.#interval = interval
    this.#eventListeners = {
      failover: ({ from, to }) => this.#onFailover(from, to, now()),
      broughtHome: ({ from, to }) => this.#onMovedBack(from, to, 1, now()),
      gc: ({ server, removed, seconds }) => this.#onGc({ at: now(), seconds, removed, server }),
    }
  }

  start(): void {
    for (const [event, listener] of Object.entries(this.#eventListeners)) {
      this.#sessions.on(event as 'gc', listener as () => void)
    }
    // After the first sample: a chart starts at its first point, so an earlier annotation would be outside of it.
    void this.#step().then(() => this.#annotate('consoleStarted', 'The console started.'))
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    for (const [event, listener] of Object.entries(this.#eventListeners)) {
      this.#sessions.off(event as 'gc', listener as () => void)
    }
  }

  /** Returns the last sample, which is at most a few seconds old. Waits for the first one. */
  async latest(): Promise<Sample> {
    return this.#latest ?? this.sample()
  }

  get startup(): Startup {
    return { begun: this.#createdAt, sampled: this.#sampledAt ?? Date.now() }
  }

  /** Takes a sample now, or joins the one in progress. */
  sample(): Promise<Sample> {
    this.#sampling ??= this.#sample().finally(() => {
      this.#sampling = undefined
    })
    return this.#sampling
  }

  history(minutes: number): History {
    return this.#history.since(minutes)
  }

  /** The runs of any process that removed sessions, and all runs of this process, the newest first. */
  get gcRuns(): GcRun[] {
    return this.#gcRuns.toArray().sort(byTime).reverse()
  }

  /** Adds a run that was started by the console and failed. Successful runs emit events. */
  addFailedGcRun(run: Omit<GcRun, 'at'>): void {
    this.#gcRuns.push({ at: now(), ...run })
  }

  /** @returns a function that unsubscribes */
  subscribe(subscriber: Subscriber): () => void {
    this.#subscribers.add(subscriber)
    return () => this.#subscribers.delete(subscriber)
  }

  async #step(): Promise<void> {
    const begun = performance.now()
    // Rejects only after the save handler was closed. Earlier errors are in the sample.
    await this.sample().catch(() => {})
    await this.#readJournal().catch(() => {})
    if (this.#stopped) return
    const elapsed = performance.now() - begun
    this.#timer = setTimeout(() => void this.#step(), Math.max(this.#interval / 4, this.#interval - elapsed))
    this.#timer.unref()
  }

  async #sample(): Promise<Sample> {
    const servers = await this.#sessions.statistics(this.#latest?.servers)
    const sample = {
      at: new Date(),
      milliseconds: performance.now(),
      servers,
      status: this.#sessions.status().servers,
    }
    const previous = this.#latest
    this.#latest = sample
    this.#sampledAt ??= sample.at.getTime()
    const point = this.#history.add(sample)
    for (const subscriber of this.#subscribers) subscriber.point(point)
    if (previous !== undefined) this.#compare(previous, sample)
    this.#annotateAllMovedBack()
    return sample
  }

  /** Reports servers that went down, came up or were promoted between two samples. */
  #compare(previous: Sample, current: Sample): void {
    for (const [index, { name, table, error }] of current.servers.entries()) {
      const before = previous.servers[index]
      if (before === undefined) continue
      if (before.table !== undefined && table === undefined) {
        this.#annotate('serverDown', `${name} is not responding (${error?.code ?? 'unknown'}).`)
      }
      if (before.table === undefined && table !== undefined) {
        this.#annotate('serverUp', `${name} is responding again.`)
        this.#needsFullJournal = true
      }
      const [from, to] = [previous.status[index]?.address, current.status[index]?.address]
      if (from !== undefined && to !== undefined && from !== to) {
        this.#onPromoted(name, from, to, now())
      }
    }
  }

  /** Reports events of other processes, and those of this process from before it was monitored. */
  async #readJournal(): Promise<void> {
    // If no server responded to the sample, reading the journal would only wait for the same timeouts again.
    if (this.#latest === undefined || this.#latest.servers.every(({ table }) => table === undefined)) return
    const seconds = this.#needsFullJournal ? FULL_JOURNAL : RECENT_JOURNAL
    this.#needsFullJournal = false
    for (const entry of await this.#sessions.journal({ seconds })) {
      // Since its start, this process reports its own events through the event listeners.
      const viaListeners = entry.own && entry.at.getTime() > this.#createdAt - DEDUPLICATION_WINDOW
      if (this.#readEntries.has(entry.id) || viaListeners) continue
      this.#readEntries.add(entry.id)
      this.#report(entry)
    }
    this.#annotateAllMovedBack()
    for (const id of this.#readEntries) {
      if (this.#readEntries.size <= MAX_READ) break
      this.#readEntries.delete(id)
    }
  }

  #report(entry: JournalEntry): void {
    const { kind, server } = entry
    const at = entry.at.toISOString()
    if (kind === 'gc') this.#onGc({ at, seconds: entry.seconds, removed: entry.removed, server })
    else if (kind === 'failover') this.#onFailover(entry.from, entry.to, at)
    else if (kind === 'promoted') this.#onPromoted(server, entry.from, entry.to, at)
    else {
      this.#onMovedBack(entry.from, entry.to, entry.brought + entry.merged + entry.dropped, at)
    }
  }

  #onGc(run: GcRun): void {
    this.#gcRuns.push(run)
    if (run.removed > 0) {
      this.#annotate('gc', `GC removed ${sessions(run.removed)} on ${run.server}.`, run.at)
    }
  }

  #onFailover(from: string, to: string, at: string): void {
    this.#annotateOnce('failover', `Sessions failed over from ${from} to ${to}.`, at)
  }

  #onPromoted(server: string, from: string, to: string, at: string): void {
    this.#annotateOnce('promoted', `The primary of ${server} changed from ${from} to ${to}.`, at)
  }

  /** Adds to the pending count: sessions are reported one by one, and by several processes. */
  #onMovedBack(from: string, to: string, count: number, at: string): void {
    const route = `from ${from} to ${to}`
    const pending = this.#movedBack.get(route)
    if (pending !== undefined && Date.parse(at) - Date.parse(pending.at) >= DEDUPLICATION_WINDOW) {
      this.#annotateMovedBack(route)
    }
    this.#movedBack.set(route, { count: (this.#movedBack.get(route)?.count ?? 0) + count, at })
  }

  #annotateAllMovedBack(): void {
    for (const route of this.#movedBack.keys()) this.#annotateMovedBack(route)
  }

  #annotateMovedBack(route: string): void {
    const { count, at } = this.#movedBack.get(route) as { count: number; at: string }
    this.#movedBack.delete(route)
    this.#annotate('broughtHome', `${sessions(count)} moved back ${route}.`, at)
  }

  /** Skips an event that continues: one with the same text within the deduplication window. */
  #annotateOnce(kind: Annotation['kind'], text: string, at: string): void {
    const last = this.#lastReported.get(text)
    this.#lastReported.set(text, Date.parse(at))
    const continues = last !== undefined && Math.abs(Date.parse(at) - last) < DEDUPLICATION_WINDOW
    if (!continues) this.#annotate(kind, text, at)
  }

  #annotate(kind: Annotation['kind'], text: string, at: string = now()): void {
    const annotation = { at, kind, text }
    this.#history.annotate(annotation)
    for (const subscriber of this.#subscribers) subscriber.annotation(annotation)
  }
}

function now(): string {
  return new Date().toISOString()
}

function sessions(count: number): string {
  return `${count} ${count === 1 ? 'session' : 'sessions'}`
}
