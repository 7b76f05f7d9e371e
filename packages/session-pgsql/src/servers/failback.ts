import type { Query } from '../database/database.ts'
import { SessionPgsqlError } from '../errors.ts'
import type { StoredSession } from '../session/stored.ts'
import type { Shape } from '../table/definition.ts'
import {
  type Arrived,
  type BaseMark,
  baseOf,
  canStandIn,
  deleteWhole,
  forgetArrived,
  lockWhole,
  markedText,
  markOf,
  type WholeRow,
  writeWhole,
} from '../table/row-copies.ts'
import type { Transact } from '../table/table.ts'
import type { Member } from './member.ts'
import type { Server } from './server.ts'

/** Settles what both have changed: `mine` of `seen`, which became `theirs`; all three and the result are encoded. */
export type MergeTexts = (mine: string, theirs: string, seen: string) => string | Promise<string>

/** What became of a row that was brought to another server. */
export type Arrival =
  /** It lies there now, as it was. */
  | 'brought'
  /** There it had moved on as well: both changes are in it. */
  | 'merged'
  /** It was destroyed there, or belonged to a life that is over. */
  | 'dropped'

/** Seconds between two looks for rows that are not at home. */
const INTERVAL = 2

const BATCH = 200
const AT_ONCE = 4

/** Where a row belongs, and its id. */
type Marked = readonly [home: string, id: string]

export interface HomecomingOptions {
  readonly members: readonly Member[]
  /** Where a session lies, as far as it is up. */
  readonly homeOf: (id: string) => Member
  readonly merge: MergeTexts
  /** Seconds for each row. */
  readonly operationTimeout: number
  readonly onArrival: (arrival: { id: string; from: string; to: string; outcome: Arrival }) => void
  readonly onError: (error: Error) => void
}

/**
 * Brings home what others have kept while a server was away, for as long as there is any: other processes may
 * still see the home as down. Every process may do it, at once and over and over; one that dies in the middle
 * leaves nothing that another cannot finish. It never goes by time, for clocks differ.
 */
export class Homecoming {
  readonly #options: HomecomingOptions
  readonly #timer: NodeJS.Timeout
  #looking: Promise<void> | undefined
  #closed = false

  constructor(options: HomecomingOptions) {
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
    if (!canStandIn(await table.open(this.#deadline()))) return
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
  async bring(id: string, from: Member, to: Member): Promise<Arrival | undefined> {
    const watched: Watched = (work) => to.health.run(work)
    const arrival = await carry(id, from.server, to.server, this.#options.merge, this.#deadline(), watched)
    if (arrival !== undefined) {
      from.arrivals[arrival]++
      this.#options.onArrival({ id, from: from.name, to: to.name, outcome: arrival })
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
 * Carries one row from server to server; see `Homecoming.bring`.
 *
 * @param watched what is asked of the one to which it is carried: the row is not kept locked for one that hangs
 */
export async function carry(
  id: string,
  from: Server,
  to: Server,
  merge: MergeTexts,
  deadline: number,
  watched: Watched = (work) => work(),
): Promise<Arrival | undefined> {
  if (from === to) {
    // The servers were set up otherwise when it was marked: it is at home.
    await from.table.transaction(async (query, shape) => {
      const { row } = await lockWhole(query, shape, id)
      if (row === undefined) return
      await writeWhole(query, shape, { ...row, home: null, base: null, arrived: null })
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
      const { row } = await lockWhole(query, shape, id)
      if (row === undefined) return undefined
      const arrive = async (query: Query, shape: Shape): Promise<Arrival> => {
        const { row: found, clock } = await lockWhole(query, shape, id)
        const { next, outcome } = await settle(row, found, clock, merge, from.name, to.name)
        demandLocked()
        if (next !== undefined) {
          mustKnow = next.session.generation !== row.session.generation || isOfAnother(row, to.name)
          note = next.destroyed === null ? noteOf(row, next, from.name) : undefined
          await writeWhole(query, shape, { ...next, home: null, base: null, arrived: note ?? null })
          demandLocked()
        }
        return outcome
      }
      const outcome = await watched(() => there(arrive)).catch((error) => {
        isGivenUp = true
        throw error
      })
      await deleteWhole(query, shape, id)
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
function isOfAnother({ base }: WholeRow, to: string): boolean {
  const server = base === null ? null : baseOf(base).server
  return server !== null && server !== to
}

/** What home is to know of a row that came, should it come again. */
function noteOf(row: WholeRow, next: WholeRow, from: string): string {
  const { session, base } = row
  const { generation } = next.session
  const note: Arrived = {
    ...{ from, base, generation: session.generation },
    row: baseOf(markOf({ ...session, generation })),
  }
  return JSON.stringify(note)
}

/** What is to lie at home, given what comes and what is there; without `next` it stays as it is. */
export async function settle(
  row: WholeRow,
  there: WholeRow | undefined,
  clock: number,
  merge: MergeTexts,
  from: string,
  to: string,
): Promise<{ next?: WholeRow; outcome: Arrival }> {
  const { session } = row
  const before = broughtBefore(row, there, from)
  if (before !== undefined && row.destroyed === null && isAs(session, before)) return { outcome: 'brought' }
  const mark = before ?? (row.base === null ? undefined : baseOf(row.base))
  if (row.destroyed !== null) {
    const beaten = there === undefined || (there.destroyed === null && beats(row, there.session, mark))
    return beaten ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
  }
  const over = session.expires !== null && session.expires < clock
  if (over) return { outcome: 'dropped' }
  if (there === undefined) {
    // There was one when it was read, and it was not to be swept yet: it has been destroyed since.
    const wasHere = mark !== undefined && mark.destroyed === undefined && mark.server === to
    const swept = mark !== undefined && mark.expires !== null && mark.expires < clock
    return wasHere && !swept ? { outcome: 'dropped' } : { next: row, outcome: 'brought' }
  }
  if (there.destroyed !== null) {
    // What was left behind in a wrong place is of an older life, if not of the one that ended here.
    const beaten = beats(there, session, undefined) || (row.home === null && isOlder(session, there.session))
    return beaten ? { outcome: 'dropped' } : { next: row, outcome: 'brought' }
  }
  const other = there.session
  if (other.generation === session.generation && other.text === session.text) {
    return { next: { ...row, session: later(session, other) }, outcome: 'brought' }
  }
  if (mark === undefined) {
    // Of one that merely lies in a wrong place, the one that was used more is the one that was used last.
    if (row.home === null) {
      const newer = other.generation === session.generation && session.accesses > other.accesses
      return newer ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
    }
    if (isOver(other, clock)) return { next: row, outcome: 'brought' }
    return { next: await merged(row, other, undefined, merge), outcome: 'merged' }
  }
  if (mark.replaced !== undefined) {
    if (isOver(other, clock)) return { next: row, outcome: 'brought' }
    // Who has read what it replaces may go on with it, as after any write that had no base.
    return (other.created ?? 0) <= mark.replaced
      ? { next: await merged(row, other, mark, (mine) => mine), outcome: 'brought' }
      : { next: await merged(row, other, mark, merge), outcome: 'merged' }
  }
  if (mark.destroyed !== undefined) {
    const { generation, destroyed } = mark
    const old = generation === null ? (other.created ?? 0) <= destroyed : other.generation === generation
    return old || isOver(other, clock) ? { next: row, outcome: 'brought' } : { outcome: 'dropped' }
  }
  if (other.generation !== mark.generation && !isMerged(there, mark)) return { outcome: 'dropped' }
  if (other.digest === mark.digest) {
    const { generation } = other
    return { next: { ...row, session: { ...counted(session, other, mark), generation } }, outcome: 'brought' }
  }
  return { next: await merged(row, other, mark, merge), outcome: 'merged' }
}

/** Whether the life that is meant has become one with the one that is there. */
export function isMerged(
  { arrived }: WholeRow,
  { generation }: { readonly generation: number | null },
): boolean {
  return arrived !== null && (JSON.parse(arrived) as Arrived).generation === generation
}

/** As it was when it came here before, if it did: whoever brought it came no further than that. */
function broughtBefore(row: WholeRow, there: WholeRow | undefined, from: string): BaseMark | undefined {
  if (there?.arrived == null) return undefined
  const arrived: Arrived = JSON.parse(there.arrived)
  const same =
    arrived.from === from && arrived.base === row.base && arrived.generation === row.session.generation
  if (same) return arrived.row
  // What has come from another stand-in was made from what this one had.
  const seen = arrived.base === null ? undefined : baseOf(arrived.base)
  return seen?.server === from && seen.generation === row.session.generation ? seen : undefined
}

function isAs(session: StoredSession, mark: BaseMark): boolean {
  const names = ['text', 'accesses', 'errors', 'warnings', 'notices', 'errorMessage', 'custom'] as const
  return names.every((name) => session[name] === mark[name])
}

/** A tombstone beats the life that it ended; where that was not known, every row created before it. */
export function beats(stone: WholeRow, session: StoredSession, mark: BaseMark | undefined): boolean {
  const { generation } = stone.session
  if (generation !== null) return session.generation === generation || isMerged(stone, session)
  if (mark !== undefined && mark.generation !== null && session.generation === mark.generation) return true
  return (session.created ?? 0) <= (stone.destroyed ?? 0)
}

/** A generation is the time at which it began. */
function isOlder({ generation: one }: StoredSession, { generation: other }: StoredSession): boolean {
  return one !== null && other !== null && one < other
}

function isOver({ expires }: StoredSession, clock: number): boolean {
  return expires !== null && expires < clock
}

async function merged(
  row: WholeRow,
  other: StoredSession,
  mark: BaseMark | undefined,
  merge: MergeTexts,
): Promise<WholeRow> {
  const text = await merge(row.session.text, other.text, mark?.text ?? '')
  const { generation, created, addressCreated } = other
  const session = counted(row.session, other, mark)
  return { ...row, session: { ...session, text, generation, created, addressCreated } }
}

/** What either side has counted, set and prolonged since the base. */
function counted(session: StoredSession, other: StoredSession, mark: BaseMark | undefined): StoredSession {
  const sum = (name: 'accesses' | 'errors' | 'warnings' | 'notices'): number =>
    session[name] + Math.max(0, other[name] - (mark?.[name] ?? 0))
  const latest = (name: 'custom' | 'errorMessage'): string | null =>
    session[name] === (mark?.[name] ?? null) ? other[name] : session[name]
  return {
    ...session,
    accesses: sum('accesses'),
    errors: sum('errors'),
    warnings: sum('warnings'),
    notices: sum('notices'),
    errorMessage: latest('errorMessage'),
    custom: latest('custom'),
    expires: laterOf(session, other),
  }
}

/** The later expiry; null: never. */
function laterOf({ expires: one }: StoredSession, { expires: other }: StoredSession): number | null {
  return one === null || other === null ? null : Math.max(one, other)
}

function later(session: StoredSession, other: StoredSession): StoredSession {
  const most = (name: 'accesses' | 'errors' | 'warnings' | 'notices'): number =>
    Math.max(session[name], other[name])
  return {
    ...session,
    accesses: most('accesses'),
    errors: most('errors'),
    warnings: most('warnings'),
    notices: most('notices'),
    expires: laterOf(session, other),
  }
}
