import { startWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Scenario } from '../setting.ts'
import { quantile, slopeOf } from '../statistics.ts'
import type { SoakInput, SoakSample } from './soak-worker.ts'

const MEBIBYTE = 1024 * 1024

export const soak: Scenario = {
  name: 'soak',
  about: 'the memory of a process whose 64 callers read, write and touch without a pause',
  async run({ database, parameters, log }) {
    const minutes = parameters.short ? 0.05 : (parameters.soak ?? 10)
    const input: SoakInput = {
      where: database.where,
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
    // The first fifth is when code is compiled and buffers find their size.
    const settled = samples.slice(Math.floor(samples.length / 5))
    const heap = settled.map(({ heap }) => heap / MEBIBYTE).sort((one, other) => one - other)
    const growth = slopeOf(settled.map(({ minute, heap }) => [minute, heap / MEBIBYTE] as const))
    const rss = settled.map(({ rss }) => rss / MEBIBYTE).sort((one, other) => one - other)
    return [
      { what: 'operations', value: samples.at(-1)?.operations ?? 0, unit: '' },
      { what: 'heap in use after a collection, median', value: quantile(heap, 0.5), unit: 'MiB' },
      { what: 'heap in use after a collection, most', value: quantile(heap, 1), unit: 'MiB' },
      // Ten minutes at this slope would be less than a tenth of what a small process has.
      { what: 'slope of the heap', value: growth, unit: 'MiB/min', mark: { atMost: 0.1, always: false } },
      {
        what: 'slope of the resident memory',
        value: slopeOf(settled.map(({ minute, rss }) => [minute, rss / MEBIBYTE] as const)),
        unit: 'MiB/min',
      },
      { what: 'resident memory, most', value: quantile(rss, 1), unit: 'MiB' },
    ]
  },
}
