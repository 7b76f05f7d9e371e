/** Seconds between two lines of one kind. */
const INTERVAL = 10

/** Lines for the operator. Clients cannot fill the log: of each kind there is one line in ten seconds at most. */
export class GatewayLog {
  readonly #write: (line: string) => void
  readonly #kinds = new Map<string, { readonly at: number; suppressed: number }>()

  /** @param write takes a line without its end */
  constructor(write: (line: string) => void) {
    this.#write = write
  }

  /**
   * Writes a line. The next one of its kind after the interval says how many were left out.
   *
   * @param kind one of a few: never what a client has sent
   */
  warn(kind: string, text: string): void {
    const now = performance.now()
    const last = this.#kinds.get(kind)
    if (last !== undefined && now - last.at < INTERVAL * 1000) {
      last.suppressed++
      return
    }
    this.#kinds.set(kind, { at: now, suppressed: 0 })
    const more = last === undefined || last.suppressed === 0 ? '' : ` (and ${last.suppressed} more like it)`
    this.#write(`${text}${more}`)
  }
}
