import { type ChildProcess, fork } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isRunning } from './process-tree.ts'
import { type Deferred, deferred, until } from './wait.ts'

/**
 * Runs TypeScript modules in processes of their own. Through tsx, because Node 20 cannot read TypeScript and
 * because tests of the sources should not depend on what was built last.
 *
 * A worker module exports a default function `(input, channel) => result`; see `WorkerFunction`. Input,
 * messages and result travel as JSON.
 */
export type WorkerFunction<Input = unknown, Result = unknown> = (
  input: Input,
  channel: WorkerChannel,
) => Promise<Result> | Result

/** What a worker can do besides returning. */
export interface WorkerChannel {
  /** Tells the parent something. */
  send(message: unknown): void
  /** The next message of the parent; messages wait until they are asked for. */
  receive(): Promise<unknown>
}

export interface Worker<Result = unknown> {
  readonly pid: number
  /** Rejects if the worker function does, if the process dies first, or after the time limit. */
  readonly result: Promise<Result>
  /** What the process wrote to stdout and stderr. */
  readonly output: string
  send(message: unknown): void
  /** The next message of the worker. */
  receive(): Promise<unknown>
  /** Ends the process; resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>
}

export interface WorkerOptions {
  /** Counted from the word to go, default 60 s; then the process is killed and `result` rejects. */
  timeoutMs?: number
  /** Added to the environment of this process. */
  env?: Record<string, string>
  execArgv?: string[]
}

/**
 * Starts the module in `inputs.length` processes and lets them all go at once, when the slowest has loaded.
 *
 * @param module URL of the module: `new URL('./worker.ts', import.meta.url)`
 */
export async function startWorkers<Result = unknown>(
  module: URL,
  inputs: readonly unknown[],
  options: WorkerOptions = {},
): Promise<Worker<Result>[]> {
  const workers = inputs.map((input) => new ChildWorker<Result>(module, input, options))
  try {
    await Promise.all(workers.map((worker) => worker.loaded))
  } catch (error) {
    await Promise.all(workers.map((worker) => worker.kill()))
    throw error
  }
  for (const worker of workers) worker.go()
  return workers
}

/** Starts the module in one process, and returns when it is under way. */
export async function startWorker<Result = unknown>(
  module: URL,
  input: unknown,
  options: WorkerOptions = {},
): Promise<Worker<Result>> {
  const [worker] = await startWorkers<Result>(module, [input], options)
  return worker as Worker<Result>
}

/** Starts the module in as many processes as there are inputs, all at once, and collects their results. */
export async function runWorkers<Result = unknown>(
  module: URL,
  inputs: readonly unknown[],
  options: WorkerOptions = {},
): Promise<Result[]> {
  const workers = await startWorkers<Result>(module, inputs, options)
  try {
    return await Promise.all(workers.map((worker) => worker.result))
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()))
  }
}

/** Milliseconds; loading TypeScript takes long on a machine that is busy. */
const LOADING_LIMIT = 60_000

const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const MAIN = fileURLToPath(new URL('./worker-main.ts', import.meta.url))

/** What a worker process says to its parent. */
export type WorkerReport =
  | { type: 'loaded' }
  | { type: 'message'; message: unknown }
  | { type: 'result'; result: unknown }
  | { type: 'error'; error: string }

/** What a parent says to its worker process. */
export type WorkerOrder = { type: 'go'; input: unknown } | { type: 'message'; message: unknown }

class ChildWorker<Result> implements Worker<Result> {
  readonly loaded: Promise<void>
  readonly result: Promise<Result>
  readonly #child: ChildProcess
  readonly #input: unknown
  readonly #timeoutMs: number
  readonly #limit: (ms: number) => void
  #timer: NodeJS.Timeout | undefined
  readonly #messages = new Queue<unknown>()
  #output = ''

  constructor(module: URL, input: unknown, options: WorkerOptions) {
    this.#input = input
    this.#timeoutMs = options.timeoutMs ?? 60_000
    this.#child = fork(MAIN, [module.href], {
      execArgv: ['--import', TSX, ...(options.execArgv ?? [])],
      env: { ...process.env, ...options.env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.#output += chunk
      })
    }

    let settled = false
    const loaded = deferred<void>()
    const result = deferred<Result>()
    const fail = (error: Error) => {
      settled = true
      loaded.reject(error)
      result.reject(error)
      this.#messages.fail(error)
    }
    this.#limit = (ms) => {
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => {
        fail(new Error(`Worker ${this.pid} has not ended within ${ms} ms\n${this.#output}`))
        this.#child.kill('SIGKILL')
      }, ms)
    }
    this.#limit(LOADING_LIMIT)
    this.#child.on('message', (report: WorkerReport) => {
      if (report.type === 'loaded') loaded.resolve()
      if (report.type === 'message') this.#messages.push(report.message)
      if (report.type === 'error') fail(new Error(report.error))
      if (report.type === 'result') {
        settled = true
        result.resolve(report.result as Result)
      }
    })
    this.#child.on('error', fail)
    this.#child.on('close', (code, signal) => {
      clearTimeout(this.#timer)
      if (!settled) fail(new Error(`Worker ${this.pid} ended with ${signal ?? code}\n${this.#output}`))
    })
    // A worker may fail before anybody waits for it.
    for (const promise of [loaded.promise, result.promise]) promise.catch(() => {})
    this.loaded = loaded.promise
    this.result = result.promise
  }

  get pid(): number {
    return this.#child.pid ?? -1
  }

  get output(): string {
    return this.#output
  }

  go(): void {
    this.#limit(this.#timeoutMs)
    this.#order({ type: 'go', input: this.#input })
  }

  send(message: unknown): void {
    this.#order({ type: 'message', message })
  }

  receive(): Promise<unknown> {
    return this.#messages.shift()
  }

  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#child.kill(signal)
    await until(() => !isRunning(this.pid), `worker ${this.pid} to end`, 10_000)
  }

  #order(order: WorkerOrder): void {
    // A worker that is gone shows in `result`.
    if (this.#child.connected) this.#child.send(order, () => {})
  }
}

/** First in, first out; who asks before there is something waits. */
export class Queue<T> {
  readonly #items: T[] = []
  readonly #waiting: Deferred<T>[] = []
  #error: Error | undefined

  push(item: T): void {
    const first = this.#waiting.shift()
    if (first === undefined) this.#items.push(item)
    else first.resolve(item)
  }

  shift(): Promise<T> {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift() as T)
    if (this.#error !== undefined) return Promise.reject(this.#error)
    const waiter = deferred<T>()
    this.#waiting.push(waiter)
    return waiter.promise
  }

  /** Nothing more will come: who waits is told why. */
  fail(error: Error): void {
    this.#error = error
    for (const waiter of this.#waiting.splice(0)) waiter.reject(error)
  }
}
