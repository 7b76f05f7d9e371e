import { setTimeout as sleep } from 'node:timers/promises'
import { type Answer, Browser } from './browser.ts'
import { Gates } from './gates.ts'
import type { ConformancePlace, ConformanceSite, ConformanceSubject, StartOptions } from './subject.ts'

/** Seconds for one operation on the database: enough for a slow machine. */
const TIMEOUT = 15

/** A user who has signed in at a site of this run. */
export interface SignedIn {
  readonly site: ConformanceSite
  readonly browser: Browser
  readonly user: string
}

/** One run of one case. It stops at the end the sites that the case has started. */
export class CaseRun {
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
   * Sends a request and waits until it has read its session, where it is held.
   *
   * @returns a function that lets the request continue, and returns its response
   */
  async hold(browser: Browser, path: string): Promise<() => Promise<Answer>> {
    const name = unique()
    const slow = browser.send('POST', `${path}&wait=${name}`)
    // The caller of the returned function gets its error. If the case fails before that, the error is ignored.
    slow.catch(() => {})
    await Promise.race([
      this.#gates.reached(name),
      slow.then(({ status, text }) => {
        throw new Error(`Expected POST ${path} to await \`pause\`; received ${status} ${text}`)
      }),
    ])
    return () => {
      this.#gates.open(name)
      return slow
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

/** Returns a text that occurs nowhere else. */
export function unique(): string {
  return `u${process.pid}x${++count}x${Math.random().toString(36).slice(2)}`
}

/** Repeats `check` until it succeeds, for at most 30 seconds. @throws its last error */
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
