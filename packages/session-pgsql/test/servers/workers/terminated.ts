import { SaveHandler, type SessionPgsqlError } from '../../../src/index.ts'
import type { WorkerChannel } from '../../support/processes.ts'

export interface TerminatedResult {
  /** By id: what was acknowledged last. */
  readonly acknowledged: Record<string, number>
  /** Codes of what failed. */
  readonly codes: string[]
  /** Writes under way when the signal came ... */
  readonly underWay: number
  /** ... and those of them that failed. */
  readonly cut: number
}

/** Writes with 50 callers, until SIGTERM: then it closes its handler, as a server's process should. */
export default async function terminated(
  { db }: { db: string[] },
  channel: WorkerChannel,
): Promise<TerminatedResult> {
  const sessions = new SaveHandler<{ n: number }>({ db, gcInterval: 0 })
  const acknowledged: Record<string, number> = {}
  const codes: string[] = []
  let busy = 0
  let underWay = 0
  let cut = 0
  let isEnding = false
  const callers = Array.from({ length: 50 }, async (_, caller) => {
    const id = `terminated-${caller}`
    for (let n = 1; codes[caller] === undefined; n++) {
      const inTime = !isEnding
      busy++
      try {
        await sessions.write(id, { n })
        acknowledged[id] = n
      } catch (error) {
        codes[caller] = (error as SessionPgsqlError).code
        if (inTime) cut++
      }
      busy--
      if (caller === 0 && n === 20) channel.send('busy')
    }
  })
  const ended = new Promise<void>((resolve) => {
    process.once('SIGTERM', () => {
      underWay = busy
      isEnding = true
      resolve(sessions.close())
    })
  })
  await Promise.all([ended, ...callers])
  return { acknowledged, codes, underWay, cut }
}
