import type { Sessions } from './wire-format.ts'

/** Most locks of one connection. PHP holds one, and a second one while it regenerates an id. */
export const MAX_LOCKS = 64

interface HeldLock {
  readonly id: string
  readonly owner: string
  /** The client whose connection took it. */
  readonly holder: object
  /** When the client's own time limit ends, in milliseconds of `performance.now()`. */
  ends: number
  /** The renewal in progress. A release waits for it: a renewal after the release would lock the session again. */
  renewal: Promise<void> | undefined
}

/**
 * The locks that the connections of this gateway hold. Each is a lease in the database: all gateways respect it, and
 * it ends soon after a gateway that died. When a connection closes, its locks are released.
 */
export class Locks {
  readonly #sessions: Sessions
  readonly #lease: number
  readonly #held = new Set<HeldLock>()
  readonly #renewal: NodeJS.Timeout

  /** @param lease seconds of a lease in the database; renewed three times as often while the connection is open */
  constructor(sessions: Sessions, lease = 10) {
    this.#sessions = sessions
    this.#lease = lease
    this.#renewal = setInterval(() => this.#renew(), (lease * 1000) / 3).unref()
  }

  /**
   * Takes a lock, or extends it for its owner.
   *
   * @param seconds after which the lock ends; Infinity: it ends with its release, or with the connection
   * @returns false while another owner has it
   */
  async take(id: string, owner: string, seconds: number, holder: object): Promise<boolean> {
    if (!(await this.#sessions.tryLock(id, owner, Math.min(this.#lease, seconds)))) return false
    const ends = performance.now() + seconds * 1000
    const held = this.#heldBy(holder).find((lock) => lock.id === id && lock.owner === owner)
    if (held === undefined) this.#held.add({ id, owner, holder, ends, renewal: undefined })
    else held.ends = ends
    return true
  }

  /**
   * Sets the time limit of a lock that this holder has.
   *
   * @returns false if it does not have the lock
   */
  extend(id: string, seconds: number, holder: object): boolean {
    const held = this.#heldBy(holder).find((lock) => lock.id === id)
    if (held !== undefined) held.ends = performance.now() + seconds * 1000
    return held !== undefined
  }

  /** Returns the owner's name of the lock of this id that this holder has; undefined if it does not have it. */
  ownerOf(id: string, holder: object): string | undefined {
    return this.#heldBy(holder).find((lock) => lock.id === id)?.owner
  }

  /** Returns the seconds until a lock that is held ends, as far as this gateway knows. */
  secondsLeft(id: string): number {
    const held = [...this.#held].find((lock) => lock.id === id)
    return Math.min(this.#lease, ((held?.ends ?? Number.POSITIVE_INFINITY) - performance.now()) / 1000)
  }

  /** Returns true if this holder has as many locks as it may. */
  isFull(holder: object): boolean {
    return this.#heldBy(holder).length >= MAX_LOCKS
  }

  /** Returns true if this holder has a lock. */
  has(holder: object): boolean {
    return this.#heldBy(holder).length > 0
  }

  /** @returns false if this owner does not have the lock */
  async release(id: string, owner: string): Promise<boolean> {
    for (const held of this.#held) {
      if (held.id !== id || held.owner !== owner) continue
      this.#held.delete(held)
      await held.renewal
    }
    return this.#sessions.unlock(id, owner)
  }

  /** Releases all locks of a holder. Never rejects: a lease that cannot be released ends by itself. */
  async releaseAll(holder: object): Promise<void> {
    for (const { id, owner } of this.#heldBy(holder)) await this.release(id, owner).catch(() => {})
  }

  /** How many locks are held. */
  get count(): number {
    return this.#held.size
  }

  /** Returns the owner of a session's lock, whichever gateway it is held through; undefined if it is free. */
  owner(id: string): Promise<string | undefined> {
    return this.#sessions.lockOwner(id)
  }

  /** Ends the renewals. */
  close(): void {
    clearInterval(this.#renewal)
  }

  #heldBy(holder: object): HeldLock[] {
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

  async #renewOne(held: HeldLock, left: number): Promise<void> {
    try {
      const isOurs = await this.#sessions.tryLock(held.id, held.owner, Math.min(this.#lease, left))
      if (!isOurs) this.#held.delete(held)
    } catch {
      // The next interval tries again while the lease lasts.
    }
    held.renewal = undefined
  }
}
