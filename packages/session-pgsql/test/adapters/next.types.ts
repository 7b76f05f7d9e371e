import {
  type BoundSession,
  createSessions,
  type NextSessions,
  type ReadonlySession,
} from '../../src/adapters/next.ts'

/** Compiled, never run: the type of the data is kept, and a server component can change nothing. */

interface Data {
  user: string
  visits: number
}

const sessions: NextSessions<Data> = createSessions<Data>({ secret: 'sixteen characters' })

export async function action(): Promise<number | undefined> {
  const session: BoundSession<Data> = await sessions.session({ address: '203.0.113.7' })
  session.set('visits', (session.get('visits') ?? 0) + 1)
  // @ts-expect-error visits are a number
  session.set('visits', 'three')
  await session.commit()
  return session.data.visits
}

export async function Page(): Promise<string | undefined> {
  const session: ReadonlySession<Data> = await sessions.read()
  // @ts-expect-error a server component cannot set a cookie
  await session.commit()
  // @ts-expect-error and changes nothing
  session.set('user', 'ada')
  // @ts-expect-error not even the field
  session.field = 'ada'
  return session.get('user')
}
