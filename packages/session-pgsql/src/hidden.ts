/**
 * Puts properties on an object that no loop, spread, `JSON.stringify` or `util.inspect` shows: for passwords,
 * and for objects of drivers that have passwords inside.
 */
export function hidden<T extends object, H extends object>(visible: T, secrets: H): T & H {
  for (const [key, value] of Object.entries(secrets)) {
    Object.defineProperty(visible, key, { value, enumerable: false })
  }
  return visible as T & H
}
