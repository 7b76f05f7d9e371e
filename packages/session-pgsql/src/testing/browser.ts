export interface Answer {
  readonly status: number
  readonly text: string
}

/** After this many milliseconds a request counts as one that is never answered. */
const PATIENCE = 30_000

/** Keeps cookies as a browser does: by name, and drops those that a site expires. */
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

  /** @param body a text, a form, or an object that is sent as JSON */
  async send(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: string | URLSearchParams | object,
  ): Promise<Answer> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const headers: Record<string, string> = cookie === '' ? {} : { cookie }
    // Of the site itself, for frameworks that look for forged requests.
    if (method === 'POST') headers.origin = this.url
    const signal = AbortSignal.timeout(PATIENCE)
    const isJson = typeof body === 'object' && !(body instanceof URLSearchParams)
    if (isJson) headers['content-type'] = 'application/json'
    const response = await fetch(this.url + path, {
      method,
      headers,
      redirect: 'manual',
      signal,
      ...(body !== undefined && { body: isJson ? JSON.stringify(body) : (body as string | URLSearchParams) }),
    })
    const text = await response.text()
    for (const line of response.headers.getSetCookie()) this.#keep(line)
    return { status: response.status, text }
  }

  /** The session's data, as the site shows it. */
  async read(): Promise<Record<string, unknown>> {
    const { status, text } = await this.send('GET', '/read')
    if (status !== 200) throw new Error(`GET /read: ${status} ${text}`)
    return JSON.parse(text)
  }

  /** A request that must be well. */
  async post(path: string): Promise<void> {
    const { status, text } = await this.send('POST', path)
    if (status >= 400) throw new Error(`POST ${path}: ${status} ${text}`)
  }

  /** Another one with the cookies of this moment, at this site or where it runs now. */
  clone(url: string = this.url): Browser {
    return new Browser(url, this.#cookies)
  }

  #keep(line: string): void {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line) ?? []
    if (name === undefined || value === undefined) return
    const [, maxAge] = /;\s*max-age=(-?\d+)/i.exec(line) ?? []
    const [, expires] = /;\s*expires=([^;]+)/i.exec(line) ?? []
    const isOver =
      maxAge !== undefined
        ? Number(maxAge) <= 0
        : expires !== undefined && new Date(expires).getTime() <= Date.now()
    if (isOver) this.#cookies.delete(name)
    else this.#cookies.set(name, value)
  }
}
