import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { run } from '../../src/cli/run.ts'

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Circumstances {
  readonly environment?: Record<string, string>
  /** Columns of the terminal on both streams; left out: no terminal. */
  readonly terminal?: number
  readonly signal?: AbortSignal
  /** Called with all that is written to stdout. */
  readonly onOutput?: (text: string) => void
  /** Called with all that is written to stderr. */
  readonly onError?: (text: string) => void
}

/** Runs a command line in this process. */
export async function runHere(argv: readonly string[], circumstances: Circumstances = {}): Promise<Ran> {
  const {
    environment = {},
    terminal,
    signal = new AbortController().signal,
    onOutput,
    onError,
  } = circumstances
  const terminalOf = terminal === undefined ? {} : { isTTY: true, columns: terminal }
  let [stdout, stderr] = ['', '']
  const code = await run(argv, {
    environment,
    signal,
    stdout: {
      ...terminalOf,
      write(text) {
        stdout += text
        onOutput?.(text)
      },
    },
    stderr: {
      ...terminalOf,
      write(text) {
        stderr += text
        onError?.(text)
      },
    },
  })
  return { code, stdout, stderr }
}

const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** Starts the program itself. */
export function start(argv: readonly string[], environment: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['--import', TSX, MAIN, ...argv], {
    env: { PATH: process.env.PATH ?? '', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  const ended = new Promise<Ran & { signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code: code ?? -1, signal, ...output }))
  })
  return { child, ended }
}
