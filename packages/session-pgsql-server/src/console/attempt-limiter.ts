import { networkOf } from '../addresses.ts'

/** Seconds for which a failure counts. */
const WINDOW = 300

/** The maximum number of failures within the window: from one network, and from all networks together. */
const LIMIT = { perNetwork: 5, total: 100 }

/** The maximum number of networks that are remembered because a user signed in from there. */
const MAX_KNOWN = 1000

/**
 * Limits failed sign-in attempts. Each attempt counts as a failure from its start until it succeeds, so parallel
 * attempts do not evade the limit. A client that guesses from many networks reaches the total limit. The total limit
 * does not apply to networks from which a user has signed in, so an attacker cannot lock out those users.
 */
export class AttemptLimiter {
  readonly #failures = new Map<string, number[]>()
  readonly #known = new Set<string>()

  /**
   * Starts an attempt.
   *
   * @param now seconds on a monotonic clock
   * @returns undefined if the attempt may proceed, otherwise the seconds to wait
   */
  begin(address: string, now: number = performance.now() / 1000): number | undefined {
    const network = networkOf(address)
    this.#removeExpired(now)
    const failures = this.#failures.get(network) ?? []
    const all = [...this.#failures.values()].flat()
    const wait =
      secondsToWait(failures, LIMIT.perNetwork, now) ??
      (this.#known.has(network) ? undefined : secondsToWait(all, LIMIT.total, now))
    if (wait === undefined) this.#failures.set(network, [...failures, now])
    return wait
  }

  /** Removes the failures of the address's network and exempts the network from the total limit. */
  succeeded(address: string): void {
    const network = networkOf(address)
    this.#failures.delete(network)
    this.#known.delete(network)
    this.#known.add(network)
    const [oldest] = this.#known
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest)
  }

  /** The map stays bounded: past the total limit, only known networks add entries. */
  #removeExpired(now: number): void {
    for (const [network, times] of this.#failures) {
      const recent = times.filter((time) => time > now - WINDOW)
      if (recent.length === 0) this.#failures.delete(network)
      else this.#failures.set(network, recent)
    }
  }
}

function secondsToWait(times: readonly number[], limit: number, now: number): number | undefined {
  if (times.length < limit) return undefined
  const oldest = [...times].sort((a, b) => a - b)[times.length - limit] as number
  return Math.max(1, Math.ceil(oldest + WINDOW - now))
}
