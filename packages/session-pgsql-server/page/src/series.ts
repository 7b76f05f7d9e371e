import type { HistoryPoint } from '../../src/console/api.ts'

/** Columns for a chart: `x` in seconds since 1970, and for each line its values; null: not known. */
export interface Columns {
  readonly x: number[]
  readonly lines: (number | null)[][]
}

/** One line: what it shows of a point, and how points that share a pixel become one. */
export interface Line {
  readonly of: (point: HistoryPoint) => number | null
  /** `level`: the last; `perMinute`, `perSecond`: all of them, over the time that they took. */
  readonly as: 'level' | 'perMinute' | 'perSecond'
}

/** More than a chart of this page has pixels for; and what is drawn of two seconds each is only noise. */
const MOST = 360

/** Brings points into so many columns, of the same time each, that each of them can be seen. */
export function columns(
  points: readonly HistoryPoint[],
  lines: readonly Line[],
  most: number = MOST,
): Columns {
  const times = points.map(({ at }) => Date.parse(at) / 1000)
  const width = Math.max(1, Math.ceil(((times.at(-1) ?? 0) - (times[0] ?? 0)) / most))
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
    lines: lines.map((line) => all.map((group) => together(group, line))),
  }
}

function together(group: readonly HistoryPoint[], { of, as }: Line): number | null {
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
