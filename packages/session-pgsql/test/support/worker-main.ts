import type { WorkerFunction, WorkerOrder, WorkerReport } from './processes.ts'

/** The main program of a worker process: loads the module, waits for the word to go, reports what comes out. */

const received: unknown[] = []
let wake = () => {}

const started = new Promise<unknown>((resolve) => {
  process.on('message', (order: WorkerOrder) => {
    if (order.type === 'go') {
      resolve(order.input)
    } else {
      received.push(order.message)
      wake()
    }
  })
})
// Nobody is left to report to.
process.on('disconnect', () => process.exit(1))

/** Ends the process only when the report is on its way. */
function report(message: WorkerReport, then: () => void = () => {}): void {
  process.send?.(message, undefined, undefined, then)
}

async function receive(): Promise<unknown> {
  while (received.length === 0) {
    await new Promise<void>((resolve) => {
      wake = resolve
    })
  }
  return received.shift()
}

try {
  const loaded = await import(process.argv[2] as string)
  const work: WorkerFunction = loaded.default
  report({ type: 'loaded' })
  const result = await work(await started, {
    send: (message) => report({ type: 'message', message }),
    receive,
  })
  report({ type: 'result', result }, () => process.exit(0))
} catch (error) {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  report({ type: 'error', error: text }, () => process.exit(1))
}
