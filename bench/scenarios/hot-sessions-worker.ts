import { SaveHandler } from 'session-pgsql'
import { randomNumbers, sessionId } from '../sessions.ts'
import type { ConnectionConfig } from '../stores/store.ts'

export interface HotInput {
  readonly connection: ConnectionConfig
  readonly sessions: number
  readonly firstCaller: number
  readonly callers: number
  readonly milliseconds: number
}

export interface HotResult {
  readonly writes: number
  readonly merged: number
  readonly errors: readonly string[]
  /** Number of increments by the key "session caller". */
  readonly counts: Record<string, number>
}

/** Each caller uses a tenth of the sessions, so that callers of all processes use each session. */
export default async function work(input: HotInput): Promise<HotResult> {
  const handler = new SaveHandler<Record<string, number>>({ db: input.connection, gcInterval: 0 })
  await handler.open()
  const counts: Record<string, number> = {}
  const errors: string[] = []
  let writes = 0
  let merged = 0
  const stop = performance.now() + input.milliseconds

  async function call(caller: number): Promise<void> {
    const random = randomNumbers(caller)
    const name = `caller${caller}`
    const own = Math.floor(input.sessions / 10)
    while (performance.now() < stop) {
      const n = random(own) * 10 + (caller % 10)
      const id = sessionId(n)
      try {
        const base = await handler.read(id)
        if (base === undefined) throw new Error('A session is missing')
        const data = { ...base.data, [name]: (base.data[name] ?? 0) + 1 }
        const { outcome } = await handler.write(id, data, { base })
        if (outcome === 'gone') throw new Error('A session is gone')
        if (outcome === 'merged') merged++
        writes++
        counts[`${n} ${name}`] = (counts[`${n} ${name}`] ?? 0) + 1
      } catch (error) {
        errors.push(String(error))
      }
    }
  }
  await Promise.all(Array.from({ length: input.callers }, (_, n) => call(input.firstCaller + n)))
  await handler.close()
  return { writes, merged, errors, counts }
}
