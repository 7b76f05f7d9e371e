/**
 * The numbers that PHP gives to values while it writes them, and what refers to them. Kept while a session is
 * read; at the end, what is needed to write the same again goes into php-memory.ts.
 */
import { type Cell, rememberCell, rememberPlace, sameScalar } from './php-memory.ts'
import { isArray, readAt, writeAt } from './php-shapes.ts'
import { kindOf, type PhpKey } from './php-values.ts'

/** The array or object that values are being read into. An array is only made when all its keys are known. */
export interface Frame {
  holder: object | undefined
}

/** Every value that PHP counts, so that `R:5;` finds the fifth. */
export interface Slot {
  readonly frame: Frame
  readonly key: PhpKey
  value: unknown
}

/** An `R:`: that place shares the variable in that slot. */
interface Reference {
  readonly slot: number
  readonly frame: Frame
  readonly key: PhpKey
}

interface Spelling {
  readonly slot: Slot
  readonly literal: string
}

/** Stands for an array that is still being read. */
export const OPEN: unique symbol = Symbol('open')

/** How far the lists had got, to go back to. */
export interface Mark {
  readonly slots: number
  readonly references: number
  readonly spellings: number
  readonly sameObjects: number
}

export class PhpSlots {
  readonly #all: Slot[] = []
  readonly #references: Reference[] = []
  readonly #spellings: Spelling[] = []
  #sameObjects = 0

  /** The next number is for the value that will stand here. */
  add(frame: Frame, key: PhpKey, value: unknown = OPEN): Slot {
    const slot: Slot = { frame, key, value }
    this.#all.push(slot)
    return slot
  }

  get hasReferences(): boolean {
    return this.#references.length + this.#sameObjects > 0
  }

  /** The value for `R:`; undefined if there is none of that number. */
  refer(number: number, frame: Frame, key: PhpKey): Slot | undefined {
    const slot = this.#all[number - 1]
    if (slot !== undefined) this.#references.push({ slot: number, frame, key })
    return slot
  }

  /** The object for `r:`; undefined if that number is not an object's. */
  objectAt(number: number): object | undefined {
    const value = this.#all[number - 1]?.value
    if (typeof value !== 'object' || value === null) return undefined
    if (!['object', 'enum', 'custom'].includes(kindOf(value) ?? '')) return undefined
    this.#sameObjects++
    return value
  }

  /** Notes that the value was spelled like this, and not as it would be written. */
  spelled(slot: Slot, literal: string): void {
    this.#spellings.push({ slot, literal })
  }

  mark(): Mark {
    return {
      slots: this.#all.length,
      references: this.#references.length,
      spellings: this.#spellings.length,
      sameObjects: this.#sameObjects,
    }
  }

  backTo(mark: Mark): void {
    this.#all.length = mark.slots
    this.#references.length = mark.references
    this.#spellings.length = mark.spellings
    this.#sameObjects = mark.sameObjects
  }

  /** To be called once, when all is read: closes circles and notes which places belong together. */
  finish(): void {
    const cells = new Map<number, Cell>()
    for (const { slot: number, frame, key } of this.#references) {
      const slot = this.#all[number - 1] as Slot
      let cell = cells.get(number)
      if (cell === undefined) {
        cell = { slot: number }
        cells.set(number, cell)
        if (isArray(slot.value)) rememberCell(slot.value, cell)
        tie(slot.frame, slot.key, slot.value, cell)
      }
      if (frame.holder !== undefined && readAt(frame.holder, key) === OPEN) {
        writeAt(frame.holder, key, slot.value)
      }
      tie(frame, key, slot.value, cell)
    }
    for (const { slot, literal } of this.#spellings) {
      const { holder } = slot.frame
      if (holder === undefined || !sameScalar(readAt(holder, slot.key), slot.value)) continue
      rememberPlace(holder, slot.key, { literal, value: slot.value })
    }
  }
}

/** Notes that the place shares its variable, unless something else stands there: a key can come twice. */
function tie({ holder }: Frame, key: PhpKey, value: unknown, cell: Cell): void {
  if (holder !== undefined && Object.is(readAt(holder, key), value)) rememberPlace(holder, key, { cell })
}
