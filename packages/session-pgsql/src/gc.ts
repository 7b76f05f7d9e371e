/** When to collect garbage: every so often, or after every access. What it does is not known here. */
export class Collector {
  readonly #interval: number
  readonly #collect: () => Promise<unknown>
  #timer: NodeJS.Timeout | undefined
  #running = false
  #again = false
  #closed = false

  /**
   * @param interval seconds between two collections; 0: never; negative: after every access
   * @param collect must not reject
   */
  constructor(interval: number, collect: () => Promise<unknown>) {
    this.#interval = interval
    this.#collect = collect
  }

  /** To be called at every access. Never waits: the collection begins after the answer to it is out. */
  accessed(): void {
    if (this.#timer !== undefined || this.#closed || this.#interval === 0) return
    if (this.#running) {
      this.#again = true
      return
    }
    // A tenth at random: processes that start together shall not sweep together.
    const delay = this.#interval < 0 ? 0 : this.#interval * 1000 * (0.95 + Math.random() / 10)
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#running = true
      void this.#collect().finally(() => {
        this.#running = false
        if (this.#again) {
          this.#again = false
          this.accessed()
        }
      })
    }, delay)
    this.#timer.unref()
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#timer = undefined
  }
}
