import { setTimeout as sleep } from 'node:timers/promises'
import { Browser } from './browser.ts'
import { Gates } from './gates.ts'
import type { ConformancePlace, ConformanceSite, ConformanceSubject, StartOptions } from './subject.ts'

/** Long enough that no case fails on it by a machine that is slow. */
const TIMEOUT = 15

/** Someone who has signed in at a site that was started for it. */
export interface SignedIn {
  readonly site: ConformanceSite
  readonly browser: Browser
  readonly user: string
}

/** One run of one case: what it has started, and ends. */
export class Visit {
  readonly subject: ConformanceSubject
  readonly #gates = new Gates()
  readonly #sites = new Set<ConformanceSite>()

  constructor(subject: ConformanceSubject) {
    this.subject = subject
  }

  async start(
    options: Partial<StartOptions> = {},
    place: ConformancePlace = this.subject,
  ): Promise<ConformanceSite> {
    const site = await place.start({ pause: this.#gates.pause, timeout: TIMEOUT, ...options })
    this.#sites.add(site)
    return site
  }

  async stop(site: ConformanceSite): Promise<void> {
    this.#sites.delete(site)
    await site.stop()
  }

  async signIn(options: Partial<StartOptions> = {}): Promise<SignedIn> {
    const site = await this.start(options)
    const browser = new Browser(site.url)
    const user = unique()
    await browser.post(`/sign-in?user=${user}`)
    return { site, browser, user }
  }

  /**
   * Lets a request wait after it has read its session.
   *
   * @returns lets it go on, and gives the status of its answer
   */
  async hold(browser: Browser, path: string): Promise<() => Promise<number>> {
    const name = unique()
    const slow = browser.send('POST', `${path}&wait=${name}`)
    // Whoever waits for it sees the error; if a case fails before that, its own error is the one to see.
    slow.catch(() => {})
    await Promise.race([
      this.#gates.received(name),
      slow.then(({ status, text }) => {
        throw new Error(`POST ${path} did not wait: ${status} ${text}`)
      }),
    ])
    return async () => {
      this.#gates.open(name)
      return (await slow).status
    }
  }

  async end(): Promise<void> {
    this.#gates.openAll()
    const sites = [...this.#sites]
    this.#sites.clear()
    await Promise.all(sites.map((site) => site.stop()))
  }
}

let count = 0

/** A value that occurs nowhere else. */
export function unique(): string {
  return `u${process.pid}x${++count}x${Math.random().toString(36).slice(2)}`
}

/** Until `check` no longer throws, for at most 30 seconds; then its error comes out. */
export async function eventually(check: () => Promise<void>): Promise<void> {
  const deadline = performance.now() + 30_000
  for (;;) {
    try {
      return await check()
    } catch (error) {
      if (performance.now() >= deadline) throw error
    }
    await sleep(50)
  }
}
