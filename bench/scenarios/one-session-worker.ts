import { SaveHandler } from 'session-pgsql'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import { sessionId } from '../sessions.ts'
import type { ConnectionConfig } from '../stores/store.ts'

export interface OneInput {
  readonly connection: ConnectionConfig
  readonly writers: readonly number[]
  /** Number of sessions to write, one after the other. */
  readonly sessions: number
}

export interface OneResult {
  /** Milliseconds since 1970 when the last writer of this process ended. */
  readonly end: number
  readonly errors: readonly string[]
}

export default async function work(input: OneInput, channel: WorkerChannel): Promise<void> {
  const handler = new SaveHandler<Record<string, unknown>>({ db: input.connection, gcInterval: 0 })
  await handler.open()
  // Opens connections and prepares statements, as in a server that has been running for a while.
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
