import { startWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Scenario } from '../setting.ts'
import type { StalledInput, StalledResult } from './stalled-worker.ts'

export const stalled: Scenario = {
  name: 'stalled',
  about: '10,000 callers while the database stands still (SIGSTOP), in a process with 256 MB of heap',
  async run({ database, parameters, postgres }) {
    const { short, bytes, sessions } = parameters
    const input: StalledInput = {
      where: database.where,
      callers: short ? 500 : 10_000,
      sessions,
      bytes,
      milliseconds: short ? 2000 : 15_000,
      operationTimeout: short ? 1 : 5,
    }
    const [worker] = await startWorkers<StalledResult>(
      new URL('./stalled-worker.ts', import.meta.url),
      [input],
      {
        timeoutMs: 120_000,
        execArgv: ['--max-old-space-size=256', '--expose-gc'],
      },
    )
    if (worker === undefined) throw new Error('No worker')
    try {
      await worker.receive()
      postgres.pause()
      worker.send('stalled')
      await worker.receive()
      postgres.resume()
      worker.send('resumed')
      const { codes, calls, heap, recovered, longest } = await worker.result
      const untyped = codes.untyped ?? 0
      return [
        { what: 'calls that ended in an error while it stood still', value: calls, unit: '' },
        ...Object.entries(codes).map(([code, count]) => ({
          what: `of them ${code}`,
          value: count,
          unit: '',
        })),
        { what: 'errors without a code', value: untyped, unit: '', mark: { atMost: 0, always: true } },
        {
          what: 'most heap in use',
          value: heap / 1024 / 1024,
          unit: 'MiB',
          mark: { atMost: 256, always: true },
        },
        { what: 'longest wait for an error', value: longest / 1000, unit: 's' },
        {
          what: 'reads that fail once it goes on',
          value: recovered,
          unit: '',
          mark: { atMost: 0, always: true },
        },
      ]
    } finally {
      postgres.resume()
      await worker.kill()
    }
  },
}
