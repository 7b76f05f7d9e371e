import type { StoredSession } from '../session/stored.ts'

/** The operations of one id that run or wait, and the session that the last write of them left. */
export interface IdQueue {
  /** The row as this process last wrote it, while the queue is not empty: the next write rebases on it in memory. */
  latest: StoredSession | undefined
  length: number
  /** Resolves when the last operation of the queue ends. Never rejects. */
  tail: Promise<void> | undefined
  /** A read that has not begun, if it is the last operation of the queue: the next read shares it. */
  read: Promise<unknown> | undefined
}

/**
 * Runs one operation at a time for each id, of whatever kind, in the order of the calls. Without it, a destroy could
 * overtake an earlier write, and the session would come back.
 *
 * Waiting operations need no timer: the deadline of each is no earlier than that of its predecessor, which ends by
 * its own.
 */
export class IdQueues {
  readonly #queues = new Map<string, IdQueue>()

  /** Begins at once, synchronously, if the queue of the id is empty. */
  run<T>(id: string, work: (queue: IdQueue) => Promise<T>): Promise<T> {
    let existing = this.#queues.get(id)
    let result: Promise<T>
    if (existing === undefined) {
      existing = { latest: undefined, length: 1, tail: undefined, read: undefined }
      this.#queues.set(id, existing)
      result = work(existing)
    } else {
      const joined = existing
      joined.length++
      joined.read = undefined
      const next = (): Promise<T> => work(joined)
      result = joined.tail === undefined ? next() : joined.tail.then(next)
    }
    const queue = existing
    const done = (): void => {
      if (--queue.length > 0) return
      this.#queues.delete(id)
      // After a Map has grown, V8 keeps references to its former entries until the next full collection.
      queue.tail = undefined
      queue.latest = undefined
    }
    queue.tail = result.then(done, done)
    return result
  }

  /** Shares a read that waits at the end of the queue: it will see everything that was called before either. */
  read<T>(id: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(id)
    if (queue?.read !== undefined) return queue.read as Promise<T>
    const result = this.run(id, () => {
      const own = this.#queues.get(id)
      if (own !== undefined) own.read = undefined
      return work()
    })
    if (queue !== undefined) queue.read = result
    return result
  }
}
