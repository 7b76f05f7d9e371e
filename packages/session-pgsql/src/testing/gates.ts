/** Milliseconds after which a request counts as missing. */
const TIMEOUT = 30_000

/** Holds requests between reading and changing their session, until a case lets them continue. */
export class Gates {
  /** By name: lets the request that waits there continue. */
  readonly #waiting = new Map<string, () => void>()
  /** By name: called when a request begins to wait there. */
  readonly #listeners = new Map<string, () => void>()

  /** Waits at the gate of this name until it opens. Returns at once without a name. */
  readonly pause = async (name: string | null | undefined): Promise<void> => {
    if (name === undefined || name === null || name === '') return
    await new Promise<void>((resolve) => {
      this.#waiting.set(name, resolve)
      this.#listeners.get(name)?.()
    })
  }

  /** Resolves when a request waits at this gate. */
  async reached(name: string): Promise<void> {
    if (this.#waiting.has(name)) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve, reject) => {
      this.#listeners.set(name, resolve)
      const seconds = TIMEOUT / 1000
      timer = setTimeout(
        () => reject(new Error(`Expected a request with wait=${name}; none came within ${seconds} s`)),
        TIMEOUT,
      )
    }).finally(() => clearTimeout(timer))
  }

  open(name: string): void {
    this.#waiting.get(name)?.()
    this.#waiting.delete(name)
  }

  openAll(): void {
    for (const name of [...this.#waiting.keys()]) this.open(name)
  }
}
