/**
 * Lets all who wait for something go at once, when it turns out that it will not come. Not by `Promise.race` with
 * a promise that lives on: that would keep every result ever waited for.
 */
export class Waiting {
  readonly #leave = new Set<(error: Error) => void>()

  /** Waits for this, or until all are let go; what comes of it then is nobody's business any more. */
  for<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#leave.add(reject)
      work.then(resolve, reject).finally(() => this.#leave.delete(reject))
    })
  }

  /** @param error made for each: an error that is shared collects what each caller adds */
  letGo(error: () => Error): void {
    for (const leave of this.#leave) leave(error())
    this.#leave.clear()
  }
}
