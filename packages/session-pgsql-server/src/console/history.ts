import type { ServerStatistics, ServerStatus } from 'session-pgsql'
import type { Annotation, History, HistoryPoint, NameMetrics, SessionMetrics } from './api.ts'
import { Counters } from './counters.ts'
import { RingBuffer } from './ring-buffer.ts'

/** The state of all servers at one moment. */
export interface Sample {
  readonly at: Date
  /** On the clock of `performance.now()`. */
  readonly milliseconds: number
  readonly servers: readonly ServerStatistics[]
  readonly status: readonly ServerStatus[]
}

/** The number of points: one per sample (two seconds) for an hour, and one per minute for a day. */
const FINE_POINTS = 1800
const COARSE_POINTS = 1440
const MINUTE = 60
const MAX_ANNOTATIONS = 500

/** The maximum number of points in a response: twice the number of columns that the page's charts have. */
const MAX_POINTS = 750

/** The maximum number of names in a point: those with the most sessions. */
const MAX_NAMES = 30

/** Keeps the metrics of the last day, computed from samples, and the annotations. */
export class HistoryBuffer {
  readonly #fine = new RingBuffer<HistoryPoint>(FINE_POINTS)
  readonly #coarse = new RingBuffer<HistoryPoint>(COARSE_POINTS)
  readonly #annotations = new RingBuffer<Annotation>(MAX_ANNOTATIONS)
  /** Separate from the others, because garbage collections are frequent and would displace them. */
  readonly #gcAnnotations = new RingBuffer<Annotation>(MAX_ANNOTATIONS)
  readonly #counters = new Map<string, Counters>()
  #minute: HistoryPoint[] = []
  #previous: number | undefined

  /** Adds a sample. @returns its point */
  add({ at, milliseconds, servers }: Sample): HistoryPoint {
    const perServer = servers.map(({ name, table }) => {
      if (table === undefined) return { name, up: false, exact: true, ...UNKNOWN, names: [] }
      const { all, names } = this.#countersOf(name).update(table)
      return { name, up: true, exact: table.exact, sessions: table.sessions, ...all, names }
    })
    const up = perServer.filter((server) => server.up)
    const point: HistoryPoint = {
      at: at.toISOString(),
      seconds: this.#previous === undefined ? 0 : Math.round(milliseconds - this.#previous) / 1000,
      exact: up.every(({ exact }) => exact),
      ...sumDeltas(up),
      sessions: sum(up, 'sessions'),
      perServer: perServer.map(({ names, ...server }) => server),
      perName: groupByName(up.flatMap(({ names }) => names)).slice(0, MAX_NAMES),
    }
    this.#previous = milliseconds
    this.#fine.push(point)
    this.#minute.push(point)
    if (this.#minute.reduce((sum, { seconds }) => sum + seconds, 0) >= MINUTE) {
      this.#coarse.push(merge(this.#minute))
      this.#minute = []
    }
    return point
  }

  annotate(annotation: Annotation): void {
    const buffer = annotation.kind === 'gc' ? this.#gcAnnotations : this.#annotations
    buffer.push(annotation)
  }

  /** Returns the last minutes: up to an hour with a point per sample, otherwise with a point per minute. */
  since(minutes: number, now: number = Date.now()): History {
    const from = new Date(now - minutes * 60_000).toISOString()
    const points =
      minutes <= 60
        ? this.#fine.toArray()
        : [...this.#coarse.toArray(), ...(this.#minute.length > 0 ? [merge(this.#minute)] : [])]
    return {
      points: downsample(points.filter(({ at }) => at >= from)),
      annotations: [...this.#annotations.toArray(), ...this.#gcAnnotations.toArray()]
        .filter(({ at }) => at >= from)
        .sort(byTime),
    }
  }

  #countersOf(server: string): Counters {
    const counters = this.#counters.get(server) ?? new Counters()
    this.#counters.set(server, counters)
    return counters
  }
}

/** Compares ISO dates, for sorting the oldest first. */
export function byTime({ at: a }: { readonly at: string }, { at: b }: { readonly at: string }): number {
  return a < b ? -1 : Number(a > b)
}

const UNKNOWN: SessionMetrics = {
  sessions: null,
  created: null,
  ended: null,
  accesses: null,
  errors: null,
  warnings: null,
}

/** Returns the sum of the known values; null if all are unknown. */
function sum(metrics: readonly SessionMetrics[], of: keyof SessionMetrics): number | null {
  const known = metrics.map((one) => one[of]).filter((one) => one !== null)
  // Split estimates have two decimals.
  return known.length === 0 ? null : Math.round(known.reduce((sum, one) => sum + one, 0) * 100) / 100
}

function sumDeltas(metrics: readonly SessionMetrics[]): Omit<SessionMetrics, 'sessions'> {
  return {
    created: sum(metrics, 'created'),
    ended: sum(metrics, 'ended'),
    accesses: sum(metrics, 'accesses'),
    errors: sum(metrics, 'errors'),
    warnings: sum(metrics, 'warnings'),
  }
}

/** Adds up the metrics of each name. Returns the names with the most sessions first. */
function groupByName(metrics: readonly NameMetrics[]): NameMetrics[] {
  const names = new Map<string | null, NameMetrics[]>()
  for (const one of metrics) names.set(one.name, [...(names.get(one.name) ?? []), one])
  return [...names]
    .map(([name, group]) => ({ name, ...sumDeltas(group), sessions: sum(group, 'sessions') }))
    .sort((a, b) => (b.sessions ?? 0) - (a.sessions ?? 0))
}

function downsample(points: readonly HistoryPoint[]): readonly HistoryPoint[] {
  const size = Math.ceil(points.length / MAX_POINTS)
  if (size <= 1) return points
  const groups = Array.from({ length: Math.ceil(points.length / size) }, (_, index) =>
    points.slice(index * size, (index + 1) * size),
  )
  return groups.map(merge)
}

/** Merges consecutive points into one. */
function merge(points: readonly HistoryPoint[]): HistoryPoint {
  const last = points.at(-1) as HistoryPoint
  const known = points.findLast(({ sessions }) => sessions !== null)
  const sessionsByName = new Map(known?.perName.map(({ name, sessions }) => [name, sessions]))
  return {
    at: last.at,
    seconds: points.reduce((sum, { seconds }) => sum + seconds, 0),
    exact: points.every(({ exact }) => exact),
    ...sumDeltas(points),
    sessions: known?.sessions ?? null,
    perServer: last.perServer.map(({ name, sessions }, index) => {
      const group = points.flatMap(({ perServer }) => perServer[index] ?? [])
      return {
        name,
        // A server that was down for a part of the time is shown as down, so that a short outage stays visible.
        up: group.every(({ up }) => up),
        exact: group.every(({ exact }) => exact),
        ...sumDeltas(group),
        sessions,
      }
    }),
    perName: groupByName(points.flatMap(({ perName }) => perName))
      .slice(0, MAX_NAMES)
      .map((one) => ({ ...one, sessions: sessionsByName.get(one.name) ?? 0 })),
  }
}
