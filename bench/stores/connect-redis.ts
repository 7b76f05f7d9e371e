import { RedisStore } from 'connect-redis'
import { createClient } from 'redis'
import { sessionData, sessionId } from '../sessions.ts'
import { expressStore } from './express-store.ts'
import type { BenchStore, StoreOptions } from './store.ts'

/** connect-redis with node-redis. It pipelines commands, so one client is its best configuration. `own.port`: of Redis. */
export default async function make(options: StoreOptions): Promise<BenchStore> {
  const client = createClient({ socket: { host: '127.0.0.1', port: options.own?.port as number } })
  await client.connect()
  const store = new RedisStore({ client })
  return expressStore(store, options, async () => {
    await client.close()
  })
}

/** Writes all sessions to Redis as connect-redis does. */
export async function fillRedis(port: number, sessions: number, bytes: number): Promise<void> {
  const client = createClient({ socket: { host: '127.0.0.1', port } })
  await client.connect()
  for (let n = 0; n < sessions; n += 1000) {
    const numbers = Array.from({ length: Math.min(1000, sessions - n) }, (_, index) => n + index)
    await Promise.all(
      numbers.map((number) =>
        client.set(`sess:${sessionId(number)}`, JSON.stringify(sessionData(number, bytes)), {
          expiration: { type: 'EX', value: 86_400 },
        }),
      ),
    )
  }
  await client.close()
}
