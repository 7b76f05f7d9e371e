/**
 * The numbers that PHP gives to values when it serializes them, and the references to these numbers. Exists while a
 * session is read. At the end, `finish` records in php-memory.ts what the writer needs to write the same again.
 */
import { type Reference, rememberElement, rememberReference, sameScalar } from './php-memory.ts'
import { isArray, readAt, writeAt } from './php-shapes.ts'
import { kindOf, type PhpKey } from './php-values.ts'

/** The array or object whose elements are being read. An array is created when all its keys are known. */
export interface Frame {
  holder: object | undefined
}

/** A value that PHP counts: `R:5;` refers to the fifth. */
export interface Slot {
  readonly frame: Frame
  readonly key: PhpKey
  value: unknown
}

/** An `R:` in the input: this element shares the variable of that slot. */
interface ReferenceToken {
  readonly slot: number
  readonly frame: Frame
  readonly key: PhpKey
}

interface Literal {
  readonly slot: Slot
  readonly literal: string
}

/** The value of a slot whose array is still being read. */
export const PENDING: unique symbol = Symbol('pending')

/** The lengths of the lists, to restore them. */
export interface Snapshot {
  readonly slots: number
  readonly references: number
  readonly literals: number
  readonly sameObjects: number
}

export class PhpSlots {
  readonly #all: Slot[] = []
  readonly #references: ReferenceToken[] = []
  readonly #literals: Literal[] = []
  #sameObjects = 0

  /** Gives the next number to the value of this element. */
  add(frame: Frame, key: PhpKey, value: unknown = PENDING): Slot {
    const slot: Slot = { frame, key, value }
    this.#all.push(slot)
    return slot
  }

  /** Whether an `R:` or `r:` was read. */
  get hasReferences(): boolean {
    return this.#references.length + this.#sameObjects > 0
  }

  /** Records an `R:` to this number. @returns the slot; undefined if no value has this number */
  refer(number: number, frame: Frame, key: PhpKey): Slot | undefined {
    const slot = this.#all[number - 1]
    if (slot !== undefined) this.#references.push({ slot: number, frame, key })
    return slot
  }

  /** Returns the object for an `r:`; undefined if the value with this number is not an object. */
  objectAt(number: number): object | undefined {
    const value = this.#all[number - 1]?.value
    if (typeof value !== 'object' || value === null) return undefined
    if (!['object', 'enum', 'custom'].includes(kindOf(value) ?? '')) return undefined
    this.#sameObjects++
    return value
  }

  /** Records the notation of a value that the writer would write differently. */
  addLiteral(slot: Slot, literal: string): void {
    this.#literals.push({ slot, literal })
  }

  snapshot(): Snapshot {
    return {
      slots: this.#all.length,
      references: this.#references.length,
      literals: this.#literals.length,
      sameObjects: this.#sameObjects,
    }
  }

  restore(snapshot: Snapshot): void {
    this.#all.length = snapshot.slots
    this.#references.length = snapshot.references
    this.#literals.length = snapshot.literals
    this.#sameObjects = snapshot.sameObjects
  }

  /** Resolves references to arrays that were pending, and records the references. Call it once, at the end. */
  finish(): void {
    const references = new Map<number, Reference>()
    for (const { slot: number, frame, key } of this.#references) {
      const slot = this.#all[number - 1] as Slot
      let reference = references.get(number)
      if (reference === undefined) {
        reference = { slot: number }
        references.set(number, reference)
        if (isArray(slot.value)) rememberReference(slot.value, reference)
        recordReference(slot.frame, slot.key, slot.value, reference)
      }
      if (frame.holder !== undefined && readAt(frame.holder, key) === PENDING) {
        writeAt(frame.holder, key, slot.value)
      }
      recordReference(frame, key, slot.value, reference)
    }
    for (const { slot, literal } of this.#literals) {
      const { holder } = slot.frame
      if (holder === undefined || !sameScalar(readAt(holder, slot.key), slot.value)) continue
      rememberElement(holder, slot.key, { literal, value: slot.value })
    }
  }
}

/** Records that the element shares a variable, unless a later element with the same key has replaced it. */
function recordReference({ holder }: Frame, key: PhpKey, value: unknown, reference: Reference): void {
  if (holder !== undefined && Object.is(readAt(holder, key), value)) {
    rememberElement(holder, key, { reference })
  }
}
