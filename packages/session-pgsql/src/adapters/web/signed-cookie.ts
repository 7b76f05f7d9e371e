import { createHmac, timingSafeEqual } from 'node:crypto'
import { invalidOption } from '../shared/open-handler.ts'

/** The part of a request that the adapter uses. The web's `Request` has it. */
export interface RequestLike {
  readonly url: string
  readonly headers: { get(name: string): string | null }
}

export interface CookieOptions {
  /** @default '/' */
  path?: string | undefined
  /** @default none: only the host that sets the cookie, without its subdomains */
  domain?: string | undefined
  /** @default 'Lax' */
  sameSite?: 'Lax' | 'Strict' | 'None' | undefined
  /** @default true if the request came over https, or if the cookie's name begins with `__Host-` or `__Secure-` */
  secure?: boolean | undefined
  /**
   * Seconds that the browser keeps the cookie; null: until the browser is closed. The cookie is renewed when a
   * tenth of them has passed.
   * @default 1.1 times the session's lifetime
   */
  maxAge?: number | null | undefined
}

/** A cookie for the response: as a header, and in parts for a framework that writes the header itself. */
export interface SessionCookie {
  /** The value of the header `Set-Cookie`. */
  readonly header: string
  readonly name: string
  /** Needs no encoding. Empty if the browser is to remove the cookie. */
  readonly value: string
  /** Named as in the options of Next.js, Astro, SvelteKit, h3 and the package cookie. */
  readonly attributes: {
    readonly path: string
    readonly domain?: string
    readonly httpOnly: true
    readonly sameSite: 'lax' | 'strict' | 'none'
    readonly secure: boolean
    /** Seconds; 0 if the browser is to remove the cookie. Without it the browser keeps the cookie until it is closed. */
    readonly maxAge?: number
  }
  /** Returns the header: `headers.append('set-cookie', cookie)` works in JavaScript. */
  toString(): string
}

/** The session id in a request's cookie. */
export interface ReceivedId {
  readonly id: string
  /** False if the cookie is to be renewed: it was signed with an older key, or a tenth of its age has passed. */
  readonly isFresh: boolean
}

const SHORTEST_SECRET = 16

/** How many cookies of one name are verified: a subdomain or the client may have set any number. */
const MOST_COOKIES = 8

/** The fraction of a cookie's age after which it is renewed. */
const RENEW_AFTER = 0.1

/**
 * A signed cookie: `id.time.signature`, where `time` is when it was set (seconds since 1970, in base 36).
 *
 * The time tells when to renew the browser's cookie. Setting it with every response would let slow responses
 * replace a newer id.
 */
export class SignedCookie {
  readonly #name: string
  readonly #secrets: readonly string[]
  readonly #attributes: Pick<SessionCookie['attributes'], 'path' | 'domain' | 'httpOnly' | 'sameSite'>
  readonly #maxAge: number | null
  readonly #secure: boolean | undefined
  readonly #trustProxy: boolean
  /** Undefined after the first warning. */
  #warn: ((message: string) => void) | undefined

  /** @param options `warn` is called once if the cookie lacks `Secure` behind a proxy */
  constructor(
    options: CookieOptions & {
      name: string
      secret: string | readonly string[]
      trustProxy: boolean | undefined
      lifetime: number
      warn: (message: string) => void
    },
  ) {
    const { name, secret, path = '/', domain, sameSite = 'Lax', secure, maxAge, lifetime } = options
    const secrets = typeof secret === 'string' ? [secret] : Array.isArray(secret) ? [...secret] : []
    if (secrets.length === 0 || !secrets.every(isSecret)) {
      throw invalidOption(
        `option secret: expected at least ${SHORTEST_SECRET} characters, or an array of such strings`,
      )
    }
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) {
      throw invalidOption(`option name: expected a valid cookie name; received ${JSON.stringify(name)}`)
    }
    for (const [option, value] of Object.entries({ path, domain })) {
      if (value !== undefined && !/^[\x21-\x3a\x3c-\x7e]+$/.test(value)) {
        throw invalidOption(
          `option cookie.${option}: expected printable ASCII without spaces and semicolons; received ${JSON.stringify(value)}`,
        )
      }
    }
    if (!['Lax', 'Strict', 'None'].includes(sameSite)) {
      throw invalidOption(
        `option cookie.sameSite: expected 'Lax', 'Strict' or 'None'; received ${JSON.stringify(sameSite)}`,
      )
    }
    const isHostOnly = name.startsWith('__Host-')
    const isPrefixed = isHostOnly || name.startsWith('__Secure-')
    if (isHostOnly && (domain !== undefined || path !== '/')) {
      throw invalidOption(
        `option cookie.${domain === undefined ? 'path' : 'domain'}: expected it to be unset with the name ${name}. Browsers reject such a cookie.`,
      )
    }
    if (isPrefixed && secure === false) {
      throw invalidOption(
        `option cookie.secure: expected true with the name ${name}; received false. Browsers reject such a cookie.`,
      )
    }
    if (sameSite === 'None' && secure === false) {
      throw invalidOption(
        "option cookie.secure: expected true with sameSite 'None'; received false. Browsers reject such a cookie.",
      )
    }
    if (maxAge !== undefined && maxAge !== null && !(maxAge > 0)) {
      throw invalidOption(`option cookie.maxAge: expected more than 0 seconds, or null; received ${maxAge}`)
    }
    this.#name = name
    this.#secrets = secrets
    this.#attributes = {
      path,
      ...(domain !== undefined && { domain }),
      httpOnly: true,
      sameSite: sameSite.toLowerCase() as Lowercase<typeof sameSite>,
    }
    // The cookie is renewed only after a tenth of its age, and must last as long as the session.
    this.#maxAge = maxAge === undefined ? lifetime + lifetime / 10 : maxAge
    this.#secure = sameSite === 'None' || isPrefixed ? true : secure
    this.#trustProxy = options.trustProxy ?? false
    this.#warn = options.warn
  }

  /**
   * Returns the ids of the cookies with a valid signature, in the order of the header. A subdomain may have set others
   * of this name, and one of an earlier session may be left.
   */
  *received(request: RequestLike): Generator<ReceivedId> {
    let count = 0
    for (const pair of (request.headers.get('cookie') ?? '').split(';')) {
      const equals = pair.indexOf('=')
      if (pair.slice(0, equals).trim() !== this.#name) continue
      const value = pair.slice(equals + 1).trim()
      const [, id, time, signature] = /^(.+)\.([0-9a-z]{1,10})\.([\w-]+)$/.exec(value) ?? []
      if (id === undefined || time === undefined || signature === undefined) continue
      if (++count > MOST_COOKIES) return
      const key = this.#secrets.findIndex((secret) => isSame(this.#sign(id, time, secret), signature))
      if (key >= 0) yield { id, isFresh: key === 0 && this.#isYoung(time) }
    }
  }

  /**
   * Returns the cookie for an id.
   *
   * @param left seconds until the session ends at the latest; the cookie does not outlive it
   */
  set(id: string, request: RequestLike, left: number = Number.POSITIVE_INFINITY): SessionCookie {
    const time = Math.floor(Date.now() / 1000).toString(36)
    const signature = this.#sign(id, time, this.#secrets[0] as string)
    this.#warnIfExposed(request)
    const maxAge =
      this.#maxAge === null ? null : Math.max(0, Math.min(Math.ceil(this.#maxAge), Math.floor(left)))
    return this.#cookie(`${id}.${time}.${signature}`, maxAge, request)
  }

  /** Returns the cookie that removes the browser's. */
  remove(request: RequestLike): SessionCookie {
    return this.#cookie('', 0, request)
  }

  #cookie(value: string, maxAge: number | null, request: RequestLike): SessionCookie {
    const secure = this.#secure ?? this.#isHttps(request)
    const attributes = {
      ...this.#attributes,
      ...(maxAge !== null && { maxAge: Math.ceil(maxAge) }),
      secure,
    }
    const header = headerOf(this.#name, value, attributes)
    // Not enumerable, so that the cookie can be copied and compared as plain data.
    return Object.defineProperty({ header, name: this.#name, value, attributes }, 'toString', {
      value: () => header,
    })
  }

  #isYoung(time: string): boolean {
    if (this.#maxAge === null) return true
    return Date.now() / 1000 - Number.parseInt(time, 36) < this.#maxAge * RENEW_AFTER
  }

  /** A forwarded header that is not trusted is not used, but it shows that a setting is missing. */
  #warnIfExposed(request: RequestLike): void {
    if (this.#secure !== undefined || this.#trustProxy || this.#isHttps(request)) return
    const header = ['x-forwarded-proto', 'forwarded'].find((name) =>
      /(?:^|proto=)"?https\b/i.test(request.headers.get(name) ?? ''),
    )
    if (header === undefined) return
    const shown = header === 'forwarded' ? 'Forwarded' : 'X-Forwarded-Proto'
    this.#warn?.(
      `The cookie ${this.#name} is not Secure, although ${shown} says https. Set trustProxy: true if a proxy sets this header itself, or cookie: { secure: true }.`,
    )
    this.#warn = undefined
  }

  #isHttps({ url, headers }: RequestLike): boolean {
    const forwarded = this.#trustProxy ? headers.get('x-forwarded-proto') : null
    // The first value is the protocol between the client and the outermost proxy.
    if (forwarded !== null) return forwarded.split(',')[0]?.trim().toLowerCase() === 'https'
    return /^https:/i.test(url)
  }

  /** The signature covers the name, so that a value of one cookie is invalid in another. */
  #sign(id: string, time: string, secret: string): string {
    return createHmac('sha256', secret).update(`${this.#name}=${id}.${time}`).digest('base64url')
  }
}

function headerOf(name: string, value: string, attributes: SessionCookie['attributes']): string {
  const { path, domain, sameSite, maxAge, secure } = attributes
  const age = maxAge === undefined ? '' : `; Max-Age=${maxAge}`
  const site = `${sameSite.charAt(0).toUpperCase()}${sameSite.slice(1)}`
  return `${name}=${value}; Path=${path}${domain === undefined ? '' : `; Domain=${domain}`}; HttpOnly; SameSite=${site}${age}${secure ? '; Secure' : ''}`
}

function isSecret(secret: unknown): boolean {
  return typeof secret === 'string' && secret.length >= SHORTEST_SECRET
}

/** Compares in constant time. The length of a signature is not secret. */
function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}
