import type { WorkerChannel } from '../../support/processes.ts'

/** A worker whose input selects its behaviour. */
export default async function work(input: unknown, channel: WorkerChannel): Promise<unknown> {
  switch (input) {
    case 'throw':
      throw new Error('thrown in the worker')
    case 'exit':
      console.error('last words')
      return process.exit(3)
    case 'hang':
      return new Promise(() => setInterval(() => {}, 1000))
    case 'talk':
      channel.send(`received: ${await channel.receive()}`)
      return `and ${await channel.receive()}`
    default:
      return { input, pid: process.pid, started: Date.now() }
  }
}
