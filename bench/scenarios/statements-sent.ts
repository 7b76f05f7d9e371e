import { SaveHandler } from 'session-pgsql'
import type { Scenario } from '../context.ts'
import { randomNumbers, sessionId } from '../sessions.ts'

export const statementsSent: Scenario = {
  name: 'statements-sent',
  description: '1,000 requests by 100 callers that change nothing, with shortCircuit',
  async run({ database, parameters }) {
    const { short, sessions } = parameters
    const [requests, callers] = short ? [200, 20] : [1000, 100]
    await database.distributeExpiries()
    const handler = new SaveHandler({ db: database.connection, gcInterval: 0, shortCircuit: true })
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
        // The work of the request. Then the adapter finds that nothing has changed.
        await new Promise((resolve) => setImmediate(resolve))
        await handler.touch(id, { base, lifetime: 86_400 })
      }
    }
    await Promise.all(Array.from({ length: callers }, call))
    const statements = sent() - before
    await handler.close()
    return [
      {
        name: `statements for ${requests} requests`,
        value: statements,
        unit: '',
        target: { atMost: requests / 10, always: !short },
      },
    ]
  },
}
