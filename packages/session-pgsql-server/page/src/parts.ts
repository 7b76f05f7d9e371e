import type { Figures, HistoryPoint, NameFigures } from '../../src/console/api.ts'

/** What belongs together in a table or in a chart: the cookies' names, or the servers. */
export type Parting = 'name' | 'server'

/** Of one name or server, over all of the points: what there is now, and what has been going on. */
export type Part = NameFigures

export const of = (point: HistoryPoint, by: Parting): readonly NameFigures[] =>
  by === 'name' ? point.perName : point.perServer

export const label = ({ name }: Pick<Part, 'name'>): string => name ?? 'without a name'

/** Each name or server of the points, those with the most sessions first. */
export function parts(points: readonly HistoryPoint[], by: Parting): Part[] {
  const sums = new Map<string | null, Part>()
  for (const point of points) {
    for (const one of of(point, by)) sums.set(one.name, added(sums.get(one.name), one))
  }
  // While no server answers there are no names: then as they were.
  const last = points.findLast((point) => of(point, by).length > 0)
  const now = new Map(last && of(last, by).map(({ name, sessions }) => [name, sessions]))
  return [...sums.values()]
    .map((part) => ({ ...part, sessions: now.has(part.name) ? (now.get(part.name) ?? null) : 0 }))
    .filter((part) => by === 'server' || MEASURES.some((measure) => part[measure]))
    .sort((one, other) => (other.sessions ?? 0) - (one.sessions ?? 0))
}

const MEASURES = [
  'sessions',
  'begun',
  'ended',
  'accesses',
  'errors',
  'warnings',
] as const satisfies (keyof Figures)[]

function added(sum: Part | undefined, one: Part): Part {
  if (sum === undefined) return one
  const both = (measure: keyof Figures) =>
    sum[measure] === null ? one[measure] : sum[measure] + (one[measure] ?? 0)
  return {
    name: one.name,
    sessions: one.sessions,
    begun: both('begun'),
    ended: both('ended'),
    accesses: both('accesses'),
    errors: both('errors'),
    warnings: both('warnings'),
  }
}

/** A line of a chart that shows parts. */
export interface PartLine {
  readonly label: string
  of(point: HistoryPoint, measure: keyof Figures): number | null
}

/**
 * A line for each part, or for those with the most sessions, and one for the others. In the order of their names:
 * so that they keep their colours when their numbers change.
 */
export function partLines(points: readonly HistoryPoint[], by: Parting, most: number): PartLine[] {
  const all = parts(points, by)
  const shown = all.length <= most ? all : all.slice(0, most - 1)
  const names = new Set(shown.map(({ name }) => name))
  const figureOf = (
    point: HistoryPoint,
    measure: keyof Figures,
    wanted: (name: string | null) => boolean,
  ) => {
    const its = of(point, by).filter(({ name }) => wanted(name))
    // A name that is not there has nothing, as long as somebody answers.
    if (its.length === 0) return by === 'server' || point.sessions === null ? null : 0
    const known = its.map((one) => one[measure]).filter((value) => value !== null)
    return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0)
  }
  const lines = shown
    .map(({ name }) => ({
      label: label({ name }),
      of: (point: HistoryPoint, measure: keyof Figures) => figureOf(point, measure, (one) => one === name),
    }))
    .sort((one, other) => (one.label < other.label ? -1 : 1))
  if (shown.length === all.length) return lines
  const others = {
    label: `${all.length - shown.length} others`,
    of: (point: HistoryPoint, measure: keyof Figures) => figureOf(point, measure, (one) => !names.has(one)),
  }
  return [...lines, others]
}
