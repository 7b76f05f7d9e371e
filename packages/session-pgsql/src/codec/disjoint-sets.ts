/** Sets of values that are united over time (union-find): a union takes practically constant time. */
export class DisjointSets<T> {
  readonly #parents = new Map<T, T>()

  /** The value that stands for the set of this one; equal for two values of one set. */
  find(value: T): T {
    let at = value
    for (;;) {
      const parent = this.#parents.get(at)
      if (parent === undefined) return at
      const grandparent = this.#parents.get(parent)
      if (grandparent === undefined) return parent
      this.#parents.set(at, grandparent)
      at = grandparent
    }
  }

  unite(one: T, other: T): void {
    const [first, second] = [this.find(one), this.find(other)]
    if (first !== second) this.#parents.set(second, first)
  }

  /** The sets of these values, in the order of their first ones. */
  group(values: Iterable<T>): T[][] {
    const groups = new Map<T, T[]>()
    for (const value of values) {
      const leader = this.find(value)
      const group = groups.get(leader)
      if (group === undefined) groups.set(leader, [value])
      else group.push(value)
    }
    return [...groups.values()]
  }
}
