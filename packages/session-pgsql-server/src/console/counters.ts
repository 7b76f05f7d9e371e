import type { NameStatistics, TableStatistics } from 'session-pgsql'

/** What has been going on between two looks. */
export interface Moved {
  readonly begun: number
  readonly ended: number
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
}

export interface NameMoved extends Moved {
  readonly name: string | null
  readonly sessions: number
}

/** As many as the library tells of: of a name that is not among so many nothing is known. */
const MOST_NAMES = 30

const STILL: Moved = { begun: 0, ended: 0, accesses: 0, errors: 0, warnings: 0 }

/** What one server's counters and sums have done since the last look. Nothing is ever less than 0. */
export class Counters {
  readonly #names = new Map<string | null, NameCounters>()
  readonly #shares = { begun: new Shares(), ended: new Shares(), accesses: new Shares() }
  #before: TableStatistics | undefined
  #ended = 0

  moveTo(table: TableStatistics): { readonly all: Moved; readonly names: readonly NameMoved[] } {
    const before = this.#before
    this.#before = table
    const wasReset =
      before !== undefined && (table.inserted < before.inserted || table.updated < before.updated)
    const anew = before === undefined || wasReset || before.sampled !== table.sampled
    if (anew) this.#names.clear()
    const names = this.#moveNames(table, before?.names.length ?? 0, anew)
    if (anew) {
      this.#ended = endedBy(table)
      return { all: STILL, names }
    }
    // PostgreSQL's counters come seconds later than the rows: only what goes beyond all before is new.
    const ended = Math.max(0, endedBy(table) - this.#ended)
    this.#ended += ended
    const all = {
      begun: table.inserted - before.inserted,
      ended,
      accesses: table.updated - before.updated,
      errors: grown(before.errors, table.errors, before.scale, table.scale),
      warnings: grown(before.warnings, table.warnings, before.scale, table.scale),
    }
    return { all, names: table.exact ? names : this.#estimated(all, table, names) }
  }

  /** As the rows that were read have moved: all of them, or those of the sample. */
  #moveNames(table: TableStatistics, namesBefore: number, anew: boolean): NameMoved[] {
    const second = Math.ceil(table.at.getTime() / 1000)
    const present = new Set(table.names.map(({ name }) => name))
    // A name that is new has had no rows before, if all were told, and if all rows were read.
    const fromNothing = !anew && table.exact && namesBefore < MOST_NAMES
    const moved = table.names.map((stats) => {
      const read = readOf(stats, table.scale)
      const known = this.#names.get(stats.name)
      const counters = known ?? new NameCounters()
      this.#names.set(stats.name, counters)
      const its = counters.moveTo(read, second, table.exact)
      return { name: stats.name, sessions: stats.sessions, ...(known || fromNothing ? its : STILL) }
    })
    for (const [name, counters] of this.#names) {
      if (present.has(name)) continue
      this.#names.delete(name)
      if (table.names.length < MOST_NAMES) {
        moved.push({ name, sessions: 0, ...STILL, ended: counters.sessions })
      }
    }
    return moved
  }

  /**
   * Of an estimate by name: PostgreSQL has counted what began, ended and was accessed, and the sample says of which
   * names. Its own numbers, times what a row stands for, would not add up to that.
   */
  #estimated(
    { begun, ended, accesses }: Moved,
    table: TableStatistics,
    read: readonly NameMoved[],
  ): NameMoved[] {
    const now = new Map(table.names.map(({ name, sessions, accesses }) => [name, { sessions, accesses }]))
    const split = (total: number, of: 'begun' | 'ended' | 'accesses', prior: 'sessions' | 'accesses') =>
      this.#shares[of].split(
        total,
        read.map((one) => ({ name: one.name, moved: one[of], prior: now.get(one.name)?.[prior] ?? 0 })),
      )
    const parts = {
      begun: split(begun, 'begun', 'sessions'),
      ended: split(ended, 'ended', 'sessions'),
      accesses: split(accesses, 'accesses', 'accesses'),
    }
    return read.map((one, index) => ({
      ...one,
      begun: parts.begun[index] ?? 0,
      ended: parts.ended[index] ?? 0,
      accesses: parts.accesses[index] ?? 0,
      errors: Math.round(one.errors * table.scale),
      warnings: Math.round(one.warnings * table.scale),
    }))
  }
}

/**
 * How many have ever ended. Of a table that is counted: those that were inserted and do not live any more, by
 * whatever way they went; expired rows may stay in the table. Of an estimate the difference would be noise.
 */
function endedBy({ exact, inserted, deleted, sessions }: TableStatistics): number {
  return exact ? inserted - sessions : deleted
}

/** What was found in the rows that were read, before it was scaled. */
const unscaled = (value: number, scale: number): number => Math.round(value / scale)

/**
 * How a sum has grown. Of an estimate: as that of the rows of the sample has, whose scale moves with every look.
 * Sessions that end take theirs with them.
 */
function grown(before: number, now: number, scaleBefore: number, scale: number): number {
  return Math.round(Math.max(0, unscaled(now, scale) - unscaled(before, scaleBefore)) * scale)
}

function readOf({ name, created, written, ...sums }: NameStatistics, scale: number): NameStatistics {
  const { sessions, accesses, errors, warnings } = sums
  return {
    name,
    written: unscaled(written ?? 0, scale),
    sessions: unscaled(sessions, scale),
    accesses: unscaled(accesses, scale),
    errors: unscaled(errors, scale),
    warnings: unscaled(warnings, scale),
    created: created.map((count) => unscaled(count, scale)),
  }
}

/** The rows of one name, of those that were read. */
class NameCounters {
  /** Of each of the last seconds, the most rows that were seen to have been created in it. */
  #seen = new Map<number, number>()
  #before: Pick<NameStatistics, 'sessions' | 'accesses' | 'errors' | 'warnings'> = {
    sessions: 0,
    accesses: 0,
    errors: 0,
    warnings: 0,
  }

  get sessions(): number {
    return this.#before.sessions
  }

  /** @param second the one that is first in `created`, since 1970 */
  moveTo(now: NameStatistics, second: number, counted: boolean): Moved {
    const before = this.#before
    this.#before = now
    const created = this.#created(now.created, second)
    // Where all rows were read, those that are more have come, if only from another server.
    const begun = counted ? Math.max(created, now.sessions - before.sessions) : created
    const ended = Math.max(0, before.sessions + begun - now.sessions)
    // A session begins with an access.
    const grown = now.accesses - before.accesses - begun
    const written = Math.max(0, (now.written ?? 0) - begun)
    return {
      begun,
      ended,
      accesses: accessesOf(grown, written, counted, ended > 0),
      errors: Math.max(0, now.errors - before.errors),
      warnings: Math.max(0, now.warnings - before.warnings),
    }
  }

  /** A row may be seen a moment after the second in which it was created: each second is looked at again. */
  #created(created: readonly number[], second: number): number {
    const seen = new Map<number, number>()
    let fresh = 0
    for (const [age, count] of created.entries()) {
      const most = this.#seen.get(second - age) ?? 0
      fresh += Math.max(0, count - most)
      seen.set(second - age, Math.max(count, most))
    }
    this.#seen = seen
    return fresh
  }
}

/**
 * Counters have grown by every access, but rows that are deleted, or go to a page that is not read, take theirs along:
 * then so many there were at least as sessions have been written.
 */
function accessesOf(grown: number, written: number, counted: boolean, someEnded: boolean): number {
  if (!counted) return written
  return grown < 0 || someEnded ? Math.max(grown, written) : grown
}

/** What is left of a share's weight after each look: half of it after three quarters of a minute. */
const KEPT = 0.97

/** Splits a total by what a sample says of lately; as long as that is nothing, by what it says of always. */
class Shares {
  #weights = new Map<string | null, number>()

  split(
    total: number,
    names: readonly { readonly name: string | null; readonly moved: number; readonly prior: number }[],
  ): number[] {
    const priors = names.reduce((sum, { prior }) => sum + prior, 0)
    this.#weights = new Map(
      names.map(({ name, moved }) => [name, (this.#weights.get(name) ?? 0) * KEPT + moved]),
    )
    const weights = names.map(
      ({ name, prior }) => (this.#weights.get(name) ?? 0) + (priors === 0 ? 0 : prior / priors),
    )
    const all = weights.reduce((sum, weight) => sum + weight, 0)
    return weights.map((weight) => (all === 0 ? 0 : Math.round((total * weight * 100) / all) / 100))
  }
}
