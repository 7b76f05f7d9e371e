import type { JournalEntry, SaveHandler, SaveHandlerEvents } from 'session-pgsql'
import type { GcRun, History, HistoryMark, HistoryPoint } from './api.ts'
import { byTime, Past, type Sample } from './history.ts'
import { Ring } from './ring.ts'

/** Milliseconds within which the same, told by several processes, is told but once. */
const AGAIN = 60_000

/** Seconds of the journal that are read at first, and when a server is back; and at every other look. */
const DAY = 86_400
const LATELY = 120

/** Entries that are remembered as read: more than the journals of several servers hold. */
const MOST_READ = 20_000

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
  readonly #interval: number
  readonly #past = new Past()
  readonly #runs = new Ring<GcRun>(RUNS)
  readonly #listeners = new Set<Listener>()
  readonly #handlers: Listeners
  /** When what several processes tell was told last, by its text: milliseconds since 1970. */
  readonly #told = new Map<string, number>()
  readonly #broughtHome = new Map<string, { readonly count: number; readonly at: string }>()
  readonly #read = new Set<string>()
  readonly #begun = Date.now()
  /** Whether more than what is new has to be read of the journal. */
  #behind = true
  #latest: Sample | undefined
  #looking: Promise<Sample> | undefined
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  /** @param interval milliseconds between two looks */
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  constructor(sessions: SaveHandler<any>, interval = 2000) {
    this.#sessions = sessions
    this.#interval = interval
    this.#handlers = {
      failover: ({ from, to }) => this.#onFailover(from, to, now()),
      broughtHome: ({ from, to }) => this.#onBroughtHome(from, to, 1, now()),
      gc: ({ server, removed, seconds }) => this.#onGc({ at: now(), seconds, removed, server }),
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

  /** Garbage collections that have removed something, of whatever process, and all of this one, the newest first. */
  get runs(): GcRun[] {
    return this.#runs.toArray().sort(byTime).reverse()
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
    await this.#readJournal().catch(() => {})
    if (this.#stopped) return
    const left = this.#interval - (performance.now() - begun)
    this.#timer = setTimeout(() => void this.#step(), Math.max(this.#interval / 4, left))
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
    for (const way of this.#broughtHome.keys()) this.#markBroughtHome(way)
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
      if (was.table === undefined && table !== undefined) {
        this.#mark('serverUp', `${name} answers again.`)
        this.#behind = true
      }
      const [here, there] = [after.status[index]?.address, before.status[index]?.address]
      if (here !== undefined && there !== undefined && here !== there) {
        this.#onPromoted(name, there, here, now())
      }
    }
  }

  /** What other processes have noted, and what this one did before it was looked at. */
  async #readJournal(): Promise<void> {
    // Who is away has nothing to tell, and is not waited for twice.
    if (this.#latest === undefined || this.#latest.servers.every(({ table }) => table === undefined)) return
    const seconds = this.#behind ? DAY : LATELY
    this.#behind = false
    for (const entry of await this.#sessions.journal({ seconds })) {
      // What this process has done since was told as an event.
      if (this.#read.has(entry.id) || (entry.own && entry.at.getTime() > this.#begun - AGAIN)) continue
      this.#read.add(entry.id)
      this.#tell(entry)
    }
    for (const way of this.#broughtHome.keys()) this.#markBroughtHome(way)
    for (const id of this.#read) {
      if (this.#read.size <= MOST_READ) break
      this.#read.delete(id)
    }
  }

  #tell(entry: JournalEntry): void {
    const { kind, server } = entry
    const at = entry.at.toISOString()
    if (kind === 'gc') this.#onGc({ at, seconds: entry.seconds, removed: entry.removed, server })
    else if (kind === 'failover') this.#onFailover(entry.from, entry.to, at)
    else if (kind === 'promoted') this.#onPromoted(server, entry.from, entry.to, at)
    else {
      this.#onBroughtHome(entry.from, entry.to, entry.brought + entry.merged + entry.dropped, at)
    }
  }

  #onGc(run: GcRun): void {
    this.#runs.push(run)
    if (run.removed > 0) {
      this.#mark('gc', `Garbage collection removed ${run.removed} on ${run.server}.`, run.at)
    }
  }

  #onFailover(from: string, to: string, at: string): void {
    this.#markOnce('failover', `${to} stands in for ${from}.`, at)
  }

  #onPromoted(server: string, from: string, to: string, at: string): void {
    this.#markOnce('promoted', `${server} is ${to} now; it was ${from}.`, at)
  }

  /** Marked after each look: they come one by one, or from several processes. */
  #onBroughtHome(from: string, to: string, count: number, at: string): void {
    const way = `from ${from} to ${to}`
    const before = this.#broughtHome.get(way)
    if (before !== undefined && Date.parse(at) - Date.parse(before.at) >= AGAIN) this.#markBroughtHome(way)
    this.#broughtHome.set(way, { count: (this.#broughtHome.get(way)?.count ?? 0) + count, at })
  }

  #markBroughtHome(way: string): void {
    const { count, at } = this.#broughtHome.get(way) as { count: number; at: string }
    this.#broughtHome.delete(way)
    const what = `${count} ${count === 1 ? 'session was' : 'sessions were'} brought home ${way}.`
    this.#mark('broughtHome', what, at)
  }

  /** Not again as long as it goes on. */
  #markOnce(kind: HistoryMark['kind'], text: string, at: string): void {
    const last = this.#told.get(text)
    this.#told.set(text, Date.parse(at))
    if (last === undefined || Math.abs(Date.parse(at) - last) >= AGAIN) this.#mark(kind, text, at)
  }

  #mark(kind: HistoryMark['kind'], text: string, at: string = now()): void {
    const mark = { at, kind, text }
    this.#past.mark(mark)
    for (const listener of this.#listeners) listener.mark(mark)
  }
}

function now(): string {
  return new Date().toISOString()
}
