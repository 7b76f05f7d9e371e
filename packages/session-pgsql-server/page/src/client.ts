import type {
  ApiFailure,
  Audit,
  Collected,
  Count,
  End,
  Ended,
  Garbage,
  History,
  Me,
  Overview,
  SessionData,
  SessionDetail,
  SessionsPage,
  SignIn,
} from '../../src/console/api.ts'
import { away, changes, me } from './state.ts'

/** Asks the console. Every rejection is a `Failure` whose message is for the person who looks. */
export class Failure extends Error {
  /** HTTP's; 0: no answer at all. */
  readonly status: number

  constructor(message: string, status: number) {
    super(message)
    this.status = status
  }
}

type Query = Readonly<Record<string, string | number | undefined>>

export const getMe = async (): Promise<Me> => {
  const answer = await get<Me>('me')
  me.value = answer
  // Who is not signed in asks nothing of the database that could tell us that it is back.
  if (!answer.signedIn) away.value = 'nobody'
  return answer
}
export const getOverview = async (): Promise<Overview> => {
  const overview = await get<Overview>('overview')
  away.value = overview.servers.some(({ health }) => health === 'up') ? 'nobody' : 'database'
  return overview
}
export const getHistory = (minutes: number) => get<History>('history', { minutes })
export const getSessions = (query: Query) => get<SessionsPage>('sessions', query)
export const getSession = (id: string) => get<SessionDetail>('session', { id })
export const getCount = (field: string) => get<Count>('count', { field })
export const getGarbage = () => get<Garbage>('gc')
export const getAudit = (limit: number) => get<Audit>('audit', { limit })

/** Noted in the audit log. */
export const lookAtData = (id: string) => post<SessionData>('session/data', { id })
export const end = (what: End) => change<Ended>('end', what)
export const collect = () => change<Collected>('gc', {})

export async function signIn(password: string): Promise<void> {
  await post('sign-in', { password } satisfies SignIn)
  await getMe()
}

export async function signOut(): Promise<void> {
  await post('sign-out', {})
  await getMe()
}

async function change<Answer>(path: string, body: unknown): Promise<Answer> {
  try {
    return await post<Answer>(path, body)
  } finally {
    // After a failure too: part of it may have been done.
    changes.value++
  }
}

function get<Answer>(path: string, query: Query = {}): Promise<Answer> {
  const wanted = Object.entries(query).flatMap(([key, value]) =>
    value === undefined || value === '' ? [] : [[key, String(value)]],
  )
  const search = new URLSearchParams(wanted).toString()
  return ask(search === '' ? path : `${path}?${search}`, {})
}

async function post<Answer>(path: string, body: unknown): Promise<Answer> {
  const send = (token = '') =>
    ask<Answer>(path, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': token },
      body: JSON.stringify(body),
    })
  const token = me.value?.csrfToken
  try {
    return await send(token)
  } catch (error) {
    if (!(error instanceof Failure) || error.status !== 403) throw error
    // The console may have been started anew since it gave us the token.
    const { csrfToken } = await getMe()
    if (csrfToken === undefined || csrfToken === token) throw error
    return send(csrfToken)
  }
}

/** Longer than the console gives any statement. */
const TIME_LIMIT = 30_000

async function ask<Answer>(path: string, init: RequestInit): Promise<Answer> {
  let response: Response
  let text: string
  try {
    response = await fetch(`api/${path}`, { ...init, signal: AbortSignal.timeout(TIME_LIMIT) })
    text = await response.text()
  } catch {
    away.value = 'console'
    throw new Failure('The console does not answer.', 0)
  }
  const failure = response.ok ? undefined : failureIn(text, response.status)
  if (response.status === 503 && failure?.code !== undefined) {
    // Of several servers one may be away; the others are there.
    if (failure.partial !== true) away.value = 'database'
  } else if (response.status >= 502) {
    // A proxy, on behalf of a console that is not there.
    away.value = 'console'
  } else if (away.value === 'console') {
    away.value = 'nobody'
  }
  // That the database is back the overview alone can tell: much is answered without it.
  if (failure === undefined) return (text === '' ? undefined : JSON.parse(text)) as Answer
  if (response.status === 401 && path !== 'sign-in') {
    me.value = { signedIn: false, passwordNeeded: true }
  }
  throw new Failure(failure.error, response.status)
}

function failureIn(text: string, status: number): ApiFailure {
  try {
    return JSON.parse(text)
  } catch {
    return { error: `The console answered with status ${status}.` }
  }
}
