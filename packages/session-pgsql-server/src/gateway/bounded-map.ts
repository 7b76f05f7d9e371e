/**
 * A map with a limit on the memory of its values. When the limit is exceeded, the oldest entries are removed; the
 * newest entry always stays, even if it exceeds the limit alone.
 */
export class BoundedMap<Key, Value> {
  readonly #values = new Map<Key, Value>()
  readonly #maxBytes: number
  readonly #sizeOf: (value: Value, key: Key) => number
  readonly #onEvict: (key: Key, value: Value) => void
  #bytes = 0

  /**
   * @param sizeOf bytes of an entry; must not change while the entry is in the map
   * @param onEvict called after an entry was removed for lack of memory
   */
  constructor(
    maxBytes: number,
    sizeOf: (value: Value, key: Key) => number,
    onEvict: (key: Key, value: Value) => void = () => {},
  ) {
    this.#maxBytes = maxBytes
    this.#sizeOf = sizeOf
    this.#onEvict = onEvict
  }

  get(key: Key): Value | undefined {
    return this.#values.get(key)
  }

  /** Adds an entry as the newest one, or replaces it. */
  set(key: Key, value: Value): void {
    this.delete(key)
    this.#values.set(key, value)
    this.#bytes += this.#sizeOf(value, key)
    for (const [oldest, evicted] of this.#values) {
      if (this.#bytes <= this.#maxBytes || oldest === key) return
      this.delete(oldest)
      this.#onEvict(oldest, evicted)
    }
  }

  /** @returns the removed value; undefined if there was none */
  delete(key: Key): Value | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    this.#values.delete(key)
    this.#bytes -= this.#sizeOf(value, key)
    return value
  }

  /** Oldest first. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#values.entries()
  }
}
