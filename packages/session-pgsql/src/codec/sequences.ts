/** The three lists of a merge, or what stands for their elements. */
export interface Versions<T> {
  readonly ours: readonly T[]
  readonly theirs: readonly T[]
  readonly base: readonly T[]
}

/**
 * Lists of names: integers from 0, the same for the same element, each at most once in a list. `NOWHERE` stands for an
 * element that is not to be in the result.
 */
export interface Sequences extends Versions<number> {
  /** How many names there are. */
  readonly names: number
  /** Whether the sequences begin where the lists begin: false if common elements before them were left out. */
  readonly isHead: boolean
  /** Whether the sequences end where the lists end. */
  readonly isTail: boolean
}

export interface MergedSequences {
  readonly order: readonly number[]
  /** Where each name stands in each sequence, or `NOWHERE`. */
  readonly inOurs: readonly number[]
  readonly inTheirs: readonly number[]
  readonly inBase: readonly number[]
}

export const NOWHERE = -1

/**
 * Merges three sequences: replays over theirs what ours changed.
 *
 * A name that either side removed is not in the result. A name that a side moved stands where that side has it; if
 * both moved it, where ours has it. What both sides put at one place stands in the order theirs, ours; at the head
 * of the list in the order ours, theirs.
 *
 * A list of constant length onto which both sides pushed at one end, and from which both dropped as many at the
 * other, keeps its length if `isList`; the keys of an object do not.
 *
 * Takes O(n log n).
 */
export function mergeSequences(sequences: Sequences, isList: boolean): MergedSequences {
  const { base, names, isHead, isTail } = sequences
  const inBase = placesOf(base, names)
  const ours = new Side(sequences.ours, base, inBase)
  const theirs = new Side(sequences.theirs, base, inBase)
  const [inOurs, inTheirs] = [ours.places, theirs.places]
  /** Whether something of the base follows what stands in this slot, and nothing precedes it. */
  const isFront = (slot: number | undefined): boolean => slot === 0 && isHead && (base.length > 0 || !isTail)
  /** Whether a name that stands in one of this side's slots is taken from there. */
  const counts = (name: number, side: Side): boolean => {
    const isShared = inBase[name] !== NOWHERE
    if (isShared && (inOurs[name] === NOWHERE || inTheirs[name] === NOWHERE)) return false
    if (ours.slots[name] === NOWHERE || theirs.slots[name] === NOWHERE) return true
    return (isShared || isFront(ours.slots[name])) === (side === ours)
  }

  const order: number[] = []
  const put = (side: Side, slot: number, onlyMoved = false): void => {
    for (let name = side.peek(slot); name !== undefined; name = side.peek(slot)) {
      if (onlyMoved && inBase[name] === NOWHERE) return
      if (counts(name, side)) order.push(name)
      side.cursor++
    }
  }
  for (let slot = 0; slot <= 2 * base.length; slot++) {
    if (slot % 2 === 1) {
      const name = base[(slot - 1) / 2] as number
      if (ours.isUnmoved(name) && theirs.isUnmoved(name)) order.push(name)
    }
    // A list that we sorted stands before what they appended to the unsorted one.
    if (theirs.peek(slot) !== undefined) {
      put(ours, slot, !isFront(slot))
      put(theirs, slot)
    }
    put(ours, slot)
  }
  const merged = { inOurs, inTheirs, inBase }
  if (isList && isHead && isTail && order.length > base.length) {
    for (const end of ['head', 'tail'] as const) {
      if (!ours.slidesFrom(end) || !theirs.slidesFrom(end)) continue
      return { ...merged, order: end === 'head' ? order.slice(0, base.length) : order.slice(-base.length) }
    }
  }
  return { ...merged, order }
}

/** What one side made of the base. */
class Side {
  readonly places: readonly number[]
  /**
   * Where the names stand that this side inserted or moved, in terms of the base: 0 is before it, 2k + 1 in the place
   * of its element k, 2k + 2 after that. `NOWHERE` for all other names.
   */
  readonly slots: number[]
  /** How many of the names in slots were passed. */
  cursor = 0
  /** The names in slots, in this side's order; the slots ascend. */
  readonly #placed: number[] = []
  readonly #list: readonly number[]
  readonly #base: readonly number[]

  constructor(list: readonly number[], base: readonly number[], inBase: readonly number[]) {
    this.#list = list
    this.#base = base
    this.places = placesOf(list, inBase.length)
    this.slots = new Array(inBase.length).fill(NOWHERE)
    const isUnmoved = longestAscent(list, inBase)
    let previous = NOWHERE
    let first = 0
    for (const name of list) {
      if (name === NOWHERE) continue
      if (isUnmoved[name] === true) {
        const place = inBase[name] as number
        this.#fill(first, previous, place)
        first = this.#placed.length
        previous = place
      } else {
        this.#placed.push(name)
      }
    }
    this.#fill(first, previous, base.length)
  }

  /** Whether this name of the base stands where it stood. */
  isUnmoved(name: number): boolean {
    return this.places[name] !== NOWHERE && this.slots[name] === NOWHERE
  }

  /** The next name, if it stands in this slot. */
  peek(slot: number): number | undefined {
    const name = this.#placed[this.cursor]
    return name !== undefined && this.slots[name] === slot ? name : undefined
  }

  /**
   * Gives slots to the names from `first` on, which stand between two places of the base. They take the places of what
   * was removed there, for an edited element is one that was removed and one that was inserted. What is left over stays
   * with the last of these.
   */
  #fill(first: number, previous: number, next: number): void {
    const placed = this.#placed
    let slot = 2 * previous + 2
    let at = first
    for (let place = previous + 1; place < next && at < placed.length; place++) {
      if (this.places[this.#base[place] as number] !== NOWHERE) continue
      slot = 2 * place + 1
      this.slots[placed[at++] as number] = slot
    }
    while (at < placed.length) this.slots[placed[at++] as number] = slot
  }

  /** Whether the length is that of the base, all that was put in stands at this end, and all that was removed stood at the other. */
  slidesFrom(end: 'head' | 'tail'): boolean {
    if (this.#list.length !== this.#base.length) return false
    const ordered = (names: readonly number[]): readonly number[] =>
      end === 'head' ? names : names.toReversed()
    return (
      isDivided(ordered(this.#list), (name) => !this.isUnmoved(name)) &&
      isDivided(
        ordered(this.#base).filter((name) => this.places[name] === NOWHERE || this.isUnmoved(name)),
        (name) => this.isUnmoved(name),
      )
    )
  }
}

/** Whether the names of which this is true come first, and then the others. */
function isDivided(names: readonly number[], isTrue: (name: number) => boolean): boolean {
  const end = names.findIndex((name) => !isTrue(name))
  return end < 0 || !names.slice(end).some(isTrue)
}

function placesOf(list: readonly number[], names: number): number[] {
  const places: number[] = new Array(names).fill(NOWHERE)
  for (let place = 0; place < list.length; place++) {
    const name = list[place] as number
    if (name !== NOWHERE) places[name] = place
  }
  return places
}

/** Marks as many names as possible that stand in the order of the base: a longest increasing subsequence of places. */
function longestAscent(list: readonly number[], inBase: readonly number[]): boolean[] {
  const isMarked: boolean[] = new Array(inBase.length).fill(false)
  /** The last name of the best subsequence of each length, and what stands before each name in its own. */
  const lasts: number[] = []
  const befores: number[] = new Array(inBase.length).fill(NOWHERE)
  for (const name of list) {
    const place = inBase[name] ?? NOWHERE
    if (place === NOWHERE) continue
    let low = lasts.length
    // Most names stand in order.
    if (low > 0 && (inBase[lasts[low - 1] as number] as number) > place) {
      low = 0
      for (let high = lasts.length - 1; low < high; ) {
        const middle = (low + high) >> 1
        if ((inBase[lasts[middle] as number] as number) < place) low = middle + 1
        else high = middle
      }
    }
    if (low > 0) befores[name] = lasts[low - 1] as number
    lasts[low] = name
  }
  for (let name = lasts.at(-1) ?? NOWHERE; name !== NOWHERE; name = befores[name] as number) {
    isMarked[name] = true
  }
  return isMarked
}
