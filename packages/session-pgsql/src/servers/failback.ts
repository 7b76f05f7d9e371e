import type { Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { Shape } from '../table/definition.ts'
import {
  baseOf,
  canBeFallback,
  deleteRow,
  forgetArrived,
  lockRowCopy,
  markedText,
  type ReceivedRow,
  type RowCopy,
  recordBase,
  writeRowCopy,
} from '../table/row-copies.ts'
import type { Transact } from '../table/table.ts'
import type { Member } from './member.ts'
import type { Server } from './server.ts'
import { type FailbackOutcome, type MergeTexts, settle } from './settle.ts'

/** Seconds between two looks for rows that are not at home. */
const INTERVAL = 2

const BATCH = 200
const AT_ONCE = 4

/** Where a row belongs, and its id. */
type Marked = readonly [home: string, id: string]

export interface FailbackOptions {
  readonly members: readonly Member[]
  /** Where a session lies, as far as it is up. */
  readonly homeOf: (id: string) => Member
  readonly merge: MergeTexts
  /** Seconds for each row. */
  readonly operationTimeout: number
  readonly onFailback: (arrival: { id: string; from: string; to: string; outcome: FailbackOutcome }) => void
  readonly onError: (error: Error) => void
}

/**
 * Brings home what others have kept while a server was away, for as long as there is any: other processes may
 * still see the home as down. Every process may do it, at once and over and over; one that dies in the middle
 * leaves nothing that another cannot finish. It never goes by time, for clocks differ.
 */
export class Failback {
  readonly #options: FailbackOptions
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> | undefined
  #closed = false

  constructor(options: FailbackOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.look(), INTERVAL * 1000)
    this.#timer.unref()
  }

  /** Looks on every server for rows that belong elsewhere. */
  look(): Promise<void> {
    this.#looking ??= this.#lookEverywhere().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async close(): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#looking
  }

  async #lookEverywhere(): Promise<void> {
    for (const from of this.#options.members) {
      // Before anybody runs into it; and of one that only reads are asked of, nobody else would notice that it is read-only.
      if (this.#closed || from.health.isDown || !(await from.health.confirm())) continue
      await this.#empty(from).catch((error) => this.#options.onError(error))
    }
  }

  async #empty(from: Member): Promise<void> {
    const { table } = from.server
    if (!canBeFallback(await table.open(this.#deadline()))) return
    from.waiting = (await this.#marked(from, ['', ''], [])).length
    // Those of a home that is still away must not keep the others waiting, however many they are.
    const away = this.#options.members.filter(({ health }) => health.isDown).map(({ name }) => name)
    let last: Marked | undefined = from.waiting === 0 ? undefined : ['', '']
    while (last !== undefined && !this.#closed) {
      const rows: Marked[] = await this.#marked(from, last, away)
      last = rows.length < BATCH ? undefined : rows.at(-1)
      await this.#bringAll(rows, from)
    }
  }

  async #marked(from: Member, [home, id]: Marked, away: readonly string[]): Promise<Marked[]> {
    const parameters = [home, id, JSON.stringify(away)]
    const rows = await from.server.table.query(
      (_shape, sql) => markedText(sql, BATCH),
      parameters,
      this.#deadline(),
    )
    return rows as unknown as Marked[]
  }

  async #bringAll(rows: readonly Marked[], from: Member): Promise<void> {
    const ids = rows.map(([, id]) => id)
    const errors: Error[] = []
    const work = async (): Promise<void> => {
      for (let id = ids.shift(); id !== undefined && !this.#closed; id = ids.shift()) {
        const home = this.#options.homeOf(id)
        if (home.health.isDown || from.health.isDown) continue
        // One that cannot be brought must not keep the others waiting.
        await this.bring(id, from, home).catch((error) => errors.push(error))
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    if (errors[0] !== undefined) this.#options.onError(errors[0])
  }

  /**
   * Brings one row from where it lies to where it belongs. Both rows are locked meanwhile, so that whoever does
   * the same finds it done.
   *
   * @returns undefined if there was none
   */
  async bring(id: string, from: Member, to: Member): Promise<FailbackOutcome | undefined> {
    const watched: Watched = (work) => to.health.run(work)
    const arrival = await moveRow(id, from.server, to.server, this.#options.merge, this.#deadline(), watched)
    if (arrival !== undefined) {
      from.failbacks[arrival]++
      this.#options.onFailback({ id, from: from.name, to: to.name, outcome: arrival })
    }
    return arrival
  }

  #deadline(): number {
    return performance.now() + this.#options.operationTimeout * 1000
  }
}

/** Runs something, and rejects at once when it turns out that there will be no answer. */
type Watched = <T>(work: () => Promise<T>) => Promise<T>

/**
 * Carries one row from server to server; see `Failback.bring`.
 *
 * @param watched what is asked of the one to which it is carried: the row is not kept locked for one that hangs
 */
export async function moveRow(
  id: string,
  from: Server,
  to: Server,
  merge: MergeTexts,
  deadline: number,
  watched: Watched = (work) => work(),
): Promise<FailbackOutcome | undefined> {
  if (from === to) {
    // The servers were set up otherwise when it was marked: it is at home.
    await from.table.transaction(async (query, shape) => {
      const { row } = await lockRowCopy(query, shape, id)
      if (row === undefined) return
      await writeRowCopy(query, shape, { ...row, home: null, base: null, received: null })
    }, deadline)
    return undefined
  }
  let note: string | undefined
  let mustKnow = false
  let isGivenUp = false
  /** Once the row is not locked any more where it lies, nothing of what it was may be written. */
  const demandLocked = (): void => {
    if (isGivenUp) throw new SessionPgsqlError('SERVER_DOWN', 'The server has not answered in time.')
  }
  const arrival = await holdBoth(from, to, deadline, (here, there) =>
    here(async (query, shape) => {
      const { row } = await lockRowCopy(query, shape, id)
      if (row === undefined) return undefined
      const arrive = async (query: Query, shape: Shape): Promise<FailbackOutcome> => {
        const { row: found, clock } = await lockRowCopy(query, shape, id)
        const { next, outcome } = await settle(row, found, clock, merge, from.name, to.name)
        demandLocked()
        if (next !== undefined) {
          mustKnow = next.session.generation !== row.session.generation || isOfAnother(row, to.name)
          note = next.destroyed === null ? noteOf(row, next, from.name) : undefined
          await writeRowCopy(query, shape, { ...next, home: null, base: null, received: note ?? null })
          demandLocked()
        }
        return outcome
      }
      const outcome = await watched(() => there(arrive)).catch((error) => {
        isGivenUp = true
        throw error
      })
      await deleteRow(query, shape, id)
      return outcome
    }),
  )
  if (note !== undefined && !mustKnow) {
    const known = note
    await to.table
      .transaction((query, shape) => forgetArrived(query, shape, id, known), deadline)
      // It may stay: all that it costs is room.
      .catch(() => {})
  }
  return arrival
}

/**
 * Holds a place on both servers. Always in the order of their names: of two that carry in opposite directions, each
 * would otherwise wait for ever for the place that the other has.
 */
function holdBoth<T>(
  from: Server,
  to: Server,
  deadline: number,
  work: (here: Transact, there: Transact) => Promise<T>,
): Promise<T> {
  return from.name < to.name
    ? from.table.hold((here) => to.table.hold((there) => work(here, there), deadline), deadline)
    : to.table.hold((there) => from.table.hold((here) => work(here, there), deadline), deadline)
}

/** Whether it was made from what yet another stand-in had, which is still to come. */
function isOfAnother({ base }: RowCopy, to: string): boolean {
  const server = base === null ? null : baseOf(base).server
  return server !== null && server !== to
}

/** What home is to know of a row that came, should it come again. */
function noteOf(row: RowCopy, next: RowCopy, from: string): string {
  const { session, base } = row
  const { generation } = next.session
  const note: ReceivedRow = {
    ...{ from, base, generation: session.generation },
    row: baseOf(recordBase({ ...session, generation })),
  }
  return JSON.stringify(note)
}
