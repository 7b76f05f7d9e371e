import { startWorkers, type Worker } from '../packages/session-pgsql/test/support/processes.ts'
import { within } from '../packages/session-pgsql/test/support/wait.ts'
import type { ContestantOptions, Operation } from './contestants/contestant.ts'
import type { RacerInput, Slice, SliceOrder } from './racer.ts'
import { type ShardedSessions, spreadOf } from './statistics.ts'

/** Runs contestants in turns, slice by slice: whatever else the machine does meanwhile hits them all alike. */

/** One of the field: a store in processes of its own, or something else that can run for a while. */
export interface Racer {
  readonly name: string
  run(
    order: SliceOrder,
  ): Promise<Pick<Slice, 'calls' | 'failures' | 'firstFailure' | 'milliseconds' | 'p50' | 'p99'>>
  close(): Promise<void>
}

export interface Entry {
  readonly racer: Racer
  readonly operation: Operation
  /** How it is called in the results; default: the racer's name. */
  readonly name?: string
}

export interface RaceOptions {
  readonly entries: readonly Entry[]
  readonly callers: number
  /** Length of a slice. */
  readonly seconds: number
  readonly rounds: number
  /** Rounds before those that count. */
  readonly warmUp: number
  /** Sessions in play during one slice. */
  readonly window: number
}

export interface Standing {
  readonly name: string
  /** Calls a second. */
  readonly rate: ShardedSessions
  /** Milliseconds. */
  readonly p50: ShardedSessions
  readonly p99: ShardedSessions
  /** Calls a second, round by round: ratios are made of those of one round. */
  readonly rounds: readonly number[]
}

/** Milliseconds beyond a slice's length, for preparing it and for its last calls: past them it hangs. */
const PATIENCE = 120_000

export async function race(options: RaceOptions): Promise<Standing[]> {
  const { entries, rounds, warmUp } = options
  const slices = entries.map((): Slice[] => [])
  for (let round = 0; round < warmUp + rounds; round++) {
    for (let turn = 0; turn < entries.length; turn++) {
      // Another one begins in each round, so that nobody always comes after the same neighbour's clean-up.
      const place = (turn + round) % entries.length
      const { racer, operation } = entries[place] as Entry
      const order: SliceOrder = {
        operation,
        callers: options.callers,
        milliseconds: options.seconds * 1000,
        window: options.window,
        seed: 1 + round * 7919,
      }
      const slice = await within(racer.run(order), order.milliseconds + PATIENCE, `a slice of ${racer.name}`)
      if (slice.failures > 0) {
        throw new Error(
          `${racer.name}: ${slice.failures} calls failed, the first with: ${slice.firstFailure}`,
        )
      }
      if (round >= warmUp) slices[place]?.push(slice)
    }
  }
  return entries.map(({ racer, name }, place) => {
    const own = slices[place] as Slice[]
    const rates = own.map(({ calls, milliseconds }) => (calls * 1000) / milliseconds)
    return {
      name: name ?? racer.name,
      rate: spreadOf(rates),
      p50: spreadOf(own.map(({ p50 }) => p50)),
      p99: spreadOf(own.map(({ p99 }) => p99)),
      rounds: rates,
    }
  })
}

/** How many times as fast `one` was as `other`, each round by itself. */
export function ratioOf(one: Standing, other: Standing): ShardedSessions {
  return spreadOf(one.rounds.map((rate, round) => rate / (other.rounds[round] as number)))
}

/** Starts a contestant in processes of its own and waits until it is ready. */
export async function startRacer(
  name: string,
  file: string,
  options: ContestantOptions,
  processes = 1,
): Promise<Racer> {
  const module = new URL(`./contestants/${file}.ts`, import.meta.url).href
  const inputs = Array.from(
    { length: processes },
    (_, process): RacerInput => ({
      module,
      options,
      process,
      processes,
    }),
  )
  const workers = await startWorkers(new URL('./racer.ts', import.meta.url), inputs, {
    timeoutMs: 24 * 3600 * 1000,
    env: { NODE_ENV: 'production' },
  })
  const racer = new ProcessRacer(name, workers)
  try {
    await racer.all('ready')
  } catch (error) {
    await racer.kill()
    throw error
  }
  return racer
}

class ProcessRacer implements Racer {
  readonly name: string
  readonly #workers: readonly Worker[]

  constructor(name: string, workers: readonly Worker[]) {
    this.name = name
    this.#workers = workers
  }

  async run(order: SliceOrder): Promise<Slice> {
    const processes = this.#workers.length
    for (const [process, worker] of this.#workers.entries()) {
      const callers = Math.floor((order.callers + process) / processes)
      worker.send({ ...order, callers })
    }
    await this.all('prepared')
    for (const worker of this.#workers) worker.send('go')
    const slices = (await this.all()) as Slice[]
    const sum = (pick: (slice: Slice) => number): number =>
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

  /** The next message of every process. */
  async all(expected?: string): Promise<unknown[]> {
    const messages = await Promise.all(this.#workers.map((worker) => worker.receive()))
    const other = messages.find((message) => expected !== undefined && message !== expected)
    if (other !== undefined)
      throw new Error(`${this.name}: expected "${expected}", got ${JSON.stringify(other)}`)
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
