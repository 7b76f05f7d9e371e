import { randomBytes } from 'node:crypto'
import type { JournalEntry } from '../operations.ts'
import type { JournalEvent as Note } from '../table/journal.ts'

/** Milliseconds within which what happens again is added to what was noted before. */
const AGAIN = 60_000

/** Milliseconds for which sessions that come home are counted before the first are noted: many come together. */
const GATHER = 3000

/** Milliseconds that a note may take, and at the end, when somebody waits for it. */
const PATIENCE = 2000
const FAREWELL = 500

type Counts = Readonly<Record<string, number>>

/** Something that happens, as long as it goes on. */
interface Case {
  readonly server: string
  readonly kind: JournalEntry['kind']
  readonly which: Readonly<Record<string, string | number>>
  /** What has come of it since it was last noted; undefined: nothing. */
  counts: Counts | undefined
  /** When it happened last, in milliseconds of `performance.now()`. */
  at: number
  timer: NodeJS.Timeout
}

/**
 * What a save handler notes of what happens to its servers, for operators who look from another process: at once,
 * and as long as it goes on once a minute at most. Always behind the back of whoever is served; where nothing
 * happens nothing is written.
 */
export class Journal {
  readonly #write: (server: string, note: Note, age: number, deadline: number) => Promise<void>
  readonly #onFailure: (error: unknown) => void
  /** Every note's id begins with it. */
  readonly #name = randomBytes(9).toString('base64url')
  readonly #cases = new Map<string, Case>()
  readonly #writing = new Set<Promise<void>>()
  #notes = 0
  #closed = false

  /**
   * @param write writes it on that server, `age` being the seconds that have passed since
   * @param onFailure told when it could not
   */
  constructor(
    write: (server: string, note: Note, age: number, deadline: number) => Promise<void>,
    onFailure: (error: unknown) => void,
  ) {
    this.#write = write
    this.#onFailure = onFailure
  }

  /** A sweep that has found nothing is not noted: it must not be what wakes an idle server. */
  gc({ server, removed, seconds }: { server: string; removed: number; seconds: number }): void {
    if (removed > 0) this.#happens('gc', server, {}, { removed, seconds })
  }

  failover({ from, to }: { from: string; to: string }): void {
    this.#happens('failover', to, { from })
  }

  promoted({ server, ...which }: { server: string; from: string; to: string; timeline: number }): void {
    this.#happens('promoted', server, which)
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
    this.#happens('broughtHome', to, { from }, { ...none, [outcome]: 1 }, GATHER)
  }

  /** Of what was read of a server's journal, what can be told; undefined: of a later version than this one. */
  entryOf(server: string, { id, at, kind, about }: Note & { readonly at: Date }): JournalEntry | undefined {
    const note = { id, server, at, own: id.startsWith(`${this.#name}-`) }
    const text = (key: string): string => String(about[key] ?? '')
    const number = (key: string): number => Number(about[key] ?? 0) || 0
    const from = text('from')
    switch (kind) {
      case 'gc':
        return { ...note, kind, removed: number('removed'), seconds: number('seconds') }
      case 'failover':
        return { ...note, kind, from, to: server }
      case 'promoted':
        return { ...note, kind, from, to: text('to'), timeline: number('timeline') }
      case 'broughtHome': {
        const counts = {
          brought: number('brought'),
          merged: number('merged'),
          dropped: number('dropped'),
        }
        return { ...note, kind, from, to: server, ...counts }
      }
      default:
        return undefined
    }
  }

  /** Writes what is left, which takes some seconds at most; then nothing more is noted. */
  async close(): Promise<void> {
    this.#closed = true
    for (const one of this.#cases.values()) {
      clearTimeout(one.timer)
      this.#note(one, FAREWELL)
    }
    this.#cases.clear()
    await Promise.all(this.#writing)
  }

  /**
   * @param which tells one case of a kind from another
   * @param counts what is to be added up; without them it is noted once, as long as it goes on
   * @param delay milliseconds until it is first noted
   */
  #happens(
    kind: JournalEntry['kind'],
    server: string,
    which: Case['which'],
    counts?: Counts,
    delay: number = 0,
  ): void {
    if (this.#closed) return
    const key = JSON.stringify([kind, server, which])
    const known = this.#cases.get(key)
    const at = performance.now()
    if (known === undefined) {
      const timer = this.#in(delay, key)
      this.#cases.set(key, { server, kind, which, counts: counts ?? {}, at, timer })
    } else if (counts !== undefined) {
      known.counts = sum(known.counts, counts)
      known.at = at
    } else if (known.counts === undefined) known.timer.refresh()
  }

  #in(delay: number, key: string): NodeJS.Timeout {
    return setTimeout(() => this.#isTime(key), delay).unref()
  }

  #isTime(key: string): void {
    const one = this.#cases.get(key)
    if (one?.counts === undefined) {
      this.#cases.delete(key)
      return
    }
    this.#note(one, PATIENCE)
    one.timer = this.#in(AGAIN, key)
  }

  #note(one: Case, patience: number): void {
    const { server, kind, which, counts } = one
    if (counts === undefined) return
    one.counts = undefined
    const note = { id: `${this.#name}-${++this.#notes}`, kind, about: { ...which, ...counts } }
    const now = performance.now()
    const writing = this.#write(server, note, (now - one.at) / 1000, now + patience)
      .catch(this.#onFailure)
      .finally(() => this.#writing.delete(writing))
    this.#writing.add(writing)
  }
}

function sum(one: Counts = {}, other: Counts): Counts {
  return Object.fromEntries(Object.entries(other).map(([name, count]) => [name, (one[name] ?? 0) + count]))
}
