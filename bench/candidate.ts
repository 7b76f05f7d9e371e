import type { WorkerChannel } from '../packages/session-pgsql/test/support/processes.ts'
import { randomNumbers, sessionId } from './sessions.ts'
import { quantile } from './statistics.ts'
import type { CreateStore, Operation, StoreOptions } from './stores/store.ts'

/** The process of one candidate: waits for requests, runs slices, and is idle while the others run theirs. */

export interface CandidateInput {
  /** URL of the store's module. */
  readonly module: string
  readonly options: StoreOptions
  /** Index of this process, of `processes`. Each process has its own sessions, so that each session has one writer. */
  readonly process: number
  readonly processes: number
}

export interface SliceRequest {
  readonly operation: Operation
  readonly callers: number
  readonly milliseconds: number
  /** Number of sessions that are drawn at random for the slice, for the callers to use. */
  readonly window: number
  readonly seed: number
}

export interface SliceResult {
  readonly calls: number
  readonly failures: number
  readonly firstFailure: string | undefined
  readonly milliseconds: number
  /** Milliseconds of a call. */
  readonly p50: number
  readonly p99: number
}

/** Collects the latencies and failures of the calls in a slice that starts now. */
export class SliceRecorder {
  readonly start: number = performance.now()
  readonly #latencies: number[] = []
  #failures = 0
  #firstFailure: string | undefined

  /** Records a call that succeeded. @param startedAt in milliseconds of `performance.now()` */
  succeeded(startedAt: number): void {
    this.#latencies.push(performance.now() - startedAt)
  }

  failed(reason: string): void {
    this.#failures++
    this.#firstFailure ??= reason
  }

  result(): SliceResult {
    const milliseconds = performance.now() - this.start
    const sorted = Float64Array.from(this.#latencies).sort()
    return {
      calls: sorted.length,
      failures: this.#failures,
      firstFailure: this.#firstFailure,
      milliseconds,
      p50: quantile(sorted, 0.5),
      p99: quantile(sorted, 0.99),
    }
  }
}

export default async function runCandidate(input: CandidateInput, channel: WorkerChannel): Promise<void> {
  const { default: create } = (await import(input.module)) as { default: CreateStore }
  const store = await create(input.options)
  channel.send('ready')
  for (;;) {
    const message = await channel.receive()
    if (message === 'end') break
    if (message !== 'go') {
      const request = message as SliceRequest
      const ids = drawIds(input, request)
      await store.prepare?.(request.operation, ids)
      channel.send('prepared')
      await channel.receive()
      const operation = store.operations[request.operation]
      if (operation === undefined) throw new Error(`${input.module} has no operation ${request.operation}`)
      channel.send(await runSlice(operation, ids, request))
    }
  }
  await store.close()
}

function drawIds({ options, process, processes }: CandidateInput, request: SliceRequest): string[] {
  const random = randomNumbers(request.seed)
  const share = Math.floor(options.sessions / processes)
  const wanted = Math.max(request.callers, Math.min(Math.floor(request.window / processes), share))
  const numbers = new Set<number>()
  while (numbers.size < Math.min(wanted, share)) numbers.add(random(share) * processes + process)
  return [...numbers].map(sessionId)
}

/** Runs the callers. Each makes one call after the other, on its own sessions. */
async function runSlice(
  operation: (id: string) => Promise<unknown>,
  ids: readonly string[],
  { callers, milliseconds, seed }: SliceRequest,
): Promise<SliceResult> {
  const random = randomNumbers(seed + 1)
  const recorder = new SliceRecorder()
  const stop = recorder.start + milliseconds
  const share = Math.floor(ids.length / callers)

  async function call(number: number): Promise<void> {
    for (;;) {
      const startedAt = performance.now()
      if (startedAt >= stop) return
      try {
        await operation(ids[random(share) * callers + number] as string)
        recorder.succeeded(startedAt)
      } catch (error) {
        recorder.failed(String(error))
      }
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, number) => call(number)))
  return recorder.result()
}
