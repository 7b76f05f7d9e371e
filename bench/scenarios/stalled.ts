import { startWorkers } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Scenario } from '../context.ts'
import type { StalledInput, StalledResult } from './stalled-worker.ts'

export const stalled: Scenario = {
  name: 'stalled',
  description: '10,000 callers while the database is stopped (SIGSTOP), in a process with 256 MB of heap',
  async run({ database, parameters, postgres }) {
    const { short, bytes, sessions } = parameters
    const input: StalledInput = {
      connection: database.connection,
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
      const { codes, calls, heap, failedAfterwards, longest } = await worker.result
      const untyped = codes.untyped ?? 0
      return [
        { name: 'calls that failed while it was stopped', value: calls, unit: '' },
        ...Object.entries(codes).map(([code, count]) => ({
          name: `of these ${code}`,
          value: count,
          unit: '',
        })),
        { name: 'errors without a code', value: untyped, unit: '', target: { atMost: 0, always: true } },
        {
          name: 'maximum heap',
          value: heap / 1024 / 1024,
          unit: 'MiB',
          target: { atMost: 256, always: true },
        },
        { name: 'longest wait for an error', value: longest / 1000, unit: 's' },
        {
          name: 'failed reads after it continues',
          value: failedAfterwards,
          unit: '',
          target: { atMost: 0, always: true },
        },
      ]
    } finally {
      postgres.resume()
      await worker.kill()
    }
  },
}
