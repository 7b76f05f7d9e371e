/** The distribution of measured values: half of them are between the quartiles. */
export interface Quartiles {
  readonly median: number
  readonly lower: number
  readonly upper: number
}

export function quartilesOf(values: readonly number[]): Quartiles {
  const sorted = [...values].sort((one, other) => one - other)
  return { median: quantile(sorted, 0.5), lower: quantile(sorted, 0.25), upper: quantile(sorted, 0.75) }
}

/** @param sorted values in ascending order @param fraction 0.5 for the median */
export function quantile(sorted: ArrayLike<number>, fraction: number): number {
  if (sorted.length === 0) return Number.NaN
  const position = fraction * (sorted.length - 1)
  const [below, above] = [sorted[Math.floor(position)] as number, sorted[Math.ceil(position)] as number]
  return below + (above - below) * (position - Math.floor(position))
}

/** Returns the slope of the least-squares line through the points. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))]
  const above = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0)
  const below = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0)
  return below === 0 ? 0 : above / below
}
