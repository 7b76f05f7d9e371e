import { startWorkers, type Worker } from '../../packages/session-pgsql/test/support/processes.ts'
import type { SliceResult } from '../candidate.ts'
import type { Candidate } from '../compare.ts'
import type { BenchContext } from '../context.ts'
import type { AppInput } from './app.ts'

const WORKER_OPTIONS = { timeoutMs: 24 * 3600 * 1000, env: { NODE_ENV: 'production' } }

/** Starts one application for each store, each in its own process, and one process that sends the requests. */
export async function appCandidates(
  { storeOptions: options }: BenchContext,
  names: { ours: string; simple: string; memory: string },
): Promise<Candidate[]> {
  const stores: [string, AppInput['store']][] = [
    [names.ours, 'session-pgsql'],
    [names.simple, 'connect-pg-simple'],
    [names.memory, 'memory'],
  ]
  const inputs = stores.map(([, store]): AppInput => ({ store, options }))
  const [load] = (await startWorkers(new URL('./load.ts', import.meta.url), [{}], WORKER_OPTIONS)) as [Worker]
  await load.receive()
  const apps = await startWorkers(new URL('./app.ts', import.meta.url), inputs, WORKER_OPTIONS).catch(
    async (error) => {
      await load.kill()
      throw error
    },
  )
  let open = apps.length

  return Promise.all(
    apps.map(async (app, index): Promise<Candidate> => {
      const port = await app.receive()
      return {
        name: (stores[index] as [string, string])[0],
        async run(request) {
          load.send({ ...request, port, sessions: options.sessions })
          return (await load.receive()) as SliceResult
        },
        async close() {
          app.send('end')
          await app.result
          if (--open > 0) return
          load.send('end')
          await load.result
        },
      }
    }),
  )
}
