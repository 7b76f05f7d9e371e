/**
 * Calls that wait for an answer, and can be rejected together once it is known that none will come. Does not use
 * `Promise.race` with a long-lived promise: that would retain every result ever waited for.
 */
export class InFlight {
  readonly #rejections = new Set<(error: Error) => void>()

  /** Waits for this, or until `rejectAll` is called; a later result is ignored. */
  wait<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#rejections.add(reject)
      work.then(resolve, reject).finally(() => this.#rejections.delete(reject))
    })
  }

  /** @param error called for each waiting call: callers add to the error that they receive */
  rejectAll(error: () => Error): void {
    for (const reject of this.#rejections) reject(error())
    this.#rejections.clear()
  }
}
