/** The last so many of something. */
export class Ring<Item> {
  readonly #most: number
  #items: Item[] = []

  constructor(most: number) {
    this.#most = most
  }

  push(item: Item): void {
    this.#items.push(item)
    // Now and then, for cutting copies.
    if (this.#items.length > this.#most * 1.25) this.#items = this.#items.slice(-this.#most)
  }

  get last(): Item | undefined {
    return this.#items.at(-1)
  }

  toArray(): Item[] {
    return this.#items.slice(-this.#most)
  }
}
