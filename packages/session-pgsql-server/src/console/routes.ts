import type { IncomingMessage, ServerResponse } from 'node:http'
import type { SaveHandler } from 'session-pgsql'
import { type Access, isSameSecret, type Visitor } from './access.ts'
import { answer, bodyOf, Refusal } from './answers.ts'
import type { Audit, AuditEntry, Collected, Count, Ended, Garbage, SessionData, SignIn } from './api.ts'
import { type AuditLog, shortened } from './audit.ts'
import { LiveStreams } from './live.ts'
import { addressOf, checkSameOrigin, type OriginOptions } from './origin.ts'
import { overviewOf } from './overview.ts'
import { endOf, isCutShort, isText, SessionsDesk, TIME_LIMIT, wholeNumber } from './sessions.ts'
import type { Watch } from './watch.ts'

export interface ApiParts {
  // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
  readonly sessions: SaveHandler<any>
  readonly access: Access
  readonly audit: AuditLog
  readonly watch: Watch
  readonly origin: OriginOptions
}

/** A request by somebody who may make it. */
interface Asked {
  readonly visitor: Visitor
  readonly query: URLSearchParams
  readonly body: Readonly<Record<string, unknown>>
  readonly request: IncomingMessage
  readonly response: ServerResponse
}

/** Answers what its route answers; undefined: 204. */
type Route = (asked: Asked) => Promise<unknown>

/** Most of a text that goes into the audit log. */
const MOST_NOTED = 100

/** Milliseconds that are waited for a garbage collection. */
const PATIENCE = 10_000
const STILL_AT_IT = 'There is much to collect. It goes on, and the overview will say how many were removed.'

/** What /api answers; api.ts says what to whom. */
export class Api {
  readonly #parts: ApiParts
  readonly #desk: SessionsDesk
  readonly #live: LiveStreams
  readonly #looks: Readonly<Record<string, Route>>
  readonly #acts: Readonly<Record<string, Route>>

  /** However many ask for it, there is one at a time. */
  #collecting: Promise<Collected> | undefined

  constructor(parts: ApiParts) {
    this.#parts = parts
    const { watch, audit } = parts
    const desk = new SessionsDesk(parts.sessions, watch)
    this.#desk = desk
    this.#live = new LiveStreams(watch, parts.access)
    this.#looks = {
      overview: async () => overviewOf(await watch.latest(), watch.runs, errorsLately(watch)),
      history: async ({ query }) =>
        watch.history(wholeNumber(query.get('minutes') || '60', 1, 1440, 'minutes')),
      sessions: ({ query, visitor }) => desk.page(query, visitor.role),
      session: ({ query, visitor }) => desk.one(demandText(query.get('id'), 'id'), visitor.role),
      count: async ({ query }): Promise<Count> => ({
        count: await desk.count(demandText(query.get('field'), 'field')),
      }),
      gc: () => this.#garbage(),
      audit: async ({ query }): Promise<Audit> => ({
        entries: await audit.newest(wholeNumber(query.get('limit') || '100', 1, 1000, 'limit')),
      }),
    }
    this.#acts = {
      'session/data': (asked) => this.#look(asked),
      end: (asked) => this.#end(asked),
      gc: (asked) => this.#collect(asked),
    }
  }

  close(): void {
    this.#live.close()
  }

  async serve(url: URL, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = url.pathname.slice('/api/'.length)
    const { access } = this.#parts
    if (request.method === 'POST') {
      checkSameOrigin(request, this.#parts.origin)
      const body = await bodyOf(request)
      if (name === 'sign-in') return this.#signIn(request, response, body)
      const route = Object.hasOwn(this.#acts, name) ? this.#acts[name] : undefined
      if (route === undefined && name !== 'sign-out') throw notHere(name, this.#looks)
      const visitor = await access.demand(request)
      if (!isSameSecret(String(request.headers['x-csrf-token'] ?? ''), visitor.csrfToken)) {
        throw new Refusal(403, 'The header X-CSRF-Token is missing or old; GET /api/me gives it.')
      }
      if (route === undefined) return this.#signOut(request, response, visitor)
      if (visitor.role !== 'operator')
        throw new Refusal(403, 'This is for operators; you may look, but not do this.')
      return answer(response, await route({ visitor, query: url.searchParams, body, request, response }))
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      throw new Refusal(405, 'Expected GET or POST.', { allow: 'GET, HEAD, POST' })
    }
    if (name === 'me') return answer(response, await access.me(request))
    const route = Object.hasOwn(this.#looks, name) ? this.#looks[name] : undefined
    if (route === undefined && name !== 'live') throw notHere(name, this.#acts)
    const visitor = await access.demand(request)
    if (route === undefined) return this.#live.begin(request, response)
    answer(response, await route({ visitor, query: url.searchParams, body: {}, request, response }))
  }

  async #signIn(request: IncomingMessage, response: ServerResponse, body: Asked['body']): Promise<void> {
    const address = addressOf(request, this.#parts.origin)
    const { password }: Partial<Record<keyof SignIn, unknown>> = body
    if (!isText(password)) throw new Refusal(400, 'Expected a password.')
    try {
      const { role, cookie } = await this.#parts.access.signIn(request, password, address)
      await this.#parts.audit.add({ role, address, act: 'sign-in', what: '' })
      response.setHeader('set-cookie', cookie)
    } catch (error) {
      // What the limit refuses is not noted one by one, or a stranger could fill the log.
      if (error instanceof Refusal && error.status === 401) {
        await this.#parts.audit.add({ address, act: 'sign-in-failed', what: '' })
      }
      throw error
    }
    answer(response, undefined)
  }

  async #signOut(request: IncomingMessage, response: ServerResponse, { role }: Visitor): Promise<void> {
    const cookie = await this.#parts.access.signOut(request)
    if (cookie !== undefined) response.setHeader('set-cookie', cookie)
    this.#live.check()
    await this.#note({ role }, request, 'sign-out', '')
    answer(response, undefined)
  }

  /** Noted before it is shown: a look that the log does not know is none. */
  async #look({ visitor, body, request }: Asked): Promise<SessionData> {
    const id = demandText(body.id, 'id')
    const data = await this.#desk.data(id)
    await this.#note(visitor, request, 'look', shortened(id))
    return data
  }

  /** Noted before it is done, with how many were meant; what cannot be noted is not done. */
  async #end({ visitor, body, request }: Asked): Promise<Ended> {
    const what = endOf(body)
    if ('ids' in what) {
      const names = what.ids.slice(0, 5).map(shortened).join(', ')
      const more = what.ids.length > 5 ? ` and ${what.ids.length - 5} more` : ''
      await this.#note(visitor, request, 'end', names + more, what.ids.length)
    } else {
      await this.#note(visitor, request, 'end-field', what.field.slice(0, MOST_NOTED), what.count)
    }
    const ended = await this.#desk.end(what)
    void this.#parts.watch.look().catch(() => {})
    return { ended }
  }

  /** @throws what has kept all servers from being asked */
  async #garbage(): Promise<Garbage> {
    const { sessions } = this.#parts
    const counted = await sessions.countDue({ timeLimit: TIME_LIMIT })
    // Whom the limit has cut short is there, and has many.
    const unasked = counted.filter(({ error }) => error !== undefined && !isCutShort(error))
    if (unasked.length === counted.length) throw unasked[0]?.error
    return {
      due: {
        value: counted.reduce((sum, { count }) => sum + count, 0),
        exact: counted.every((one) => one.exact || unasked.includes(one)),
      },
      keeps: sessions.status().settings.keepExpired === true,
      away: unasked.map(({ server }) => server),
    }
  }

  /** Noted before it is done, with how many are due by then: at least, where there are very many. */
  async #collect({ visitor, request }: Asked): Promise<Collected> {
    const { due } = await this.#garbage()
    await this.#note(visitor, request, 'gc', '', due.value)
    this.#collecting ??= this.#sweep().finally(() => {
      this.#collecting = undefined
    })
    let timer: NodeJS.Timeout | undefined
    const patience = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Refusal(409, STILL_AT_IT)), PATIENCE)
    })
    try {
      return await Promise.race([this.#collecting, patience])
    } finally {
      clearTimeout(timer)
    }
  }

  /** @throws what has kept all servers from being swept */
  async #sweep(): Promise<Collected> {
    const { sessions, watch } = this.#parts
    const begun = performance.now()
    const swept = await sessions.sweep()
    const seconds = (performance.now() - begun) / 1000
    const failed = swept.filter(({ error }) => error !== undefined)
    for (const { server, error } of failed) {
      watch.failed({ server, seconds, removed: 0, failed: (error as { code?: string }).code ?? 'unknown' })
    }
    void watch.look().catch(() => {})
    if (failed.length === swept.length) throw failed[0]?.error
    const names = (of: typeof swept): string[] => of.map(({ server }) => server)
    return {
      removed: swept.reduce((sum, { removed }) => sum + removed, 0),
      busy: names(swept.filter(({ ended }) => ended === 'busy')),
      failed: names(failed),
    }
  }

  #note(
    { role }: Pick<Visitor, 'role'>,
    request: IncomingMessage,
    act: AuditEntry['act'],
    what: string,
    count?: number,
  ): Promise<void> {
    const address = addressOf(request, this.#parts.origin)
    return this.#parts.audit.add({ role, address, act, what, ...(count === undefined ? {} : { count }) })
  }
}

function errorsLately(watch: Watch): number {
  return watch.history(10).points.reduce((sum, { errors }) => sum + (errors ?? 0), 0)
}

function demandText(value: unknown, name: string): string {
  if (isText(value)) return value
  throw new Refusal(400, `Expected ${name}.`)
}

/** @param others what is there for the other method */
function notHere(name: string, others: Readonly<Record<string, unknown>>): Refusal {
  return Object.hasOwn(others, name)
    ? new Refusal(405, 'Expected the other of GET and POST.')
    : new Refusal(404, 'There is nothing here.')
}
