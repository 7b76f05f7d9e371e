import { setTimeout as sleep } from 'node:timers/promises'

const VISITORS = 30
/** Milliseconds. */
const DURATION = 60_000
/** The longest pause between two requests of a visitor, in milliseconds. */
const MAX_PAUSE = 1500

/** The requests of visitors, with their percentages. */
const REQUESTS = [
  [70, 'GET', '/'],
  [8, 'POST', '/sign-in'],
  [8, 'POST', '/note/basket'],
  [4, 'POST', '/sign-out'],
  [4, 'POST', '/fail'],
]

/** Simulated visitors, each with its own cookie. */
export class Traffic {
  #stop = new AbortController()
  #running = 0

  get busy() {
    return this.#running > 0
  }

  /** Starts the visitors, unless they are running. @param {string} site its URL */
  start(site) {
    if (this.busy) return
    this.#stop = new AbortController()
    setTimeout(() => this.stop(), DURATION).unref()
    for (let number = 1; number <= VISITORS; number++) {
      this.#running++
      void this.#visit(site, `visitor ${number}`).finally(() => this.#running--)
    }
  }

  stop() {
    this.#stop.abort()
  }

  async #visit(site, user) {
    const { signal } = this.#stop
    let cookie = ''
    while (!signal.aborted) {
      const [method, path] = randomRequest()
      try {
        const answer = await fetch(site + path, {
          method,
          redirect: 'manual',
          signal,
          headers: { cookie, 'user-agent': 'curl (a visitor of the demo)' },
          ...(path === '/sign-in' ? { body: new URLSearchParams({ user }) } : {}),
        })
        await answer.arrayBuffer()
        cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? cookie
        // Sometimes a visitor leaves, and another one comes.
        if (Math.random() < 0.03) cookie = ''
        await pause(signal)
      } catch {
        // The site or the traffic is stopping.
        await pause(signal)
      }
    }
  }
}

function randomRequest() {
  let point = Math.random() * REQUESTS.reduce((sum, [weight]) => sum + weight, 0)
  for (const [weight, ...request] of REQUESTS) {
    point -= weight
    if (point < 0) return request
  }
  return ['GET', '/']
}

/** Waits until the next request, or until the traffic stops. */
async function pause(signal) {
  await sleep(Math.random() * MAX_PAUSE, undefined, { signal }).catch(() => {})
}
