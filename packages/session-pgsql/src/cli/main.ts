import process from 'node:process'
import { run, SIGNAL_EXIT_CODES } from './run.ts'

/** Connects `run` to the process: signals, streams, exit code. */

const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // A second signal ends the process without waiting.
    if (interrupt.signal.aborted) process.exit(SIGNAL_EXIT_CODES[signal])
    interrupt.abort(signal)
  })
}

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // The reader, such as `head`, has closed the pipe.
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
// An abandoned statement may still hold its connection open.
if (interrupt.signal.aborted) process.exit()
