import { SaveHandler } from 'session-pgsql'
import { randomNumbers, sessionId } from '../sessions.ts'
import type { Scenario } from '../setting.ts'

export const statementsSent: Scenario = {
  name: 'statements-sent',
  about: '1,000 requests of 100 callers, short circuit on, nothing changed',
  async run({ database, parameters }) {
    const { short, sessions } = parameters
    const [requests, callers] = short ? [200, 20] : [1000, 100]
    await database.spreadExpiries()
    const handler = new SaveHandler({ db: database.where, gcInterval: 0, shortCircuit: true })
    await handler.open()
    const sent = (): number => handler.status().servers.reduce((sum, { calls }) => sum + calls, 0)
    const before = sent()
    const random = randomNumbers(5)
    let left = requests
    const call = async (): Promise<void> => {
      while (left-- > 0) {
        const id = sessionId(random(sessions))
        const base = await handler.read(id)
        if (base === undefined) throw new Error('A session is missing')
        // What the request does in the meantime; then the adapter finds nothing changed.
        await new Promise((resolve) => setImmediate(resolve))
        await handler.touch(id, { base, lifetime: 86_400 })
      }
    }
    await Promise.all(Array.from({ length: callers }, call))
    const statements = sent() - before
    await handler.close()
    return [
      {
        what: `statements for ${requests} requests`,
        value: statements,
        unit: '',
        mark: { atMost: requests / 10, always: !short },
      },
    ]
  },
}
