const EVENTS = ['uncaughtException', 'unhandledRejection'] as const

/** Runs work whose errors become uncaught, and hides them from the process's listeners, such as a test runner's. */
export async function catchUncaught(work: () => Promise<void>): Promise<void> {
  const listeners = EVENTS.map((event) => [event, process.listeners(event as 'uncaughtException')] as const)
  for (const event of EVENTS) process.removeAllListeners(event).on(event, ignore)
  try {
    await work()
    // Node reports an unhandled rejection after the microtasks.
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    for (const [event, before] of listeners) {
      process.removeAllListeners(event)
      for (const listener of before) process.on(event, listener)
    }
  }
}

function ignore(): void {}
