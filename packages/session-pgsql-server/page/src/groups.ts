import type { HistoryPoint, NameMetrics, SessionMetrics } from '../../src/console/api.ts'

/** How tables and charts group the metrics: by cookie name or by server. */
export type Grouping = 'name' | 'server'

/** The metrics of one name or server over all points: `sessions` is the last value, the others are sums. */
export type Group = NameMetrics

export const groupsOf = (point: HistoryPoint, by: Grouping): readonly NameMetrics[] =>
  by === 'name' ? point.perName : point.perServer

export const label = ({ name }: Pick<Group, 'name'>): string => name ?? 'unnamed'

/** Returns the groups of all points, those with the most sessions first. */
export function groups(points: readonly HistoryPoint[], by: Grouping): Group[] {
  const sums = new Map<string | null, Group>()
  for (const point of points) {
    for (const one of groupsOf(point, by)) sums.set(one.name, add(sums.get(one.name), one))
  }
  // While no server responds, points have no names; the last known ones count.
  const last = points.findLast((point) => groupsOf(point, by).length > 0)
  const sessions = new Map(last && groupsOf(last, by).map((group) => [group.name, group.sessions]))
  return [...sums.values()]
    .map((group) => ({
      ...group,
      sessions: sessions.has(group.name) ? (sessions.get(group.name) ?? null) : 0,
    }))
    .filter((group) => by === 'server' || METRICS.some((metric) => group[metric]))
    .sort((a, b) => (b.sessions ?? 0) - (a.sessions ?? 0))
}

const METRICS = [
  'sessions',
  'created',
  'ended',
  'accesses',
  'errors',
  'warnings',
] as const satisfies (keyof SessionMetrics)[]

function add(sum: Group | undefined, one: Group): Group {
  if (sum === undefined) return one
  const both = (metric: keyof SessionMetrics) =>
    sum[metric] === null ? one[metric] : sum[metric] + (one[metric] ?? 0)
  return {
    name: one.name,
    sessions: one.sessions,
    created: both('created'),
    ended: both('ended'),
    accesses: both('accesses'),
    errors: both('errors'),
    warnings: both('warnings'),
  }
}

/** A chart line that shows one group, or several together. */
export interface GroupLine {
  readonly label: string
  of(point: HistoryPoint, metric: keyof SessionMetrics): number | null
}

/**
 * Returns a line for each group. If there are more than `max` groups, those with the most sessions get a line each and
 * the others share one. Lines are sorted by name, so that they keep their colours when their values change.
 */
export function groupLines(points: readonly HistoryPoint[], by: Grouping, max: number): GroupLine[] {
  const all = groups(points, by)
  const shown = all.length <= max ? all : all.slice(0, max - 1)
  const names = new Set(shown.map(({ name }) => name))
  const read = (
    point: HistoryPoint,
    metric: keyof SessionMetrics,
    isIncluded: (name: string | null) => boolean,
  ) => {
    const included = groupsOf(point, by).filter(({ name }) => isIncluded(name))
    // A name that a point lacks has no sessions, unless no server responded.
    if (included.length === 0) return by === 'server' || point.sessions === null ? null : 0
    const known = included.map((one) => one[metric]).filter((value) => value !== null)
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0)
  }
  const line = (label: string, isIncluded: (name: string | null) => boolean): GroupLine => ({
    label,
    of: (point, metric) => read(point, metric, isIncluded),
  })
  const lines = shown
    .map(({ name }) => line(label({ name }), (one) => one === name))
    .sort((a, b) => (a.label < b.label ? -1 : 1))
  if (shown.length === all.length) return lines
  return [...lines, line(`${all.length - shown.length} others`, (one) => !names.has(one))]
}
