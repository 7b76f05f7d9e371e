/**
 * Does the work, and afterwards what it has asked for with `atEnd`, the last first, whatever has happened. An end that
 * fails is told, and keeps none of the others.
 */
export async function withEnds(
  work: (atEnd: (end: () => Promise<unknown>) => void) => Promise<void>,
): Promise<void> {
  const ends: (() => Promise<unknown>)[] = []
  try {
    await work((end) => ends.push(end))
  } finally {
    for (const end of ends.reverse()) await end().catch((error) => console.error(String(error)))
  }
}
