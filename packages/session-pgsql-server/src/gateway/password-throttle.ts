import { createHash, timingSafeEqual } from 'node:crypto'
import { networkOf } from '../addresses.ts'
import { BoundedMap } from './bounded-map.ts'

/** Wrong passwords that a network may try at once. */
const BURST = 20

/** Wrong passwords that it may try in each second after these. */
const RATE = 1

/** Networks that are remembered. */
const MAX_NETWORKS = 10_000

interface Failures {
  /** Digests of wrong passwords, the oldest first. */
  readonly wrong: Set<string>
  /** Attempts that are left, at `at`, in milliseconds of `performance.now()`. */
  attempts: number
  at: number
}

/**
 * Checks passwords, and limits how many different wrong ones come from a network: 20 at once, then one in a second. Until
 * then no password is checked, so that the right one does not show among many. The same wrong password again is no guess:
 * a site with a wrong password in its settings does not lock out others on its machine.
 */
export class PasswordThrottle {
  readonly #expected: Buffer
  readonly #networks = new BoundedMap<string, Failures>(MAX_NETWORKS, () => 1)

  constructor(password: string) {
    this.#expected = digestOf(password)
  }

  /** @returns `throttled`: it was not checked, because there were too many wrong ones before */
  check(password: Buffer, address: string): 'right' | 'wrong' | 'throttled' {
    const digest = digestOf(password)
    const network = networkOf(address)
    const failures = this.#networks.get(network) ?? { wrong: new Set(), attempts: BURST, at: 0 }
    if (failures.wrong.has(digest.toString('hex'))) return 'wrong'
    const now = performance.now()
    failures.attempts = Math.min(BURST, failures.attempts + ((now - failures.at) / 1000) * RATE)
    failures.at = now
    if (failures.attempts < 1) return 'throttled'
    if (timingSafeEqual(digest, this.#expected)) return 'right'
    failures.attempts--
    failures.wrong.add(digest.toString('hex'))
    const [oldest] = failures.wrong
    if (failures.wrong.size > BURST) failures.wrong.delete(oldest as string)
    this.#networks.set(network, failures)
    return 'wrong'
  }
}

function digestOf(password: string | Buffer): Buffer {
  return createHash('sha256').update(password).digest()
}
