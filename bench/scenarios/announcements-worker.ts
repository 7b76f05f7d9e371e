import { SaveHandler } from 'session-pgsql'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import type { ConnectionConfig } from '../stores/store.ts'

/** Listens with several save handlers until the parent sends a message. Returns how many `ended` each received. */
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
  await channel.receive()
  await Promise.all(handlers.map((handler) => handler.close()))
  return counts
}
