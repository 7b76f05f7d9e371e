/** Seconds for which a failure counts. */
const WINDOW = 300

/** The maximum number of failures within the window: from one source, and from all networks together. */
const LIMIT = { perSource: 5, total: 100 }

/** The maximum number of networks that are remembered because a user signed in from there. */
const MAX_KNOWN = 1000

/** Where an attempt comes from. */
export interface Source {
  readonly network: string
  /** The browser, if a user of the role has signed in with it before. */
  readonly device: string | undefined
}

/**
 * Limits wrong passwords of one role. Each attempt counts as a failure from its start until it succeeds or is taken back,
 * so parallel attempts do not evade the limit.
 *
 * Failures of a known browser count for that browser, all others for their network. So guesses from a shared address do
 * not lock out a user who has signed in from there before. A client that guesses from many networks reaches the total
 * limit, which applies neither to known browsers nor to networks from which a user has signed in.
 */
export class AttemptLimiter {
  readonly #failures = new Map<string, number[]>()
  readonly #deviceFailures = new Map<string, number[]>()
  readonly #known = new Set<string>()

  /**
   * Starts an attempt.
   *
   * @param now seconds on a monotonic clock
   * @returns undefined if the attempt may proceed, otherwise the seconds to wait
   */
  begin(source: Source, now: number = performance.now() / 1000): number | undefined {
    this.#removeExpired(now)
    const [failures, key] = this.#listOf(source)
    const own = failures.get(key) ?? []
    const isExempt = source.device !== undefined || this.#known.has(source.network)
    const wait =
      secondsToWait(own, LIMIT.perSource, now) ??
      (isExempt ? undefined : secondsToWait([...this.#failures.values()].flat(), LIMIT.total, now))
    if (wait === undefined) failures.set(key, [...own, now])
    return wait
  }

  /** Removes the failures of the source and exempts its network from the total limit. */
  succeeded(source: Source): void {
    const [failures, key] = this.#listOf(source)
    failures.delete(key)
    this.#known.delete(source.network)
    this.#known.add(source.network)
    const [oldest] = this.#known
    if (this.#known.size > MAX_KNOWN && oldest !== undefined) this.#known.delete(oldest)
  }

  /** Removes the last attempt of the source, which was no guess: the password was right for another role. */
  takeBack(source: Source): void {
    const [failures, key] = this.#listOf(source)
    failures.get(key)?.pop()
  }

  #listOf({ network, device }: Source): [Map<string, number[]>, string] {
    return device === undefined ? [this.#failures, network] : [this.#deviceFailures, device]
  }

  /** The maps stay bounded: past the total limit, only known networks and browsers add entries. */
  #removeExpired(now: number): void {
    for (const failures of [this.#failures, this.#deviceFailures]) {
      for (const [key, times] of failures) {
        const recent = times.filter((time) => time > now - WINDOW)
        if (recent.length === 0) failures.delete(key)
        else failures.set(key, recent)
      }
    }
  }
}

function secondsToWait(times: readonly number[], limit: number, now: number): number | undefined {
  if (times.length < limit) return undefined
  const oldest = [...times].sort((a, b) => a - b)[times.length - limit] as number
  return Math.max(1, Math.ceil(oldest + WINDOW - now))
}
