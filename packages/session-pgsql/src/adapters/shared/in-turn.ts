/** What saves and touches of one session in one request queue on. */
export interface Queue {
  /** The last of those that are under way. Never rejects. */
  tail: Promise<void> | undefined
}

/** One after the other; at once, synchronously, if nothing is under way. */
export function inTurn<T>(queue: Queue, work: () => Promise<T>): Promise<T> {
  const result = queue.tail === undefined ? work() : queue.tail.then(work)
  const done = (): void => {
    if (queue.tail === tail) queue.tail = undefined
  }
  const tail: Promise<void> = result.then(done, done)
  queue.tail = tail
  return result
}
