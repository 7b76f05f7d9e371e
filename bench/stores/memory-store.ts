import { MemoryStore } from 'express-session'
import { sessionData, sessionId } from '../sessions.ts'
import { expressStore } from './express-store.ts'
import type { BenchStore, StoreOptions } from './store.ts'

/** The MemoryStore of express-session, in which no data leaves the process. */
export default async function make(options: StoreOptions): Promise<BenchStore> {
  const store = new MemoryStore()
  for (let n = 0; n < options.sessions; n++) {
    store.set(sessionId(n), sessionData(n, options.bytes) as never)
  }
  return expressStore(store, options, async () => {})
}
