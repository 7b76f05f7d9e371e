import type {
  ApiError,
  AuditEntries,
  CountResult,
  EndRequest,
  EndResult,
  GcPreview,
  GcResult,
  History,
  Me,
  Overview,
  SessionData,
  SessionDetail,
  SessionsPage,
  SignInRequest,
} from '../../src/console/api.ts'
import { changes, me, unreachable } from './state.ts'

/** The console rejected a request or did not respond. The message is for the user. */
export class RequestError extends Error {
  /** The HTTP status; 0 if there was no response. */
  readonly status: number

  constructor(message: string, status: number) {
    super(message)
    this.status = status
  }
}

type Query = Readonly<Record<string, string | number | undefined>>

export const getMe = async (): Promise<Me> => {
  const user = await get<Me>('me')
  me.value = user
  // Without a signed-in user the page sends no further request that could show that the database is back.
  if (!user.signedIn) unreachable.value = 'none'
  return user
}
export const getOverview = async (): Promise<Overview> => {
  const overview = await get<Overview>('overview')
  unreachable.value = overview.servers.some(({ health }) => health === 'up') ? 'none' : 'database'
  return overview
}
export const getHistory = (minutes: number) => get<History>('history', { minutes })
export const getSessions = (query: Query) => get<SessionsPage>('sessions', query)
export const getSession = (id: string) => get<SessionDetail>('session', { id })
export const getCount = (field: string) => get<CountResult>('count', { field })
export const previewGc = () => get<GcPreview>('gc')
export const getAudit = (limit: number) => get<AuditEntries>('audit', { limit })

/** The audit log records this request. */
export const getData = (id: string) => post<SessionData>('session/data', { id })
export const endSessions = (target: EndRequest) => change<EndResult>('end', target)
export const runGc = () => change<GcResult>('gc', {})

export async function signIn(password: string): Promise<void> {
  await post('sign-in', { password } satisfies SignInRequest)
  await getMe()
}

export async function signOut(): Promise<void> {
  await post('sign-out', {})
  await getMe()
}

async function change<Result>(path: string, body: unknown): Promise<Result> {
  try {
    return await post<Result>(path, body)
  } finally {
    // Also after a failure, because a part of the change may have been made.
    changes.value++
  }
}

function get<Result>(path: string, query: Query = {}): Promise<Result> {
  const parameters = Object.entries(query).flatMap(([key, value]) =>
    value === undefined || value === '' ? [] : [[key, String(value)]],
  )
  const search = new URLSearchParams(parameters).toString()
  return send(search === '' ? path : `${path}?${search}`, {})
}

async function post<Result>(path: string, body: unknown): Promise<Result> {
  const attempt = (token = '') =>
    send<Result>(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': token },
      body: JSON.stringify(body),
    })
  const token = me.value?.csrfToken
  try {
    return await attempt(token)
  } catch (error) {
    if (!(error instanceof RequestError) || error.status !== 403) throw error
    // The token is invalid if the console has restarted since it was issued.
    const { csrfToken } = await getMe()
    if (csrfToken === undefined || csrfToken === token) throw error
    return attempt(csrfToken)
  }
}

/** Milliseconds; longer than any time limit of the console. */
const TIMEOUT = 30_000

async function send<Result>(path: string, init: RequestInit): Promise<Result> {
  let response: Response
  let text: string
  try {
    response = await fetch(`api/${path}`, { ...init, signal: AbortSignal.timeout(TIMEOUT) })
    text = await response.text()
  } catch {
    unreachable.value = 'console'
    throw new RequestError('The console is not responding.', 0)
  }
  const failure = response.ok ? undefined : parseError(text, response.status)
  if (response.status === 503 && failure?.code !== undefined) {
    // A partial failure means that other servers respond.
    if (failure.partial !== true) unreachable.value = 'database'
  } else if (response.status >= 502) {
    // The response of a proxy that cannot reach the console.
    unreachable.value = 'console'
  } else if (unreachable.value === 'console') {
    unreachable.value = 'none'
  }
  // Only the overview can show that the database is back: the console answers other requests without it.
  if (failure === undefined) return (text === '' ? undefined : JSON.parse(text)) as Result
  if (response.status === 401 && path !== 'sign-in') {
    me.value = { signedIn: false, signInWith: me.value?.signInWith ?? 'password' }
  }
  throw new RequestError(failure.error, response.status)
}

function parseError(text: string, status: number): ApiError {
  try {
    return JSON.parse(text)
  } catch {
    return { error: `The console responded with the status ${status}.` }
  }
}
