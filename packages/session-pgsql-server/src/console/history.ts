import type { ServerStatistics, ServerStatus } from 'session-pgsql'
import type { Figures, History, HistoryMark, HistoryPoint, NameFigures } from './api.ts'
import { Counters } from './counters.ts'
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

/** As many points as a history tells at most: twice as many as the charts of the page have columns. */
const MOST_TOLD = 750

/** Names in a point: those with the most sessions. */
const MOST_NAMES = 30

/** How it was: points made of the samples, and marks. */
export class Past {
  readonly #fine = new Ring<HistoryPoint>(FINE)
  readonly #coarse = new Ring<HistoryPoint>(COARSE)
  readonly #marks = new Ring<HistoryMark>(MARKS)
  /** Those of garbage collections, which come often, and must not drive out the others. */
  readonly #sweeps = new Ring<HistoryMark>(MARKS)
  readonly #counters = new Map<string, Counters>()
  #minute: HistoryPoint[] = []
  #before: number | undefined

  /** @returns the point that the sample has become */
  add({ at, milliseconds, servers }: Sample): HistoryPoint {
    const perServer = servers.map(({ name, table }) => {
      if (table === undefined) return { name, up: false, exact: true, ...UNKNOWN, names: [] }
      const { all, names } = this.#countersOf(name).moveTo(table)
      return { name, up: true, exact: table.exact, sessions: table.sessions, ...all, names }
    })
    const up = perServer.filter((server) => server.up)
    const point: HistoryPoint = {
      at: at.toISOString(),
      seconds: this.#before === undefined ? 0 : Math.round(milliseconds - this.#before) / 1000,
      exact: up.every(({ exact }) => exact),
      ...sumOf(up),
      sessions: total(up, 'sessions'),
      perServer: perServer.map(({ names, ...server }) => server),
      perName: byName(up.flatMap(({ names }) => names)).slice(0, MOST_NAMES),
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
    const its = mark.kind === 'gc' ? this.#sweeps : this.#marks
    its.push(mark)
  }

  /** Up to an hour in steps of the samples, more in minutes. */
  since(minutes: number, now: number = Date.now()): History {
    const from = new Date(now - minutes * 60_000).toISOString()
    const points =
      minutes <= 60
        ? this.#fine.toArray()
        : [...this.#coarse.toArray(), ...(this.#minute.length > 0 ? [joined(this.#minute)] : [])]
    return {
      points: thinned(points.filter(({ at }) => at >= from)),
      marks: [...this.#marks.toArray(), ...this.#sweeps.toArray()]
        .filter(({ at }) => at >= from)
        .sort(byTime),
    }
  }

  #countersOf(name: string): Counters {
    const counters = this.#counters.get(name) ?? new Counters()
    this.#counters.set(name, counters)
    return counters
  }
}

export function byTime({ at: one }: { readonly at: string }, { at: other }: { readonly at: string }): number {
  return one < other ? -1 : Number(one > other)
}

const UNKNOWN: Figures = {
  sessions: null,
  begun: null,
  ended: null,
  accesses: null,
  errors: null,
  warnings: null,
}

/** Of what is known; null if nothing is. */
function total(figures: readonly Figures[], of: keyof Figures): number | null {
  const known = figures.map((one) => one[of]).filter((one) => one !== null)
  // Parts of estimates have two decimals.
  return known.length === 0 ? null : Math.round(known.reduce((sum, one) => sum + one, 0) * 100) / 100
}

/** What has been going on in all of them. */
function sumOf(figures: readonly Figures[]): Omit<Figures, 'sessions'> {
  return {
    begun: total(figures, 'begun'),
    ended: total(figures, 'ended'),
    accesses: total(figures, 'accesses'),
    errors: total(figures, 'errors'),
    warnings: total(figures, 'warnings'),
  }
}

/** Each name once, those with the most sessions first. */
function byName(figures: readonly NameFigures[]): NameFigures[] {
  const names = new Map<string | null, NameFigures[]>()
  for (const one of figures) names.set(one.name, [...(names.get(one.name) ?? []), one])
  return [...names]
    .map(([name, its]) => ({ name, ...sumOf(its), sessions: total(its, 'sessions') }))
    .sort((one, other) => (other.sessions ?? 0) - (one.sessions ?? 0))
}

function thinned(points: readonly HistoryPoint[]): readonly HistoryPoint[] {
  const size = Math.ceil(points.length / MOST_TOLD)
  if (size <= 1) return points
  const groups = Array.from({ length: Math.ceil(points.length / size) }, (_, index) =>
    points.slice(index * size, (index + 1) * size),
  )
  return groups.map(joined)
}

function joined(points: readonly HistoryPoint[]): HistoryPoint {
  const last = points.at(-1) as HistoryPoint
  const known = points.findLast(({ sessions }) => sessions !== null)
  const now = new Map(known?.perName.map(({ name, sessions }) => [name, sessions]))
  return {
    at: last.at,
    seconds: points.reduce((sum, { seconds }) => sum + seconds, 0),
    exact: points.every(({ exact }) => exact),
    ...sumOf(points),
    sessions: known?.sessions ?? null,
    perServer: last.perServer.map(({ name, sessions }, index) => {
      const its = points.flatMap(({ perServer }) => perServer[index] ?? [])
      return {
        name,
        // Down for part of a minute is down: it is to be seen.
        up: its.every(({ up }) => up),
        exact: its.every(({ exact }) => exact),
        ...sumOf(its),
        sessions,
      }
    }),
    perName: byName(points.flatMap(({ perName }) => perName))
      .slice(0, MOST_NAMES)
      .map((one) => ({ ...one, sessions: now.get(one.name) ?? 0 })),
  }
}
