/** Keeps the newest `capacity` items. */
export class RingBuffer<Item> {
  readonly #capacity: number
  #items: Item[] = []

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  push(item: Item): void {
    this.#items.push(item)
    // slice copies all items, so it runs only once the buffer is a quarter over its capacity.
    if (this.#items.length > this.#capacity * 1.25) this.#items = this.#items.slice(-this.#capacity)
  }

  /** Returns the items, the oldest first. */
  toArray(): Item[] {
    return this.#items.slice(-this.#capacity)
  }
}
