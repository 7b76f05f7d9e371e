import process from 'node:process'
import { createInterface } from 'node:readline/promises'
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

/** Asks the user at the terminal. Only the answer `yes` confirms. */
async function confirm(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`${question} [yes/no] `, { signal: interrupt.signal })
    return answer.trim().toLowerCase() === 'yes'
  } finally {
    terminal.close()
  }
}

process.exitCode = await run(process.argv.slice(2), {
  environment: process.env,
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interrupt.signal,
  confirm: process.stdin.isTTY ? confirm : undefined,
})
// An abandoned statement may still hold its connection open.
if (interrupt.signal.aborted) process.exit()
