const EVENTS = ['uncaughtException', 'unhandledRejection'] as const

/** Does work whose errors reach the process, and keeps them from those who listen there, such as a test runner. */
export async function catchUncaught(work: () => Promise<void>): Promise<void> {
  const listeners = EVENTS.map((event) => [event, process.listeners(event as 'uncaughtException')] as const)
  for (const event of EVENTS) process.removeAllListeners(event).on(event, ignore)
  try {
    await work()
    // A rejection is found to be unhandled after the microtasks.
    await new Promise((resolve) => setImmediate(resolve))
  } finally {
    for (const [event, before] of listeners) {
      process.removeAllListeners(event)
      for (const listener of before) process.on(event, listener)
    }
  }
}

function ignore(): void {}
