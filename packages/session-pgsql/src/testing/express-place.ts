import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { CallbackStore, ConformancePlace, ConformanceSite, StartOptions } from './subject.ts'

/** What is needed of express-session: the function that it exports. */
export type ExpressSession = (options: {
  secret: string
  store: never
  resave: boolean
  saveUninitialized: boolean
  cookie: { maxAge: number }
}) => (request: never, response: never, next: (error?: unknown) => void) => void

/** A store of express-session's contract, as one process has it. */
export interface OpenStore {
  readonly store: CallbackStore
  /** Gives back what the store holds open. */
  close?(): unknown
  /** Called when a user has signed in, with the request: for stores that know the sessions of a user. */
  signedIn?(request: never, user: string): void
  readonly users?: NonNullable<ConformanceSite['users']>
}

/** Seconds that the sessions of `expressPlace` live. */
const LIFETIME = 3600

/**
 * Sites on express-session and `node:http`, for stores of express-session's contract.
 *
 * @param session what `express-session` exports
 * @param openStore makes a store, as a process of its own would
 */
export function expressPlace(
  session: ExpressSession,
  openStore: (options: Pick<StartOptions, 'timeout'>) => OpenStore | Promise<OpenStore>,
): ConformancePlace & { readonly lifetime: number } {
  return {
    lifetime: LIFETIME,
    async start({ pause, timeout }) {
      const open = await openStore({ timeout })
      const middleware = session({
        secret: 'of a test',
        store: open.store as never,
        resave: false,
        saveUninitialized: false,
        cookie: { maxAge: LIFETIME * 1000 },
      })
      const server = createServer(async (incoming, outgoing) => {
        try {
          const request = incoming as RequestWithSession
          await called((next) => middleware(request as never, outgoing as never, next))
          await answer(request, outgoing, open, pause)
        } catch {
          if (!outgoing.headersSent) outgoing.statusCode = 500
          outgoing.end()
        }
      })
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening))
      return {
        url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
        store: open.store,
        ...(open.users && { users: open.users }),
        async stop() {
          const closed = new Promise((resolve) => server.close(resolve))
          server.closeAllConnections()
          await closed
          await open.close?.()
        },
      }
    },
  }
}

type Callback = (error?: unknown) => void

interface RequestWithSession extends IncomingMessage {
  session: Record<string, unknown> & {
    save(callback: Callback): void
    regenerate(callback: Callback): void
    destroy(callback: Callback): void
  }
}

async function answer(
  request: RequestWithSession,
  response: ServerResponse,
  { signedIn }: OpenStore,
  pause: StartOptions['pause'],
): Promise<void> {
  const { pathname, searchParams: query } = new URL(request.url ?? '', 'http://localhost')
  const key = query.get('key') ?? ''
  const value = query.get('value')
  switch (`${request.method} ${pathname}`) {
    case 'GET /read': {
      const { cookie: _, ...data } = request.session
      response.end(JSON.stringify(data))
      return
    }
    case 'POST /set':
      await pause(query.get('wait'))
      // What has not changed is left to express-session.
      if (request.session[key] !== value) {
        request.session[key] = value
        await save(request)
      }
      break
    case 'POST /delete':
      await pause(query.get('wait'))
      delete request.session[key]
      await save(request)
      break
    case 'POST /sign-in': {
      const user = query.get('user') ?? ''
      await called((done) => request.session.regenerate(done))
      request.session.user = user
      signedIn?.(request as never, user)
      await save(request)
      break
    }
    case 'POST /sign-out':
      await called((done) => request.session.destroy(done))
      break
    default:
      response.statusCode = 404
  }
  response.end()
}

/** By itself express-session saves when the answer has begun, and an error would come too late for its status. */
function save({ session }: RequestWithSession): Promise<void> {
  return called((done) => session.save(done))
}

function called(work: (callback: Callback) => void): Promise<void> {
  return new Promise((resolve, reject) => work((error) => (error ? reject(error) : resolve())))
}
