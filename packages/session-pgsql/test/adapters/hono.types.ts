import { type SessionEnv, useSession } from '@hono/session'
import { Hono } from 'hono'
import { pgsqlSessions, regenerateSession, setSessionField, updateSession } from '../../src/adapters/hono.ts'
import { SaveHandler } from '../../src/index.ts'

/** Compiled, never run: the middleware fits Hono, and the type of the data is kept. */

// Not an interface: @hono/session requires an index signature.
type Data = { user: string }

const sessions = pgsqlSessions<Data>({ db: 'pglite:' })
export const app: Hono<SessionEnv<Data>> = new Hono<SessionEnv<Data>>()
app.use(sessions, useSession<Data>())
app.use('/admin/*', sessions)
app.get('/', async (c) => {
  await regenerateSession(c)
  setSessionField(c, '7')
  // @ts-expect-error the field is text
  setSessionField(c, 7)
  const data = await c.var.session.get()
  return c.text(data?.user.toUpperCase() ?? '')
})

app.get('/update', async (c) => {
  const { value } = await updateSession(c, (data) => {
    // @ts-expect-error a user is no number
    data.user = 7
    data.user = 'ada'
    return data.user.length
  })
  const length: number | undefined = value
  return c.text(String(length))
})

export async function users(): Promise<string[]> {
  const found = await sessions.handler.findByField('1')
  // @ts-expect-error there is no such key
  found[0]?.data.name
  return found.map(({ data }) => data.user)
}

pgsqlSessions<Data>({ handler: new SaveHandler<Data>() })

// @ts-expect-error no such option
pgsqlSessions({ gcIntervall: 1 })
