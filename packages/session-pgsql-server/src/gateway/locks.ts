import type { Sessions } from './php-side.ts'

/** Most locks of one connection. PHP has one, and a second one while an id is made anew. */
export const MOST_LOCKS = 64

interface Held {
  readonly id: string
  readonly owner: string
  /** The connection that took it. */
  readonly holder: object
  /** When the client wants it to end, in milliseconds of `performance.now()`. */
  ends: number
  /** A renewal that is under way: one that came after the release would take the lock for nobody. */
  renewal: Promise<void> | undefined
}

/**
 * The locks that the connections of this gateway hold. Each is a lease in the database: real for every gateway,
 * and gone soon after a gateway that has died. What a connection holds when it ends is given back.
 */
export class Locks {
  readonly #sessions: Sessions
  readonly #lease: number
  readonly #held = new Set<Held>()
  readonly #renewal: NodeJS.Timeout

  /** @param lease seconds for which the database knows of a lock; renewed three times as often while its connection lives */
  constructor(sessions: Sessions, lease = 10) {
    this.#sessions = sessions
    this.#lease = lease
    this.#renewal = setInterval(() => this.#renew(), (lease * 1000) / 3).unref()
  }

  /**
   * @param seconds for which the client wants it; Infinity: until it gives it back
   * @returns false while another owner has it
   */
  async take(id: string, owner: string, seconds: number, holder: object): Promise<boolean> {
    if (!(await this.#sessions.tryLock(id, owner, Math.min(this.#lease, seconds)))) return false
    const ends = performance.now() + seconds * 1000
    const held = this.#of(holder).find((one) => one.id === id && one.owner === owner)
    if (held === undefined) this.#held.add({ id, owner, holder, ends, renewal: undefined })
    else held.ends = ends
    return true
  }

  /** Whether this connection may take no more. */
  isFull(holder: object): boolean {
    return this.#of(holder).length >= MOST_LOCKS
  }

  /** Whether this connection has one. */
  has(holder: object): boolean {
    return this.#of(holder).length > 0
  }

  async release(id: string, owner: string): Promise<boolean> {
    for (const held of this.#held) {
      if (held.id !== id || held.owner !== owner) continue
      this.#held.delete(held)
      await held.renewal
    }
    return this.#sessions.unlock(id, owner)
  }

  /** Gives back what a connection held that has ended. */
  async abandon(holder: object): Promise<void> {
    // Where the database cannot be asked the lease ends by itself.
    for (const { id, owner } of this.#of(holder)) await this.release(id, owner).catch(() => {})
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

  #of(holder: object): Held[] {
    return [...this.#held].filter((held) => held.holder === holder)
  }

  #renew(): void {
    const now = performance.now()
    for (const held of this.#held) {
      const left = (held.ends - now) / 1000
      if (left <= 0) this.#held.delete(held)
      else held.renewal ??= this.#renewOne(held, left)
    }
  }

  async #renewOne(held: Held, left: number): Promise<void> {
    try {
      const isOurs = await this.#sessions.tryLock(held.id, held.owner, Math.min(this.#lease, left))
      if (!isOurs) this.#held.delete(held)
    } catch {
      // Tried again in time, as long as the lease lasts.
    }
    held.renewal = undefined
  }
}
