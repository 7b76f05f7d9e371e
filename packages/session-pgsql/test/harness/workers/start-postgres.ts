import { startPostgres } from '../../support/postgres.ts'
import type { WorkerChannel } from '../../support/processes.ts'

/** Starts a server, and exits or waits until it is killed. */
export default async function work(how: string, channel: WorkerChannel): Promise<string> {
  const server = await startPostgres({ version: '18', settings: { fsync: 'off' } })
  if (how === 'keep') server.keep()
  const { pid, folder } = server
  if (how === 'pause') server.pause()
  channel.send({ pid, folder })
  if (how !== 'exit') await channel.receive()
  return 'done'
}
