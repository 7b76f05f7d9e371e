import { createHmac, timingSafeEqual } from 'node:crypto'
import { SessionPgsqlError } from '../../errors.ts'

/** The least of a request that is needed here; the web's fits. */
export interface RequestLike {
  readonly url: string
  readonly headers: { get(name: string): string | null }
}

export interface CookieOptions {
  /** @default '/' */
  path?: string | undefined
  /** @default none: the host that sets it, without its subdomains */
  domain?: string | undefined
  /** @default 'Lax' */
  sameSite?: 'Lax' | 'Strict' | 'None' | undefined
  /** @default whether the request came by https */
  secure?: boolean | undefined
  /**
   * Seconds that the browser keeps it; null: until it is closed. It is given anew when a tenth has passed.
   * @default the session's lifetime, and a tenth of it
   */
  maxAge?: number | null | undefined
}

/** What a request brought. */
export interface Brought {
  readonly id: string
  /** Signed with the key that signs now, and given not long ago. */
  readonly isFresh: boolean
}

const SHORTEST_SECRET = 16

/** Of a cookie's age: what may have passed when it is given anew. */
const REFRESH = 0.1

/**
 * A cookie that holds an id, when it was given (seconds since 1970, in base 36), and the proof that it was
 * made here: `id.time.signature`. By the time it is known when the browser's copy has to be renewed; to give
 * it with every answer would let slow answers overwrite a newer id.
 */
export class SignedCookie {
  readonly #name: string
  readonly #secrets: readonly string[]
  readonly #attributes: string
  readonly #maxAge: number | null
  readonly #secure: boolean | undefined
  readonly #trustProxy: boolean

  constructor(
    options: CookieOptions & {
      name: string
      secret: string | readonly string[]
      trustProxy: boolean | undefined
      lifetime: number
    },
  ) {
    const { name, secret, path = '/', domain, sameSite = 'Lax', secure, maxAge, lifetime } = options
    const secrets = typeof secret === 'string' ? [secret] : Array.isArray(secret) ? [...secret] : []
    if (secrets.length === 0 || !secrets.every(isSecret)) {
      throw invalidOption(
        `option secret: expected at least ${SHORTEST_SECRET} characters, or an array of such`,
      )
    }
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) {
      throw invalidOption('option name: expected what can be the name of a cookie')
    }
    for (const [option, value] of Object.entries({ path, domain })) {
      if (value !== undefined && !/^[\x21-\x3a\x3c-\x7e]+$/.test(value)) {
        throw invalidOption(`option cookie.${option}: expected what can stand in a cookie`)
      }
    }
    if (!['Lax', 'Strict', 'None'].includes(sameSite)) {
      throw invalidOption("option cookie.sameSite: expected 'Lax', 'Strict' or 'None'")
    }
    if (sameSite === 'None' && secure === false) {
      throw invalidOption('option cookie.secure: browsers refuse SameSite=None without it')
    }
    if (maxAge !== undefined && maxAge !== null && !(maxAge > 0)) {
      throw invalidOption('option cookie.maxAge: expected seconds, more than 0, or null')
    }
    this.#name = name
    this.#secrets = secrets
    this.#attributes = `; Path=${path}${domain === undefined ? '' : `; Domain=${domain}`}; HttpOnly; SameSite=${sameSite}`
    // Renewed after a tenth, it still lasts as long as the session.
    this.#maxAge = maxAge === undefined ? lifetime + lifetime / 10 : maxAge
    this.#secure = sameSite === 'None' ? true : secure
    this.#trustProxy = options.trustProxy ?? false
  }

  /** The first cookie of our name that was signed here; others may have been planted by a subdomain. */
  read(request: RequestLike): Brought | undefined {
    for (const pair of (request.headers.get('cookie') ?? '').split(';')) {
      const equals = pair.indexOf('=')
      if (pair.slice(0, equals).trim() !== this.#name) continue
      const value = pair.slice(equals + 1).trim()
      const [, id, time, signature] = /^(.+)\.([0-9a-z]{1,10})\.([\w-]+)$/.exec(value) ?? []
      if (id === undefined || time === undefined || signature === undefined) continue
      const key = this.#secrets.findIndex((secret) => isSame(this.#sign(id, time, secret), signature))
      if (key >= 0) return { id, isFresh: key === 0 && this.#isYoung(time) }
    }
    return undefined
  }

  /** The header `Set-Cookie` for an id. */
  give(id: string, request: RequestLike): string {
    const age = this.#maxAge === null ? '' : `; Max-Age=${Math.ceil(this.#maxAge)}`
    const time = Math.floor(Date.now() / 1000).toString(36)
    const signature = this.#sign(id, time, this.#secrets[0] as string)
    return `${this.#name}=${id}.${time}.${signature}${this.#attributes}${age}${this.#secureFor(request)}`
  }

  /** The header that takes it away. */
  take(request: RequestLike): string {
    return `${this.#name}=${this.#attributes}; Max-Age=0${this.#secureFor(request)}`
  }

  #isYoung(time: string): boolean {
    if (this.#maxAge === null) return true
    return Date.now() / 1000 - Number.parseInt(time, 36) < this.#maxAge * REFRESH
  }

  #secureFor(request: RequestLike): string {
    return (this.#secure ?? this.#cameByTls(request)) ? '; Secure' : ''
  }

  #cameByTls({ url, headers }: RequestLike): boolean {
    const forwarded = this.#trustProxy ? headers.get('x-forwarded-proto') : null
    // The first is what the client spoke to the outermost proxy.
    if (forwarded !== null) return forwarded.split(',')[0]?.trim().toLowerCase() === 'https'
    return /^https:/i.test(url)
  }

  /** The name is signed along with it: one site's two cookies cannot be exchanged. */
  #sign(id: string, time: string, secret: string): string {
    return createHmac('sha256', secret).update(`${this.#name}=${id}.${time}`).digest('base64url')
  }
}

function isSecret(secret: unknown): boolean {
  return typeof secret === 'string' && secret.length >= SHORTEST_SECRET
}

/** In constant time; the length of a signature is no secret. */
function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

function invalidOption(problem: string): SessionPgsqlError {
  return new SessionPgsqlError('INVALID_OPTION', problem)
}
