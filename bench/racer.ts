import type { WorkerChannel } from '../packages/session-pgsql/test/support/processes.ts'
import type { ContestantOptions, MakeContestant, Operation } from './contestants/contestant.ts'
import { randomNumbers, sessionId } from './sessions.ts'
import { quantile } from './statistics.ts'

/** The process of one contestant: waits for orders, runs slices, and idles while the others run theirs. */

export interface RacerInput {
  /** URL of the contestant's module. */
  readonly module: string
  readonly options: ContestantOptions
  /** Which of how many processes of this contestant: each has sessions of its own, so that each has one writer. */
  readonly process: number
  readonly processes: number
}

export interface SliceOrder {
  readonly operation: Operation
  readonly callers: number
  readonly milliseconds: number
  /** How many sessions are drawn at random, anew for each slice, for the callers to draw from. */
  readonly window: number
  readonly seed: number
}

export interface Slice {
  readonly calls: number
  readonly failures: number
  readonly firstFailure: string | undefined
  readonly milliseconds: number
  /** Milliseconds of a call. */
  readonly p50: number
  readonly p99: number
}

export default async function race(input: RacerInput, channel: WorkerChannel): Promise<void> {
  const { default: make } = (await import(input.module)) as { default: MakeContestant }
  const contestant = await make(input.options)
  channel.send('ready')
  for (;;) {
    const message = await channel.receive()
    if (message === 'end') break
    if (message !== 'go') {
      const order = message as SliceOrder
      const ids = drawIds(input, order)
      await contestant.prepare?.(order.operation, ids)
      channel.send('prepared')
      await channel.receive()
      const operation = contestant.operations[order.operation]
      if (operation === undefined) throw new Error(`${input.module} cannot ${order.operation}`)
      channel.send(await runSlice(operation, ids, order))
    }
  }
  await contestant.close()
}

function drawIds({ options, process, processes }: RacerInput, order: SliceOrder): string[] {
  const random = randomNumbers(order.seed)
  const share = Math.floor(options.sessions / processes)
  const wanted = Math.max(order.callers, Math.min(Math.floor(order.window / processes), share))
  const numbers = new Set<number>()
  while (numbers.size < Math.min(wanted, share)) numbers.add(random(share) * processes + process)
  return [...numbers].map(sessionId)
}

/** Each caller goes from one call to the next, on sessions that are its own. */
async function runSlice(
  operation: (id: string) => Promise<unknown>,
  ids: readonly string[],
  { callers, milliseconds, seed }: SliceOrder,
): Promise<Slice> {
  const random = randomNumbers(seed + 1)
  const latencies: number[] = []
  let failures = 0
  let firstFailure: string | undefined
  const start = performance.now()
  const stop = start + milliseconds
  const share = Math.floor(ids.length / callers)

  async function call(number: number): Promise<void> {
    for (;;) {
      const before = performance.now()
      if (before >= stop) return
      try {
        await operation(ids[random(share) * callers + number] as string)
        latencies.push(performance.now() - before)
      } catch (error) {
        failures++
        firstFailure ??= String(error)
      }
    }
  }
  await Promise.all(Array.from({ length: callers }, (_, number) => call(number)))

  const elapsed = performance.now() - start
  const sorted = Float64Array.from(latencies).sort()
  return {
    calls: latencies.length,
    failures,
    firstFailure,
    milliseconds: elapsed,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
  }
}
