import { createHash, createHmac, randomBytes, scryptSync, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type SaveHandler, SessionPgsqlError } from 'session-pgsql'
import { createSessions, type RequestLike, type Sessions } from 'session-pgsql/web'
import type { Me, Role } from './api.ts'
import { AttemptLimiter } from './attempt-limiter.ts'
import { urlOf } from './origin.ts'
import { HttpError } from './responses.ts'

export interface Passwords {
  readonly operator: string
  /** Readers see everything except whole ids and session data, and change nothing. */
  readonly reader: string | undefined
}

/** The cookie name of the console's own sessions. The session list shows them under this name, too. */
export const COOKIE = 'session-pgsql-console'

/** Seconds after which a user must sign in again. */
const LIFETIME = 12 * 3600

/** The maximum number of authenticated users that are cached for database outages. */
const MAX_CACHED = 1000

/** An authenticated user. */
export interface User {
  readonly role: Role
  readonly csrfToken: string
}

interface ConsoleSession {
  role?: Role
  csrfToken?: string
  /** Milliseconds since 1970. */
  until?: number
}

/**
 * Authenticates users. Without passwords, which is allowed on loopback only, every client is an operator. With
 * passwords, a user who signs in gets a session in the session table that the console shows, under a cookie that only
 * the console reads.
 */
export class AccessControl {
  readonly #sessions: Sessions<ConsoleSession> | undefined
  readonly #roleOf: ((password: string) => Role | undefined) | undefined
  readonly #attempts = new AttemptLimiter()
  readonly #token = randomBytes(24).toString('base64url')
  /** Users by a hash of their cookie, so that they stay signed in during a database outage and can look at it. */
  readonly #cache = new Map<string, { readonly user: User; readonly until: number }>()

  constructor(
    // biome-ignore lint/suspicious/noExplicitAny: the console accepts any type of session data
    handler: SaveHandler<any>,
    passwords: Passwords | undefined,
    trustProxy: boolean,
  ) {
    if (passwords === undefined) return
    this.#roleOf = passwordChecker(passwords)
    this.#sessions = createSessions<ConsoleSession>({
      handler,
      name: COOKIE,
      gcMaxlifetime: LIFETIME,
      // Derived from the passwords: it is equal in every process and after a restart, and a changed password signs
      // out all users.
      secret: scryptSync(JSON.stringify([passwords.operator, passwords.reader]), COOKIE, 32).toString(
        'base64url',
      ),
      cookie: { sameSite: 'Strict', maxAge: null },
      trustProxy,
      grace: 0,
    })
  }

  async me(request: IncomingMessage): Promise<Me> {
    const passwordNeeded = this.#sessions !== undefined
    const user = await this.#user(request)
    return user === undefined
      ? { signedIn: false, passwordNeeded }
      : { signedIn: true, passwordNeeded, ...user }
  }

  /** @throws 401 if the user is not signed in */
  async requireUser(request: IncomingMessage): Promise<User> {
    const user = await this.#user(request)
    if (user === undefined) throw new HttpError(401, 'You are not signed in. Sign in first.')
    return user
  }

  /**
   * @returns the role and the value of the header Set-Cookie
   * @throws 401 if the password is wrong, 429 after too many failures
   */
  async signIn(
    request: IncomingMessage,
    password: string,
    address: string,
  ): Promise<{ role: Role; cookie: string }> {
    if (this.#sessions === undefined || this.#roleOf === undefined) {
      throw new HttpError(400, 'This console has no password. You do not need to sign in.')
    }
    const role = this.#authenticate(this.#roleOf, password, address)
    const session = await this.#sessions.session(asWeb(request), { address })
    // A new id prevents session fixation.
    session.destroy()
    session.set('role', role)
    session.set('csrfToken', randomBytes(24).toString('base64url'))
    session.set('until', Date.now() + LIFETIME * 1000)
    const cookie = await session.commit()
    if (cookie === undefined) throw new Error('Expected a cookie for the new session')
    return { role, cookie: cookie.header }
  }

  /** @returns the value of the header Set-Cookie */
  async signOut(request: IncomingMessage): Promise<string | undefined> {
    if (this.#sessions === undefined) return undefined
    this.#cache.delete(cacheKey(request))
    const session = await this.#sessions.session(asWeb(request))
    session.destroy()
    return (await session.commit())?.header
  }

  /**
   * Authenticates a program that has no cookie: it sends a password, usually the readers', in `Authorization: Bearer`.
   *
   * @throws 401, 429 as `signIn`
   */
  requireBearerToken(request: IncomingMessage, address: string): void {
    if (this.#roleOf === undefined) return
    const [, token] = /^Bearer +(\S.*)$/i.exec(request.headers.authorization ?? '') ?? []
    if (token === undefined) {
      throw new HttpError(401, 'Expected the header Authorization: Bearer with a password of this console.', {
        'www-authenticate': 'Bearer',
      })
    }
    this.#authenticate(this.#roleOf, token, address)
  }

  #authenticate(roleOf: (password: string) => Role | undefined, password: string, address: string): Role {
    const wait = this.#attempts.begin(address)
    if (wait !== undefined) {
      throw new HttpError(429, `Too many failed sign-in attempts. Try again in ${wait} seconds.`, {
        'retry-after': String(wait),
      })
    }
    const role = roleOf(password)
    if (role === undefined) throw new HttpError(401, 'Wrong password.')
    this.#attempts.succeeded(address)
    return role
  }

  async #user(request: IncomingMessage): Promise<User | undefined> {
    if (this.#sessions === undefined) return { role: 'operator', csrfToken: this.#token }
    if (!request.headers.cookie?.includes(COOKIE)) return undefined
    const key = cacheKey(request)
    try {
      const session = await this.#sessions.session(asWeb(request))
      const { role, csrfToken, until = 0 } = session.data
      const valid = role !== undefined && csrfToken !== undefined && until > Date.now()
      this.#cache.delete(key)
      if (!valid) return undefined
      this.#addToCache(key, { user: { role, csrfToken }, until })
      return { role, csrfToken }
    } catch (error) {
      const cached = this.#cache.get(key)
      if (!isOutage(error) || cached === undefined || cached.until < Date.now()) throw error
      return cached.user
    }
  }

  #addToCache(key: string, entry: { user: User; until: number }): void {
    this.#cache.set(key, entry)
    const [oldest] = this.#cache.keys()
    if (this.#cache.size > MAX_CACHED && oldest !== undefined) this.#cache.delete(oldest)
  }
}

/** Compares two secrets in a time that does not depend on their content or length. */
export function isSameSecret(a: string, b: string): boolean {
  const key = randomBytes(32)
  const [first, second] = [a, b].map((text) => createHmac('sha256', key).update(text).digest())
  return timingSafeEqual(first as Buffer, second as Buffer)
}

/** Always compares both passwords, so that the time does not tell which one matched. */
function passwordChecker({ operator, reader }: Passwords): (password: string) => Role | undefined {
  return (password) => {
    const isOperator = isSameSecret(password, operator)
    const isReader = isSameSecret(password, reader ?? operator)
    if (isOperator) return 'operator'
    return isReader ? 'reader' : undefined
  }
}

function isOutage(error: unknown): boolean {
  return error instanceof SessionPgsqlError && ['SERVER_DOWN', 'TIMEOUT', 'OVERLOADED'].includes(error.code)
}

function cacheKey({ headers: { cookie = '' } }: IncomingMessage): string {
  const ours = cookie.split(';').filter((pair) => pair.trim().startsWith(`${COOKIE}=`))
  return createHash('sha256').update(ours.join(';')).digest('base64url')
}

function asWeb(request: IncomingMessage): RequestLike {
  return {
    url: urlOf(request),
    headers: { get: (name) => [request.headers[name.toLowerCase()] ?? []].flat()[0] ?? null },
  }
}
