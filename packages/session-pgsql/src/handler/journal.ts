import { randomBytes } from 'node:crypto'
import type { JournalEntry } from '../operations.ts'
import type { JournalEvent } from '../table/journal.ts'

/** Milliseconds between two entries about the same recurring event. */
const INTERVAL = 60_000

/** Milliseconds for which failbacks are counted before the first entry: many sessions are moved in succession. */
const FAILBACK_DELAY = 3000

/** Milliseconds that a write to the journal may take, and at `close`, when the caller waits for it. */
const WRITE_TIMEOUT = 2000
const CLOSE_TIMEOUT = 500

type Counts = Readonly<Record<string, number>>

/** An event that may recur, from its first occurrence until it has not recurred for `INTERVAL`. */
interface Recurring {
  readonly server: string
  readonly kind: JournalEntry['kind']
  /** Details that distinguish it from other events of its kind. */
  readonly details: Readonly<Record<string, string | number>>
  /** Counts since the last entry; undefined if it has not occurred since. */
  counts: Counts | undefined
  /** The last occurrence, in milliseconds of `performance.now()`. */
  at: number
  timer: NodeJS.Timeout
}

type Write = (server: string, event: JournalEvent, age: number, deadline: number) => Promise<void>

/**
 * Writes events of a save handler's servers to the journal, for operators of other processes. The first occurrence is
 * written at once; later ones are added up and written at most once a minute. Writes in the background, and nothing
 * if nothing happens, so that an idle server stays idle.
 */
export class Journal {
  readonly #write: Write
  readonly #onFailure: (error: unknown) => void
  /** Prefix of the ids of this process's entries. */
  readonly #processId = randomBytes(9).toString('base64url')
  readonly #recurring = new Map<string, Recurring>()
  readonly #writing = new Set<Promise<void>>()
  #written = 0
  #closed = false

  /**
   * @param write writes an event to the journal of a server; `age` is the seconds since it occurred
   * @param onFailure called when a write fails
   */
  constructor(write: Write, onFailure: (error: unknown) => void) {
    this.#write = write
    this.#onFailure = onFailure
  }

  /** Records a sweep. Ignores one that removed nothing, which must not wake an idle server. */
  gc({ server, removed, seconds }: { server: string; removed: number; seconds: number }): void {
    if (removed > 0) this.#record('gc', server, {}, { removed, seconds })
  }

  failover({ from, to }: { from: string; to: string }): void {
    this.#record('failover', to, { from })
  }

  promoted({ server, ...details }: { server: string; from: string; to: string; timeline: number }): void {
    this.#record('promoted', server, details)
  }

  broughtHome({
    from,
    to,
    outcome,
  }: {
    from: string
    to: string
    outcome: 'brought' | 'merged' | 'dropped'
  }): void {
    const none = { brought: 0, merged: 0, dropped: 0 }
    this.#record('broughtHome', to, { from }, { ...none, [outcome]: 1 }, FAILBACK_DELAY)
  }

  /** Returns the public form of an event read from a server's journal; undefined if a later version wrote it. */
  entryOf(
    server: string,
    { id, at, kind, about }: JournalEvent & { readonly at: Date },
  ): JournalEntry | undefined {
    const entry = { id, server, at, own: id.startsWith(`${this.#processId}-`) }
    const text = (key: string): string => String(about[key] ?? '')
    const number = (key: string): number => Number(about[key] ?? 0) || 0
    const from = text('from')
    switch (kind) {
      case 'gc':
        return { ...entry, kind, removed: number('removed'), seconds: number('seconds') }
      case 'failover':
        return { ...entry, kind, from, to: server }
      case 'promoted':
        return { ...entry, kind, from, to: text('to'), timeline: number('timeline') }
      case 'broughtHome': {
        const counts = {
          brought: number('brought'),
          merged: number('merged'),
          dropped: number('dropped'),
        }
        return { ...entry, kind, from, to: server, ...counts }
      }
      default:
        return undefined
    }
  }

  /** Writes what is left, with a short timeout. Later events are ignored. */
  async close(): Promise<void> {
    this.#closed = true
    for (const event of this.#recurring.values()) {
      clearTimeout(event.timer)
      this.#writeEvent(event, CLOSE_TIMEOUT)
    }
    this.#recurring.clear()
    await Promise.all(this.#writing)
  }

  /**
   * @param counts added up between two entries; without them, a recurring event has one entry
   * @param delay milliseconds until the first entry
   */
  #record(
    kind: JournalEntry['kind'],
    server: string,
    details: Recurring['details'],
    counts?: Counts,
    delay: number = 0,
  ): void {
    if (this.#closed) return
    const key = JSON.stringify([kind, server, details])
    const known = this.#recurring.get(key)
    const at = performance.now()
    if (known === undefined) {
      const timer = this.#writeIn(delay, key)
      this.#recurring.set(key, { server, kind, details, counts: counts ?? {}, at, timer })
    } else if (counts !== undefined) {
      known.counts = sum(known.counts, counts)
      known.at = at
    } else if (known.counts === undefined) known.timer.refresh()
  }

  #writeIn(delay: number, key: string): NodeJS.Timeout {
    return setTimeout(() => this.#writeOrForget(key), delay).unref()
  }

  #writeOrForget(key: string): void {
    const event = this.#recurring.get(key)
    if (event?.counts === undefined) {
      this.#recurring.delete(key)
      return
    }
    this.#writeEvent(event, WRITE_TIMEOUT)
    event.timer = this.#writeIn(INTERVAL, key)
  }

  #writeEvent(recurring: Recurring, timeout: number): void {
    const { server, kind, details, counts } = recurring
    if (counts === undefined) return
    recurring.counts = undefined
    const event = { id: `${this.#processId}-${++this.#written}`, kind, about: { ...details, ...counts } }
    const now = performance.now()
    const writing = this.#write(server, event, (now - recurring.at) / 1000, now + timeout)
      .catch(this.#onFailure)
      .finally(() => this.#writing.delete(writing))
    this.#writing.add(writing)
  }
}

function sum(one: Counts = {}, other: Counts): Counts {
  return Object.fromEntries(Object.entries(other).map(([name, count]) => [name, (one[name] ?? 0) + count]))
}
