import type { StoredSession } from '../session/stored.ts'

/** The operations of one id that run or wait, and the session that the last write of them left. */
export interface IdQueue {
  /** See `run`. */
  key: string
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

  /** Renames the queues of operations in progress. @param keyOf returns another key for each; never one for two */
  rekey(keyOf: (key: string) => string): void {
    const queues = [...this.#queues.values()]
    this.#queues.clear()
    for (const queue of queues) {
      queue.key = keyOf(queue.key)
      this.#queues.set(queue.key, queue)
    }
  }

  /** Begins at once, synchronously, if the queue of the id is empty. @param key the same for each form of an id */
  run<T>(key: string, work: (queue: IdQueue) => Promise<T>): Promise<T> {
    let existing = this.#queues.get(key)
    let result: Promise<T>
    if (existing === undefined) {
      existing = { key, latest: undefined, length: 1, tail: undefined, read: undefined }
      this.#queues.set(key, existing)
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
      this.#queues.delete(queue.key)
      // After a Map has grown, V8 keeps references to its former entries until the next full collection.
      queue.tail = undefined
      queue.latest = undefined
    }
    queue.tail = result.then(done, done)
    return result
  }

  /** Shares a read that waits at the end of the queue: it will see everything that was called before either. */
  read<T>(key: string, work: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(key)
    if (queue?.read !== undefined) return queue.read as Promise<T>
    const result = this.run(key, (own) => {
      own.read = undefined
      return work()
    })
    if (queue !== undefined) queue.read = result
    return result
  }
}
