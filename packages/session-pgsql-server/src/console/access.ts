import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { SaveHandler } from 'session-pgsql'
import { networkOf } from '../addresses.ts'
import type { Me, Role } from './api.ts'
import { AttemptLimiter, type Source } from './attempt-limiter.ts'
import { readCookie, setCookie } from './cookies.ts'
import { Credentials, isSameSecret, type Passwords } from './credentials.ts'
import { addressOf, type OriginOptions } from './origin.ts'
import { HttpError } from './responses.ts'
import { isSignedIn, MemorySignIns, type RoleState, SignIns, StoredSignIns } from './sign-ins.ts'

/** How users sign in with passwords. */
export interface PasswordAccess {
  readonly passwords: Passwords
  /** The save handler of the console's own table. */
  readonly handler: SaveHandler<RoleState>
}

/** An authenticated user. */
export interface User {
  readonly role: Role
  readonly csrfToken: string
}

/**
 * Authenticates users. With passwords, a sign-in is stored in a table of the console, never in the application's.
 * Without passwords there is one operator, whose password is a random token of this process.
 */
export class AccessControl {
  /** The token; undefined if the console has passwords. */
  readonly token: string | undefined
  readonly #origin: OriginOptions
  readonly #credentials: Credentials
  readonly #signIns: SignIns
  readonly #attempts: Readonly<Record<Role, AttemptLimiter>> = {
    operator: new AttemptLimiter(),
    reader: new AttemptLimiter(),
  }

  constructor(access: PasswordAccess | undefined, origin: OriginOptions) {
    this.#origin = origin
    this.token = access === undefined ? randomBytes(24).toString('base64url') : undefined
    this.#credentials = new Credentials(access?.passwords ?? { operator: this.token as string })
    this.#signIns = new SignIns(
      access === undefined ? new MemorySignIns() : new StoredSignIns(access.handler),
    )
  }

  /** Prepares what a sign-in writes, so that a missing privilege shows at startup. @throws SessionPgsqlError */
  async prepare(): Promise<void> {
    for (const role of this.#credentials.roles) await this.#signIns.prepare(role)
  }

  async me(request: IncomingMessage): Promise<Me> {
    const signInWith = this.token === undefined ? 'password' : 'token'
    const user = await this.#user(request)
    return user === undefined ? { signedIn: false, signInWith } : { signedIn: true, signInWith, ...user }
  }

  /** @throws 401 if the user is not signed in */
  async requireUser(request: IncomingMessage): Promise<User> {
    const user = await this.#user(request)
    if (user === undefined) throw new HttpError(401, 'You are not signed in. Sign in first.')
    return user
  }

  /**
   * @returns the role and the values of the header Set-Cookie
   * @throws 401 if the password is wrong, 429 after too many failures
   */
  async signIn(
    request: IncomingMessage,
    password: string,
  ): Promise<{ readonly role: Role; readonly cookies: readonly string[] }> {
    const role = await this.#authenticate(request, password)
    // The previous sign-in of this browser ends.
    await this.#end(request)
    const { token, secret } = await this.#signIns.add(role)
    const { sign } = await this.#credentials.signer(role, secret)
    const device = randomBytes(16).toString('base64url')
    return {
      role,
      cookies: [
        setCookie(request, '', `${role}.${token}.${sign('user', token)}`, this.#origin),
        setCookie(request, deviceCookie(role), `${device}.${sign('device', device)}`, this.#origin, {
          lasts: true,
        }),
      ],
    }
  }

  /** @returns the value of the header Set-Cookie */
  async signOut(request: IncomingMessage): Promise<string> {
    await this.#end(request)
    return setCookie(request, '', undefined, this.#origin)
  }

  /**
   * Authenticates a program that has no cookie: it sends a password, usually the readers', in `Authorization: Bearer`. A
   * console without passwords serves all programs of this machine.
   *
   * @throws 401, 429 as `signIn`
   */
  async requireBearerToken(request: IncomingMessage): Promise<void> {
    if (this.token !== undefined) return
    const [, password] = /^Bearer +(\S.*)$/i.exec(request.headers.authorization ?? '') ?? []
    if (password === undefined) {
      throw new HttpError(401, 'Expected the header Authorization: Bearer with a password of this console.', {
        'www-authenticate': 'Bearer',
      })
    }
    await this.#authenticate(request, password)
  }

  /**
   * Returns the role of a password. A role with too many failures is not tried, whatever the others do: a client
   * that knows the readers' password cannot guess the operators' faster than others.
   */
  async #authenticate(request: IncomingMessage, password: string): Promise<Role> {
    if (this.token !== undefined) {
      // A token cannot be guessed. A limit would let any process of this machine lock out the operator.
      if (isSameSecret(password, this.token)) return 'operator'
      throw new FailedAttempt(401, 'Wrong token. The console prints another one each time it starts.')
    }
    const attempts = await Promise.all(
      this.#credentials.roles.map(async (role) => ({ role, source: await this.#sourceOf(request, role) })),
    )
    const begun = attempts.map((one) => ({ ...one, wait: this.#attempts[one.role].begin(one.source) }))
    const open = begun.filter(({ wait }) => wait === undefined)
    const role =
      open.length === 0
        ? undefined
        : await this.#credentials.roleOf(
            password,
            open.map(({ role }) => role),
          )
    if (role !== undefined) {
      for (const one of open) {
        if (one.role === role) this.#attempts[role].succeeded(one.source)
        else this.#attempts[one.role].takeBack(one.source)
      }
      return role
    }
    const waits = begun.flatMap(({ wait }) => wait ?? [])
    if (waits.length === 0) throw new FailedAttempt(401, 'Wrong password.')
    const wait = Math.min(...waits)
    const tooMany = [
      429,
      `Too many failed sign-in attempts. Try again in ${wait} seconds.`,
      { 'retry-after': String(wait) },
    ] as const
    // It may be the right password of a role that is throttled, so the answer is the same.
    throw open.length > 0 ? new FailedAttempt(...tooMany) : new HttpError(...tooMany)
  }

  async #sourceOf(request: IncomingMessage, role: Role): Promise<Source> {
    const network = networkOf(addressOf(request, this.#origin))
    const [, id, signature] =
      /^([\w-]{22})\.([\w-]{43})$/.exec(readCookie(request, deviceCookie(role), this.#origin) ?? '') ?? []
    if (id === undefined || signature === undefined) return { network, device: undefined }
    const { secret } = (await this.#signIns.stateOf(role).catch(() => undefined)) ?? {}
    const isKnown =
      secret !== undefined && (await this.#credentials.signer(role, secret)).isSigned('device', id, signature)
    return { network, device: isKnown ? id : undefined }
  }

  async #user(request: IncomingMessage): Promise<User | undefined> {
    const cookie = this.#cookieOf(request)
    if (cookie === undefined) return undefined
    const { role, token, signature } = cookie
    const state = await this.#signIns.stateOf(role)
    if (state?.secret === undefined || !isSignedIn(state, token)) return undefined
    const signer = await this.#credentials.signer(role, state.secret)
    if (!signer.isSigned('user', token, signature)) return undefined
    return { role, csrfToken: signer.sign('csrf', token) }
  }

  async #end(request: IncomingMessage): Promise<void> {
    const cookie = this.#cookieOf(request)
    if (cookie !== undefined && (await this.#user(request)) !== undefined) {
      await this.#signIns.remove(cookie.role, cookie.token)
    }
  }

  /** Returns the parts of the user's cookie, which are not verified yet. The role decides which key must have signed it. */
  #cookieOf(request: IncomingMessage): { role: Role; token: string; signature: string } | undefined {
    const value = readCookie(request, '', this.#origin) ?? ''
    const [, role, token, signature] = /^(operator|reader)\.([\w-]{32})\.([\w-]{43})$/.exec(value) ?? []
    if (role === undefined || token === undefined || signature === undefined) return undefined
    return { role: role as Role, token, signature }
  }
}

/** The password was compared, and is not that of a role that may be tried: for the audit log. */
export class FailedAttempt extends HttpError {}

const deviceCookie = (role: Role): string => `known-${role}`
