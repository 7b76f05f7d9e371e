import type { AddressInfo } from 'node:net'
import connectPgSimple from 'connect-pg-simple'
import express from 'express'
import session, { MemoryStore, type Store } from 'express-session'
import { PgsqlStore } from 'session-pgsql/express'
import type { WorkerChannel } from '../../packages/session-pgsql/test/support/processes.ts'
import { type SessionData, sessionData, sessionId } from '../sessions.ts'
import type { StoreOptions } from '../stores/store.ts'

/** An Express application with one of the session stores. Each request reads a session and touches it. */

export interface AppInput {
  readonly store: 'session-pgsql' | 'connect-pg-simple' | 'memory'
  readonly options: StoreOptions
}

export const SECRET = 'not a secret'

export default async function serve(
  { store: name, options }: AppInput,
  channel: WorkerChannel,
): Promise<void> {
  const store = await makeStore(name, options)
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.use(
    session({
      secret: SECRET,
      store,
      resave: false,
      saveUninitialized: false,
      cookie: { maxAge: 86_400_000 },
    }),
  )
  app.get('/', (request, response) => {
    const { user } = request.session as object as Partial<SessionData>
    if (user === undefined) response.status(401).end('no session')
    else response.end(`user ${user.id}`)
  })
  const server = app.listen(0, '127.0.0.1', () => channel.send((server.address() as AddressInfo).port))
  await channel.receive()
  server.closeAllConnections()
  server.close()
}

async function makeStore(name: AppInput['store'], options: StoreOptions): Promise<Store> {
  if (name === 'memory') {
    const store = new MemoryStore()
    for (let n = 0; n < options.sessions; n++) {
      store.set(sessionId(n), sessionData(n, options.bytes) as never)
    }
    return store
  }
  if (name === 'connect-pg-simple') {
    const PgStore = connectPgSimple(session)
    return new PgStore({ conObject: options.connection, pruneSessionInterval: false })
  }
  return new PgsqlStore({ db: options.connection, gcInterval: 0 })
}
