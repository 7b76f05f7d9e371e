/**
 * Does what `POST /edit` of a `ConformanceSite` asks for: changes the value of a key, in place if it can.
 *
 * @param value the value of the key; undefined counts as an empty list
 * @param path names or indexes, with `/` between them; `-` at the end appends to a list. Without it the whole value is
 * replaced
 * @param json the new part, as JSON. Without it the part is removed
 * @returns the new value of the key
 */
export function edited(value: unknown, path?: string | null, json?: string | null): unknown {
  const part: unknown = json == null ? undefined : JSON.parse(json)
  if (path == null || path === '') return part
  const whole = value ?? []
  const steps = path.split('/')
  const last = steps.pop() as string
  const target = steps.reduce(follow, whole) as unknown[] & Record<string, unknown>
  if (last === '-') target.push(part)
  else if (json != null) target[last] = part
  else if (Array.isArray(target)) target.splice(Number(last), 1)
  else delete target[last]
  return whole
}

function follow(value: unknown, step: string): unknown {
  if (typeof value === 'object' && value !== null && Object.hasOwn(value, step))
    return Reflect.get(value, step)
  throw new TypeError(`Expected the value to have the part ${step}`)
}
