import type { StoredSession } from '../session/stored.ts'

/** Those who wait for one id, and what the last of them that wrote has left. */
export interface IdQueue {
  /** What this process knows to lie in the table, as long as somebody stands in line: the next rebases on it in memory. */
  latest: StoredSession | undefined
  length: number
  /** Resolves when the last in line is done. Never rejects. */
  tail: Promise<void> | undefined
  /** A read that has not begun: whoever comes right behind it shares it. */
  read: Promise<unknown> | undefined
}

/**
 * One thing at a time for each id, of whatever kind, in the order in which they were asked. Without it a
 * destroy overtakes the write before it, and the session is back.
 *
 * What waits here needs no timer: each one's deadline is no earlier than that of the one before it, which
 * ends by its own.
 */
export class IdQueues {
  readonly #lines = new Map<string, IdQueue>()

  /** Begins at once, synchronously, if nobody stands in line. */
  run<T>(id: string, work: (line: IdQueue) => Promise<T>): Promise<T> {
    let line = this.#lines.get(id)
    let result: Promise<T>
    if (line === undefined) {
      line = { latest: undefined, length: 1, tail: undefined, read: undefined }
      this.#lines.set(id, line)
      result = work(line)
    } else {
      const joined = line
      joined.length++
      joined.read = undefined
      const next = (): Promise<T> => work(joined)
      result = joined.tail === undefined ? next() : joined.tail.then(next)
    }
    const here = line
    const done = (): void => {
      if (--here.length > 0) return
      this.#lines.delete(id)
      // A Map that V8 has outgrown still refers to what was in it, until the next full collection.
      here.tail = undefined
      here.latest = undefined
    }
    here.tail = result.then(done, done)
    return result
  }

  /** A read: joins one that waits, for it will see all that was asked before either of them. */
  read<T>(id: string, work: () => Promise<T>): Promise<T> {
    const line = this.#lines.get(id)
    if (line?.read !== undefined) return line.read as Promise<T>
    const result = this.run(id, () => {
      const own = this.#lines.get(id)
      if (own !== undefined) own.read = undefined
      return work()
    })
    if (line !== undefined) line.read = result
    return result
  }
}
