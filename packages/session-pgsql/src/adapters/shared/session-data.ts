import { isDeepStrictEqual } from 'node:util'
import { SessionPgsqlError } from '../../errors.ts'
import type { SessionRecord } from '../../session/record.ts'

/** The data of a session as it is stored, of any application. */
export type Stored = Record<string, unknown>

/**
 * Returns the data of a record, for a framework whose sessions are objects with keys.
 *
 * @throws UNDECODABLE if the stored data is anything else
 */
export function keysOf<Data = Stored>(record: Pick<SessionRecord<Data>, 'data'>): Data {
  const data: unknown = record.data
  if (typeof data === 'object' && data !== null && !Array.isArray(data)) return data as Data
  throw new SessionPgsqlError(
    'UNDECODABLE',
    'The stored data of this session is not an object with keys. Another application may have written it.',
  )
}

/** How a framework's session object shows the data of its row. */
export interface SessionView {
  /** Returns the data as a write would send it now. */
  data(): Stored
  /** Returns true if the object does not show this key of the row, such as the cookie's attributes. */
  isHidden(key: string): boolean
  /** Returns the value of a key that the object has. */
  get(key: string): unknown
  set(key: string, value: unknown): void
  delete(key: string): void
}

/** Returns the view of an object whose properties are the data. */
export function viewOf(object: Stored, view: Pick<SessionView, 'data' | 'isHidden'>): SessionView {
  return {
    data: () => view.data(),
    isHidden: (key) => view.isHidden(key),
    get: (key) => object[key],
    set: (key, value) => setKey(object, key, value),
    delete: (key) => {
      delete object[key]
    },
  }
}

/** Sets a key also if it is named __proto__, for which an assignment would change the prototype. */
export function setKey(object: Stored, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true })
}

/**
 * Moves out of the data the keys that the framework's session object hides, for example behind properties of its own.
 * They are written back unchanged.
 */
export function withhold(data: Stored, isHidden: (key: string) => boolean): Stored {
  const withheld: [string, unknown][] = []
  for (const [key, value] of Object.entries(data)) {
    if (!isHidden(key)) continue
    withheld.push([key, value])
    delete data[key]
  }
  return Object.fromEntries(withheld)
}

/**
 * Takes a session object from one state of its data to another. What is the same in both is not touched, and objects
 * and lists are changed in place: the application may hold references to them.
 *
 * @param from the object's data as a read would return it
 */
export function moveTo(view: SessionView, from: Stored, to: Stored): void {
  for (const key of Object.keys(from)) {
    if (!view.isHidden(key) && !Object.hasOwn(to, key)) view.delete(key)
  }
  for (const [key, value] of Object.entries(to)) {
    if (view.isHidden(key)) continue
    if (!Object.hasOwn(from, key) || !changeInPlace(view.get(key), from[key], value)) view.set(key, value)
  }
}

/** Returns false if the value must be replaced. */
function changeInPlace(current: unknown, from: unknown, to: unknown): boolean {
  if (Object.isFrozen(current)) return isDeepStrictEqual(from, to)
  if (Array.isArray(current) && Array.isArray(from) && Array.isArray(to)) {
    return changeList(current, from, to)
  }
  if (!isPlainObject(current) || !isPlainObject(from) || !isPlainObject(to))
    return isDeepStrictEqual(from, to)
  moveTo(viewOf(current, { data: () => current, isHidden: () => false }), from, to)
  return true
}

/** Keeps the elements before and after those that differ. */
function changeList(current: unknown[], from: readonly unknown[], to: readonly unknown[]): boolean {
  if (current.length !== from.length) return false
  const shorter = Math.min(from.length, to.length)
  let head = 0
  while (head < shorter && isDeepStrictEqual(from[head], to[head])) head++
  let tail = 0
  while (tail < shorter - head && isDeepStrictEqual(from.at(-1 - tail), to.at(-1 - tail))) tail++
  const kept = current.slice(current.length - tail)
  current.length = head
  for (const element of to.slice(head, to.length - tail)) current.push(element)
  for (const element of kept) current.push(element)
  return true
}

function isPlainObject(value: unknown): value is Stored {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
