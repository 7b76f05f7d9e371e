import type { NameStatistics, TableStatistics } from 'session-pgsql'

/** The changes between two samples. */
export interface Deltas {
  readonly created: number
  readonly ended: number
  readonly accesses: number
  readonly errors: number
  readonly warnings: number
}

export interface NameDeltas extends Deltas {
  readonly name: string | null
  readonly sessions: number
}

/** The library reports at most this many names; nothing is known of a name beyond them. */
const MAX_NAMES = 30

const NO_CHANGE: Deltas = { created: 0, ended: 0, accesses: 0, errors: 0, warnings: 0 }

/** Computes the deltas of one server's counters and sums from sample to sample. A delta is never negative. */
export class Counters {
  readonly #names = new Map<string | null, NameCounters>()
  readonly #shares = {
    created: new ShareEstimator(),
    ended: new ShareEstimator(),
    accesses: new ShareEstimator(),
  }
  #previous: TableStatistics | undefined
  #totalEnded = 0

  /** Takes the next sample and returns the deltas since the previous one. */
  update(table: TableStatistics): { readonly all: Deltas; readonly names: readonly NameDeltas[] } {
    const previous = this.#previous
    this.#previous = table
    const countersReset =
      previous !== undefined && (table.inserted < previous.inserted || table.updated < previous.updated)
    const restart = previous === undefined || countersReset || previous.sampled !== table.sampled
    if (restart) this.#names.clear()
    const names = this.#updateNames(table, previous?.names.length ?? 0, restart)
    if (restart) {
      this.#totalEnded = totalEnded(table)
      return { all: NO_CHANGE, names }
    }
    // PostgreSQL's counters lag seconds behind the rows, so the total can fall. Only a new maximum counts.
    const ended = Math.max(0, totalEnded(table) - this.#totalEnded)
    this.#totalEnded += ended
    const all = {
      created: table.inserted - previous.inserted,
      ended,
      accesses: table.updated - previous.updated,
      errors: growth(previous.errors, table.errors, previous.scale, table.scale),
      warnings: growth(previous.warnings, table.warnings, previous.scale, table.scale),
    }
    return { all, names: table.exact ? names : this.#estimate(all, table, names) }
  }

  /** Returns the deltas of the rows that were read: all rows, or those of the sample. */
  #updateNames(table: TableStatistics, previousNames: number, restart: boolean): NameDeltas[] {
    const second = Math.ceil(table.at.getTime() / 1000)
    const present = new Set(table.names.map(({ name }) => name))
    // A new name had no rows before only if the previous sample reported all names and all rows were read.
    const startsAtZero = !restart && table.exact && previousNames < MAX_NAMES
    const deltas = table.names.map((stats) => {
      const known = this.#names.get(stats.name)
      const counters = known ?? new NameCounters()
      this.#names.set(stats.name, counters)
      const delta = counters.update(unscale(stats, table.scale), second, table.exact)
      return { name: stats.name, sessions: stats.sessions, ...(known || startsAtZero ? delta : NO_CHANGE) }
    })
    for (const [name, counters] of this.#names) {
      if (present.has(name)) continue
      this.#names.delete(name)
      if (table.names.length < MAX_NAMES) {
        deltas.push({ name, sessions: 0, ...NO_CHANGE, ended: counters.sessions })
      }
    }
    return deltas
  }

  /**
   * Estimates the deltas by name for a sampled table: PostgreSQL's counters give the totals, the sample gives the
   * shares of the names. Scaling up the sample's own numbers would not add up to the totals.
   */
  #estimate(
    { created, ended, accesses }: Deltas,
    table: TableStatistics,
    sampled: readonly NameDeltas[],
  ): NameDeltas[] {
    const current = new Map(table.names.map(({ name, sessions, accesses }) => [name, { sessions, accesses }]))
    const split = (total: number, of: 'created' | 'ended' | 'accesses', prior: 'sessions' | 'accesses') =>
      this.#shares[of].split(
        total,
        sampled.map((one) => ({
          name: one.name,
          delta: one[of],
          prior: current.get(one.name)?.[prior] ?? 0,
        })),
      )
    const shares = {
      created: split(created, 'created', 'sessions'),
      ended: split(ended, 'ended', 'sessions'),
      accesses: split(accesses, 'accesses', 'accesses'),
    }
    return sampled.map((one, index) => ({
      ...one,
      created: shares.created[index] ?? 0,
      ended: shares.ended[index] ?? 0,
      accesses: shares.accesses[index] ?? 0,
      errors: Math.round(one.errors * table.scale),
      warnings: Math.round(one.warnings * table.scale),
    }))
  }
}

/**
 * Returns how many sessions have ended so far, up to a constant. If all rows are counted: inserted minus active
 * sessions, because expired rows may stay in the table. If the table is sampled, that difference would be noise.
 */
function totalEnded({ exact, inserted, deleted, sessions }: TableStatistics): number {
  return exact ? inserted - sessions : deleted
}

/** Returns the number that was counted in the rows read, before it was scaled up to the whole table. */
const unscaled = (value: number, scale: number): number => Math.round(value / scale)

/**
 * Returns the growth of a sum. For a sampled table it is the growth within the sample, scaled up, because the scale
 * differs between samples. Sessions that end lower the sum, so a negative growth counts as 0.
 */
function growth(previous: number, current: number, previousScale: number, scale: number): number {
  return Math.round(Math.max(0, unscaled(current, scale) - unscaled(previous, previousScale)) * scale)
}

function unscale({ name, created, written, ...sums }: NameStatistics, scale: number): NameStatistics {
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

/** Computes the deltas of one cookie name, within the rows that were read. */
class NameCounters {
  /** The maximum number of rows seen so far with a creation time in each of the last seconds. */
  #createdIn = new Map<number, number>()
  #previous: Pick<NameStatistics, 'sessions' | 'accesses' | 'errors' | 'warnings'> = {
    sessions: 0,
    accesses: 0,
    errors: 0,
    warnings: 0,
  }

  get sessions(): number {
    return this.#previous.sessions
  }

  /**
   * @param second the second that `created[0]` counts, since 1970
   * @param allRead whether all rows were read, not a sample
   */
  update(current: NameStatistics, second: number, allRead: boolean): Deltas {
    const previous = this.#previous
    this.#previous = current
    const newRows = this.#newRows(current.created, second)
    // If all rows are read, every additional row counts as created, even one that moved here from another server.
    const created = allRead ? Math.max(newRows, current.sessions - previous.sessions) : newRows
    const ended = Math.max(0, previous.sessions + created - current.sessions)
    // A new session starts with one access, which does not count again.
    const grown = current.accesses - previous.accesses - created
    const written = Math.max(0, (current.written ?? 0) - created)
    return {
      created,
      ended,
      accesses: accessesOf(grown, written, allRead, ended > 0),
      errors: Math.max(0, current.errors - previous.errors),
      warnings: Math.max(0, current.warnings - previous.warnings),
    }
  }

  /** A row may become visible after the second in which it was created, so each sample counts each second again. */
  #newRows(created: readonly number[], second: number): number {
    const createdIn = new Map<number, number>()
    let additional = 0
    for (const [age, count] of created.entries()) {
      const seen = this.#createdIn.get(second - age) ?? 0
      additional += Math.max(0, count - seen)
      createdIn.set(second - age, Math.max(count, seen))
    }
    this.#createdIn = createdIn
    return additional
  }
}

/**
 * Every access increments a session's counter. But a row that is deleted, or that moves to a page outside the sample,
 * takes its counter away. Then the number of written sessions is a lower bound.
 */
function accessesOf(grown: number, written: number, allRead: boolean, someEnded: boolean): number {
  if (!allRead) return written
  return grown < 0 || someEnded ? Math.max(grown, written) : grown
}

/** The factor by which a weight decays per sample: to one half in three quarters of a minute. */
const DECAY = 0.97

/** Splits a total by the recent deltas of a sample, and by the prior values while there are no recent deltas. */
class ShareEstimator {
  #weights = new Map<string | null, number>()

  split(
    total: number,
    names: readonly { readonly name: string | null; readonly delta: number; readonly prior: number }[],
  ): number[] {
    const priors = names.reduce((sum, { prior }) => sum + prior, 0)
    this.#weights = new Map(
      names.map(({ name, delta }) => [name, (this.#weights.get(name) ?? 0) * DECAY + delta]),
    )
    const weights = names.map(
      ({ name, prior }) => (this.#weights.get(name) ?? 0) + (priors === 0 ? 0 : prior / priors),
    )
    const all = weights.reduce((sum, weight) => sum + weight, 0)
    return weights.map((weight) => (all === 0 ? 0 : Math.round((total * weight * 100) / all) / 100))
  }
}
