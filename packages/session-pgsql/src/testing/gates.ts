/** Holds requests in the middle until a case lets them go on. */
export class Gates {
  readonly #waiting = new Map<string, () => void>()
  readonly #failbacks = new Map<string, () => void>()

  readonly pause = async (name: string | null | undefined): Promise<void> => {
    if (name === undefined || name === null || name === '') return
    await new Promise<void>((resolve) => {
      this.#waiting.set(name, resolve)
      this.#failbacks.get(name)?.()
    })
  }

  /** Until a request stands at this gate. */
  async received(name: string): Promise<void> {
    if (this.#waiting.has(name)) return
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve, reject) => {
      this.#failbacks.set(name, resolve)
      timer = setTimeout(() => reject(new Error(`No request has come to ${name} within 30 s`)), 30_000)
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
