import { setImmediate } from 'node:timers/promises'
import { SaveHandler, type SessionPgsqlError } from '../../../src/index.ts'
import type { WorkerChannel } from '../../support/processes.ts'

export interface TerminatedResult {
  /** By id: the last acknowledged write. */
  readonly acknowledged: Record<string, number>
  /** Error codes of failed writes. */
  readonly codes: string[]
  /** Writes in progress when the signal came. */
  readonly inProgress: number
  /** Those of them that failed. */
  readonly failed: number
  /** Those of them that close() did not wait for. */
  readonly unfinished: number
}

/** Writes with 50 callers until SIGTERM, then closes the handler, as a server process should. */
export default async function terminated(
  { db }: { db: string[] },
  channel: WorkerChannel,
): Promise<TerminatedResult> {
  const sessions = new SaveHandler<{ n: number }>({ db, gcInterval: 0 })
  const acknowledged: Record<string, number> = {}
  const codes = new Set<string>()
  let running = 0
  let inProgress = 0
  let failed = 0
  let unfinished = 0
  let isEnding = false

  async function write(id: string, n: number): Promise<void> {
    const counts = !isEnding
    if (counts) running++
    try {
      await sessions.write(id, { n })
      acknowledged[id] = n
    } catch (error) {
      codes.add((error as SessionPgsqlError).code)
      if (counts) failed++
    }
    if (counts) running--
  }

  const callers = Array.from({ length: 50 }, async (_, caller) => {
    const id = `terminated-${caller}`
    for (let n = 1; codes.size === 0; n += 3) {
      // In sequence, because they share an id.
      await Promise.all([write(id, n), write(id, n + 1), write(id, n + 2)])
      if (caller === 0 && n === 31) channel.send('busy')
    }
  })
  const ended = new Promise<void>((resolve) => {
    process.once('SIGTERM', async () => {
      inProgress = running
      isEnding = true
      await sessions.close()
      await setImmediate()
      unfinished = running
      resolve()
    })
  })
  await Promise.all([ended, ...callers])
  return { acknowledged, codes: [...codes], inProgress, failed, unfinished }
}
