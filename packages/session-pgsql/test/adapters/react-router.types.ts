import type { Session, SessionStorage } from 'react-router'
import { createCookie } from 'react-router'
import type { SessionStorage as SessionStorage8 } from 'react-router-8'
import { createPgsqlSessionStorage, type PgsqlSessionStorage } from '../../src/adapters/react-router.ts'
import { SaveHandler } from '../../src/index.ts'

/** Compiled, never run: the storage fits React Router, and the type of the data is kept. */

interface Data {
  user: string
}

interface Flash {
  notice: string
}

const storage: PgsqlSessionStorage<Data, Flash> = createPgsqlSessionStorage<Data, Flash>({
  db: 'pglite:',
  cookie: { name: '__session', secrets: ['secret'], sameSite: 'lax' },
})
export const real: SessionStorage<Data, Flash> = storage
export const real8: SessionStorage8<Data, Flash> = storage

export async function action(request: Request): Promise<Response> {
  const session: Session<Data, Flash> = await storage.getSession(request.headers.get('cookie'))
  const user: string | undefined = session.get('user')
  session.set('user', user?.toUpperCase() ?? '')
  session.flash('notice', 'saved')
  // @ts-expect-error a user is no number
  session.set('user', 7)
  // @ts-expect-error there is no such key
  session.get('name')
  return new Response(null, {
    headers: { 'set-cookie': await storage.commitSession(session, { maxAge: 60 }) },
  })
}

export async function update(session: Session<Data, Flash>): Promise<number | undefined> {
  const { value } = await storage.updateSession(session, (data) => {
    // @ts-expect-error a user is no number
    data.user = 7
    data.user = 'ada'
    return data.user.length
  })
  return value
}

export async function users(): Promise<string[]> {
  const found = await storage.handler.findByField('1')
  // @ts-expect-error there is no such key
  found[0]?.data.name
  return found.map(({ data }) => data.user)
}

createPgsqlSessionStorage({ cookie: createCookie('own'), handler: new SaveHandler<Data>() })
// @ts-expect-error no such option
createPgsqlSessionStorage({ gcIntervall: 1 })
// @ts-expect-error the name is the cookie's
createPgsqlSessionStorage({ name: 'sid' })
