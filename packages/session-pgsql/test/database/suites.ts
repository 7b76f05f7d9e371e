/**
 * Defines the suites of the handler's contract for another driver. A test file calls `useDriver` first: the suites ask for
 * the driver while they are imported, so that they cannot be imported statically.
 */
export async function importSuites(): Promise<void> {
  await import('../handler/write.test.ts')
  await import('../handler/merging.test.ts')
  await import('../handler/gone.test.ts')
  await import('../handler/locks.test.ts')
  await import('../handler/session-locks.test.ts')
  await import('../handler/lists.test.ts')
  await import('../handler/sessions.test.ts')
  await import('../handler/update.test.ts')
  await import('../handler/gc.test.ts')
}
