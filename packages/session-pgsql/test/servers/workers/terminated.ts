import { setImmediate } from 'node:timers/promises'
import { SaveHandler, type SessionPgsqlError } from '../../../src/index.ts'
import type { WorkerChannel } from '../../support/processes.ts'

export interface TerminatedResult {
  /** By id: what was acknowledged last. */
  readonly acknowledged: Record<string, number>
  /** Codes of what failed. */
  readonly codes: string[]
  /** Writes under way when the signal came ... */
  readonly underWay: number
  /** ... those of them that failed ... */
  readonly cut: number
  /** ... and those that close() did not wait for. */
  readonly left: number
}

/** Writes with 50 callers, until SIGTERM: then it closes its handler, as a server's process should. */
export default async function terminated(
  { db }: { db: string[] },
  channel: WorkerChannel,
): Promise<TerminatedResult> {
  const sessions = new SaveHandler<{ n: number }>({ db, gcInterval: 0 })
  const acknowledged: Record<string, number> = {}
  const codes = new Set<string>()
  let inTime = 0
  let underWay = 0
  let cut = 0
  let left = 0
  let isEnding = false

  async function write(id: string, n: number): Promise<void> {
    const counts = !isEnding
    if (counts) inTime++
    try {
      await sessions.write(id, { n })
      acknowledged[id] = n
    } catch (error) {
      codes.add((error as SessionPgsqlError).code)
      if (counts) cut++
    }
    if (counts) inTime--
  }

  const callers = Array.from({ length: 50 }, async (_, caller) => {
    const id = `terminated-${caller}`
    for (let n = 1; codes.size === 0; n += 3) {
      // One behind the other.
      await Promise.all([write(id, n), write(id, n + 1), write(id, n + 2)])
      if (caller === 0 && n === 31) channel.send('busy')
    }
  })
  const ended = new Promise<void>((resolve) => {
    process.once('SIGTERM', async () => {
      underWay = inTime
      isEnding = true
      await sessions.close()
      await setImmediate()
      left = inTime
      resolve()
    })
  })
  await Promise.all([ended, ...callers])
  return { acknowledged, codes: [...codes], underWay, cut, left }
}
