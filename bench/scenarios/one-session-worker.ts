import { SaveHandler } from 'session-pgsql'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import type { Where } from '../contestants/contestant.ts'
import { sessionId } from '../sessions.ts'

export interface OneInput {
  readonly where: Where
  readonly writers: readonly number[]
  /** How many sessions to do it to, one after the other. */
  readonly sessions: number
}

export interface OneResult {
  /** Milliseconds since 1970, when the last writer of this process was done. */
  readonly end: number
  readonly errors: readonly string[]
}

export default async function work(input: OneInput, channel: WorkerChannel): Promise<void> {
  const handler = new SaveHandler<Record<string, unknown>>({ db: input.where, gcInterval: 0 })
  await handler.open()
  // Connections and plans are there in a server that has been up for a while.
  await Promise.all(Array.from({ length: 20 }, (_, n) => handler.read(`none${n}`)))
  for (let session = 0; session < input.sessions; session++) {
    channel.send('ready')
    const start = (await channel.receive()) as number
    await new Promise((resolve) => setTimeout(resolve, start - Date.now()))
    const errors: string[] = []
    const id = sessionId(session)
    await Promise.all(
      input.writers.map(async (writer) => {
        try {
          const base = await handler.read(id)
          if (base === undefined) throw new Error('The session is missing')
          const { outcome } = await handler.write(id, { ...base.data, [`writer${writer}`]: writer }, { base })
          if (outcome === 'gone') throw new Error('The session is gone')
        } catch (error) {
          errors.push(String(error))
        }
      }),
    )
    channel.send({ end: Date.now(), errors } satisfies OneResult)
  }
  await handler.close()
}
