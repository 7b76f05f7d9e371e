import type { SessionCookie } from './signed-cookie.ts'
import type { WebSession } from './web-session.ts'

/** The session of one request. Its `commit` sets the cookie. */
export interface BoundSession<Data extends object> extends Omit<WebSession<Data>, 'commit'> {
  /**
   * Applies the changes and sets the cookie, unless the browser's cookie stays. Call it before the response's headers are
   * sent. It writes only if something has changed. If the session was destroyed in the meantime it discards the changes,
   * without an error: the save handler emits `gone`. It may be called again.
   */
  commit(): Promise<void>
}

/** Where a session is read from, and where its cookie goes. */
export interface Binding<Data extends object> {
  read(): Promise<WebSession<Data>>
  setCookie(cookie: SessionCookie): void | Promise<void>
}

/** The sessions of a framework's requests: each request reads its session once. */
export class BoundSessions<Data extends object> {
  readonly #sessions: WeakMap<object, Promise<BoundSession<Data>>> = new WeakMap()

  /** @param request an object that the framework keeps for one request */
  open(request: object, binding: Binding<Data>): Promise<BoundSession<Data>> {
    const opened = this.#sessions.get(request)
    if (opened !== undefined) return opened
    const opening = bound(binding)
    this.#sessions.set(request, opening)
    // The request may try again after an outage.
    opening.catch(() => this.#sessions.delete(request))
    return opening
  }

  /** Commits the session of a request that has opened it. */
  async commit(request: object): Promise<void> {
    const session = await this.#sessions.get(request)
    await session?.commit()
  }
}

async function bound<Data extends object>({ read, setCookie }: Binding<Data>): Promise<BoundSession<Data>> {
  const session = await read()
  const commit = session.commit.bind(session)
  return Object.assign(session, {
    commit: async () => {
      const cookie = await commit()
      if (cookie !== undefined) await setCookie(cookie)
    },
  })
}
