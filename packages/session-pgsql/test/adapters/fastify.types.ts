import fastifyCookie from '@fastify/cookie'
import fastifySession from '@fastify/session'
import Fastify from 'fastify'
import { PgsqlStore, pgsqlSession } from '../../src/adapters/fastify.ts'
import { SaveHandler } from '../../src/index.ts'

/** Compiled, never run: plugin and store fit Fastify, and the type of the data is kept. */

interface Data {
  user: string
}

declare module 'fastify' {
  interface Session extends Partial<Data> {}
}

const store = new PgsqlStore<Data>({ db: 'pglite:' })
const app = Fastify()
app.register(fastifyCookie)
app.register(pgsqlSession, { store, secret: 'x'.repeat(32), cookie: { maxAge: 1 } })
// The store fits without the plugin, too.
app.register(fastifySession, { store, secret: 'x'.repeat(32) })
// @ts-expect-error the secret is missing
app.register(pgsqlSession, { store })

app.get('/', async ({ session }) => session.user?.toUpperCase())

app.get('/update', async (request) => {
  store.setField(request, '7')
  // @ts-expect-error the field is text
  store.setField(request, 7)
  const { value } = await store.update(request, (data) => {
    // @ts-expect-error a user is no number
    data.user = 7
    // @ts-expect-error the cookie is not the caller's
    data.cookie
    data.user = 'ada'
    return data.user.length
  })
  const length: number | undefined = value
  return length
})

export async function users(): Promise<(string | undefined)[]> {
  const sessions = await store.handler.findByField('1')
  // @ts-expect-error there is no such key
  sessions[0]?.data.name
  return sessions.map(({ data }) => data.user)
}

export const shared: PgsqlStore<Data> = new PgsqlStore<Data>({ handler: new SaveHandler<Data>() })

// @ts-expect-error no such option
export const misspelt: PgsqlStore = new PgsqlStore({ gcIntervall: 1 })
