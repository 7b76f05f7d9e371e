/**
 * Adds properties that loops, object spread, `JSON.stringify` and `util.inspect` do not show: for passwords, and for
 * driver objects that contain passwords.
 */
export function hidden<T extends object, H extends object>(visible: T, secrets: H): T & H {
  for (const [key, value] of Object.entries(secrets)) {
    Object.defineProperty(visible, key, { value, enumerable: false })
  }
  return visible as T & H
}
