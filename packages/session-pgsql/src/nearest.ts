/**
 * Returns the known name that a misspelt one most likely means: `gcInterval` for `gc_interval`, `dbname` for `dbnam`.
 * Returns undefined if none is similar enough for a hint.
 */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = simplified(name)
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(wanted, simplified(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Removes what is most often confused: capitals, underscores, hyphens. */
function simplified(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, '')
}

/** Returns the number of letters to insert, delete, replace, or swap with their neighbour. */
function editDistance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)]
  const at = (i: number, j: number): number => rows[i]?.[j] ?? Number.POSITIVE_INFINITY
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    rows.push(row)
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1] ? at(i - 2, j - 2) + 1 : replaced
      row.push(Math.min(replaced, swapped, at(i - 1, j) + 1, at(i, j - 1) + 1))
    }
  }
  return at(a.length, b.length)
}
