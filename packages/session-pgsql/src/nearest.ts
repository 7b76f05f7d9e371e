/**
 * The known name that is most likely meant by a misspelt one: `gc_interval` means `gcInterval`, `dbnam` means
 * `dbname`. Undefined where nothing is near enough to be worth a hint.
 */
export function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = bare(name)
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  for (const candidate of known) {
    const distance = editDistance(wanted, bare(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** Spelling without what people mix up first: capitals, underscores, hyphens. */
function bare(name: string): string {
  return name.toLowerCase().replaceAll(/[_-]/g, '')
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const current = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      current.push(Math.min(replaced, (previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[b.length] ?? 0
}
