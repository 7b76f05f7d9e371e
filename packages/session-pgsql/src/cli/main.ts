import process from 'node:process'
import { run, SIGNALS } from './run.ts'

/** The process: signals, streams, exit code. Everything else is in run.ts. */

const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // Who says it twice does not want to wait.
    if (interrupt.signal.aborted) process.exit(SIGNALS[signal])
    interrupt.abort(signal)
  })
}

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // The reader, such as `head`, has seen enough.
    if (error.code === 'EPIPE') process.exit()
    throw error
  })
}

process.exitCode = await run(process.argv.slice(2), {
  environment: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
})
// A statement that was given up may still hold its connection.
if (interrupt.signal.aborted) process.exit()
