import { MemoryStore } from 'express-session'
import { sessionData, sessionId } from '../sessions.ts'
import type { Contestant, ContestantOptions } from './contestant.ts'
import { storeContestant } from './stores.ts'

/** express-session's own: what it costs when nothing leaves the process. */
export default async function make(options: ContestantOptions): Promise<Contestant> {
  const store = new MemoryStore()
  for (let n = 0; n < options.sessions; n++) {
    store.set(sessionId(n), sessionData(n, options.bytes) as never)
  }
  return storeContestant(store, options, async () => {})
}
