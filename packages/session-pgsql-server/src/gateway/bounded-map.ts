/**
 * A map with a limit on the total size of its values. When the limit is exceeded, the oldest entries are removed; the
 * newest entry always stays, even if it exceeds the limit alone.
 */
export class BoundedMap<Key, Value> {
  readonly #values = new Map<Key, Value>()
  readonly #maxSize: number
  readonly #sizeOf: (value: Value, key: Key) => number
  readonly #onEvict: (key: Key, value: Value) => void
  #size = 0

  /**
   * @param sizeOf size of an entry, such as its bytes; must not change while the entry is in the map
   * @param onEvict called after an entry was removed because the limit was exceeded
   */
  constructor(
    maxSize: number,
    sizeOf: (value: Value, key: Key) => number,
    onEvict: (key: Key, value: Value) => void = () => {},
  ) {
    this.#maxSize = maxSize
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
    this.#size += this.#sizeOf(value, key)
    for (const [oldest, evicted] of this.#values) {
      if (this.#size <= this.#maxSize || oldest === key) return
      this.delete(oldest)
      this.#onEvict(oldest, evicted)
    }
  }

  /** @returns the removed value; undefined if there was none */
  delete(key: Key): Value | undefined {
    const value = this.#values.get(key)
    if (value === undefined) return undefined
    this.#values.delete(key)
    this.#size -= this.#sizeOf(value, key)
    return value
  }

  /** Oldest first. */
  entries(): IterableIterator<[Key, Value]> {
    return this.#values.entries()
  }
}
