import { startWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Scenario } from '../context.ts'
import { quantile, slopeOf } from '../statistics.ts'
import type { SoakInput, SoakSample } from './soak-worker.ts'

const MEBIBYTE = 1024 * 1024

export const soak: Scenario = {
  name: 'soak',
  description: 'memory of a process with 64 callers that read, write and touch without a pause',
  async run({ database, parameters, log }) {
    const minutes = parameters.short ? 0.05 : (parameters.soak ?? 10)
    const input: SoakInput = {
      connection: database.connection,
      callers: parameters.callers,
      sessions: parameters.sessions,
      milliseconds: minutes * 60_000,
      samples: parameters.short ? 10 : 120,
    }
    const [worker] = await startWorkers<SoakSample[]>(new URL('./soak-worker.ts', import.meta.url), [input], {
      timeoutMs: minutes * 60_000 + 120_000,
      execArgv: ['--expose-gc'],
    })
    if (worker === undefined) throw new Error('No worker')
    log(`soak: ${minutes} minutes`)
    const samples = await worker.result.finally(() => worker.kill())
    // Without the first fifth, in which code is compiled and buffers grow.
    const settled = samples.slice(Math.floor(samples.length / 5))
    const heap = settled.map(({ heap }) => heap / MEBIBYTE).sort((one, other) => one - other)
    const growth = slopeOf(settled.map(({ minute, heap }) => [minute, heap / MEBIBYTE] as const))
    const rss = settled.map(({ rss }) => rss / MEBIBYTE).sort((one, other) => one - other)
    return [
      { name: 'operations', value: samples.at(-1)?.operations ?? 0, unit: '' },
      { name: 'heap after a garbage collection, median', value: quantile(heap, 0.5), unit: 'MiB' },
      { name: 'heap after a garbage collection, maximum', value: quantile(heap, 1), unit: 'MiB' },
      // At this slope, ten minutes add less than a tenth of the memory of a small process.
      { name: 'slope of the heap', value: growth, unit: 'MiB/min', target: { atMost: 0.1, always: false } },
      {
        name: 'slope of the resident memory',
        value: slopeOf(settled.map(({ minute, rss }) => [minute, rss / MEBIBYTE] as const)),
        unit: 'MiB/min',
      },
      { name: 'resident memory, maximum', value: quantile(rss, 1), unit: 'MiB' },
    ]
  },
}
