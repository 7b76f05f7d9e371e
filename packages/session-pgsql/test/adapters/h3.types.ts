import type { H3Event, Middleware } from 'h3'
import { type BoundSession, createSessions, type H3Sessions } from '../../src/adapters/h3.ts'

/** Compiled, never run: the events and middleware of h3 2 fit, and the type of the data is kept. */

interface Data {
  user: string
  visits: number
}

const sessions: H3Sessions<Data> = createSessions<Data>({ secret: 'sixteen characters' })

export const middleware: Middleware = sessions.middleware

export async function handle(event: H3Event): Promise<string> {
  const session: BoundSession<Data> = await sessions.session(event, { address: '203.0.113.7' })
  session.set('visits', (session.get('visits') ?? 0) + 1)
  // @ts-expect-error visits are a number
  session.set('visits', 'three')
  // @ts-expect-error there is no such key
  session.get('name')
  const { value } = await session.update((data) => data.user?.length)
  await session.commit()
  await sessions.commit(event)
  return `${value}`
}

// @ts-expect-error the secret is missing
createSessions({ db: 'pglite:' })
