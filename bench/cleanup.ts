/**
 * Runs the work, and then the functions that it has passed to `onCleanup`, the last one first, even if the work fails.
 * Logs the error of a cleanup function and continues with the others.
 */
export async function withCleanup(
  work: (onCleanup: (cleanup: () => Promise<unknown>) => void) => Promise<void>,
): Promise<void> {
  const cleanups: (() => Promise<unknown>)[] = []
  try {
    await work((cleanup) => cleanups.push(cleanup))
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup().catch((error) => console.error(String(error)))
  }
}
