import type { HistoryPoint } from '../../src/console/api.ts'

/** The columns of a chart: `x` in seconds since 1970, and the values of each line; null if unknown. */
export interface Columns {
  readonly x: number[]
  readonly lines: (number | null)[][]
}

/** A chart line: its value at a point, and how points of the same column are combined. */
export interface Line {
  readonly of: (point: HistoryPoint) => number | null
  /** `level`: the last value. `perMinute`, `perSecond`: the sum, divided by the duration of the points. */
  readonly as: 'level' | 'perMinute' | 'perSecond'
}

/** More columns than this are narrower than a pixel, and columns of two seconds show mostly noise. */
const MAX_COLUMNS = 360

/** Combines points into at most about `max` columns of equal duration. */
export function columns(
  points: readonly HistoryPoint[],
  lines: readonly Line[],
  max: number = MAX_COLUMNS,
): Columns {
  const times = points.map(({ at }) => Date.parse(at) / 1000)
  const width = Math.max(1, Math.ceil(((times.at(-1) ?? 0) - (times[0] ?? 0)) / max))
  const groups = new Map<number, HistoryPoint[]>()
  for (const [index, point] of points.entries()) {
    const column = Math.floor((times[index] ?? 0) / width)
    const group = groups.get(column)
    if (group === undefined) groups.set(column, [point])
    else group.push(point)
  }
  const all = [...groups.values()]
  return {
    x: all.map((group) => Date.parse((group.at(-1) as HistoryPoint).at) / 1000),
    lines: lines.map((line) => all.map((group) => combine(group, line))),
  }
}

function combine(group: readonly HistoryPoint[], { of, as }: Line): number | null {
  const known = group.filter((point) => of(point) !== null)
  const last = known.at(-1)
  if (last === undefined) return null
  if (as === 'level') return of(last)
  const seconds = sum(known.map((point) => point.seconds))
  if (seconds <= 0) return null
  return (sum(known.map((point) => of(point) ?? 0)) / seconds) * (as === 'perMinute' ? 60 : 1)
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
