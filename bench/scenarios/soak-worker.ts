import { SaveHandler } from 'session-pgsql'
import { randomNumbers, sessionId } from '../sessions.ts'
import type { ConnectionConfig } from '../stores/store.ts'

export interface SoakInput {
  readonly connection: ConnectionConfig
  readonly callers: number
  readonly sessions: number
  readonly milliseconds: number
  readonly samples: number
}

export interface SoakSample {
  readonly minute: number
  /** Operations so far. */
  readonly operations: number
  /** Bytes, after a garbage collection by Node. */
  readonly heap: number
  readonly rss: number
}

export default async function work(input: SoakInput): Promise<SoakSample[]> {
  const handler = new SaveHandler<Record<string, unknown>>({ db: input.connection, gcInterval: 5 })
  await handler.open()
  const samples: SoakSample[] = []
  const start = performance.now()
  let operations = 0
  const every = input.milliseconds / input.samples
  const sampler = setInterval(() => {
    globalThis.gc?.()
    const { heapUsed: heap, rss } = process.memoryUsage()
    samples.push({ minute: (performance.now() - start) / 60_000, operations, heap, rss })
  }, every)
  const call = async (caller: number): Promise<void> => {
    const random = randomNumbers(caller)
    while (performance.now() - start < input.milliseconds) {
      const id = sessionId(random(input.sessions))
      const base = await handler.read(id)
      if (base !== undefined) await handler.write(id, { ...base.data, caller }, { base, lifetime: 86_400 })
      await handler.touch(id, { lifetime: 86_400 })
      // Also creates and destroys sessions.
      const fresh = handler.createId()
      await handler.write(fresh, { caller }, { base: null, lifetime: 60 })
      await handler.destroy(fresh)
      operations += 5
    }
  }
  await Promise.all(Array.from({ length: input.callers }, (_, caller) => call(caller)))
  clearInterval(sampler)
  await handler.close()
  return samples
}
