import { createHash, createHmac, randomBytes, scryptSync, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { type SaveHandler, SessionPgsqlError } from 'session-pgsql'
import { createSessions, type RequestLike, type Sessions } from 'session-pgsql/web'
import { Refusal } from './answers.ts'
import type { Me, Role } from './api.ts'
import { Attempts } from './attempts.ts'
import { urlOf } from './origin.ts'

export interface Passwords {
  readonly operator: string
  /** Of who may look, but neither act nor see the data of a session. */
  readonly reader: string | undefined
}

/** The name of the cookie of the console's own sessions, and under which they are listed. */
export const COOKIE = 'session-pgsql-console'

/** Seconds after which one has to sign in again. */
const LIFETIME = 12 * 3600

/** Most people of whom it is remembered that they are signed in, for when the database cannot say so. */
const MOST_REMEMBERED = 1000

export interface Visitor {
  readonly role: Role
  readonly csrfToken: string
}

interface Kept {
  role?: Role
  csrfToken?: string
  until?: number
}

/**
 * Who somebody is. Without passwords, which is for this machine alone, everybody is an operator. With them, whoever
 * has signed in has a session in the very table that the console shows, under a cookie that only the console reads.
 */
export class Access {
  readonly #sessions: Sessions<Kept> | undefined
  readonly #isRight: ((password: string) => Role | undefined) | undefined
  readonly #attempts = new Attempts()
  readonly #token = randomBytes(24).toString('base64url')
  /** What the table has said of whoever came with a cookie, kept for an outage: that is when one wants to look. */
  readonly #remembered = new Map<string, { readonly visitor: Visitor; readonly until: number }>()

  constructor(
    // biome-ignore lint/suspicious/noExplicitAny: a handler of whatever data
    handler: SaveHandler<any>,
    passwords: Passwords | undefined,
    trustProxy: boolean,
  ) {
    if (passwords === undefined) return
    this.#isRight = checkerOf(passwords)
    this.#sessions = createSessions<Kept>({
      handler,
      name: COOKIE,
      gcMaxlifetime: LIFETIME,
      // The same after a restart and in every process; another password signs everybody out.
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
    const visitor = await this.#visitor(request)
    return visitor === undefined
      ? { signedIn: false, passwordNeeded }
      : { signedIn: true, passwordNeeded, ...visitor }
  }

  /** @throws 401 for who has not signed in */
  async demand(request: IncomingMessage): Promise<Visitor> {
    const visitor = await this.#visitor(request)
    if (visitor === undefined) throw new Refusal(401, 'Sign in first.')
    return visitor
  }

  /**
   * @returns the role and the header Set-Cookie
   * @throws 401 for a wrong password, 429 after too many of them
   */
  async signIn(
    request: IncomingMessage,
    password: string,
    address: string,
  ): Promise<{ role: Role; cookie: string }> {
    if (this.#sessions === undefined || this.#isRight === undefined) {
      throw new Refusal(400, 'This console has no password: everybody is signed in.')
    }
    const role = this.#checked(this.#isRight, password, address)
    const session = await this.#sessions.session(asWeb(request), { address })
    // Whoever knew the id from before does not get in.
    session.destroy()
    session.set('role', role)
    session.set('csrfToken', randomBytes(24).toString('base64url'))
    session.set('until', Date.now() + LIFETIME * 1000)
    const cookie = await session.commit()
    if (cookie === undefined) throw new Error('A new session has no cookie')
    return { role, cookie }
  }

  /** @returns the header Set-Cookie */
  async signOut(request: IncomingMessage): Promise<string | undefined> {
    if (this.#sessions === undefined) return undefined
    this.#remembered.delete(keyOf(request))
    const session = await this.#sessions.session(asWeb(request))
    session.destroy()
    return session.commit()
  }

  /**
   * For a program that has no cookie: a password, the readers' as a rule, in `Authorization: Bearer`.
   *
   * @throws 401, 429 as `signIn`
   */
  demandToken(request: IncomingMessage, address: string): void {
    if (this.#isRight === undefined) return
    const [, token] = /^Bearer +(\S.*)$/i.exec(request.headers.authorization ?? '') ?? []
    if (token === undefined) {
      throw new Refusal(401, 'Expected Authorization: Bearer with a password of this console.', {
        'www-authenticate': 'Bearer',
      })
    }
    this.#checked(this.#isRight, token, address)
  }

  #checked(isRight: (password: string) => Role | undefined, password: string, address: string): Role {
    const wait = this.#attempts.begin(address)
    if (wait !== undefined) {
      throw new Refusal(429, `Too many failures. Try again in ${wait} seconds.`, {
        'retry-after': String(wait),
      })
    }
    const role = isRight(password)
    if (role === undefined) throw new Refusal(401, 'This is not the password.')
    this.#attempts.succeeded(address)
    return role
  }

  async #visitor(request: IncomingMessage): Promise<Visitor | undefined> {
    if (this.#sessions === undefined) return { role: 'operator', csrfToken: this.#token }
    if (!request.headers.cookie?.includes(COOKIE)) return undefined
    const key = keyOf(request)
    try {
      const session = await this.#sessions.session(asWeb(request))
      const { role, csrfToken, until = 0 } = session.data
      const known = role !== undefined && csrfToken !== undefined && until > Date.now()
      this.#remembered.delete(key)
      if (!known) return undefined
      this.#remember(key, { visitor: { role, csrfToken }, until })
      return { role, csrfToken }
    } catch (error) {
      const remembered = this.#remembered.get(key)
      if (!isOutage(error) || remembered === undefined || remembered.until < Date.now()) throw error
      return remembered.visitor
    }
  }

  #remember(key: string, what: { visitor: Visitor; until: number }): void {
    this.#remembered.set(key, what)
    const [oldest] = this.#remembered.keys()
    if (this.#remembered.size > MOST_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest)
  }
}

/** Whether two secrets are the same, in a time that tells nothing of either. */
export function isSameSecret(one: string, other: string): boolean {
  const key = randomBytes(32)
  const [a, b] = [one, other].map((text) => createHmac('sha256', key).update(text).digest())
  return timingSafeEqual(a as Buffer, b as Buffer)
}

/** Both passwords are always compared. */
function checkerOf({ operator, reader }: Passwords): (password: string) => Role | undefined {
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

function keyOf({ headers: { cookie = '' } }: IncomingMessage): string {
  const ours = cookie.split(';').filter((pair) => pair.trim().startsWith(`${COOKIE}=`))
  return createHash('sha256').update(ours.join(';')).digest('base64url')
}

function asWeb(request: IncomingMessage): RequestLike {
  return {
    url: urlOf(request),
    headers: { get: (name) => [request.headers[name.toLowerCase()] ?? []].flat()[0] ?? null },
  }
}
