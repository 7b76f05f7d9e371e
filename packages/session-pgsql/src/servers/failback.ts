import { canBeFallback, deleteRow, fallbackRowsText, idsWithRows } from '../table/row-copies.ts'
import { writeNote } from '../table/tombstones.ts'
import type { Member, Ranking } from './member.ts'
import { moveRow, type RunOnTarget } from './move-row.ts'
import { PendingFailbacks } from './pending-failbacks.ts'
import type { FailbackOutcome, MergeTexts } from './settle.ts'
import type { ColumnFunctions } from './settled-columns.ts'

/** Seconds between two scans for rows that belong on another server. */
const INTERVAL = 2

const BATCH = 200
const CONCURRENCY = 4

/** Milliseconds that the first operation waits for what other processes have left, and for notes. */
const LEARN_TIMEOUT = 1000
const NOTE_TIMEOUT = 1000

/** A row that belongs on another server: the name of its home server, and its id. */
type FallbackRow = readonly [home: string, id: string]

export interface FailbackOptions {
  readonly members: readonly Member[]
  readonly ranked: (id: string) => Ranking
  readonly merge: MergeTexts
  readonly columns: ColumnFunctions
  /** Seconds for each row. */
  readonly operationTimeout: number
  readonly onFailback: (event: { id: string; from: string; to: string; outcome: FailbackOutcome }) => void
  readonly onError: (error: Error) => void
}

/**
 * Moves rows from fallback servers back to their home servers. Never stops: other processes may still consider the
 * home server down and write to the fallback. Every process does it, concurrently and repeatedly; a process that
 * dies halfway leaves nothing that another cannot finish. Versions are compared by digest and generation.
 *
 * A process must know which failbacks are pending, because until then a fallback server may have a later version of a
 * session, or know that it was destroyed. For processes that start later, the first use of a fallback server is noted
 * on every other server that can be reached. A note is a row of the session table that no session can have: it needs no
 * privilege and no table beyond those of a session, and is as durable.
 */
export class Failback {
  readonly pending: PendingFailbacks = new PendingFailbacks()
  readonly #options: FailbackOptions
  readonly #timer: NodeJS.Timeout
  #learning: Promise<void> | undefined
  #scanning: Promise<void> | undefined
  #closed = false

  constructor(options: FailbackOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.scan(), INTERVAL * 1000)
    this.#timer.unref()
  }

  /** Asks every server which failbacks are pending. Done once, before the first operation. */
  learn(): Promise<void> {
    this.#learning ??= this.#learnAll()
    return this.#learning
  }

  async #learnAll(): Promise<void> {
    const { members } = this.#options
    const notes = new Map(
      members.flatMap((home) => members.map((from) => [noteId(home, from), [home, from] as const] as const)),
    )
    const learnFrom = async (member: Member): Promise<void> => {
      const { table } = member.server
      if (!canBeFallback(await table.open(this.#deadline()))) return
      this.#found(member, await this.#fallbackRows(member, ['', ''], []))
      for (const id of await idsWithRows(table, [...notes.keys()], this.#deadline())) {
        this.pending.add(...(notes.get(id) as readonly [Member, Member]), true)
      }
    }
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, LEARN_TIMEOUT)
    })
    // The scans report what a server answers.
    const learned = members.map((member) => member.health.run(() => learnFrom(member)).catch(() => {}))
    await Promise.race([Promise.all(learned), timeout])
    clearTimeout(timer)
  }

  /**
   * Called before a request uses a fallback server.
   *
   * @param isNext whether it is the first in rank after the home server
   * @returns a function to call when the request has ended
   */
  async use(home: Member, from: Member, isNext: boolean): Promise<() => void> {
    const pending = this.pending.add(home, from, !isNext)
    pending.uses++
    pending.noted ??= this.#note(home, from)
    await pending.noted
    return () => {
      pending.uses--
      pending.usedAt = performance.now()
    }
  }

  /** Scans every server for rows that belong elsewhere and moves them. Concurrent calls share one scan. */
  scan(): Promise<void> {
    this.#scanning ??= this.#scanAll().finally(() => {
      this.#scanning = undefined
    })
    return this.#scanning
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#scanning
  }

  async #scanAll(): Promise<void> {
    for (const from of this.#options.members) {
      // Checked before a request finds out. For a server that only serves reads, no request would notice that it is
      // read-only.
      if (this.#closed || from.health.isDown || !(await from.health.check())) continue
      await this.#moveBackFrom(from).catch((error) => this.#options.onError(error))
    }
    // Again, for servers that were down, and because a process that has found the home server up may have removed them.
    await Promise.all(this.pending.used.map(({ home, from }) => this.#note(home, from)))
  }

  async #moveBackFrom(from: Member): Promise<void> {
    const { table } = from.server
    if (!canBeFallback(await table.open(this.#deadline()))) return
    const begun = performance.now()
    let left = await this.#fallbackRows(from, ['', ''], [])
    from.waiting = left.length
    if (left.length > 0) {
      await this.#moveBackRows(from)
      left = await this.#fallbackRows(from, ['', ''], [])
    }
    const homes = this.#found(from, left)
    if (left.length === BATCH) return
    for (const { home } of this.pending.finish(from, homes, begun)) await this.#removeNotes(home, from)
  }

  /** Records that these rows are to be moved back. Returns their home servers. */
  #found(from: Member, rows: readonly FallbackRow[]): ReadonlySet<Member> {
    const homes = new Set<Member>()
    for (const [, id] of rows) {
      const [home, next] = this.#options.ranked(id)
      homes.add(home)
      if (home !== from) this.pending.add(home, from, next !== from)
    }
    return homes
  }

  async #moveBackRows(from: Member): Promise<void> {
    // However many rows of an unreachable home server there are, they must not delay the others.
    const down = this.#options.members.filter(({ health }) => health.isDown).map(({ name }) => name)
    let last: FallbackRow | undefined = ['', '']
    while (last !== undefined && !this.#closed) {
      const rows: FallbackRow[] = await this.#fallbackRows(from, last, down)
      last = rows.length < BATCH ? undefined : rows.at(-1)
      await this.#moveBackAll(rows, from)
    }
  }

  async #fallbackRows(
    from: Member,
    [home, id]: FallbackRow,
    exceptHomes: readonly string[],
  ): Promise<FallbackRow[]> {
    const parameters = [home, id, JSON.stringify(exceptHomes)]
    const rows = await from.server.table.query(
      (_shape, sql) => fallbackRowsText(sql, BATCH),
      parameters,
      this.#deadline(),
    )
    return rows as unknown as FallbackRow[]
  }

  async #moveBackAll(rows: readonly FallbackRow[], from: Member): Promise<void> {
    const ids = rows.map(([, id]) => id)
    const errors: Error[] = []
    const work = async (): Promise<void> => {
      for (let id = ids.shift(); id !== undefined && !this.#closed; id = ids.shift()) {
        const [home] = this.#options.ranked(id)
        if (home.health.isDown || from.health.isDown) continue
        // A row that cannot be moved must not stop the others.
        await this.moveBack(id, from, home).catch((error) => errors.push(error))
      }
    }
    await Promise.all(Array.from({ length: CONCURRENCY }, work))
    if (errors[0] !== undefined) this.#options.onError(errors[0])
  }

  /**
   * Moves one row to its home server. Both rows stay locked meanwhile, so another process that does the same finds
   * it done.
   *
   * @returns undefined if there was no row, or if it is left to another process
   */
  async moveBack(id: string, from: Member, to: Member): Promise<FailbackOutcome | undefined> {
    const { columns, merge, members, ranked } = this.#options
    const [, next] = ranked(id)
    const mayBeElsewhere = members.some(
      (other) =>
        other !== from &&
        other !== to &&
        (other.health.isDown || this.pending.mayHave(to, other, other === next)),
    )
    const runOnTarget: RunOnTarget = (work) => to.health.run(work)
    const options = { merge, columns, mayBeElsewhere, deadline: this.#deadline(), runOnTarget }
    const outcome = await moveRow(id, from.server, to.server, options)
    if (outcome !== undefined) {
      from.failbacks[outcome]++
      this.#options.onFailback({ id, from: from.name, to: to.name, outcome })
    }
    return outcome
  }

  /** Notes on the other servers that can be reached that a failback is pending. Never rejects. */
  async #note(home: Member, from: Member): Promise<void> {
    const deadline = performance.now() + NOTE_TIMEOUT
    await this.#onOthers(home, from, ({ server }) => writeNote(server.table, noteId(home, from), deadline))
  }

  async #removeNotes(home: Member, from: Member): Promise<void> {
    const deadline = performance.now() + NOTE_TIMEOUT
    await this.#onOthers(home, from, ({ server: { table } }) =>
      table.transaction((query, shape) => deleteRow(query, shape, noteId(home, from)), deadline),
    )
  }

  /** A server that fails has no note: another may have one. */
  async #onOthers(home: Member, from: Member, work: (member: Member) => Promise<void>): Promise<void> {
    const others = this.#options.members.filter(
      (member) => member !== home && member !== from && !member.health.isDown,
    )
    await Promise.all(others.map((member) => member.health.run(() => work(member)).catch(() => {})))
  }

  #deadline(): number {
    return performance.now() + this.#options.operationTimeout * 1000
  }
}

/** Returns the id of the row that notes a pending failback. It has a blank, so that it is no session's. */
function noteId(home: Member, from: Member): string {
  return `failback ${JSON.stringify([home.name, from.name])}`
}
