import type { ServerStatistics, ServerStatus, TableStatistics } from 'session-pgsql'
import type { History, HistoryMark, HistoryPoint } from './api.ts'
import { Ring } from './ring.ts'

/** One look at all servers. */
export interface Sample {
  readonly at: Date
  /** Of `performance.now()`. */
  readonly milliseconds: number
  readonly servers: readonly ServerStatistics[]
  readonly status: readonly ServerStatus[]
}

/** Points of two seconds for an hour, and of a minute for a day. */
const FINE = 1800
const COARSE = 1440
const MINUTE = 60
const MARKS = 500

/** How it was: points made of the samples, and marks. */
export class Past {
  readonly #fine = new Ring<HistoryPoint>(FINE)
  readonly #coarse = new Ring<HistoryPoint>(COARSE)
  readonly #marks = new Ring<HistoryMark>(MARKS)
  readonly #counters = new Map<string, Counters>()
  #minute: HistoryPoint[] = []
  #before: number | undefined

  /** @returns the point that the sample has become */
  add({ at, milliseconds, servers }: Sample): HistoryPoint {
    const up = servers.flatMap(({ name, table }) => (table === undefined ? [] : [{ name, table }]))
    const moved = up.map(({ name, table }) => this.#countersOf(name).moveTo(table))
    const total = (of: (one: Moved) => number | null): number | null =>
      up.length === 0 ? null : sumOf(moved.map(of))
    const point: HistoryPoint = {
      at: at.toISOString(),
      seconds: this.#before === undefined ? 0 : Math.round(milliseconds - this.#before) / 1000,
      sessions: up.length === 0 ? null : up.reduce((sum, { table }) => sum + table.sessions, 0),
      begun: total(({ begun }) => begun),
      ended: total(({ ended }) => ended),
      accesses: total(({ accesses }) => accesses),
      errors: total(({ errors }) => errors),
      warnings: total(({ warnings }) => warnings),
      perServer: servers.map(({ name, table }) => ({
        name,
        sessions: table?.sessions ?? null,
        up: table !== undefined,
      })),
    }
    this.#before = milliseconds
    this.#fine.push(point)
    this.#minute.push(point)
    if (this.#minute.reduce((sum, { seconds }) => sum + seconds, 0) >= MINUTE) {
      this.#coarse.push(joined(this.#minute))
      this.#minute = []
    }
    return point
  }

  mark(mark: HistoryMark): void {
    this.#marks.push(mark)
  }

  /** Up to an hour in steps of the samples, more in minutes. */
  since(minutes: number, now: number = Date.now()): History {
    const from = new Date(now - minutes * 60_000).toISOString()
    const points =
      minutes <= 60
        ? this.#fine.toArray()
        : [...this.#coarse.toArray(), ...(this.#minute.length > 0 ? [joined(this.#minute)] : [])]
    return {
      points: points.filter(({ at }) => at >= from),
      marks: this.#marks.toArray().filter(({ at }) => at >= from),
    }
  }

  #countersOf(name: string): Counters {
    const counters = this.#counters.get(name) ?? new Counters()
    this.#counters.set(name, counters)
    return counters
  }
}

interface Moved {
  begun: number
  ended: number
  accesses: number
  /** null: of an estimate the difference would be noise, however large the table. */
  errors: number | null
  warnings: number | null
}

const STILL: Moved = { begun: 0, ended: 0, accesses: 0, errors: 0, warnings: 0 }

/** What one server's counters have done since the last look. */
class Counters {
  #before: TableStatistics | undefined
  #ended = 0

  moveTo(table: TableStatistics): Moved {
    const before = this.#before
    this.#before = table
    const wasReset =
      before !== undefined && (table.inserted < before.inserted || table.updated < before.updated)
    if (before === undefined || wasReset || before.exact !== table.exact) {
      this.#ended = endedBy(table)
      return table.exact ? STILL : { ...STILL, errors: null, warnings: null }
    }
    // PostgreSQL's counters come up to a second later than the rows: only what goes beyond all before is new.
    const ended = Math.max(0, endedBy(table) - this.#ended)
    this.#ended += ended
    return {
      begun: table.inserted - before.inserted,
      ended,
      accesses: table.updated - before.updated,
      // Sessions that end take their errors with them.
      errors: table.exact ? Math.max(0, table.errors - before.errors) : null,
      warnings: table.exact ? Math.max(0, table.warnings - before.warnings) : null,
    }
  }
}

/**
 * How many have ever ended. Of a table that is counted: those that were inserted and do not live any more, by
 * whatever way they went; expired rows may stay in the table. Of an estimate the difference would be noise.
 */
function endedBy({ exact, inserted, deleted, sessions }: TableStatistics): number {
  return exact ? inserted - sessions : deleted
}

/** Of several, one of which is not known, the sum is not either. */
function sumOf(values: readonly (number | null)[]): number | null {
  return values.reduce<number | null>(
    (sum, value) => (sum === null || value === null ? null : sum + value),
    0,
  )
}

function joined(points: readonly HistoryPoint[]): HistoryPoint {
  const last = points.at(-1) as HistoryPoint
  const total = (of: (point: HistoryPoint) => number | null): number | null => {
    const known = points.map(of).filter((one) => one !== null)
    return known.length === 0 ? null : known.reduce((sum, one) => sum + one, 0)
  }
  return {
    at: last.at,
    seconds: points.reduce((sum, { seconds }) => sum + seconds, 0),
    sessions: points.findLast(({ sessions }) => sessions !== null)?.sessions ?? null,
    begun: total(({ begun }) => begun),
    ended: total(({ ended }) => ended),
    accesses: total(({ accesses }) => accesses),
    errors: total(({ errors }) => errors),
    warnings: total(({ warnings }) => warnings),
    perServer: last.perServer.map((server, index) => ({
      ...server,
      // Down for part of a minute is down: it is to be seen.
      up: points.every(({ perServer }) => perServer[index]?.up ?? true),
    })),
  }
}
