import { networkOf } from '../addresses.ts'

/** Seconds that a failure is remembered. */
const WINDOW = 300

/** Most failures within it: from one address, and from all of them together. */
const MOST = { each: 5, all: 100 }

/** Most addresses that are remembered as those of people who have signed in. */
const MOST_KNOWN = 1000

/**
 * Counts failures to sign in. Each attempt counts as one from its beginning, until it has succeeded: many at once
 * are no way around. Who guesses from many addresses meets the limit for all; addresses from which somebody has
 * signed in before are then still let through, so that nobody is locked out by a stranger.
 */
export class Attempts {
  readonly #failures = new Map<string, number[]>()
  readonly #known = new Set<string>()

  /** @returns undefined: go on; or the seconds to wait */
  begin(address: string, now: number = performance.now() / 1000): number | undefined {
    const key = networkOf(address)
    this.#forget(now)
    const its = this.#failures.get(key) ?? []
    const all = [...this.#failures.values()].flat()
    const wait =
      waitFor(its, MOST.each, now) ?? (this.#known.has(key) ? undefined : waitFor(all, MOST.all, now))
    if (wait === undefined) this.#failures.set(key, [...its, now])
    return wait
  }

  succeeded(address: string): void {
    const key = networkOf(address)
    this.#failures.delete(key)
    this.#known.delete(key)
    this.#known.add(key)
    const [oldest] = this.#known
    if (this.#known.size > MOST_KNOWN && oldest !== undefined) this.#known.delete(oldest)
  }

  /** The map holds no more than the limit for all: nothing is added past it, but by those who are known. */
  #forget(now: number): void {
    for (const [key, times] of this.#failures) {
      const recent = times.filter((time) => time > now - WINDOW)
      if (recent.length === 0) this.#failures.delete(key)
      else this.#failures.set(key, recent)
    }
  }
}

function waitFor(times: readonly number[], most: number, now: number): number | undefined {
  if (times.length < most) return undefined
  const oldest = [...times].sort((one, other) => one - other)[times.length - most] as number
  return Math.max(1, Math.ceil(oldest + WINDOW - now))
}
