import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { edited } from './edit.ts'
import type { CallbackStore, ConformancePlace, ConformanceSite, StartOptions } from './subject.ts'

/** The function that express-session exports. */
export type ExpressSession = (options: {
  secret: string
  store: never
  resave: boolean
  saveUninitialized: boolean
  cookie: { maxAge: number }
}) => (request: never, response: never, next: (error?: unknown) => void) => void

/** A store with express-session's contract, open in one process. */
export interface OpenStore {
  readonly store: CallbackStore
  /** Closes what the store has open. */
  close?(): unknown
  /** Called after a sign-in, for stores that know the user of a session. */
  signedIn?(request: never, user: string): void
  readonly users?: NonNullable<ConformanceSite['users']>
  /** Applies a function to the stored session atomically and returns its result, for stores that can. */
  update?(request: never, change: (data: Record<string, unknown>) => number): Promise<number | undefined>
}

/** Seconds that a session lives. */
const LIFETIME = 3600

/**
 * Returns a place whose sites use express-session and `node:http`, for a store with express-session's contract.
 *
 * @param session the export of `express-session`
 * @param openStore opens a store, as another process would
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
        secret: 'secret of a test',
        store: open.store as never,
        resave: false,
        saveUninitialized: false,
        cookie: { maxAge: LIFETIME * 1000 },
      })
      const server = createServer(async (incoming, outgoing) => {
        try {
          const request = incoming as RequestWithSession
          await awaitCallback((next) => middleware(request as never, outgoing as never, next))
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
  { signedIn, update }: OpenStore,
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
      // Without a change express-session decides whether to save.
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
    case 'POST /edit':
      await pause(query.get('wait'))
      request.session[key] = edited(request.session[key], query.get('path'), value)
      await save(request)
      break
    case 'POST /count': {
      if (update === undefined) {
        response.statusCode = 404
        break
      }
      await pause(query.get('wait'))
      request.session[query.get('also') ?? ''] = '1'
      const count = await update(request as never, (data) => {
        const next = Number(data[key] ?? 0) + 1
        data[key] = next
        return next
      })
      await save(request)
      response.write(String(count))
      break
    }
    case 'POST /sign-in': {
      const user = query.get('user') ?? ''
      await awaitCallback((done) => request.session.regenerate(done))
      request.session.user = user
      signedIn?.(request as never, user)
      await save(request)
      break
    }
    case 'POST /sign-out':
      await awaitCallback((done) => request.session.destroy(done))
      break
    default:
      response.statusCode = 404
  }
  response.end()
}

/** Saves before the response: express-session itself saves when it has begun, too late for a status of 500. */
function save({ session }: RequestWithSession): Promise<void> {
  return awaitCallback((done) => session.save(done))
}

function awaitCallback(work: (callback: Callback) => void): Promise<void> {
  return new Promise((resolve, reject) => work((error) => (error ? reject(error) : resolve())))
}
