import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { run } from '../../src/cli/run.ts'

export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly environment?: Record<string, string>
  /** Columns of a terminal on both streams. Default: no terminal. */
  readonly terminal?: number
  readonly signal?: AbortSignal
  /** Answers a question at the terminal. Default: there is none. */
  readonly confirm?: (question: string) => Promise<boolean>
  /** Called with each text written to stdout. */
  readonly onOutput?: (text: string) => void
  /** Called with each text written to stderr. */
  readonly onError?: (text: string) => void
}

/** Runs a command line in this process. */
export async function runHere(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const { environment = {}, terminal, confirm, onOutput, onError } = options
  const { signal = new AbortController().signal } = options
  const stream = terminal === undefined ? {} : { isTTY: true, columns: terminal }
  let [stdout, stderr] = ['', '']
  const code = await run(argv, {
    environment,
    signal,
    confirm,
    stdout: {
      ...stream,
      write(text) {
        stdout += text
        onOutput?.(text)
      },
    },
    stderr: {
      ...stream,
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

/** Starts the program in a child process. */
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
  const ended = new Promise<RunResult & { signal: NodeJS.Signals | null }>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code: code ?? -1, signal, ...output }))
  })
  return { child, ended }
}
