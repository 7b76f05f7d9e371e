import { startWorkers, type Worker } from '../packages/session-pgsql/test/support/processes.ts'
import { within } from '../packages/session-pgsql/test/support/wait.ts'
import type { CandidateInput, SliceRequest, SliceResult } from './candidate.ts'
import { type Quartiles, quartilesOf } from './statistics.ts'
import type { Operation, StoreOptions } from './stores/store.ts'

/** Measures candidates in turns, slice by slice, so that other load on the machine affects them all equally. */

/** Something to measure: a store in its own processes, or a program such as pgbench. */
export interface Candidate {
  readonly name: string
  run(request: SliceRequest): Promise<SliceResult>
  close(): Promise<void>
}

export interface Entry {
  readonly candidate: Candidate
  readonly operation: Operation
  /** Name in the results. Default: the candidate's name. */
  readonly name?: string
}

export interface CompareOptions {
  readonly entries: readonly Entry[]
  readonly callers: number
  /** Length of a slice. */
  readonly seconds: number
  readonly rounds: number
  /** Rounds before the measured ones. */
  readonly warmUp: number
  /** Number of sessions in use during one slice. */
  readonly window: number
}

export interface Measurement {
  readonly name: string
  /** Calls per second. */
  readonly rate: Quartiles
  /** Milliseconds. */
  readonly p50: Quartiles
  readonly p99: Quartiles
  /** Calls per second of each round. A ratio compares the rates of the same round. */
  readonly rounds: readonly number[]
}

/** Milliseconds that a slice may take beyond its length, to prepare it and to finish its last calls. */
const SLICE_TIMEOUT = 120_000

/** Measures the entries in turns. @throws Error if a call fails */
export async function compare(options: CompareOptions): Promise<Measurement[]> {
  const { entries, rounds, warmUp } = options
  const slices = entries.map((): SliceResult[] => [])
  for (let round = 0; round < warmUp + rounds; round++) {
    for (let turn = 0; turn < entries.length; turn++) {
      // Each round starts with another entry, so that no entry always runs after the clean-up of the same one.
      const index = (turn + round) % entries.length
      const { candidate, operation } = entries[index] as Entry
      const request: SliceRequest = {
        operation,
        callers: options.callers,
        milliseconds: options.seconds * 1000,
        window: options.window,
        seed: 1 + round * 7919,
      }
      const slice = await within(
        candidate.run(request),
        request.milliseconds + SLICE_TIMEOUT,
        `a slice of ${candidate.name}`,
      )
      if (slice.failures > 0) {
        throw new Error(
          `${candidate.name}: ${slice.failures} calls failed, the first with: ${slice.firstFailure}`,
        )
      }
      if (round >= warmUp) slices[index]?.push(slice)
    }
  }
  return entries.map(({ candidate, name }, index) => {
    const own = slices[index] as SliceResult[]
    const rates = own.map(({ calls, milliseconds }) => (calls * 1000) / milliseconds)
    return {
      name: name ?? candidate.name,
      rate: quartilesOf(rates),
      p50: quartilesOf(own.map(({ p50 }) => p50)),
      p99: quartilesOf(own.map(({ p99 }) => p99)),
      rounds: rates,
    }
  })
}

/** Returns the throughput of the candidate relative to the baseline, round by round. */
export function ratioOf(candidate: Measurement, baseline: Measurement): Quartiles {
  return quartilesOf(candidate.rounds.map((rate, round) => rate / (baseline.rounds[round] as number)))
}

/** Starts a store in its own processes and waits until it is ready. @param file name of its module in stores/ */
export async function startCandidate(
  name: string,
  file: string,
  options: StoreOptions,
  processes = 1,
): Promise<Candidate> {
  const module = new URL(`./stores/${file}.ts`, import.meta.url).href
  const inputs = Array.from(
    { length: processes },
    (_, process): CandidateInput => ({
      module,
      options,
      process,
      processes,
    }),
  )
  const workers = await startWorkers(new URL('./candidate.ts', import.meta.url), inputs, {
    timeoutMs: 24 * 3600 * 1000,
    env: { NODE_ENV: 'production' },
  })
  const candidate = new ProcessCandidate(name, workers)
  try {
    await candidate.all('ready')
  } catch (error) {
    await candidate.kill()
    throw error
  }
  return candidate
}

class ProcessCandidate implements Candidate {
  readonly name: string
  readonly #workers: readonly Worker[]

  constructor(name: string, workers: readonly Worker[]) {
    this.name = name
    this.#workers = workers
  }

  async run(request: SliceRequest): Promise<SliceResult> {
    const processes = this.#workers.length
    for (const [process, worker] of this.#workers.entries()) {
      const callers = Math.floor((request.callers + process) / processes)
      worker.send({ ...request, callers })
    }
    await this.all('prepared')
    for (const worker of this.#workers) worker.send('go')
    const slices = (await this.all()) as SliceResult[]
    const sum = (pick: (slice: SliceResult) => number): number =>
      slices.reduce((total, slice) => total + pick(slice), 0)
    return {
      calls: sum(({ calls }) => calls),
      failures: sum(({ failures }) => failures),
      firstFailure: slices.find(({ firstFailure }) => firstFailure !== undefined)?.firstFailure,
      milliseconds: Math.max(...slices.map(({ milliseconds }) => milliseconds)),
      p50: sum(({ p50 }) => p50) / processes,
      p99: Math.max(...slices.map(({ p99 }) => p99)),
    }
  }

  /** Receives the next message of every process. @param expected the message that each must send */
  async all(expected?: string): Promise<unknown[]> {
    const messages = await Promise.all(this.#workers.map((worker) => worker.receive()))
    const other = messages.find((message) => expected !== undefined && message !== expected)
    if (other !== undefined)
      throw new Error(`${this.name}: expected "${expected}", received ${JSON.stringify(other)}`)
    return messages
  }

  async close(): Promise<void> {
    for (const worker of this.#workers) worker.send('end')
    await Promise.all(this.#workers.map((worker) => worker.result)).finally(() => this.kill())
  }

  async kill(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.kill()))
  }
}
