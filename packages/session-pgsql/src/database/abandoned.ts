import { setTimeout as sleep } from 'node:timers/promises'
import { requestCancel } from './cancel.ts'
import type { PoolClientLike } from './drivers.ts'
import { breaksConnection } from './faults.ts'

/** Milliseconds that the server has to take a cancel request. */
const REQUEST_TIMEOUT = 1000

/** Milliseconds between two requests. */
const REQUEST_INTERVAL = 250

/** Milliseconds after which no further request is sent. */
const CANCEL_TIMEOUT = 5000

/** Milliseconds that the server has to answer after it has taken the request. */
const ANSWER_TIMEOUT = 1000

/**
 * Connections whose caller got TIMEOUT while the server still works on the statement, or waits for a lock. If they were
 * just closed, their backends would go on waiting, and new connections would add more until no application could
 * connect. So the statement is canceled, and the connection stays checked out of its pool until it is free.
 */
export class AbandonedConnections {
  readonly #stream: unknown
  readonly #pending = new Set<(reusable: boolean) => void>()
  #closed = false

  /** @param stream the option `stream` of the pool */
  constructor(stream: unknown) {
    this.#stream = stream
  }

  /**
   * Cancels the statement of a connection. Resolves to true when the server has answered and the connection can be used
   * again. Resolves to false when it must be closed: the server has taken the request but does not answer, or it could
   * not be reached for CANCEL_TIMEOUT. A server that cannot be reached accepts no further connections either.
   *
   * @param answer resolves to the statement's error, or to null, when the answer arrives or the connection is lost
   */
  free(client: PoolClientLike, answer: Promise<Error | null>): Promise<boolean> {
    return new Promise((resolve) => {
      this.#pending.add(resolve)
      void this.#cancel(client, answer).then((reusable) => {
        this.#pending.delete(resolve)
        resolve(reusable)
      })
      if (this.#closed) resolve(false)
    })
  }

  /** Has all connections closed at once. Their statements are still canceled, if the server takes the request. */
  close(): void {
    this.#closed = true
    for (const resolve of this.#pending) resolve(false)
  }

  async #cancel(client: PoolClientLike, answer: Promise<Error | null>): Promise<boolean> {
    let answered = false
    void answer.then((error) => {
      answered = error === null || !breaksConnection(error)
    })
    // A request that arrives late would cancel the connection's next statement.
    let mayArrive = false
    for (const until = performance.now() + CANCEL_TIMEOUT; ; await sleep(REQUEST_INTERVAL)) {
      const outcome = await requestCancel(client, this.#stream, REQUEST_TIMEOUT)
      if (outcome === 'delivered') break
      mayArrive ||= outcome === 'unknown'
      if (answered || this.#closed || performance.now() >= until) return answered && !mayArrive
    }
    const timeout = new AbortController()
    const { signal } = timeout
    await Promise.race([answer, sleep(ANSWER_TIMEOUT, undefined, { signal }).catch(() => {})])
    timeout.abort()
    return answered && !mayArrive
  }
}
