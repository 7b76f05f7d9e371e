import { setTimeout as sleep } from 'node:timers/promises'

/** How many visitors come, for how many milliseconds, and how long each rests at most between two requests. */
const VISITORS = 30
const DURATION = 60_000
const REST = 1500

/** What a visitor may do next, and how many times in a hundred. */
const DEEDS = [
  [70, 'GET', '/'],
  [8, 'POST', '/sign-in'],
  [8, 'POST', '/note/basket'],
  [4, 'POST', '/sign-out'],
  [4, 'POST', '/fail'],
]

/** Visitors with browsers of their own, for who has none at hand. */
export class Traffic {
  #stop = new AbortController()
  #running = 0

  get busy() {
    return this.#running > 0
  }

  /** @param {string} site where it listens; nothing happens while visitors are there */
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
      const [method, path] = chosen()
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
        // Now and then somebody leaves for good, and somebody else comes.
        if (Math.random() < 0.03) cookie = ''
        await rest(signal)
      } catch {
        // The site is ending, or time is over.
        await rest(signal)
      }
    }
  }
}

function chosen() {
  let point = Math.random() * DEEDS.reduce((sum, [weight]) => sum + weight, 0)
  for (const [weight, ...deed] of DEEDS) {
    point -= weight
    if (point < 0) return deed
  }
  return ['GET', '/']
}

/** Until it is time for the next deed, or for the end. */
async function rest(signal) {
  await sleep(Math.random() * REST, undefined, { signal }).catch(() => {})
}
