import type { SaveHandler } from 'session-pgsql'
import type { PhpData } from './reads.ts'

/** Seconds of a lease. It is renewed three times as often, as long as its connection lives. */
const LEASE = 10

interface Held {
  readonly id: string
  readonly owner: string
  /** When the client wants it to end, in milliseconds of `performance.now()`. */
  readonly ends: number
}

/**
 * The locks that the connections of this gateway hold. Each is a lease in the database: real for every gateway,
 * and gone soon after a gateway that has died. What a connection holds when it ends is given back.
 */
export class Locks {
  readonly #sessions: SaveHandler<PhpData>
  readonly #held = new Set<Held>()
  readonly #renewal: NodeJS.Timeout

  constructor(sessions: SaveHandler<PhpData>) {
    this.#sessions = sessions
    this.#renewal = setInterval(() => this.#renew(), (LEASE * 1000) / 3).unref()
  }

  /** @param seconds for which the client wants it; Infinity: until it gives it back */
  async take(id: string, owner: string, seconds: number): Promise<Held | undefined> {
    if (!(await this.#sessions.tryLock(id, owner, Math.min(LEASE, seconds)))) return undefined
    const held = { id, owner, ends: performance.now() + seconds * 1000 }
    this.#held.add(held)
    return held
  }

  async release(id: string, owner: string): Promise<boolean> {
    for (const held of this.#held) if (held.id === id && held.owner === owner) this.#held.delete(held)
    return this.#sessions.unlock(id, owner)
  }

  /** What a connection held that has ended. */
  async abandon(held: Iterable<Held>): Promise<void> {
    for (const one of held) {
      // Where the database cannot be asked the lease ends by itself.
      if (this.#held.has(one)) await this.release(one.id, one.owner).catch(() => {})
    }
  }

  /** How many are held. */
  get count(): number {
    return this.#held.size
  }

  owner(id: string): Promise<string | undefined> {
    return this.#sessions.lockOwner(id)
  }

  close(): void {
    clearInterval(this.#renewal)
  }

  #renew(): void {
    const now = performance.now()
    for (const held of this.#held) {
      const left = (held.ends - now) / 1000
      if (left <= 0) this.#held.delete(held)
      else {
        const renewed = this.#sessions.tryLock(held.id, held.owner, Math.min(LEASE, left))
        renewed.then(
          (ours) => {
            if (!ours) this.#held.delete(held)
          },
          // Tried again in time, as long as the lease lasts.
          () => {},
        )
      }
    }
  }
}

export type { Held }
