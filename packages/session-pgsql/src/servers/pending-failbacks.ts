import type { Member } from './member.ts'

/** `from` may have rows of sessions whose home server is `home`. */
export interface PendingFailback {
  readonly home: Member
  readonly from: Member
  /** Of any session of `home`. false: of those whose first fallback server is `from`. */
  any: boolean
  /** Resolves when the other servers have a note of it; undefined if this process has not used `from` for `home`. */
  noted: Promise<void> | undefined
  /** Requests of this process in progress on `from`. */
  uses: number
  /** When the last of them ended, in milliseconds of `performance.now()`. */
  usedAt: number
}

/**
 * Milliseconds for which a failback stays pending after its home server was found up. Until then, other processes may
 * not have noticed, and write to the fallback server.
 */
const NOTICED_WITHIN = 6000

/**
 * The failbacks that may not be finished, as this process knows: from the servers that it has seen down, from rows that
 * it has found, and from the notes of other processes.
 */
export class PendingFailbacks {
  #pending: PendingFailback[] = []

  /** Called when a server goes down or returns. While one is down, every server that is up may be its fallback. */
  observe(members: readonly Member[]): void {
    const down = members.filter(({ health }) => health.isDown)
    for (const home of down) this.suspect(home, members, down.length > 1)
  }

  /** A server was down, perhaps only for a moment: the others may have been its fallback. */
  suspect(home: Member, members: readonly Member[], any: boolean): void {
    for (const from of members) if (from !== home && !from.health.isDown) this.add(home, from, any)
  }

  add(home: Member, from: Member, any: boolean): PendingFailback {
    let found = this.#pending.find((one) => one.home === home && one.from === from)
    if (found === undefined) {
      found = { home, from, any, noted: undefined, uses: 0, usedAt: 0 }
      this.#pending.push(found)
    }
    found.any ||= any
    return found
  }

  /** Returns true if `from` may have a session of `home`. @param isNext whether it is the session's first fallback server */
  mayHave(home: Member, from: Member, isNext: boolean): boolean {
    return this.#pending.some((one) => one.home === home && one.from === from && (one.any || isNext))
  }

  /** Returns those of this process whose home server is still down. */
  get used(): readonly PendingFailback[] {
    return this.#pending.filter(({ home, noted }) => home.health.isDown && noted !== undefined)
  }

  /**
   * Removes the failbacks from a server that has nothing left to move.
   *
   * @param left the home servers of the rows that are left
   * @param since when the server was asked, in milliseconds of `performance.now()`
   * @returns the removed
   */
  finish(from: Member, left: ReadonlySet<Member>, since: number): readonly PendingFailback[] {
    const isFinished = (one: PendingFailback): boolean =>
      one.from === from &&
      !left.has(one.home) &&
      one.uses === 0 &&
      one.usedAt < since &&
      one.home.health.upFor > NOTICED_WITHIN
    const finished = this.#pending.filter(isFinished)
    this.#pending = this.#pending.filter((one) => !finished.includes(one))
    return finished
  }
}
