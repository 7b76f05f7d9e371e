export interface Answer {
  readonly status: number
  readonly text: string
}

/** Milliseconds after which a request fails. */
const TIMEOUT = 30_000

/** Sends requests and keeps cookies as a browser does: by name, until the site expires them. */
export class Browser {
  readonly url: string
  readonly #cookies: Map<string, string>

  constructor(url: string, cookies: ReadonlyMap<string, string> = new Map()) {
    this.url = url
    this.#cookies = new Map(cookies)
  }

  get cookies(): ReadonlyMap<string, string> {
    return this.#cookies
  }

  /** @param body a text, a form, or an object to send as JSON */
  async send(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: string | URLSearchParams | FormData | object,
  ): Promise<Answer> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers: Record<string, string> = cookie === '' ? {} : { cookie }
    // Frameworks that check for forged requests compare the origin.
    if (method === 'POST') headers.origin = this.url
    const signal = AbortSignal.timeout(TIMEOUT)
    const isJson =
      typeof body === 'object' && !(body instanceof URLSearchParams) && !(body instanceof FormData)
    if (isJson) headers['content-type'] = 'application/json'
    const response = await fetch(this.url + path, {
      method,
      headers,
      redirect: 'manual',
      signal,
      ...(body !== undefined && {
        body: isJson ? JSON.stringify(body) : (body as string | URLSearchParams | FormData),
      }),
    })
    const text = await response.text()
    for (const header of response.headers.getSetCookie()) this.#keep(header)
    return { status: response.status, text }
  }

  /** Returns the session's data, as the site shows it. */
  async read(): Promise<Record<string, unknown>> {
    const { status, text } = await this.send('GET', '/read')
    if (status !== 200) throw new Error(`GET /read: ${status} ${text}`)
    return JSON.parse(text)
  }

  /** Sends a request that must succeed. */
  async post(path: string): Promise<void> {
    const { status, text } = await this.send('POST', path)
    if (status >= 400) throw new Error(`POST ${path}: ${status} ${text}`)
  }

  /** Returns another browser with the same cookies, at this site or another. */
  clone(url: string = this.url): Browser {
    return new Browser(url, this.#cookies)
  }

  #keep(header: string): void {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(header) ?? []
    if (name === undefined || value === undefined) return
    const [, maxAge] = /;\s*max-age=(-?\d+)/i.exec(header) ?? []
    const [, expires] = /;\s*expires=([^;]+)/i.exec(header) ?? []
    const isExpired =
      maxAge !== undefined
        ? Number(maxAge) <= 0
        : expires !== undefined && new Date(expires).getTime() <= Date.now()
    if (isExpired) this.#cookies.delete(name)
    else this.#cookies.set(name, value)
  }
}
