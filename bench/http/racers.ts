import { startWorkers, type Worker } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Racer } from '../race.ts'
import type { Slice } from '../racer.ts'
import type { Setting } from '../setting.ts'
import type { AppInput } from './app.ts'

const FOR_LONG = { timeoutMs: 24 * 3600 * 1000, env: { NODE_ENV: 'production' } }

/** One application per store, each in a process of its own; and one process of browsers for them all. */
export async function appRacers(
  { contestant: options }: Setting,
  names: { ours: string; simple: string; memory: string },
): Promise<Racer[]> {
  const stores: [string, AppInput['store']][] = [
    [names.ours, 'session-pgsql'],
    [names.simple, 'connect-pg-simple'],
    [names.memory, 'memory'],
  ]
  const inputs = stores.map(([, store]): AppInput => ({ store, options }))
  const [load] = (await startWorkers(new URL('./load.ts', import.meta.url), [{}], FOR_LONG)) as [Worker]
  await load.receive()
  const apps = await startWorkers(new URL('./app.ts', import.meta.url), inputs, FOR_LONG).catch(
    async (error) => {
      await load.kill()
      throw error
    },
  )
  let open = apps.length

  return Promise.all(
    apps.map(async (app, place): Promise<Racer> => {
      const port = await app.receive()
      return {
        name: (stores[place] as [string, string])[0],
        async run(order) {
          load.send({ ...order, port, sessions: options.sessions })
          return (await load.receive()) as Slice
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
