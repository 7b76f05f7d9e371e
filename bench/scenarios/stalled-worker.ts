import { SaveHandler, SessionPgsqlError } from 'session-pgsql'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import { type SessionData, sessionData, sessionId } from '../sessions.ts'
import type { ConnectionConfig } from '../stores/store.ts'

export interface StalledInput {
  readonly connection: ConnectionConfig
  readonly callers: number
  readonly sessions: number
  readonly bytes: number
  /** How long the callers make calls. */
  readonly milliseconds: number
  /** Seconds. */
  readonly operationTimeout: number
}

export interface StalledResult {
  readonly calls: number
  /** Number of errors by code. `untyped`: not a SessionPgsqlError. */
  readonly codes: Record<string, number>
  /** Bytes. */
  readonly heap: number
  /** Milliseconds of the longest call. */
  readonly longest: number
  /** Number of reads that failed afterwards. */
  readonly failedAfterwards: number
}

export default async function work(input: StalledInput, channel: WorkerChannel): Promise<StalledResult> {
  const { operationTimeout } = input
  const handler = new SaveHandler<SessionData>({ db: input.connection, gcInterval: 0, operationTimeout })
  await handler.open()
  const data = sessionData(0, input.bytes)
  channel.send('ready')
  await channel.receive()

  const codes: Record<string, number> = {}
  let calls = 0
  let longest = 0
  let heap = 0
  const sample = setInterval(() => {
    heap = Math.max(heap, process.memoryUsage().heapUsed)
  }, 50)
  const stop = performance.now() + input.milliseconds
  const call = async (caller: number): Promise<void> => {
    for (let n = caller; performance.now() < stop; n++) {
      const id = sessionId(n % input.sessions)
      const start = performance.now()
      try {
        if (n % 3 === 0) await handler.write(id, data)
        else if (n % 3 === 1) await handler.touch(id)
        else await handler.read(id)
        codes['none (success)'] = (codes['none (success)'] ?? 0) + 1
      } catch (error) {
        calls++
        const code = error instanceof SessionPgsqlError ? error.code : 'untyped'
        codes[code] = (codes[code] ?? 0) + 1
        // A rejected caller retries after a pause, not in the same tick.
        if (code !== 'TIMEOUT') await new Promise((resolve) => setTimeout(resolve, 100))
      }
      longest = Math.max(longest, performance.now() - start)
    }
  }
  await Promise.all(Array.from({ length: input.callers }, (_, caller) => call(caller)))
  clearInterval(sample)
  channel.send('done')
  await channel.receive()

  let failedAfterwards = 0
  for (let n = 0; n < 20; n++) {
    await handler.read(sessionId(n)).catch(() => {
      failedAfterwards++
    })
  }
  await handler.close()
  return { calls, codes, heap, longest, failedAfterwards }
}
