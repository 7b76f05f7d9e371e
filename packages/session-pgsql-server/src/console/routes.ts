import type { IncomingMessage, ServerResponse } from 'node:http'
import type { SaveHandler } from 'session-pgsql'
import { type AccessControl, FailedAttempt, type User } from './access.ts'
import type {
  AuditEntries,
  AuditEntry,
  CountResult,
  EndResult,
  GcPreview,
  GcResult,
  SessionData,
  SignInRequest,
} from './api.ts'
import { type AuditLog, shortenId } from './audit.ts'
import { isSameSecret } from './credentials.ts'
import { LiveStreams } from './live.ts'
import type { Monitor } from './monitor.ts'
import { addressOf, checkSameOrigin, type OriginOptions } from './origin.ts'
import { overviewOf } from './overview.ts'
import { HttpError, readJsonBody, sendJson } from './responses.ts'
import { isCancelled, isText, parseEndRequest, SessionAdmin, TIME_LIMIT, wholeNumber } from './sessions.ts'

export interface ApiOptions {
  // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
  readonly sessions: SaveHandler<any>
  readonly access: AccessControl
  readonly audit: AuditLog
  readonly monitor: Monitor
  readonly origin: OriginOptions
}

/** A request of an authenticated user. */
interface ApiRequest {
  readonly user: User
  readonly query: URLSearchParams
  readonly body: Readonly<Record<string, unknown>>
  readonly request: IncomingMessage
}

/** Returns the body of the response. */
type Route = (request: ApiRequest) => Promise<unknown>

/** The maximum length of a custom field in the audit log. */
const MAX_AUDIT_FIELD = 100

/** Milliseconds that a request waits for work that may take long. */
const TIMEOUT = 10_000

/** Serves /api; api.ts describes the requests and responses. */
export class Api {
  readonly #options: ApiOptions
  readonly #admin: SessionAdmin
  readonly #live: LiveStreams
  readonly #getRoutes: Readonly<Record<string, Route>>
  readonly #postRoutes: Readonly<Record<string, Route>>

  /** The garbage collection in progress; further requests join it. */
  #collecting: Promise<GcResult> | undefined

  constructor(options: ApiOptions) {
    this.#options = options
    const { monitor, audit } = options
    const admin = new SessionAdmin(options.sessions, monitor)
    this.#admin = admin
    this.#live = new LiveStreams(monitor, options.access)
    this.#getRoutes = {
      overview: async () =>
        overviewOf(await monitor.latest(), monitor.startup, monitor.gcRuns, recentErrors(monitor)),
      history: async ({ query }) =>
        monitor.history(wholeNumber(query.get('minutes') || '60', 1, 1440, 'minutes')),
      sessions: ({ query, user }) => admin.list(query, user.role),
      session: ({ query, user }) => admin.get(requireText(query.get('id'), 'id'), user.role),
      count: async ({ query }): Promise<CountResult> => ({
        count: await admin.count(requireText(query.get('field'), 'field')),
      }),
      gc: () => this.#previewGc(),
      audit: async ({ query }): Promise<AuditEntries> => ({
        entries: await audit.newest(wholeNumber(query.get('limit') || '100', 1, 1000, 'limit')),
      }),
    }
    this.#postRoutes = {
      'session/data': (request) => this.#viewData(request),
      end: (request) => this.#end(request),
      gc: (request) => this.#collect(request),
    }
  }

  close(): void {
    this.#live.close()
  }

  async serve(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = url.pathname.slice('/api/'.length)
    const { access } = this.#options
    if (request.method === 'POST') {
      checkSameOrigin(request, this.#options.origin)
      const body = await readJsonBody(request)
      if (name === 'sign-in') return this.#signIn(request, response, body)
      const route = Object.hasOwn(this.#postRoutes, name) ? this.#postRoutes[name] : undefined
      if (route === undefined && name !== 'sign-out') throw noRoute(name, this.#getRoutes, 'GET')
      const user = await access.requireUser(request)
      if (!isSameSecret(String(request.headers['x-csrf-token'] ?? ''), user.csrfToken)) {
        throw new HttpError(
          403,
          'The header X-CSRF-Token is missing or outdated. Get a new token from GET /api/me.',
        )
      }
      if (route === undefined) return this.#signOut(request, response, user)
      if (user.role !== 'operator') {
        throw new HttpError(403, 'Readers may not do this. Sign in with the password of the operators.')
      }
      return sendJson(response, await route({ user, query: url.searchParams, body, request }))
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new HttpError(405, 'Expected the method GET or POST.', { allow: 'GET, HEAD, POST' })
    }
    if (name === 'me') return sendJson(response, await access.me(request))
    const route = Object.hasOwn(this.#getRoutes, name) ? this.#getRoutes[name] : undefined
    if (route === undefined && name !== 'live') throw noRoute(name, this.#postRoutes, 'POST')
    const user = await access.requireUser(request)
    if (route === undefined) return this.#live.open(request, response, user.role)
    sendJson(response, await route({ user, query: url.searchParams, body: {}, request }))
  }

  async #signIn(request: IncomingMessage, response: ServerResponse, body: ApiRequest['body']): Promise<void> {
    const address = addressOf(request, this.#options.origin)
    const { password }: Partial<Record<keyof SignInRequest, unknown>> = body
    if (!isText(password)) throw new HttpError(400, 'Expected a password.')
    try {
      const { role, cookies } = await this.#options.access.signIn(request, password)
      await this.#options.audit.add({ role, address, act: 'sign-in', what: '' })
      response.setHeader('set-cookie', cookies)
    } catch (error) {
      // Attempts over the limit are not recorded: no password was compared.
      if (error instanceof FailedAttempt) {
        await this.#options.audit.add({ address, act: 'sign-in-failed', what: '' })
      }
      throw error
    }
    sendJson(response, undefined)
  }

  async #signOut(request: IncomingMessage, response: ServerResponse, { role }: User): Promise<void> {
    response.setHeader('set-cookie', await this.#options.access.signOut(request))
    this.#live.check()
    await this.#record({ role }, request, 'sign-out', '')
    sendJson(response, undefined)
  }

  /** Records the view before it returns the data: if the log cannot be written, nothing is shown. */
  async #viewData({ user, body, request }: ApiRequest): Promise<SessionData> {
    const id = requireText(body.id, 'id')
    const data = await this.#admin.data(id)
    await this.#record(user, request, 'look', shortenId(id))
    return data
  }

  /** Records the action, with the requested number of sessions, before it ends them. */
  async #end({ user, body, request }: ApiRequest): Promise<EndResult> {
    const target = parseEndRequest(body)
    if ('ids' in target) {
      const ids = target.ids.slice(0, 5).map(shortenId).join(', ')
      const more = target.ids.length > 5 ? ` and ${target.ids.length - 5} more` : ''
      await this.#record(user, request, 'end', ids + more, target.ids.length)
    } else if ('all' in target) {
      await this.#record(user, request, 'end-all', '')
    } else {
      await this.#record(user, request, 'end-field', target.field.slice(0, MAX_AUDIT_FIELD), target.count)
    }
    const ended = await within(
      this.#admin.end(target),
      'Sessions are still being ended. The overview shows how many are left.',
    )
    void this.#options.monitor.sample().catch(() => {})
    return { ended }
  }

  /** @throws the error of the first server if no server responded */
  async #previewGc(): Promise<GcPreview> {
    const { sessions } = this.#options
    const counts = await sessions.countDue({ timeLimit: TIME_LIMIT })
    // A server that cancelled the count at the time limit responds; its count is a lower bound.
    const failed = counts.filter(({ error }) => error !== undefined && !isCancelled(error))
    if (failed.length === counts.length) throw failed[0]?.error
    return {
      due: {
        value: counts.reduce((sum, { count }) => sum + count, 0),
        exact: counts.every((one) => one.exact || failed.includes(one)),
      },
      keepsRows: sessions.status().settings.keepExpired === true,
      unreachable: failed.map(({ server }) => server),
    }
  }

  /** Records the action, with the number of sessions that are due, before it collects them. */
  async #collect({ user, request }: ApiRequest): Promise<GcResult> {
    const { due } = await this.#previewGc()
    await this.#record(user, request, 'gc', '', due.value)
    this.#collecting ??= this.#runGc().finally(() => {
      this.#collecting = undefined
    })
    return within(
      this.#collecting,
      'Garbage collection is still running. The overview shows the number of removed sessions when it ends.',
    )
  }

  /** @throws the error of the first server if GC failed on all servers */
  async #runGc(): Promise<GcResult> {
    const { sessions, monitor } = this.#options
    const begun = performance.now()
    const results = await sessions.sweep()
    const seconds = (performance.now() - begun) / 1000
    const failed = results.filter(({ error }) => error !== undefined)
    for (const { server, error } of failed) {
      const code = (error as { code?: string }).code ?? 'unknown'
      monitor.addFailedGcRun({ server, seconds, removed: 0, failed: code })
    }
    void monitor.sample().catch(() => {})
    if (failed.length === results.length) throw failed[0]?.error
    const names = (of: typeof results): string[] => of.map(({ server }) => server)
    return {
      removed: results.reduce((sum, { removed }) => sum + removed, 0),
      busy: names(results.filter(({ ended }) => ended === 'busy')),
      failed: names(failed),
    }
  }

  #record(
    { role }: Pick<User, 'role'>,
    request: IncomingMessage,
    act: AuditEntry['act'],
    what: string,
    count?: number,
  ): Promise<void> {
    const address = addressOf(request, this.#options.origin)
    return this.#options.audit.add({ role, address, act, what, ...(count === undefined ? {} : { count }) })
  }
}

/** Waits for work that goes on without the request. @throws 409 with this message if it takes long */
async function within<T>(work: Promise<T>, message: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new HttpError(409, message)), TIMEOUT)
  })
  try {
    return await Promise.race([work, timeout])
  } finally {
    clearTimeout(timer)
  }
}

/** Returns the number of errors in the last ten minutes. */
function recentErrors(monitor: Monitor): number {
  return monitor.history(10).points.reduce((sum, { errors }) => sum + (errors ?? 0), 0)
}

function requireText(value: unknown, name: string): string {
  if (isText(value)) return value
  throw new HttpError(400, `Expected ${name} to be a text that is not empty.`)
}

/** Returns 405 if the path has a route for the other method, otherwise 404. */
function noRoute(
  name: string,
  otherRoutes: Readonly<Record<string, unknown>>,
  otherMethod: string,
): HttpError {
  return Object.hasOwn(otherRoutes, name)
    ? new HttpError(405, `Expected the method ${otherMethod}.`)
    : new HttpError(404, 'Not found.')
}
