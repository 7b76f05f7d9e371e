/** How phpredis makes the key of a lock out of the session's. */
const LOCK_SUFFIX = '_LOCK'

/** A key of PHP's: a prefix, which is the session's name, and its id; or the lock of one. */
export interface Key {
  readonly text: string
  readonly id: string
  /** undefined: no prefix; the name is that of the settings. */
  readonly name: string | undefined
  readonly isLock: boolean
}

export function keyOf(text: string): Key {
  const isLock = text.endsWith(LOCK_SUFFIX)
  const whole = isLock ? text.slice(0, -LOCK_SUFFIX.length) : text
  const colon = whole.lastIndexOf(':')
  const name = whole.slice(0, Math.max(colon, 0))
  return { text, id: whole.slice(colon + 1), name: name === '' ? undefined : name, isLock }
}
