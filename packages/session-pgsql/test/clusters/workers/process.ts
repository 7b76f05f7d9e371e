import { SaveHandler } from '../../../src/index.ts'
import type { WorkerChannel } from '../../support/processes.ts'
import { eventually } from '../../support/wait.ts'
import { Traffic } from '../traffic.ts'

export interface ProcessInput {
  readonly db: string[]
  readonly callers: number
  readonly seed: number
  /** Kills itself with SIGKILL after this many rows have been moved back, while the next are moved. */
  readonly diesAfter?: number
}

export interface ProcessResult {
  readonly broken: string[]
  readonly codes: string[]
  /** Codes of errors while it was calm. */
  readonly codesInCalm: string[]
  readonly ids: string[]
  readonly acknowledged: number
}

/**
 * A process with traffic. Runs until the message 'stop', and checks the history at the next message. Before, 'calm'
 * makes it wait until it is calm.
 */
export default async function process_(
  { db, callers, seed, diesAfter = Number.POSITIVE_INFINITY }: ProcessInput,
  channel: WorkerChannel,
): Promise<ProcessResult> {
  const handler = new SaveHandler<Record<string, number>>({ db, gcInterval: 0 })
  handler.on('error', () => {})
  let brought = 0
  handler.on('broughtHome', () => {
    brought++
    if (brought === diesAfter) process.kill(process.pid, 'SIGKILL')
  })
  // On a busy machine, servers may seem to hang while five processes start.
  await eventually(() => handler.open())
  const traffic = new Traffic([handler], callers, seed)
  channel.send('running')
  while ((await channel.receive()) === 'calm') {
    await traffic.calmAfter(async () => {
      channel.send('settled?')
      await channel.receive()
    })
    channel.send('calm')
  }
  await traffic.stop()
  channel.send('stopped')
  await channel.receive()
  await eventually(() => {
    if (handler.status().servers.some(({ health }) => health === 'down')) throw new Error('A server is down')
  })
  await traffic.check(handler)
  await handler.close()
  const { broken, errors, errorsInCalm, ids, acknowledged } = traffic
  const codesOf = (some: typeof errors): string[] => some.map(({ code }) => code)
  return { broken, ids, acknowledged, codes: codesOf(errors), codesInCalm: codesOf(errorsInCalm) }
}
