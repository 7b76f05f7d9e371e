import {
  createSessions,
  type RequestLike,
  type SessionCookie,
  type Sessions,
  type WebSession,
} from '../../src/adapters/web.ts'
import { SaveHandler } from '../../src/index.ts'

/** Compiled, never run: the web's Request fits, and the type of the data is kept. */

interface Data {
  user: string
  cart: string[]
}

const secret = 'sixteen characters'
export const sessions: Sessions<Data> = createSessions<Data>({ secret, db: 'pglite:' })

export async function handle(request: Request): Promise<Response> {
  const like: RequestLike = request
  const session: WebSession<Data> = await sessions.session(like, { address: '203.0.113.7' })
  const user: string | undefined = session.get('user')
  session.set('cart', [...(session.get('cart') ?? []), user?.toUpperCase() ?? ''])
  // @ts-expect-error a cart is no number
  session.set('cart', 7)
  // @ts-expect-error there is no such key
  session.get('name')
  const data: Partial<Data> = session.data
  const cookie: SessionCookie | undefined = await session.commit()
  const seconds: number | undefined = cookie?.attributes.maxAge
  return Response.json({ data, seconds }, { headers: cookie ? { 'set-cookie': cookie.header } : {} })
}

export async function update(session: WebSession<Data>): Promise<number | undefined> {
  const { value } = await session.update((data) => {
    // @ts-expect-error a user is no number
    data.user = 7
    data.user = 'ada'
    return data.user.length
  })
  return value
}

export async function users(): Promise<string[]> {
  const found = await sessions.handler.findByField('1')
  // @ts-expect-error there is no such key
  found[0]?.data.name
  return found.map(({ data }) => data.user)
}

/** Without a type argument the data is untyped. */
export async function anything(request: Request): Promise<unknown> {
  return (await createSessions({ secret }).session(request)).get('key')
}

createSessions<Data>({ secret: [secret, 'an older secret..'], handler: new SaveHandler<Data>(), name: 'sid' })
createSessions<Data>({ secret, conflict: (ours, theirs) => ({ ...theirs, cart: ours.cart }) })

// @ts-expect-error the secret is missing
createSessions({ db: 'pglite:' })
// @ts-expect-error no such option
createSessions({ secret, gcIntervall: 1 })
// @ts-expect-error a shared handler has its database already
createSessions({ secret, handler: new SaveHandler(), db: 'pglite:' })
