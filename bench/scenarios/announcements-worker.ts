import { SaveHandler } from 'session-pgsql'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import { sleep } from '../../packages/session-pgsql/test/support/wait.ts'
import type { ConnectionConfig } from '../stores/store.ts'

/**
 * Listens with several save handlers until the parent sends how many sessions have ended. Returns how many `ended` each
 * received, if need be after a while.
 */
export default async function listen(
  { connection, listeners }: { connection: ConnectionConfig; listeners: number },
  channel: WorkerChannel,
): Promise<number[]> {
  const counts = new Array<number>(listeners).fill(0)
  const handlers = counts.map((_, n) => {
    const handler = new SaveHandler({ db: connection, announce: true, gcInterval: 0, poolSize: 1 })
    return handler.on('ended', () => {
      counts[n] = (counts[n] as number) + 1
    })
  })
  await Promise.all(handlers.map((handler) => handler.open()))
  channel.send('listening')
  const expected = (await channel.receive()) as number
  const deadline = performance.now() + 10_000
  while (counts.some((count) => count < expected) && performance.now() < deadline) await sleep(10)
  await Promise.all(handlers.map((handler) => handler.close()))
  return counts
}
